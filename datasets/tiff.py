"""TIFF of more than Pillow reads: any number of bands, several pages, and what the tags say."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from .errors import DataError
from .pixels import MOST_OUT_OF_A_BYTE, refuse_too_large
from .still_file import (
    BROKEN,
    CHANGED,
    GREY_DEEP,
    LOSSY,
    SUBFILE,
    is_copy,
    open_still,
    pillow_errors,
    pixels_of,
    refuse_hollow,
    refuse_missing_strips,
    unmap,
    upright,
)

_WIDTH, _LENGTH, _BITS, _PACKING, _BANDS, _PLANES = 256, 257, 258, 259, 277, 284
_MEANING, _ORIENTATION, _PREDICTOR, _TILE, _EXTRA, _FORMAT = 262, 274, 317, 322, 338, 339
_NUMBER = (_WIDTH, _LENGTH, _PACKING, _BANDS, _MEANING, _PLANES, _ORIENTATION, _PREDICTOR, _TILE, SUBFILE)
_NUMBERS = (_BITS, _EXTRA, _FORMAT)
"""Tags that hold one whole number, and those that hold one of each band."""
_BLOCKS = (273, 279, 324, 325)
"""Tags that list the strips or tiles, of which a TIFF with a band behind the other has those of each band in turn."""
_PACKINGS = (1, 5, 8, 32773, 32946)
"""None, LZW, Deflate, PackBits."""
_MEANINGS = (1, 2)
"""Grey whose 0 is black, RGB."""
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
"""Of NumPy, of the numbers of each SampleFormat."""
_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}
"""Bytes of a number of each type of a tag."""
_MOST_PAGES = 2**12
_START = 0
"""No tag: where in the file those of a page begin."""
_UNKNOWN = 65000
"""A tag without a meaning."""


class _Numbers(NamedTuple):
    """How the numbers of a TIFF are stored.

    Attributes:
        size: (rows, columns).
        bands: how many there are.
        dtype: of a number, in the byte order of the file.
        apart: a band lies behind the other, each in strips or tiles of its own.
        predictor: 2 where differences between neighbours are stored, 3 where those of the bytes of floats are.
        tile: columns of a tile; those of the image where there are strips.
    """

    size: tuple[int, int]
    bands: int
    dtype: np.dtype[Any]
    apart: bool
    predictor: int
    tile: int


def bands_of(path: Path, turned: bool = False) -> NDArray[Any]:
    """All bands of a still, `(rows, columns, bands)`: uint8, uint16, or float32 of any other type.

    A TIFF is turned upright by its own orientation, as all are.

    Raises:
        DataError: as `open_still`; a TIFF that is compressed in another way than those of several bands are.
    """
    if not is_tiff(path):
        image, deep, *_ = open_still(path, turned)
        if deep:
            raise DataError(f"{path}: bands of more than 8 bits; expected a TIFF or an array for data.channels")
        return pixels_of(image)
    numbers = numbers_of(path)
    return numbers if numbers.dtype in (np.uint8, np.uint16) else numbers.astype(np.float32)


def numbers_of(path: Path) -> NDArray[Any]:
    """All bands of a TIFF, `(rows, columns, bands)`, of the type that they are stored in; see `bands_of`."""
    page, *others = tiff_pages(path)
    size = page.get(_WIDTH, 0), page.get(_LENGTH, 0)
    if not all(is_copy((one.get(_WIDTH, 0), one.get(_LENGTH, 0)), size, one.get(SUBFILE, 0)) for one in others):
        raise DataError(f"{path}: holds {1 + len(others)} pictures; expected one a file, so write each into its own")
    return _numbers_of(path, _stored_as(path, page), bytearray(path.read_bytes()), page)


def pages_of(path: Path) -> NDArray[Any]:
    """The pages of a TIFF, `(pages, rows, columns)`, with a further axis of several bands; of one page too.

    Raises:
        DataError: as `open_still`; pages of different sizes or types, a compression that changes values, more pixels
            than the file has room for.
    """
    if is_beyond_pillow(path):
        return _pages_of_numbers(path)
    with pillow_errors(path, "TIFF"), Image.open(path, formats=("TIFF",)) as image:
        unmap(image)
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
            if image.info.get("compression") in LOSSY:
                raise DataError(f"{path}: {image.info['compression']}{CHANGED}; write it by LZW or Deflate")
            found[page] = np.asarray(image)
    return found


def _pages_of_numbers(path: Path) -> NDArray[Any]:
    """See `pages_of`, of a TIFF whose pages Pillow does not read, or not whole."""
    pages = tiff_pages(path)
    kinds = [_stored_as(path, page) for page in pages]
    first, content = kinds[0], bytearray(path.read_bytes())
    for number, one in enumerate(kinds, start=1):
        if (one.size, one.bands, one.dtype) != (first.size, first.bands, first.dtype):
            raise DataError(
                f"{path}: page {number} is {one.size[1]}x{one.size[0]} ({one.dtype} of {one.bands} band(s)), the first "
                f"{first.size[1]}x{first.size[0]} ({first.dtype} of {first.bands}); expected a slice a page, so write "
                "other pages into other files"
            )
    refuse_too_large(path, len(pages) * prod(first.size) * first.bands * first.dtype.itemsize)
    found = np.stack([_numbers_of(path, kind, content, page) for kind, page in zip(kinds, pages, strict=True)])
    return found[..., 0] if first.bands == 1 else found


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF, or a BigTIFF, does."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0")
    except OSError:
        return False


def is_beyond_pillow(path: Path) -> bool:
    """Whether a TIFF of grey or RGB is one that Pillow does not read, or not whole, and `bands_of` does."""
    tags = tiff_pages(path)[0]
    bands, bits, kind = int(tags.get(_BANDS, 1)), _of_bands(tags, _BITS)[0], _of_bands(tags, _FORMAT)[0]
    if tags.get(_MEANING) not in _MEANINGS or tags.get(_PACKING, 1) not in _PACKINGS or bits % 8:
        return False
    if kind != 1 or tags.get(_PLANES, 1) == 2 or bits > (16 if bands == 1 else 8):
        return True
    return bands not in ((1, 2) if tags[_MEANING] == 1 else (3, 4))


def bands_without_alpha(path: Path) -> int:
    """The bands of a TIFF that are no alpha channel."""
    tags = tiff_pages(path)[0]
    return int(tags.get(_BANDS, 1)) - sum(kind in (1, 2) for kind in _of_bands(tags, _EXTRA))


def tiff_pages(path: Path) -> list[Mapping[int, Any]]:
    """The tags of each page of a TIFF, and where they begin (`_START`); a `DataError` where they are damaged."""
    pages: list[Mapping[int, Any]] = []
    seen: set[int] = set()
    try:
        with path.open("rb") as file:
            head = file.read(16)
            found = TiffImagePlugin.ImageFileDirectory_v2(head if _is_big(head) else head[:8])
            while found.next and found.next not in seen and len(pages) < _MOST_PAGES:
                start = found.next
                seen.add(start)
                file.seek(start)
                found.load(file)
                pages.append({_START: start} | {tag: found[tag] for tag in (*_NUMBER, *_NUMBERS) if tag in found})
    except BROKEN as error:
        raise DataError(f"{path}: not a readable TIFF, damaged or cut short; replace the file") from error
    for tag, value in (item for page in pages for item in page.items()):
        numbers = value if tag in _NUMBERS and isinstance(value, tuple) else (value,)
        if not all(isinstance(number, int) for number in numbers):
            raise DataError(f"{path}: tag {tag} of the TIFF is no whole number, so it is damaged; replace the file")
    if not pages:
        raise DataError(f"{path}: a TIFF without a picture, damaged or cut short; replace the file")
    return pages


def _is_big(head: bytes | bytearray) -> bool:
    """Whether a file that begins so is a BigTIFF, with numbers of 64 bits for places in it."""
    return head[2:3] == b"+"


def _of_bands(tags: Mapping[int, Any], tag: int) -> tuple[int, ...]:
    """What a tag says of each band; 1 where it is missing, and of no further band none."""
    value = tags.get(tag, () if tag == _EXTRA else (1,))
    return value if isinstance(value, tuple) else (value,)


def _stored_as(path: Path, tags: Mapping[int, Any]) -> _Numbers:
    """How the numbers of a TIFF are stored; a `DataError` where they cannot be read."""
    columns, rows, count = (tags.get(tag, 1) for tag in (_WIDTH, _LENGTH, _BANDS))
    tile = tags.get(_TILE, columns)
    bits, kinds, packing = _of_bands(tags, _BITS), _of_bands(tags, _FORMAT), tags.get(_PACKING, 1)
    least = {"u": 8, "i": 8, "f": 16}
    kind = _KINDS.get(kinds[0], "")
    if min(columns, rows, count, tile) < 1 or len({*bits}) > 1 or len({*kinds}) > 1:
        raise DataError(f"{path}: a TIFF of bands of several kinds, or none; write them alike, or as an array (.npy)")
    if bits[0] not in (8, 16, 32, 64) or bits[0] < least.get(kind, 128):
        raise DataError(f"{path}: bands of {bits[0]} bits, SampleFormat {kinds[0]}; expected 8 to 64, so convert it")
    if (meaning := tags.get(_MEANING)) not in _MEANINGS:
        raise DataError(
            f"{path}: a TIFF of the photometric interpretation {meaning}, such as CMYK; expected bands of grey (1) or "
            "RGB (2), so convert it"
        )
    size = -(-columns // tile) * tile * rows * count * bits[0] // 8
    refuse_too_large(path, size)
    predictor = tags.get(_PREDICTOR, 1) if packing in (5, 8, 32946) else 1
    known = predictor in ((1, 2, 3) if kind == "f" else (1, 2))
    if packing not in _PACKINGS or not known or size > MOST_OUT_OF_A_BYTE * path.stat().st_size:
        raise DataError(
            f"{path}: {columns}x{rows} pixels of {count} band(s), compression {packing}; expected them uncompressed or "
            "by LZW or Deflate, and not cut short"
        )
    with path.open("rb") as file:
        order = "<" if file.read(2) == b"II" else ">"
    dtype = np.dtype(f"{order}{kind}{bits[0] // 8}")
    return _Numbers((rows, columns), count, dtype, tags.get(_PLANES, 1) == 2, predictor, tile)


def _numbers_of(path: Path, kept: _Numbers, content: bytearray, page: Mapping[int, Any]) -> NDArray[Any]:
    """The numbers `(rows, columns, bands)` of a page in this machine's byte order, upright."""
    start = page[_START]
    if kept.apart:
        array = np.concatenate([_block(path, content, kept, start, plane) for plane in range(kept.bands)], axis=-1)
    else:
        array = _block(path, content, kept, start)
    return np.ascontiguousarray(upright(array, page.get(_ORIENTATION, 1)))


