"""TIFF of more than Pillow reads: any number of bands, several pages, and what the tags say."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
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

_WIDTH, _LENGTH, _BITS, _PACKING, _MEANING, _FILL, _ORIENTATION = 256, 257, 258, 259, 262, 266, 274
_STARTS, _BANDS, _ROWS, _LENGTHS, _PLANES, _PREDICTOR = 273, 277, 278, 279, 284, 317
_TILE, _TILE_ROWS, _TILE_STARTS, _TILE_LENGTHS, _EXTRA, _FORMAT = 322, 323, 324, 325, 338, 339
_NUMBER = (
    *(SUBFILE, _WIDTH, _LENGTH, _PACKING, _MEANING, _FILL, _ORIENTATION, _BANDS, _ROWS, _PLANES, _PREDICTOR),
    *(_TILE, _TILE_ROWS),
)
_NUMBERS = (_BITS, _STARTS, _LENGTHS, _TILE_STARTS, _TILE_LENGTHS, _EXTRA, _FORMAT)
"""Tags that hold one whole number, and those that hold one of each band, strip or tile."""
_PACKINGS = (1, 5, 8, 32773, 32946)
"""None, LZW, Deflate, PackBits."""
_MEANINGS = (1, 2)
"""Grey whose 0 is black, RGB."""
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
"""Of NumPy, of the numbers of each SampleFormat."""
_MOST_PAGES = 2**16
"""Of a TIFF at most: each is listed before a pixel is read."""


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
    return _numbers_of(path, _stored_as(path, page), page)


def pages_of(path: Path) -> NDArray[Any]:
    """The pages of a TIFF, `(pages, rows, columns)`, with a further axis of several bands; of one page too.

    Raises:
        DataError: as `open_still`; pages of different sizes or types, a compression that changes values, more pixels
            than the file has room for.
    """
    listed = tiff_pages(path)
    if _is_beyond_pillow(listed[0]):
        return _pages_of_numbers(path, listed)
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
            unmap(image)
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


def _pages_of_numbers(path: Path, pages: Sequence[Mapping[int, Any]]) -> NDArray[Any]:
    """See `pages_of`, of a TIFF whose pages, of these tags, Pillow does not read, or not whole."""
    first = _stored_as(path, pages[0])
    refuse_too_large(path, len(pages) * prod(first.size) * first.bands * first.dtype.itemsize)
    found = np.empty(0)
    for number, page in enumerate(pages):
        array = _numbers_of(path, _stored_as(path, page), page)
        if number == 0:
            found = np.empty((len(pages), *array.shape), array.dtype)
        if (array.shape, array.dtype) != (found.shape[1:], found.dtype):
            here, there = (
                f"{one.shape[-2]}x{one.shape[-3]} ({one.dtype} of {one.shape[-1]} band(s))" for one in (array, found)
            )
            raise DataError(
                f"{path}: page {number + 1} is {here}, the first {there}; expected a slice a page, so write other "
                "pages into other files"
            )
        found[number] = array
    return found[..., 0] if first.bands == 1 else found


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF, or a BigTIFF, does."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0")
    except OSError:
        return False


def is_beyond_pillow(path: Path) -> bool:
    """Whether a file is a TIFF of grey or RGB that Pillow does not read, or not whole, and `bands_of` does."""
    return is_tiff(path) and _is_beyond_pillow(tiff_pages(path)[0])


def _is_beyond_pillow(tags: Mapping[int, Any]) -> bool:
    """See `is_beyond_pillow`, of the tags of a page."""
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
    """The tags of each page of a TIFF; a `DataError` where they are damaged."""
    pages: list[Mapping[int, Any]] = []
    seen: set[int] = set()
    try:
        with path.open("rb") as file:
            head = file.read(16)
            found = TiffImagePlugin.ImageFileDirectory_v2(head if _is_big(head) else head[:8])
            while found.next and found.next not in seen:
                seen.add(found.next)
                file.seek(found.next)
                found.load(file)
                if len(pages) == _MOST_PAGES:
                    raise DataError(
                        f"{path}: more than {_MOST_PAGES} pages, of which no more are read; divide the file"
                    )
                pages.append({tag: found[tag] for tag in (*_NUMBER, *_NUMBERS) if tag in found})
    except DataError:
        raise
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
    """What a tag says of each band, strip or tile; where it is missing 1 of bits and formats, else nothing."""
    value = tags.get(tag, (1,) if tag in (_BITS, _FORMAT) else ())
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


def _numbers_of(path: Path, kept: _Numbers, page: Mapping[int, Any]) -> NDArray[Any]:
    """The numbers `(rows, columns, bands)` of a page in this machine's byte order, upright."""
    if kept.apart:
        array = np.concatenate([_block(path, kept, page, plane) for plane in range(kept.bands)], axis=-1)
    else:
        array = _block(path, kept, page)
    return np.ascontiguousarray(upright(array, page.get(_ORIENTATION, 1)))


