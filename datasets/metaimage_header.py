"""The header of a MetaImage: what it says, and where in which files its pixels lie.

It is read here, and not by SimpleITK, which takes it on trust: a file name in it reaches any file, a list of files that
are too few ends in uninitialised memory, a file pattern without its step kills the process, and units of length, the
slope and the offset of intensities are left out.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .files import is_file
from .geometry import LPS_TO_RAS
from .pixels import refuse_too_large
from .walk import refuse_broken_link, stays_inside

TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
MILLIMETRES = {"?": 1.0, "mm": 1.0, "um": 1e-3, "cm": 10.0, "m": 1000.0}
SPACING = {"ElementSpacing", "ElementSize"}
ORIGIN, DIRECTION = ("Offset", "Position", "Origin"), ("TransformMatrix", "Rotation", "Orientation")
_HEADER_LIMIT, _LINE_LIMIT = 2**20, 2**16
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_PATTERN = re.compile(r"([^%]*)%(0?[0-9]?)d([^%]*)")


@dataclass(frozen=True)
class Header:
    """What is needed to read the pixels.

    Attributes:
        path: the file with the header.
        shape: (slices, rows, columns, channels).
        affine: from the voxel index (column, row, slice) to RAS+ millimetres.
        dtype: of the numbers, in their byte order.
        slope: of the intensities over the stored numbers.
        intercept: of the same line.
        data: the files with the pixels: one, or one for some slices each.
        start: where in each of them the pixels begin; None: they are its last bytes.
        compressed: whether they are a zlib stream.
        packed: the bytes of the stream, None where the header does not say.
    """

    path: Path
    shape: tuple[int, int, int, int]
    affine: NDArray[np.float64]
    is_spaced: bool
    dtype: np.dtype[Any]
    slope: float
    intercept: float
    data: tuple[Path, ...]
    start: int | None
    compressed: bool
    packed: int | None


def read_header(path: Path) -> Header:
    """Read and check a header and that its files are there; a `DataError` for what cannot be right."""
    fields = _Fields(path)
    dimensions = fields.wholes("NDims", 1, least=1)[0]
    sizes = fields.wholes("DimSize", dimensions, least=1)
    if dimensions == 2:
        sizes = [*sizes, 1]  # one slice of unknown thickness
    elif dimensions != 3 and (dimensions != 4 or sizes[3] != 1):
        raise DataError(
            f"{path}: NDims = {dimensions} (DimSize = {fields['DimSize']}); expected a volume with 3 dimensions, so "
            "write each volume, or the stack of slices, into a file of its own"
        )
    channels = fields.wholes("ElementNumberOfChannels", 1, least=1, default="1")[0]
    kind = fields.choice("ElementType", TYPES)
    if not fields.truth("BinaryData", "True"):
        raise DataError(f"{path}: BinaryData = {fields['BinaryData']}, pixels as text; write the file with binary data")
    order = "BinaryDataByteOrderMSB" if "BinaryDataByteOrderMSB" in fields else "ElementByteOrderMSB"
    dtype = np.dtype(TYPES[kind]).newbyteorder(">" if fields.truth(order, "False") else "<")
    refuse_too_large(path, prod(sizes) * channels * dtype.itemsize)
    data = _data_files(fields, sizes[2])
    compressed = fields.truth("CompressedData", "False")
    if compressed and len(data) > 1:
        raise DataError(f"{path}: CompressedData of {len(data)} files; write the volume as one file, or uncompressed")
    packed = fields.wholes("CompressedDataSize", 1, least=0, default="0")[0] or None if compressed else None
    return Header(
        path=path,
        shape=(sizes[2], sizes[1], sizes[0], channels),
        affine=_affine(fields, dimensions),
        is_spaced=not SPACING.isdisjoint(fields),
        dtype=dtype,
        slope=fields.numbers(("ElementToIntensityFunctionSlope",), [1.0])[0],
        intercept=fields.numbers(("ElementToIntensityFunctionOffset",), [0.0])[0],
        data=data,
        start=_start(fields, data, compressed),
        compressed=compressed,
        packed=packed,
    )


class _Fields(dict[str, str]):
    """The `key = value` lines up to ElementDataFile, which is the last; with the header's end and what follows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        with path.open("rb") as file:
            while "ElementDataFile" not in self:
                line = file.readline(_LINE_LIMIT)
                text = os.fsdecode(line)
                mark = re.search("[=:]", text)
                key, value = (text[: mark.start()].strip(), text[mark.end() :].strip()) if mark else (text.strip(), "")
                if not line or file.tell() > _HEADER_LIMIT:
                    raise DataError(f"{path}: no ElementDataFile in its header; not a MetaImage, or cut short")
                if not mark and not key:
                    continue
                if not mark or key in self or not key.isprintable() or "\0" in value:
                    raise DataError(
                        f"{path}: header line {key[:60]!r} is no field, or one given twice; not a MetaImage? "
                        "Remove the line or export the file again"
                    )
                self[key] = value
            self.end = file.tell()
            self.rest = file.read(_HEADER_LIMIT) if self["ElementDataFile"].split(" ")[0] == "LIST" else b""

    def refuse(self, key: str, expected: str) -> DataError:
        found = f"{key} = {self[key][:60]}" if key in self else f"no {key} in its header"
        return DataError(f"{self.path}: {found}; expected {expected}, so mend the header or export the file again")

    def wholes(self, key: str, count: int, least: int, default: str = "") -> list[int]:
        words = self.get(key, default).split()
        numbers = [int(word) for word in words if _WHOLE.fullmatch(word)]
        if len(words) != count or len(numbers) != count or min(numbers) < least:
            which = "a whole number" if count == 1 else {3: "three"}.get(count, str(count)) + " numbers"
            raise self.refuse(key, f"{which} ≥ {least}")
        return numbers

    def numbers(self, keys: tuple[str, ...], default: list[float]) -> list[float]:
        """The numbers of the one of several keys that is given."""
        given = [key for key in keys if key in self]
        if not given:
            return default
        if len({self[key] for key in given}) > 1:
            raise self.refuse(given[1], f"the same as {given[0]} = {self[given[0]][:60]}")
        try:
            values = [float(word) for word in self[given[0]].split()]
        except ValueError:
            values = []
        if len(values) != len(default) or not all(map(isfinite, values)):
            raise self.refuse(given[0], f"{len(default)} finite numbers" if len(default) > 1 else "a finite number")
        return values

    def choice(self, key: str, choices: dict[str, Any]) -> str:
        if self.get(key) not in choices:
            raise self.refuse(key, f"one of {', '.join(choices)}")
        return self[key]

    def truth(self, key: str, default: str) -> bool:
        value = self.get(key, default).lower()
        if value not in ("true", "false", "1", "0"):
            raise self.refuse(key, "True or False")
        return value in ("true", "1")


