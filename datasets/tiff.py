"""TIFF of more than Pillow reads: any number of bands, several pages, and what the tags say."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from .errors import DataError
from .pixels import MOST_OUT_OF_A_BYTE, refuse_too_large
from .still_file import BROKEN, CHANGED, GREY_DEEP, open_still, pillow_errors, pixels_of, refuse_hollow

_WIDTH, _LENGTH, _BITS, _PACKING, _BANDS, _PLANES = 256, 257, 258, 259, 277, 284
_MEANING, _PREDICTOR, _TILE, _EXTRA, _FORMAT = 262, 317, 322, 338, 339
_NUMBER, _NUMBERS = (_WIDTH, _LENGTH, _PACKING, _BANDS, _MEANING), (_BITS, _EXTRA)
"""Tags that hold one whole number, and those that hold one of each band."""
_PACKINGS = (1, 5, 8, 32773, 32946)
"""None, LZW, Deflate, PackBits."""
_MEANINGS = (1, 2)
"""Grey whose 0 is black, RGB; ITK makes 8 bits of others."""
_UNKNOWN = 65000
"""A tag without a meaning."""
_SINGLE: Mapping[int, Callable[[int], int]] = {
    **dict.fromkeys((_WIDTH, _TILE), lambda said: 2 * said),
    **dict.fromkeys((_BANDS, _PREDICTOR), lambda said: 1),  # noqa: ARG005
    **dict.fromkeys((_BITS, _PLANES, _EXTRA, _FORMAT), lambda said: said),
}
"""What the tags of two bands say of one that is twice as wide."""


def bands_of(path: Path, turned: bool = False) -> NDArray[Any]:
    """All bands of a still, `(rows, columns, bands)`: uint8, uint16, or float32 of any other type.

    Raises:
        DataError: as `open_still`; a TIFF that is compressed in another way than those of several bands are.
    """
    if not is_tiff(path):
        image, deep, *_ = open_still(path, turned)
        if deep:
            raise DataError(f"{path}: bands of more than 8 bits; expected a TIFF or an array for data.channels")
        return pixels_of(image)
    tags = tiff_tags(path)
    columns, rows, bands = (int(tags.get(tag, 1)) for tag in (_WIDTH, _LENGTH, _BANDS))
    bits = tags.get(_BITS, 1)
    size = columns * rows * bands * -(-int(max(bits) if isinstance(bits, tuple) else bits) // 8)
    refuse_too_large(path, size)
    packing = int(tags.get(_PACKING, 1))
    if packing not in _PACKINGS or size > MOST_OUT_OF_A_BYTE * path.stat().st_size:
        raise DataError(
            f"{path}: {columns}x{rows} pixels of {bands} band(s), compression {packing}; expected them uncompressed or "
            "by LZW or Deflate, and not cut short"
        )
    if (meaning := tags.get(_MEANING, 1)) not in _MEANINGS:
        raise DataError(
            f"{path}: a TIFF of the photometric interpretation {meaning}, such as CMYK; expected bands of grey (1) or "
            "RGB (2), so convert it"
        )
    if bands == 2:
        array = _two_bands(path)
        return array if array.dtype in (np.uint8, np.uint16) else array.astype(np.float32)
    import SimpleITK  # takes time to import; Pillow reads four bands at most, OpenCV of 8 bits too

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("TIFFImageIO")
    reader.SetFileName(str(path))
    try:
        array = SimpleITK.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise DataError(
            f"{path}: a TIFF that cannot be read, damaged or of an unknown kind; replace the file"
        ) from error
    if array.shape not in ((rows, columns, bands), (rows, columns, bands)[: 3 if bands > 1 else 2]):
        raise DataError(f"{path}: holds several pictures, or no image of {bands} bands; write each into its own file")
    array = array.reshape(rows, columns, bands)
    return array if array.dtype in (np.uint8, np.uint16) else array.astype(np.float32)


def pages_of(path: Path) -> NDArray[Any]:
    """The pages of a TIFF, `(pages, rows, columns)`, of RGB with a further axis of three; of one page too.

    Raises:
        DataError: as `open_still`; pages of different sizes or types, more than 16 bits a colour, a compression that
            changes values, more pixels than the file has room for.
    """
    with pillow_errors(path, "TIFF"), Image.open(path, formats=("TIFF",)) as image:
        refuse_hollow(image, path)
        pages, (columns, rows), mode = getattr(image, "n_frames", 1), image.size, image.mode
        if mode not in ("1", "L", "RGB", *GREY_DEEP):
            raise DataError(f"{path}: pages of the mode {mode}; expected grey or RGB of 8 bits, or deeper grey")
        first = np.asarray(image)
        refuse_too_large(path, pages * first.nbytes)
        if pages * first.nbytes > MOST_OUT_OF_A_BYTE * path.stat().st_size:
            raise DataError(f"{path}: {pages} pages of {columns}x{rows} pixels in so short a file; cut short?")
        found = np.empty((pages, *first.shape), first.dtype.newbyteorder("="))
        for page in range(pages):
            image.seek(page)
            refuse_hollow(image, path)
            if (image.size, image.mode) != ((columns, rows), mode):
                raise DataError(
                    f"{path}: page {page + 1} is {image.width}x{image.height} ({image.mode}), the first "
                    f"{columns}x{rows} ({mode}); expected a slice a page, so write other pages into other files"
                )
            if image.info.get("compression") in ("jpeg", "webp"):
                raise DataError(f"{path}: {image.info['compression']}{CHANGED}; write it by LZW or Deflate")
            found[page] = np.asarray(image)
    return found


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF does."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"II*\0", b"MM\0*")
    except OSError:
        return False


def bands_without_alpha(path: Path) -> int:
    """The bands of a TIFF that are no alpha channel."""
    tags = tiff_tags(path)
    extra = tags.get(_EXTRA, ())
    return int(tags.get(_BANDS, 1)) - sum(kind in (1, 2) for kind in (extra if isinstance(extra, tuple) else (extra,)))


def tiff_tags(path: Path) -> Mapping[int, Any]:
    """The tags of the first picture of a TIFF; a `DataError` where they are damaged."""
    try:
        with path.open("rb") as file:
            found = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
            file.seek(found.next)
            found.load(file)
            tags = {tag: found[tag] for tag in (*_NUMBER, *_NUMBERS) if tag in found}
    except BROKEN as error:
        raise DataError(f"{path}: not a readable TIFF, damaged or cut short; replace the file") from error
    for tag, value in tags.items():
        numbers = value if tag in _NUMBERS and isinstance(value, tuple) else (value,)
        if not all(isinstance(number, int) for number in numbers):
            raise DataError(f"{path}: tag {tag} of the TIFF is no whole number, so it is damaged; replace the file")
    return tags


def _two_bands(path: Path) -> NDArray[Any]:
    """The pixels of a TIFF of two bands, which no library at hand reads, `(rows, columns, 2)`.

    It is read as one band of twice the width, by tags that say so; differences between neighbours (a predictor), which
    are those of a band, are summed here.
    """
    content = bytearray(path.read_bytes())
    order = "<" if content[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        said: dict[int, int] = {}
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", content, at)
            if tag in _SINGLE:
                form = {1: "B", 3: "H", 4: "I"}[kind]
                held = struct.calcsize(form) * struct.unpack_from(f"{order}I", content, at + 4)[0]
                (place,) = (at + 8,) if held <= 4 else struct.unpack_from(f"{order}I", content, at + 8)
                (said[tag],) = struct.unpack_from(f"{order}{form}", content, place)
                single = _SINGLE[tag](said[tag])
                changed = _UNKNOWN if tag == _EXTRA else tag
                content[at : at + 12] = struct.pack(f"{order}HHII", changed, 4, 1, single)
    except (struct.error, KeyError) as error:
        raise DataError(f"{path}: not a readable TIFF, damaged or cut short; replace the file") from error
    predictor = said.get(_PREDICTOR, 1)
    if said.get(_PLANES, 1) != 1 or predictor not in (1, 2):
        raise DataError(
            f"{path}: two bands, one behind the other or with differences of floats; expected them pixel by pixel, so "
            "write it uncompressed"
        )
    try:
        with Image.open(BytesIO(content), formats=("TIFF",)) as image:
            pages, array = getattr(image, "n_frames", 1), np.asarray(image)
    except BROKEN as error:
        raise DataError(
            f"{path}: two bands that cannot be read, of {said.get(_BITS)} bits; expected up to 32, so convert it"
        ) from error
    if pages > 1:
        raise DataError(f"{path}: holds {pages} pictures; expected one a file, so write each into its own")
    array = array.reshape(len(array), -1, 2)
    if predictor == 2:
        whole = array.view(f"u{array.itemsize}")
        width = said.get(_TILE, array.shape[1])
        blocks = range(0, array.shape[1], width)
        sums = [np.cumsum(whole[:, at : at + width], axis=1, dtype=whole.dtype) for at in blocks]
        array = np.concatenate(sums, axis=1).view(array.dtype)
    return array
