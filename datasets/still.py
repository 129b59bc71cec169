"""Still images and their masks: PNG, JPEG and what else Pillow reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import read_array
from .case import Case, Decoded, Pixels, Remark
from .errors import DataError
from .formats import ARRAYS
from .labels import LabelMap
from .layers import Overlap, counted, united
from .still_file import (
    GREY_DEEP,
    Still,
    deep_colours,
    open_still,
    orientation,
    palette_of,
    pixels_of,
    upright,
)
from .tiff import as_pixels, bands_of, numbers_of, pages_and_bands

NOT_UPRIGHT = "image(s) with an EXIF orientation, which is not applied"
_EXIF = "where masks were drawn on the upright picture set data.exif: true"
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue, by ITU-R BT.601."""


def read_image(
    path: Path, channels: int, to_grey: bool = False, turned: bool = False, key: str | None = None
) -> NDArray[Any]:
    """An image as `(1, rows, columns, channels)`: uint8, uint16 of a 16-bit file, float32 of any other.

    Palettes become their colours, one bit 0 and 255; an alpha channel is left out. Grey is repeated where three
    channels are wanted.

    Args:
        path: the file.
        channels: 1 for grey, 3 for RGB, any other number for as many bands.
        to_grey: turn colours into their luminance where grey is wanted.
        turned: turn the image as its EXIF orientation says.
        key: of the arrays of an `.npz` or `.mat` file the image.

    Raises:
        DataError: the file cannot be read, holds several pictures, has colours where grey is wanted, or other bands.
    """
    if path.suffix.lower() in ARRAYS:
        pixels = _plain(read_array(path, key), path)
    elif channels in (1, 3):
        pixels = _stored(path, turned)
    else:
        pixels = bands_of(path, turned)
    if channels == 1 and pixels.shape[-1] == 3:
        if to_grey:
            pixels = _grey(pixels)
        elif not (pixels[..., :1] == pixels).all():
            raise DataError(
                f"{path}: has colours, but data.channels is 1; set data.channels: 3, or convert it to grey "
                "(of a folder by data.to_grey: true)"
            )
        pixels = pixels[..., :1]
    if channels == 3 and pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    if pixels.shape[-1] != channels:
        raise DataError(f"{path}: has {pixels.shape[-1]} channels, but data.channels is {channels}")
    return np.ascontiguousarray(pixels)[np.newaxis]


def read_mask(path: Path, coloured: bool) -> NDArray[Any]:
    """A mask's raw pixels.

    Args:
        path: the file.
        coloured: its colours, those of its palette where it has one; else its values, palette indices rather than
            colours; one bit is 0 and 1.

    Returns:
        `(1, rows, columns)` values, or `(1, rows, columns, 3)` uint8 colours.

    Raises:
        DataError: the file cannot be read, its compression changes values, it has colours in place of labels, more
            than 8 bits a colour, or fractions.
    """
    if (numbers := numbers_of(path)) is not None:
        return _of_numbers(numbers, path, coloured)
    return next(_readings(_opened(path, turned=False), path, coloured))


def mask_values(path: Path, labels: LabelMap | None, turned: bool = False, key: str | None = None) -> NDArray[Any]:
    """A mask's raw pixels as `read_mask`, in the encoding whose values a map knows.

    A mask that says the same in another encoding is read the same: where its values are not those of the map, one bit
    may be 0 and 255, a grey palette its levels, and grey that was stretched to 255 the file's own numbers.

    Args:
        path: the file.
        labels: what its values or colours mean; None where any value but 0 means the same.
        turned: turn the mask as its EXIF orientation says.
        key: of the arrays of an `.npz` or `.mat` file the mask.

    Raises:
        DataError: as `read_mask`; of a mask with several encodings, a value that is no class in any.
    """
    coloured = labels is not None and labels.coloured
    if path.suffix.lower() in ARRAYS:
        values = array_labels(path, key, coloured)
        if values.dtype != bool:
            return values
        return values.astype(np.uint8) * np.uint8(1 if labels is None or labels.knows(values) else 255)
    if (numbers := numbers_of(path)) is not None:
        return _of_numbers(numbers, path, coloured)
    still = _opened(path, turned)
    first, *others = _readings(still, path, coloured)
    if labels is None:  # of a palette of grey black is 0, whatever its index
        return others[-1] if others and still.image.mode == "P" else first
    if labels.coloured or not (encoding := _encoding(still)) or labels.knows(first):
        return first
    found = next(filter(labels.knows, others), None)
    if found is None:
        labels(first, path, encoding)
    return first if found is None else found