def _block(path: Path, kept: _Numbers, page: Mapping[int, Any], plane: int | None = None) -> NDArray[Any]:
    """Bands that lie pixel by pixel, `(rows, columns, bands)`.

    They are read as one band of bytes; differences are summed here, tile by tile.

    Args:
        path: the file.
        kept: how they are stored.
        page: the tags of their page.
        plane: which band alone, of bands that lie apart.
    """
    count = kept.bands if plane is None else 1
    (rows, columns), step, tiles = kept.size, count * kept.dtype.itemsize, -(-kept.size[1] // kept.tile)
    height = min(page.get(_ROWS, 0) or rows, rows)
    sizes = {_WIDTH: tiles * kept.tile * step, _LENGTH: rows, _ROWS: height}
    unpacked = [min(height, rows - top) * sizes[_WIDTH] for top in range(0, rows, height)]
    if _TILE_STARTS in page:
        sizes |= {_TILE: kept.tile * step, _TILE_ROWS: page.get(_TILE_ROWS, 0)}
        unpacked = [sizes[_TILE] * sizes[_TILE_ROWS]] * (tiles * -(-rows // max(1, sizes[_TILE_ROWS])))
    try:
        blocks = _blocks_of(path, page, unpacked, plane, kept.bands)
        kinds = {_PACKING: page.get(_PACKING, 1), _FILL: page.get(_FILL, 1)}
        with TiffImagePlugin.TiffImageFile(BytesIO(_tiff_of_bytes(sizes | kinds, blocks))) as image:
            refuse_missing_strips(image, path)
            stored = np.array(image)
    except DataError:
        raise
    except BROKEN as error:
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


def _blocks_of(path: Path, page: Mapping[int, Any], unpacked: list[int], plane: int | None, bands: int) -> list[bytes]:
    """The strips or tiles of a page; of a band of several that lie apart, its own.

    Where they are not compressed they are `unpacked` bytes long: some programs do not say so, or say something else.
    """
    tags = (_TILE_STARTS, _TILE_LENGTHS) if _TILE_STARTS in page else (_STARTS, _LENGTHS)
    starts, lengths = (_of_bands(page, tag) for tag in tags)
    if plane is not None:
        each = len(starts) // bands
        starts, lengths = (listed[plane * each : (plane + 1) * each] for listed in (starts, lengths))
    if page.get(_PACKING, 1) == 1:
        starts = starts[: len(unpacked)]
        lengths = tuple(unpacked[: len(starts)])
    if sum(lengths) > path.stat().st_size:
        raise DataError(f"{path}: strips of {sum(lengths)} bytes, more than the file has; damaged; replace the file")
    blocks = []
    with path.open("rb") as file:
        for start, length in zip(starts, lengths, strict=True):
            file.seek(start)
            blocks.append(file.read(length))
            if len(blocks[-1]) < length:
                raise DataError(f"{path}: a TIFF whose pixels end beyond the file: cut short; replace the file")
    return blocks


def _tiff_of_bytes(numbers: Mapping[int, int], blocks: list[bytes]) -> bytes:
    """A BigTIFF of grey of 8 bits.

    Args:
        numbers: of its tags, but for those that follow.
        blocks: its strips or tiles.
    """
    starts, lengths = (_TILE_STARTS, _TILE_LENGTHS) if _TILE in numbers else (_STARTS, _LENGTHS)
    numbers = {**numbers, _BITS: 8, _MEANING: 1, _BANDS: 1, _PLANES: 1}
    sizes = [len(block) for block in blocks]
    # the head, the tags, where the strips or tiles begin, how long they are, and they themselves
    end = 16 + 8 + 20 * (len(numbers) + 2) + 8
    places = np.cumsum([end + 16 * len(blocks), *sizes])[:-1].tolist()
    entries = [(tag, struct.pack("<HHQQ", tag, 16, 1, number)) for tag, number in numbers.items()]
    for tag, values, at in ((starts, places, end), (lengths, sizes, end + 8 * len(blocks))):
        entries.append((tag, struct.pack("<HHQQ", tag, 16, len(values), at if len(values) != 1 else values[0])))
    head = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(entries)) + b"".join(one for _, one in sorted(entries))
    return b"".join([head, bytes(8), struct.pack(f"<{2 * len(blocks)}Q", *places, *sizes), *blocks])
