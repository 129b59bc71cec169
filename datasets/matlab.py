"""Arrays of MATLAB files, v5 to v7.2.

They are read here, and not by SciPy, which ends the process where the elements of a damaged file do not fit together;
files of v4 are SciPy's.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .pixels import LIMIT, MOST_OUT_OF_A_BYTE

STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
CELL, STRUCT, MATRIX, PACKED = 1, 2, 14, 15
OTHERS = {3: "an object", 4: "text", 5: "a sparse array; write full(x)", 16: "a function", 17: "an object"}
LOGICAL, COMPLEX = 0x02, 0x08
HEADER = 128


class _Matrix(NamedTuple):
    """An array, cell or structure: its head, and where its content goes on."""

    name: str
    kind: int
    flags: int
    shape: tuple[int, ...]
    rest: memoryview


class Matlab:
    """A file of v5 to v7.2, which holds arrays, cells and structures by name.

    Raises:
        ValueError: it is damaged, in one phrase.
    """

    def __init__(self, path: Path) -> None:
        self.path, content = path, path.read_bytes()
        order = content[126:128]
        if len(content) < HEADER or order not in (b"IM", b"MI"):
            raise ValueError("no header of MATLAB v5")
        self._order = "<" if order == b"IM" else ">"
        self.matrices: dict[str, _Matrix] = {}
        for kind, data in self._elements(memoryview(content)[HEADER:], aligned=False):
            if kind == PACKED:
                kind, data = next(self._elements(memoryview(_inflated(data)), aligned=False))
            if kind == MATRIX and (matrix := self._matrix(data)).name:
                self.matrices[matrix.name] = matrix

    def array(self, key: str) -> NDArray[Any]:
        """The array of a name, of a structure with the fields below it: `groundTruth.Segmentation`.

        Raises:
            DataError: no such field, or no array of real numbers.
            ValueError: it is damaged.
        """
        name, *fields = key.split(".")
        matrix, so_far = self._only(self.matrices[name]), name
        for field in fields:
            names = self._fields(matrix)[0] if matrix.kind == STRUCT else []
            if field not in names:
                listed = ", ".join(names) or "no fields"
                raise DataError(f"{self.path}: {so_far} has no field {field!r}, but {listed}; see data.mask_key")
            matrix, so_far = self._only(self._field(matrix, names.index(field))), f"{so_far}.{field}"
        if matrix.kind == STRUCT:
            names = self._fields(matrix)[0] or ["nothing"]
            listed = ", ".join(names)
            raise DataError(f"{self.path}: {so_far} is a structure of {listed}; name one, as {so_far}.{names[0]}")
        if matrix.kind not in CLASSES or matrix.flags & COMPLEX:
            what = "several cells" if matrix.kind == CELL else OTHERS.get(matrix.kind, "of complex numbers")
            raise DataError(f"{self.path}: {so_far} is {what}; expected an array of real numbers")
        return self._numbers(matrix)

    def _only(self, matrix: _Matrix) -> _Matrix:
        """What a cell of one element holds."""
        while matrix.kind == CELL and prod(matrix.shape) == 1:
            kind, data = next(self._elements(matrix.rest))
            if kind != MATRIX:
                raise ValueError("a cell that holds no array")
            matrix = self._matrix(data)
        return matrix

    def _fields(self, matrix: _Matrix) -> tuple[list[str], memoryview]:
        """The names of the fields of a structure of one element, and where their values begin."""
        if prod(matrix.shape) != 1:
            raise DataError(f"{self.path}: a structure of {prod(matrix.shape)} elements; expected one")
        (_, length), rest = self._element(matrix.rest)
        (_, names), rest = self._element(rest)
        width = int(np.frombuffer(length, self._order + "i4", 1)[0])
        if width < 1 or len(names) % width:
            raise ValueError("names of fields that do not fit")
        return [_text(names[at : at + width]) for at in range(0, len(names), width)], rest

    def _field(self, matrix: _Matrix, index: int) -> _Matrix:
        for number, (kind, data) in enumerate(self._elements(self._fields(matrix)[1])):
            if number == index and kind == MATRIX:
                return self._matrix(data)
        raise ValueError("a structure without a value for each field")

    def _numbers(self, matrix: _Matrix) -> NDArray[Any]:
        (kind, data), _ = self._element(matrix.rest)
        if kind not in STORED:
            raise ValueError(f"numbers of the unknown type {kind}")
        dtype = np.dtype(self._order + STORED[kind])
        count = prod(matrix.shape)
        if count * dtype.itemsize != len(data):
            raise ValueError(f"{len(data)} bytes for {'x'.join(map(str, matrix.shape))} numbers of {dtype.itemsize}")
        stored = np.frombuffer(data, dtype, count).reshape(matrix.shape, order="F")
        return stored.astype(bool if matrix.flags & LOGICAL else CLASSES[matrix.kind])

    def _matrix(self, data: memoryview) -> _Matrix:
        if not len(data):
            return _Matrix("", 6, 0, (0, 0), data)
        (_, flags), rest = self._element(data)
        (_, sides), rest = self._element(rest)
        (_, name), rest = self._element(rest)
        if len(flags) < 4 or len(sides) % 4 or not 8 <= len(sides) <= 128:
            raise ValueError("an array without flags or sides")
        word = int(np.frombuffer(flags, self._order + "u4", 1)[0])
        shape = tuple(np.frombuffer(sides, self._order + "i4").tolist())
        if min(shape) < 0:
            raise ValueError(f"an array of shape {shape}")
        return _Matrix(_text(name), word & 0xFF, word >> 8 & 0xFF, shape, rest)

    def _elements(self, data: memoryview, aligned: bool = True) -> Iterator[tuple[int, memoryview]]:
        while len(data):
            element, data = self._element(data, aligned)
            yield element

    def _element(self, data: memoryview, aligned: bool = True) -> tuple[tuple[int, memoryview], memoryview]:
        """The kind and content of the first element, and what follows it."""
        if len(data) < 8:
            raise ValueError("cut short")
        first, size = np.frombuffer(data, self._order + "u4", 2).tolist()
        if first >> 16:  # a small one: its size and kind in one word, its content in the other
            if first >> 16 > 4:
                raise ValueError("a small element of more than 4 bytes")
            return (first & 0xFFFF, data[4 : 4 + (first >> 16)]), data[8:]
        end = 8 + size
        if end > len(data):
            raise ValueError(f"an element of {size} bytes of which {len(data) - 8} are there; cut short")
        return (first, data[8:end]), data[end + (-end % 8 if aligned else 0) :]


def _inflated(data: memoryview) -> bytes:
    """A compressed element."""
    stream = zlib.decompressobj()
    content = stream.decompress(data, min(LIMIT, MOST_OUT_OF_A_BYTE * len(data)))
    if not stream.eof:
        raise ValueError("a compressed element without end")
    return content


def _text(data: memoryview) -> str:
    return bytes(data).split(b"\0")[0].decode("ascii", "replace")