def with_mask(
    image: Pixels, case: Case, labels: LabelMap, overlap: Overlap, turned: bool = False, key: str | None = None
) -> Decoded:
    """A decoded image with its mask; a `DataError` where that is unreadable, of another size or of foreign values."""

    def read(path: Path, meant: LabelMap | None) -> NDArray[Any]:
        raw = mask_values(path, meant, turned, key)
        same_size(image.array, raw, case.image, path)
        return raw

    remarks = [] if turned or orientation(case.image) == 1 else [Remark(NOT_UPRIGHT, _EXIF)]
    channels = image.array.shape[-1]
    pages, bands = pages_and_bands(case.image)
    if bands > max(channels, 3) or (bands == 2 and channels != 2):
        remedy = f"data.channels: {bands} reads all"
        read_too = 1 if bands == 2 else channels
        remarks.append(Remark(f"image(s) with {bands} bands that are no alpha, of which {read_too} are read", remedy))
    if pages > 1:
        remarks.append(Remark("pyramid TIFF(s) read from their first page", "the other pages are smaller copies"))
    palette = {} if labels.coloured or case.drawn else palette_of(case.mask)
    layers = [(drawn, read(drawn.path, labels if drawn.label is None else None)) for drawn in case.masks]
    mask = united(layers, labels, overlap)
    if case.valid is not None:
        mask = counted(mask, read(case.valid, None), case.valid)
    return Decoded(image, mask, tuple(remarks), palette)


def same_size(image: NDArray[Any], mask: NDArray[Any], image_path: Path, mask_path: Path) -> None:
    """Raise a `DataError` naming both files where image and mask differ in slices, rows or columns."""
    if image.shape[:3] != mask.shape[:3]:
        raise DataError(
            f"{mask_path}: {_size(mask)} pixels, but its image {image_path} has {_size(image)}; "
            f"a mask must lie on the grid of its image{_turn_hint(image, mask, image_path)}"
        )


def _turn_hint(image: NDArray[Any], mask: NDArray[Any], path: Path) -> str:
    """A hint where the EXIF orientation of an image would turn it onto its mask."""
    fits = image.shape[0] == mask.shape[0] and image.shape[1:3] == mask.shape[2:0:-1]
    return f"; its EXIF orientation says that it stands on its side: {_EXIF}" if fits and orientation(path) > 4 else ""


def _size(array: NDArray[Any]) -> str:
    slices, rows, columns = array.shape[:3]
    return f"{columns}x{rows}" if slices == 1 else f"{columns}x{rows}x{slices}"


def _stored(path: Path, turned: bool) -> NDArray[Any]:
    """The pixels of grey or RGB, `(rows, columns, 1 or 3)`."""
    if (numbers := numbers_of(path)) is not None:
        return as_pixels(_grey_or_rgb(numbers))
    still = open_still(path, turned)
    image = still.image
    if image.mode in GREY_DEEP:
        grey = np.asarray(image)
        wide = grey.dtype.itemsize > 2 and image.format != "PPM"
        return grey.astype(np.float32 if wide else np.uint16)[..., np.newaxis]
    if still.deep:
        return upright(deep_colours(path), still.orientation)
    wanted = "L" if image.mode in ("1", "L", "LA") else "RGB"
    return pixels_of(image if image.mode == wanted else image.convert(wanted))


