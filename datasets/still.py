"""Still images and their masks: PNG, JPEG and what else Pillow reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .case import Case, Decoded, Pixels
from .errors import DataError
from .labels import LabelMap
from .layers import Overlap, counted, united

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
BROKEN = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    MemoryError,
    Image.DecompressionBombError,
)
"""What Pillow raises for damaged files."""
MOST_PIXELS_A_BYTE = 8 * 1100
"""Deflate packs about 1030 bytes into one, and a byte holds at most 8 pixels."""
GREY_DEEP = ("I", "F", "I;16", "I;16B", "I;16L")
"""Pillow's modes of grey with more than 8 bits."""


def read_image(path: Path, channels: int) -> NDArray[Any]:
    """An image as `(1, rows, columns, channels)`: uint8, uint16 of a 16-bit file, float32 of a 32-bit one.

    Palettes become their colours, one bit 0 and 255; an alpha channel is left out. Grey is repeated where three
    channels are wanted. The orientation that a camera writes beside the pixels is not applied: masks do not have it.

    Args:
        path: the file.
        channels: 1 for grey, 3 for RGB.

    Raises:
        DataError: the file cannot be read, holds several pictures, or has colours where grey is wanted.
    """
    image, deep = _open(path)
    pixels: NDArray[Any]
    if deep and image.mode not in GREY_DEEP:
        pixels = _deep_colours(path)
    elif image.mode in GREY_DEEP:
        pixels = np.asarray(image)
        wide = pixels.dtype.itemsize > 2
        pixels = pixels.astype(np.float32 if wide else np.uint16)[..., np.newaxis]
    else:
        grey = image.mode in ("1", "L", "LA")
        pixels = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
    if channels == 1 and pixels.shape[-1] == 3:
        if not (pixels[..., :1] == pixels).all():
            raise DataError(f"{path}: has colours, but data.channels is 1; set data.channels: 3 or convert it to grey")
        pixels = pixels[..., :1]
    if channels == 3 and pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
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
        DataError: the file cannot be read, is a JPEG, has colours in place of labels, or more than 8 bits a colour.
    """
    image, deep = _open(path)
    if image.format in ("JPEG", "MPO"):
        raise DataError(f"{path}: a JPEG, whose compression changes labels; write masks as PNG from their source")
    if coloured:
        if deep or image.mode not in ("RGB", "RGBA", "P"):
            found = "an image of more than 8 bits a channel" if deep else f"a {image.mode} image"
            raise DataError(
                f"{path}: {found}; expected a mask of 8-bit RGB colours (or a palette), since data.labels has "
                "colours [r, g, b]; give values there if this mask holds labels"
            )
        return np.asarray(image.convert("RGB"), dtype=np.uint8)[np.newaxis]
    if image.mode not in ("L", "P", "1", "I", "I;16", "I;16B", "I;16L"):
        raise DataError(
            f"{path}: a {image.mode} image; expected a mask of labels (8 or 16 bit, or palette), or classes given by "
            "their colours as data.labels: {name: [[r, g, b]], …}"
        )
    values = np.asarray(image)
    return (values.astype(np.uint8) if values.dtype == bool else values)[np.newaxis]


def with_mask(image: Pixels, case: Case, labels: LabelMap, overlap: Overlap) -> Decoded:
    """A decoded image with its mask; a `DataError` where that is unreadable, of another size or of foreign values."""

    def read(path: Path, coloured: bool) -> NDArray[Any]:
        raw = read_mask(path, coloured)
        same_size(image.array, raw, case.image, path)
        return raw

    layers = [(drawn, read(drawn.path, labels.coloured and drawn.label is None)) for drawn in case.masks]
    mask = united(layers, labels, overlap)
    return Decoded(image, mask if case.valid is None else counted(mask, read(case.valid, False), case.valid))


def same_size(image: NDArray[Any], mask: NDArray[Any], image_path: Path, mask_path: Path) -> None:
    """Raise a `DataError` naming both files where image and mask differ in slices, rows or columns."""
    if image.shape[:3] != mask.shape[:3]:
        raise DataError(
            f"{mask_path}: {_size(mask)} pixels, but its image {image_path} has {_size(image)}; "
            "a mask must lie on the grid of its image"
        )


def _size(array: NDArray[Any]) -> str:
    slices, rows, columns = array.shape[:3]
    return f"{columns}x{rows}" if slices == 1 else f"{columns}x{rows}x{slices}"


def _open(path: Path) -> tuple[Image.Image, bool]:
    """The image, loaded, and whether the file has more than 8 bits a channel: Pillow cuts deep colours to 8."""
    try:
        image = Image.open(path, formats=FORMATS)  # others may start programs, as PostScript does
        _refuse_hollow(image, path)
        deep = image.mode in GREY_DEEP or any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))
        pictures = getattr(image, "n_frames", 1) if image.format in ("PNG", "TIFF") else 1  # JPEGs hold previews
        image.load()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except DataError:
        raise
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: not a readable image, damaged or cut short ({reason}); replace the file") from error
    if pictures > 1:
        raise DataError(f"{path}: holds {pictures} pictures; expected one a file, so write each into its own")
    return image, deep


def _refuse_hollow(image: Image.Image, path: Path) -> None:
    """Raise a `DataError` where a header promises more pixels than the file can hold, before they are allocated."""
    size = path.stat().st_size
    if image.format != "TIFF" and image.width * image.height > MOST_PIXELS_A_BYTE * size:
        raise DataError(
            f"{path}: {image.width}x{image.height} pixels by its header, in {size} bytes: damaged or cut short; "
            "replace the file"
        )


def _deep_colours(path: Path) -> NDArray[np.uint16]:
    """16-bit RGB or RGBA as `(rows, columns, 3)`, grey with alpha as `(rows, columns, 1)`."""
    pixels = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise DataError(f"{path}: 16-bit colours that cannot be read; write it as PNG or TIFF without compression")
    if pixels.ndim == 2:
        return np.asarray(pixels, dtype=np.uint16)[..., np.newaxis]
    return np.asarray(pixels[..., 2::-1], dtype=np.uint16)