def _block(path: Path, content: bytearray, kept: _Numbers, start: int, plane: int | None = None) -> NDArray[Any]:
    """Bands that lie pixel by pixel, `(rows, columns, bands)`.

    They are read as one band of bytes, by tags that say so; differences are summed here, tile by tile.

    Args:
        path: the file.
        content: of the file.
        kept: how they are stored.
        start: where the tags of their page begin.
        plane: which band alone, of bands that lie apart.
    """
    count = kept.bands if plane is None else 1
    rows, columns = kept.size
    step = count * kept.dtype.itemsize
    tiles = -(-columns // kept.tile)
    single = {_WIDTH: tiles * kept.tile * step, _TILE: kept.tile * step, _BITS: 8} | dict.fromkeys(
        (_BANDS, _PLANES, _PREDICTOR, _MEANING, _ORIENTATION, _FORMAT), 1
    )
    try:
        changed = _with_tags(content, start, single, None if plane is None else (plane, kept.bands))
        with TiffImagePlugin.TiffImageFile(BytesIO(changed)) as image:
            refuse_missing_strips(image, path)
            stored = np.array(image)
    except (*BROKEN, KeyError) as error:
        raise DataError(f"{path}: not a readable TIFF, damaged or cut short; replace the file") from error
    parted = stored.reshape(rows, tiles, -1)
    if kept.predictor == 3:
        summed = np.cumsum(parted.reshape(rows, tiles, -1, count), axis=2, dtype=np.uint8)
        bytewise = summed.reshape(rows, tiles, kept.dtype.itemsize, -1).swapaxes(2, 3)  # the highest bytes come first
        numbers = np.ascontiguousarray(bytewise).view(kept.dtype.newbyteorder(">"))
    else:
        numbers = parted.view(kept.dtype)
    numbers = numbers.astype(kept.dtype.newbyteorder("="), copy=False).reshape(rows, tiles, kept.tile, count)
    if kept.predictor == 2:
        whole = numbers.view(f"u{kept.dtype.itemsize}")
        numbers = np.cumsum(whole, axis=2, dtype=whole.dtype).view(numbers.dtype)
    return numbers.reshape(rows, -1, count)[:, :columns]


def _with_tags(content: bytearray, start: int, single: Mapping[int, int], plane: tuple[int, int] | None) -> bytearray:
    """A TIFF of one page alone, with other numbers in some of its tags.

    Args:
        content: of the file.
        start: where the tags of the page begin.
        single: the numbers of the tags that hold one then.
        plane: of a TIFF with a band behind the other, which band its strips or tiles are of, and how many there are.
    """
    changed, order, big = content[:], "<" if content[:2] == b"II" else ">", _is_big(content)
    word, entry, room = ("Q", "HHQ", 8) if big else ("I", "HHI", 4)
    struct.pack_into(order + word, changed, room, start)
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), content, start)
    first = start + (8 if big else 2)
    length = struct.calcsize(order + entry) + room
    end = first + length * entries
    for at in range(first, end, length):
        tag, kind, count = struct.unpack_from(order + entry, content, at)
        value = at + length - room
        if tag in single:
            changed[at : at + length] = struct.pack(order + entry + "I", tag, 4, 1, single[tag]).ljust(length, b"\0")
        elif tag == _EXTRA:
            changed[at : at + 2] = struct.pack(order + "H", _UNKNOWN)
        elif tag in _BLOCKS and plane is not None:
            size, each = _SIZES[kind], count // plane[1]
            place = value if size * count <= room else struct.unpack_from(order + word, content, value)[0]
            place += plane[0] * each * size
            own = content[place : place + each * size].ljust(room, b"\0")
            listed = own if each * size <= room else struct.pack(order + word, place)
            changed[at : at + length] = struct.pack(order + entry, tag, kind, each) + listed
    changed[end : end + room] = bytes(room)
    return changed