def _plain(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """The pixels of an array, `(rows, columns, channels)`: truth values 0 and 255, other numbers float32."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] > min(array.shape[:2])):
        raise DataError(f"{path}: an array of shape {array.shape}; expected (rows, columns[, channels])")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype not in (np.uint8, np.uint16):
        array = array.astype(np.float32)
    return array.reshape(*array.shape[:2], -1)


def array_labels(path: Path, key: str | None, coloured: bool) -> NDArray[Any]:
    """The values of an array that is a mask, `(1, rows, columns)`, or its colours with a further axis of three."""
    array = read_array(path, key)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 + coloured or (coloured and (array.shape[2] != 3 or array.dtype != np.uint8)):
        wanted = "(rows, columns, 3) of 8-bit colours, since data.labels has colours" if coloured else "(rows, columns)"
        raise DataError(f"{path}: {array.dtype} of shape {array.shape}; expected a mask {wanted}")
    return (_whole(array, path) if array.dtype.kind == "f" else array)[np.newaxis]


def _grey_or_rgb(bands: NDArray[Any]) -> NDArray[Any]:
    """The first band of one or two, the first three of more."""
    return bands[..., : 3 if bands.shape[-1] > 2 else 1]


def _of_numbers(numbers: NDArray[Any], path: Path, coloured: bool) -> NDArray[Any]:
    """The labels, or colours of 8 bits, of the bands of a TIFF."""
    colours = _grey_or_rgb(numbers)
    found = f"{numbers.dtype} of {numbers.shape[-1]} band(s)"
    if coloured:
        if numbers.dtype != np.uint8:
            raise DataError(f"{path}: {found}; expected a mask of 8-bit RGB colours, since data.labels has colours")
        return np.broadcast_to(colours, (*colours.shape[:2], 3))[np.newaxis]
    _refuse_labels_in_alpha(colours, numbers[..., colours.shape[-1] :], path)
    values = _equal_channels(colours, path, found)
    return (_whole(values, path) if values.dtype.kind == "f" else values)[np.newaxis]


def _opened(path: Path, turned: bool) -> Still:
    still = open_still(path, turned)
    if still.lossy is not None:
        raise DataError(f"{path}: {still.lossy}; write masks as PNG from their source")
    return still


def _readings(still: Still, path: Path, coloured: bool) -> Iterator[NDArray[Any]]:
    """What the pixels of a mask may mean, the usual meaning first; see `mask_values`."""
    image, mode = still.image, still.image.mode
    if coloured:
        if still.deep or mode not in ("RGB", "RGBA", "P", "PA", "L", "LA", "1"):
            found = "an image of more than 8 bits a channel" if still.deep else f"a {mode} image"
            raise DataError(
                f"{path}: {found}; expected a mask of 8-bit RGB colours (or a palette), since data.labels has "
                "colours [r, g, b]; give values there if this mask holds labels"
            )
        yield pixels_of(image.convert("RGB"))[np.newaxis]
        return
    values: NDArray[Any]
    if still.deep and mode not in GREY_DEEP:
        values = upright(deep_colours(path), still.orientation)
        yield _equal_channels(values, path, "an image of 16-bit colours")[np.newaxis]
    elif mode in ("RGB", "RGBA", "LA"):
        pixels = pixels_of(image)
        values = _grey_or_rgb(pixels)
        _refuse_labels_in_alpha(values, pixels[..., values.shape[-1] :], path)
        yield _equal_channels(values, path, f"an image of colours ({mode})")[np.newaxis]
    elif mode == "F":
        yield _whole(np.asarray(image), path)[np.newaxis]
    elif mode in ("L", "P", "1", "I", "I;16", "I;16B", "I;16L"):
        values = np.asarray(image)
        levels = _grey_levels(image) if mode == "P" else None
        if levels is not None and image.format == "GIF":  # has no grey: its writers number the levels that occur
            yield levels[values][np.newaxis]
        yield (values.astype(np.uint8) if values.dtype == bool else values)[np.newaxis]
        if mode == "1":
            yield (values * np.uint8(255))[np.newaxis]
        if levels is not None:
            yield levels[values][np.newaxis]
        if still.stretch > 1:
            yield (values // still.stretch)[np.newaxis]
    else:
        raise DataError(
            f"{path}: a {mode} image; expected a mask of labels (8 or 16 bit, or palette), or classes given by "
            "their colours as data.labels: {name: [[r, g, b]], …}"
        )


def _equal_channels(colours: NDArray[Any], path: Path, found: str) -> NDArray[Any]:
    """The values `(rows, columns)` of a mask of colours whose channels are equal; a `DataError` where they are not."""
    other = (colours != colours[..., :1]).any(-1)
    if other.any():
        row, column = np.argwhere(other)[0]
        raise DataError(
            f"{path}: {found}, such as {colours[row, column].tolist()} in {int(other.sum())} pixels; expected a "
            "mask of labels (grey or palette), or classes given by their colours as data.labels: {name: [[r, g, b]], …}"
        )
    return np.ascontiguousarray(colours[..., 0])


def _refuse_labels_in_alpha(values: NDArray[Any], alpha: NDArray[Any], path: Path) -> None:
    """Raise a `DataError` where a mask is of one colour and its alpha channel, if it has one, is not of one value."""
    if alpha.size and alpha.min() != alpha.max() and (values == values[0, 0]).all():
        raise DataError(
            f"{path}: one colour, but alpha from {alpha.min()} to {alpha.max()}: are its labels in the alpha channel, "
            "which is not read? Write them as grey"
        )


def _whole(values: NDArray[Any], path: Path) -> NDArray[np.int64]:
    """Floating-point labels as integers; a `DataError` where they are no whole numbers."""
    bad = values[~(np.floor(values) == values) | (np.abs(values, dtype=np.float64) >= 2**31)]
    if bad.size:
        raise DataError(f"{path}: {bad[0]} in {bad.size} of {values.size} pixels is no label; expected whole numbers")
    return values.astype(np.int64)


def _grey_levels(image: Any) -> NDArray[np.uint8] | None:
    """The grey level of each of 256 palette indices; None where the palette has a colour that is none, or but one."""
    entries = np.frombuffer(bytes(image.getpalette("RGB")), np.uint8).reshape(-1, 3)
    if len(entries) > 1 and (entries == entries[0]).all():  # as of a TIFF that Pillow writes of indices alone
        return None
    used = [index for index, count in enumerate(image.histogram()) if count]
    if max(used) >= len(entries) or not (entries[used] == entries[used][:, :1]).all():
        return None
    levels = np.zeros(256, np.uint8)
    levels[: len(entries)] = entries[:256, 0]
    return levels


def _encoding(still: Still) -> str:
    """How a mask's file says its values, where that may surprise."""
    if still.image.mode == "1":
        return "a 1-bit image: its foreground is 1"
    if still.image.mode == "P":
        return "an image with a palette: its values are indices"
    return f"a grey image whose values are stretched by {still.stretch}" if still.stretch > 1 else ""


def _grey(colours: NDArray[Any]) -> NDArray[Any]:
    """The luminance of `(rows, columns, 3)`, rounded, `(rows, columns, 1)`."""
    return np.rint(colours @ LUMINANCE).astype(colours.dtype)[..., np.newaxis]
