"""MetaImage files, read and written by SimpleITK, and checked first: it trusts the header.

SimpleITK reads pixels from any file that a header names, and returns uninitialised memory where a compressed file holds
fewer voxels than its header says.
"""

from __future__ import annotations

import math
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from .errors import DataError

SUFFIXES = (".mhd", ".mha")
BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}
PLACES = {"TransformMatrix", "Rotation", "Orientation", "Offset", "Position", "Origin", "ElementSpacing", "ElementSize"}
MOST_PLACE = 1e6
"""Of a spacing, a direction or an origin: a kilometre."""
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_HEADER_LIMIT = 64 * 1024
_LINE_LIMIT = 4096


def read(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The array `(slices, rows, columns[, channels])` and the affine to RAS+ millimetres; errors as `read_volume`."""
    fields, start = _header(path)
    if fields.get("NDims") != "3":
        raise DataError(f"{path}: NDims = {fields.get('NDims')}; expected a volume with 3 dimensions")
    data = _data_file(path, fields["ElementDataFile"])
    _refuse_wild_places(path, fields)
    _refuse_missing_voxels(path, fields, data, start if data == path else 0)
    try:
        image = SimpleITK.ReadImage(str(path), imageIO="MetaImageIO")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise DataError(f"{path}: not a readable MetaImage, damaged or cut short ({reason})") from error
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine)) > 0:
        raise DataError(f"{path}: its spacing, direction or origin is no place in space; damaged? {affine.tolist()}")
    return SimpleITK.GetArrayFromImage(image), _LPS_TO_RAS @ affine


def write(array: NDArray[Any], affine: NDArray[np.float64], path: Path) -> None:
    """Write a compressed MetaImage; arguments as `read` returns them, a `DataError` where that fails."""
    lps = _LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True, imageIO="MetaImageIO")
    except RuntimeError as error:
        raise DataError(f"{path}: cannot be written; is the disk full, or the folder closed to you?") from error


def files(path: Path) -> list[Path]:
    """The file and, where its pixels lie in another, that one too; errors as `read_volume`."""
    return sorted({path, _data_file(path, _header(path)[0]["ElementDataFile"])})


def _header(path: Path) -> tuple[dict[str, str], int]:
    """The fields of a header, which ends with its first ElementDataFile, and where it ends."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while "ElementDataFile" not in fields:
            line = file.readline(_LINE_LIMIT)
            key, equals, value = line.decode("latin-1").partition("=")
            if not line or file.tell() > _HEADER_LIMIT:
                raise DataError(f"{path}: no ElementDataFile in its header; not a MetaImage, or cut short")
            if not equals and not key.strip():
                continue
            if not equals or key.strip() in fields:
                raise DataError(
                    f"{path}: header line {key.strip()[:60]!r} is no field, or one given twice; not a MetaImage?"
                )
            fields[key.strip()] = value.strip()
        end = file.tell()
    if fields.get("HeaderSize", "0") != "0":
        raise DataError(
            f"{path}: HeaderSize = {fields['HeaderSize']}; only pixel files without a header of their own are read"
        )
    return fields, end


def _data_file(path: Path, name: str) -> Path:
    """The file with the pixels: the file itself, or one beside it."""
    if name == "LOCAL":
        return path
    if name.split(" ")[0] == "LIST" or "%" in name:
        raise DataError(f"{path}: its ElementDataFile {name!r} lists several files; expected one")
    if not name or "\0" in name or len(name.encode()) > 255:
        raise DataError(f"{path}: its ElementDataFile {name[:60]!r} is no file name; not a MetaImage, or damaged")
    data = path.parent / name
    if data.resolve().parent != path.parent.resolve():
        raise DataError(f"{path}: its ElementDataFile {name!r} lies outside its folder; put the data file beside it")
    if not data.is_file():
        raise DataError(f"{path}: its ElementDataFile {name!r} is missing; it belongs beside the header")
    return data


def _refuse_wild_places(path: Path, fields: dict[str, str]) -> None:
    """Raise a `DataError` for a place in space that is none: SimpleITK would look for its inverse without end."""
    for key in PLACES & fields.keys():
        try:
            wild = [number for number in map(float, fields[key].split()) if not abs(number) < MOST_PLACE]
        except ValueError:
            wild = [math.nan]
        if wild:
            raise DataError(f"{path}: {key} = {fields[key][:60]}; expected numbers in millimetres; damaged?")


def _refuse_missing_voxels(path: Path, fields: dict[str, str], data: Path, start: int) -> None:
    size = BYTES.get(fields.get("ElementType", ""))
    if size is None:
        raise DataError(f"{path}: ElementType {fields.get('ElementType')}; expected one of {', '.join(BYTES)}")
    try:
        dimensions = [int(text) for text in fields.get("DimSize", "").split()]
        channels = int(fields.get("ElementNumberOfChannels", 1))
    except ValueError:
        dimensions, channels = [], 1
    if len(dimensions) != 3 or min(dimensions) < 1 or channels < 1:
        raise DataError(f"{path}: DimSize = {fields.get('DimSize')}; expected three numbers ≥ 1")
    needed = prod(dimensions) * channels * size
    compressed = fields.get("CompressedData", "False").lower() == "true"
    held = _inflated(data, start, needed) if compressed else data.stat().st_size - start
    if held < needed:
        raise DataError(f"{path}: {needed} bytes by its header, but {data.name} holds {held}; damaged or cut short")


def _inflated(path: Path, start: int, most: int) -> int:
    """How many bytes a zlib stream holds, counted in pieces, up to a limit."""
    stream, held = zlib.decompressobj(), 0
    with path.open("rb") as file:
        file.seek(start)
        try:
            while held < most and not stream.eof and (piece := file.read(2**20)):
                held += len(stream.decompress(piece, min(2**24, most - held)))
                while stream.unconsumed_tail and held < most:
                    held += len(stream.decompress(stream.unconsumed_tail, min(2**24, most - held)))
        except zlib.error:
            return held
    return held
