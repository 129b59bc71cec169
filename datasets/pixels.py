"""The bytes of pixels: as many as a header promises, and none that their file does not hold."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

LIMIT = 8 * 2**30
"""Bytes of the largest volume that is read."""
MOST_OUT_OF_A_BYTE = 1032
"""Deflate packs no more into one."""
_PIECE, _ROOM = 2**15, 2**20
_ZLIB_OR_GZIP = 47


def stored(path: Path, start: int, size: int) -> NDArray[np.uint8]:
    """The `size` bytes at `start`; a `DataError` where the file is shorter."""
    _refuse_more(path, size, max(0, path.stat().st_size - start))
    return np.fromfile(path, np.uint8, size, offset=start)


def inflated(path: Path, start: int, size: int, skip: int = 0, packed: int | None = None) -> NDArray[np.uint8]:
    """The `size` bytes of a zlib or gzip stream, or of several gzip streams in a row.

    Args:
        path: the file.
        start: where its stream begins.
        size: bytes wanted.
        skip: inflated bytes to leave out before them.
        packed: bytes of the stream, None for all up to the file's end.

    Raises:
        DataError: the file holds fewer, or they fail the stream's own checksum.
    """
    there = max(0, path.stat().st_size - start)
    if packed is not None and packed > there:
        raise DataError(f"{path}: {packed} compressed bytes by its header, but {there} are there; damaged or cut short")
    there = there if packed is None else packed
    if skip + size > MOST_OUT_OF_A_BYTE * there:
        _refuse_more(path, size, max(0, MOST_OUT_OF_A_BYTE * there - skip), "at most ")
    with path.open("rb") as file:
        file.seek(start)
        found, whole = _inflate(file, skip, size, there, path)
    _refuse_more(path, size, len(found))
    if not whole:
        raise DataError(f"{path}: its compressed stream has no end; the file is cut short")
    return np.frombuffer(found, np.uint8)


def head(path: Path, size: int, packed: bool) -> bytes:
    """The first bytes of a file, fewer where it is shorter."""
    with path.open("rb") as file:
        if not packed:
            return file.read(size)
        return bytes(_inflate(file, 0, size, path.stat().st_size, path)[0])


def as_array(content: NDArray[np.uint8], dtype: np.dtype[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Bytes as numbers in this machine's byte order."""
    array = content.view(dtype).reshape(shape)
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def scaled(array: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    """The array times slope plus intercept: itself where that changes nothing, float32, or float64 of wider numbers."""
    if (slope, intercept) == (1, 0):
        return array
    wide = array.dtype.itemsize > (4 if array.dtype.kind == "f" else 2)
    result = array.astype(np.float64) * slope + intercept
    return result if wide else result.astype(np.float32)


def refuse_too_large(path: Path, size: int) -> None:
    """Raise a `DataError` for a volume of more bytes than are read at all."""
    if size > LIMIT:
        raise DataError(
            f"{path}: {size} bytes by its header; volumes of at most {LIMIT} are read, so crop or divide it, or "
            "replace the file if it is damaged"
        )


def _refuse_more(path: Path, size: int, held: int, how: str = "") -> None:
    if held < size:
        raise DataError(
            f"{path}: {size} bytes of pixels by its header, but it holds {how}{held}; damaged or cut short, so replace "
            "the file"
        )


def _inflate(file: IO[bytes], skip: int, size: int, packed: int, path: Path) -> tuple[bytearray, bool]:
    """At most `size` bytes behind `skip`, in bounded pieces; and whether their stream ended or went on properly."""
    found, seen, tail, stream = bytearray(), 0, b"", zlib.decompressobj(_ZLIB_OR_GZIP)
    try:
        while True:
            if not tail:
                tail = file.read(min(_PIECE, packed))
                packed -= len(tail)
                if not tail:
                    return found, False
            # inflated bytes that are still wanted; at the end one more is asked for, to see whether there are too many
            room = skip + size - seen
            piece = stream.decompress(tail, max(1, min(_ROOM, room)))
            if room <= 0 and piece:
                return found, True  # it holds more than is wanted
            seen += len(piece)
            # of a piece that begins in what is skipped, only its end is kept
            found += piece[max(0, len(piece) - max(0, seen - skip)) :]
            tail = stream.unconsumed_tail
            if stream.eof:  # a further gzip stream may follow, which begins with 0x1f; other bytes are padding
                tail = stream.unused_data or file.read(min(_PIECE, packed))
                packed -= 0 if stream.unused_data else len(tail)
                if seen >= skip + size or not tail.startswith(b"\x1f"):
                    return found, True
                stream = zlib.decompressobj(_ZLIB_OR_GZIP)
    except zlib.error as error:
        raise DataError(f"{path}: its compressed data are damaged ({error}); replace the file") from error
