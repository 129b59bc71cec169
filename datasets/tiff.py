"""TIFF as the numbers that it stores: any number of bands and pages, and what the tags say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffFileError, TiffPage

from .errors import DataError
from .pixels import MOST_OUT_OF_A_BYTE, refuse_too_large
from .still_file import BROKEN, SMALL, is_copy, open_still, pixels_of, upright

_ALPHA = (1, 2)
"""Of extra samples: multiplied into the colours, or not."""
_BITWISE = (COMPRESSION.CCITTRLE, COMPRESSION.CCITT_T4, COMPRESSION.CCITT_T6)
_DENSE = (COMPRESSION.LZMA, COMPRESSION.ZSTD, COMPRESSION.ZSTD_DEPRECATED)
"""Packings in which an area of one value may take no bytes at all."""
_LOSSLESS = (
    *(COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE, COMPRESSION.PACKBITS),
    *(*_BITWISE, *_DENSE),
)
_MEANINGS = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB)
_MOST_PAGES = 2**16
"""Of a TIFF at most: each is listed before a pixel is read."""


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF, or a BigTIFF, does."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    except OSError:
        return False


def numbers_of(path: Path) -> NDArray[Any] | None:
    """All bands of a TIFF of grey or RGB, `(rows, columns, bands)`, of the type that they are stored in, upright.

    Returns:
        None of any other picture, which is Pillow's: of fewer than 8 bits, of a palette, or compressed with loss.

    Raises:
        DataError: the file is missing, damaged, cut short, too large, or holds several pictures.
    """
    if not is_tiff(path):
        return None
    with _opened(path) as pages:
        if _unread(pages[0]) or pages[0].bitspersample < 8:
            return None
        return _only_page(path, pages)


def bands_of(path: Path, turned: bool = False) -> NDArray[Any]:
    """All bands of a still, `(rows, columns, bands)`: uint8, uint16, or float32 of any other type.

    A TIFF is turned upright by its own orientation, as all are.

    Args:
        path: the file.
        turned: turn any other picture as its EXIF orientation says.

    Raises:
        DataError: as `open_still`; a TIFF of other than grey or RGB, or compressed with loss.
    """
    if not is_tiff(path):
        image, deep, *_ = open_still(path, turned)
        if deep:
            raise DataError(f"{path}: bands of more than 8 bits; expected a TIFF or an array for data.channels")
        return pixels_of(image)
    with _opened(path) as pages:
        _refuse_unread(path, pages[0])
        return as_pixels(_only_page(path, pages))


def as_pixels(numbers: NDArray[Any]) -> NDArray[Any]:
    """Numbers as pixels: uint8 and uint16 as they are, any others as float32."""
    return numbers if numbers.dtype in (np.uint8, np.uint16) else numbers.astype(np.float32)


def pages_of(path: Path) -> NDArray[Any]:
    """The pages of a TIFF, `(pages, rows, columns)`, with a further axis of several bands; of one page too.

    Raises:
        DataError: as `bands_of`; pages of different sizes or types.
    """
    with _opened(path) as pages:
        _refuse_unread(path, pages[0])
        _refuse_hollow(path, pages[0], len(pages) * pages[0].nbytes)
        first = _page(path, pages[0])
        found = np.empty((len(pages), *first.shape), first.dtype)
        found[0] = first
        for number, page in enumerate(pages[1:], 1):
            _refuse_unread(path, page)
            array = _page(path, page)
            if (array.shape, array.dtype) != (first.shape, first.dtype):
                here, there = (
                    f"{one.shape[1]}x{one.shape[0]} ({one.dtype} of {one.shape[2]} band(s))" for one in (array, first)
                )
                raise DataError(
                    f"{path}: page {number + 1} is {here}, the first {there}; expected a slice a page, so write other "
                    "pages into other files"
                )
            found[number] = array
    return found[..., 0] if first.shape[-1] == 1 else found


def pages_and_bands(path: Path) -> tuple[int, int]:
    """How many pages a TIFF has, and how many bands that are no alpha channel; one and none of another file."""
    if not is_tiff(path):
        return 1, 0
    with _opened(path) as pages:
        return len(pages), pages[0].samplesperpixel - sum(kind in _ALPHA for kind in pages[0].extrasamples)


@contextmanager
def _opened(path: Path) -> Iterator[list[TiffPage]]:
    """The pages of a TIFF while it is open; what is raised of a damaged one as a `DataError`."""
    try:
        with TiffFile(path) as file:
            yield _listed(path, file)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except DataError:
        raise
    except (*BROKEN, RuntimeError, ArithmeticError, AttributeError) as error:
        raise DataError(f"{path}: not a readable TIFF, damaged or cut short; replace the file") from error


def _listed(path: Path, file: TiffFile) -> list[TiffPage]:
    """The pages of a TIFF; a `DataError` where their list goes on to none, comes back, or is too long."""
    pages: dict[int, TiffPage] = {}
    for page in file.pages:
        if len(pages) == _MOST_PAGES:
            raise DataError(f"{path}: more than {_MOST_PAGES} pages, of which no more are read; divide the file")
        if not isinstance(page, TiffPage) or page.offset in pages:
            raise TiffFileError
        pages[page.offset] = page
    file.filehandle.seek(file.pages.next_page_offset or 0)
    if not pages or any(file.filehandle.read(file.tiff.offsetsize)):  # tifffile leaves out what it cannot read
        raise TiffFileError
    return list(pages.values())


def _only_page(path: Path, pages: list[TiffPage]) -> NDArray[Any]:
    """The numbers of the first page; a `DataError` where the others are more than smaller copies of it."""
    first, *others = pages
    size = first.imagewidth, first.imagelength
    if not all(is_copy((page.imagewidth, page.imagelength), size, page.subfiletype) for page in others):
        raise DataError(f"{path}: holds {len(pages)} pictures; expected one a file, so write each into its own")
    return _page(path, first)


def _unread(page: TiffPage) -> str:
    """Why the numbers of a page are not read, with what to do; empty where they are."""
    if page.compression not in _LOSSLESS:
        return f"compression {page.compression}; expected bands uncompressed, or by LZW or Deflate, so convert it"
    if (meaning := page.tags.valueof("PhotometricInterpretation")) not in _MEANINGS:
        return (
            f"a TIFF of the photometric interpretation {meaning}, such as CMYK; expected bands of "
            "grey or RGB, so convert it"
        )
    if page.dtype is None or page.dtype.kind not in "buif":
        return (
            f"bands of {page.bitspersample} bits, SampleFormat {page.sampleformat}, or of several kinds; expected up "
            "to 64, all alike, so convert it"
        )
    if page.photometric == PHOTOMETRIC.MINISWHITE and page.dtype.kind not in "bu":
        return "grey whose 0 is white, of signed numbers or floats; expected 0 as black, so convert it"
    return "" if page.imagedepth == 1 else f"{page.imagedepth} slices in a page; expected a slice a page, so convert it"


def _refuse_unread(path: Path, page: TiffPage) -> None:
    """Raise a `DataError` where the numbers of a page are not read."""
    if reason := _unread(page):
        raise DataError(f"{path}: {reason}")


def _page(path: Path, page: TiffPage) -> NDArray[Any]:
    """The numbers `(rows, columns, bands)` of a page, upright; 0 is black."""
    page.rowsperstrip = page.rowsperstrip or page.imagelength
    _refuse_hollow(path, page, page.nbytes)
    _refuse_missing(path, page)
    planes = page.asarray(squeeze=False, maxworkers=1)[:, 0]  # (bands that lie apart, rows, columns, others)
    numbers = planes.transpose(1, 2, 0, 3).reshape(page.imagelength, page.imagewidth, -1)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        numbers = ~numbers if numbers.dtype == bool else numbers.dtype.type(2**page.bitspersample - 1) - numbers
    side = page.tags.valueof("Orientation", 1)
    return np.ascontiguousarray(upright(numbers, side))


def _refuse_hollow(path: Path, page: TiffPage, size: int) -> None:
    """Raise a `DataError` where pages of so many bytes are too large, or more than their file can hold."""
    refuse_too_large(path, size)
    held = path.stat().st_size
    room = max(MOST_OUT_OF_A_BYTE * held, SMALL if page.compression in (*_DENSE, *_BITWISE) else 0)
    if size > room:
        raise DataError(
            f"{path}: {size} bytes of pixels by its header, in {held} bytes: damaged or cut short; replace the file"
        )


def _refuse_missing(path: Path, page: TiffPage) -> None:
    """Raise a `DataError` where a page lists fewer strips or tiles than its pixels take, or such beyond the file."""
    count, listed = prod(page.chunked), sum(start > 0 for start in page.dataoffsets)
    if listed >= count and page.compression == COMPRESSION.NONE:  # some programs say nothing of lengths, or others
        page.databytecounts = _uncompressed(page)
    listed = min(listed, sum(length > 0 for length in page.databytecounts))
    if listed < count:
        raise DataError(
            f"{path}: {listed} of the {count} {'tiles' if page.is_tiled else 'strips'} that "
            f"{page.imagewidth}x{page.imagelength} pixels take: damaged or cut short; replace the file"
        )
    blocks = zip(page.dataoffsets[:count], page.databytecounts[:count], strict=True)
    if max(start + length for start, length in blocks) > path.stat().st_size:
        raise DataError(f"{path}: a TIFF whose pixels end beyond the file: cut short; replace the file")


def _uncompressed(page: TiffPage) -> tuple[int, ...]:
    """The bytes of each strip or tile of a page that is not compressed."""
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    apart = page.planarconfig == 2
    row = ceil(columns * (1 if apart else page.samplesperpixel) * page.bitspersample / 8)
    if page.is_tiled:
        return (rows * row,) * prod(page.chunked)
    strips = [row * min(rows, page.imagelength - top) for top in range(0, page.imagelength, rows)]
    return tuple(strips * (page.samplesperpixel if apart else 1))