def _affine(fields: _Fields, dimensions: int) -> NDArray[np.float64]:
    distance = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    spacing = fields.numbers((distance,), [1.0] * dimensions)
    origin = fields.numbers(ORIGIN, [0.0] * dimensions)
    axes = fields.numbers(DIRECTION, np.eye(dimensions).ravel().tolist())
    unit = fields.choice("DistanceUnits", MILLIMETRES) if "DistanceUnits" in fields else "mm"
    lps, sides = np.eye(4), min(dimensions, 3)
    turned = np.reshape(axes, (dimensions, dimensions))[:sides, :sides].T * spacing[:sides]
    lps[:sides, :sides] = turned * MILLIMETRES[unit]
    lps[:sides, 3] = np.array(origin[:sides]) * MILLIMETRES[unit]
    return LPS_TO_RAS @ lps


def _start(fields: _Fields, data: tuple[Path, ...], compressed: bool) -> int | None:
    size = fields.wholes("HeaderSize", 1, least=-1, default="0")[0]
    if data == (fields.path,):
        if size > 0 or (size < 0 and compressed):
            raise fields.refuse("HeaderSize", "0 where the pixels follow the header")
        return fields.end if size == 0 else None
    if size < 0 and compressed:
        raise fields.refuse("HeaderSize", "0 or more where the pixels are compressed")
    return size if size >= 0 else None


def _data_files(fields: _Fields, slices: int) -> tuple[Path, ...]:
    """The files with the pixels: the header's own, or those that it names."""
    name = fields["ElementDataFile"]
    if name.upper() == "LOCAL":
        return (fields.path,)
    words = name.split()
    if words[:1] == ["LIST"]:
        names = [os.fsdecode(line).strip() for line in fields.rest.splitlines() if line.strip()]
        expected = {(): slices, ("2",): slices, ("3",): 1}.get(tuple(words[1:]))
        if expected is None:
            raise fields.refuse("ElementDataFile", "LIST, LIST 2 (a slice a file) or LIST 3")
        if len(names) != expected:
            raise DataError(
                f"{fields.path}: its ElementDataFile lists {len(names)} files; expected {expected} for its {slices} "
                "slices, one a line"
            )
    elif "%" in name:
        names = _numbered(fields, words, slices)
    else:
        names = [name]
    return tuple(_beside(fields.path, each) for each in names)


def _numbered(fields: _Fields, words: list[str], slices: int) -> list[str]:
    """The names of a pattern `name%03d.raw first last step`."""
    pattern = _PATTERN.fullmatch(words[0])
    numbers = [int(word) for word in words[1:] if _WHOLE.fullmatch(word)]
    if not pattern or len(numbers) != len(words) - 1 or len(numbers) > 3:
        raise fields.refuse("ElementDataFile", "a pattern such as name%03d.raw 1 20 1: first number, last and step")
    first, step = (numbers[0] if numbers else 1), (numbers[2] if len(numbers) > 2 else 1)
    last = numbers[1] if len(numbers) > 1 else first + (slices - 1) * step
    if step < 1 or first < 0 or (last - first) // step + 1 != slices:
        raise fields.refuse("ElementDataFile", f"numbers for {slices} slices: first, last and step")
    before, width, after = pattern.groups()
    return [f"{before}{index:{width}d}{after}" for index in range(first, last + 1, step)]


def _beside(path: Path, name: str) -> Path:
    data = path.parent / name
    try:
        inside = stays_inside(path.parent, name)
    except (OSError, RuntimeError, ValueError):  # a name too long, a link to itself
        inside = True
    if not inside:
        raise DataError(
            f"{path}: its ElementDataFile {name[:200]!r} lies outside its folder; put the data file beside it and its "
            "bare name into the header"
        )
    if not is_file(data):
        refuse_broken_link(data)
        raise DataError(f"{path}: its ElementDataFile {name[:200]!r} is missing; it belongs beside the header")
    return data
