"""NRRD files: `.nrrd`, and `.nhdr` with its data beside it; raw or gzip.

As of MetaImage, the header is read here, and not by SimpleITK, which follows the name of a data file wherever it leads.
"""

from __future__ import annotations

import re
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .files import is_file
from .geometry import LPS_TO_RAS, Lacks
from .pixels import as_array, inflated, refuse_too_large, stored

TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
SPACES = {
    **dict.fromkeys(("left-posterior-superior", "lps"), LPS_TO_RAS),
    **dict.fromkeys(("right-anterior-superior", "ras"), np.eye(4)),
    **dict.fromkeys(("left-anterior-superior", "las"), np.diag([-1.0, 1.0, 1.0, 1.0])),
}
"""From the axes of a space to RAS+."""
PLACES = ("space", "domain", "???", "none")
"""Kinds of axes that lie in space; the others hold the values of a voxel."""
_LIMIT, _LINE = 2**20, 2**16


class _Header(NamedTuple):
    fields: dict[str, str]
    end: int


def read(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The array `(slices, rows, columns[, channels])` and the affine to RAS+ millimetres; errors as `read_volume`."""
    header = _header(path)
    sizes, channels_first = _sizes(path, header.fields)
    dtype = _dtype(path, header.fields)
    size = prod(sizes) * dtype.itemsize
    refuse_too_large(path, size)
    data = _data(path, header.fields)
    start = header.end if data == path else 0
    encoding = header.fields.get("encoding", "").lower()
    if encoding == "raw":
        content = stored(data, start, size)
    elif encoding in ("gz", "gzip"):
        content = inflated(data, start, size)
    else:
        raise DataError(f"{path}: encoding: {encoding or 'missing'}; expected raw or gzip, so save it again so")
    array = as_array(content, dtype, sizes[::-1])
    if len(sizes) == 4 and not channels_first:
        array = np.ascontiguousarray(np.moveaxis(array, 0, -1))
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    return array, _affine(path, header.fields, channels_first)


def files(path: Path) -> list[Path]:
    """The file and that in which its pixels lie; errors as `read_volume`."""
    return sorted({path, _data(path, _header(path).fields)})


def lacks(path: Path) -> Lacks:
    """The sides longer than 1 for which the header has neither a direction nor a spacing."""
    fields = _header(path).fields
    if any(vector is not None for vector in _directions(path, fields)):
        return False, False, False
    sizes, channels_first = _sizes(path, fields)
    sides = zip(sizes[channels_first:][:3], _spacings(path, fields, channels_first), strict=False)
    column, row, slice_ = (side > 1 and size is None for side, size in sides)
    return slice_, row, column


def _header(path: Path) -> _Header:
    """The `key: value` lines up to the empty one."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        if not file.readline(_LINE).startswith(b"NRRD000"):
            raise DataError(f"{path}: not a NRRD file: it does not begin with NRRD000; damaged, or of another kind?")
        while (line := file.readline(_LINE)).strip():
            if file.tell() > _LIMIT:
                raise DataError(f"{path}: a header of more than {_LIMIT} bytes; not a NRRD file, or damaged")
            text = line.decode("utf-8", "replace").strip()
            key, mark, value = text.partition(": ")
            key = key.lower().replace(" ", "")
            if text.startswith("#") or ":=" in text or not mark:
                continue
            if key in fields:
                raise DataError(f"{path}: {key} twice in its header; remove one, or export the file again")
            fields[key] = value.strip()
        return _Header(fields, file.tell())


def _sizes(path: Path, fields: dict[str, str]) -> tuple[list[int], bool]:
    """Columns, rows, slices and channels in the order of the file, and whether channels come first."""
    words = fields.get("sizes", "").split()
    sizes = [int(word) for word in words if re.fullmatch("[0-9]{1,9}", word)]
    wrong = f"{path}: sizes: {fields.get('sizes', 'missing')[:60]}, kinds: {fields.get('kinds', 'not given')[:60]}"
    expected = "expected columns, rows and slices ≥ 1, and one further axis for channels"
    if len(sizes) != len(words) or str(len(sizes)) != fields.get("dimension") or not sizes or min(sizes) < 1:
        raise DataError(f"{wrong}; {expected}, so export the file again")
    kinds = fields.get("kinds", " ".join(["domain"] * len(sizes))).lower().split()
    directions = _directions(path, fields)
    if directions and len(directions) == len(sizes):
        outside = [at for at, direction in enumerate(directions) if direction is None]
    else:
        outside = [at for at, kind in enumerate(kinds) if kind not in PLACES]
    if len(sizes) == 2 and not outside:
        return [*sizes, 1], False
    if len(sizes) == 3 and not outside:
        return sizes, False
    if len(sizes) == 4 and outside in ([0], [3]):
        return sizes, outside == [0]
    raise DataError(f"{wrong}; {expected}, so divide the file")


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype[Any]:
    name = fields.get("type", "").lower()
    code = next((code for code, names in TYPES.items() if name in names), None)
    if code is None:
        raise DataError(f"{path}: type: {name[:40] or 'missing'}; expected integers or floats, so convert it")
    endian = fields.get("endian", "little").lower()
    if endian not in ("little", "big"):
        raise DataError(f"{path}: endian: {endian[:40]}; expected little or big, so export the file again")
    return np.dtype(("<" if endian == "little" else ">") + code)


def _data(path: Path, fields: dict[str, str]) -> Path:
    """The file with the pixels: the header's own, or the one beside it that it names."""
    for key in ("lineskip", "byteskip"):
        if fields.get(key, "0") != "0":
            raise DataError(f"{path}: {key}: {fields[key]}; expected none, so save it again without")
    name = fields.get("datafile")
    if name is None:
        return path
    data = path.parent / name
    if Path(name).name != name or not data.resolve().is_relative_to(path.parent.resolve()):
        raise DataError(
            f"{path}: its data file {name[:200]!r} is not one beside it; put the data there, and its bare name into "
            "the header, or save it as .nrrd"
        )
    if not is_file(data):
        raise DataError(f"{path}: its data file {name[:200]!r} is missing; it belongs beside the header")
    return data


def _directions(path: Path, fields: dict[str, str]) -> list[list[float] | None]:
    """The vectors of the axes, None of one that does not lie in space; empty where there are none."""
    found: list[list[float] | None] = []
    for word in re.findall(r"none|\([^)]*\)", fields.get("spacedirections", "").lower()):
        found.append(None if word == "none" else _vector(path, word))
    return found


def _vector(path: Path, word: str) -> list[float]:
    try:
        vector = [float(part) for part in word.strip("() ").split(",")]
    except ValueError:
        vector = []
    vector += [0.0] * (len(vector) == 2)
    if len(vector) != 3 or not np.isfinite(vector).all():
        raise DataError(f"{path}: the vector {word[:60]}; expected three finite numbers, so export the file again")
    return vector


def _affine(path: Path, fields: dict[str, str], channels_first: bool) -> NDArray[np.float64]:
    own = np.eye(4)
    vectors = [vector for vector in _directions(path, fields) if vector is not None]
    if vectors:
        space = fields.get("space", "").lower()
        if len(vectors) == 2 and fields.get("dimension") == "2":  # one slice of unknown thickness
            vectors, space = [*vectors, [0.0, 0.0, 1.0]], space if space in SPACES else "lps"
        if len(vectors) != 3 or space not in SPACES:
            raise DataError(
                f"{path}: {len(vectors)} directions in the space {space[:60] or 'unknown'}; expected three in "
                f"{', '.join(SPACES)}, so export the file again"
            )
        own[:3, :3] = np.array(vectors).T
        if "spaceorigin" in fields:
            own[:3, 3] = _vector(path, fields["spaceorigin"])
        affine: NDArray[np.float64] = SPACES[space] @ own
        return affine
    own[:3, :3] = np.diag([size or 1.0 for size in _spacings(path, fields, channels_first)])
    return LPS_TO_RAS @ own


def _spacings(path: Path, fields: dict[str, str], channels_first: bool) -> list[float | None]:
    """Millimetres between columns, rows and slices, None where the header has none."""
    try:
        given = [float(word) for word in fields.get("spacings", "").split()[channels_first:][:3]]
    except ValueError as error:
        raise DataError(f"{path}: spacings: {fields['spacings'][:60]}; expected numbers") from error
    return [size if np.isfinite(size) and size > 0 else None for size in given] + [None] * (3 - len(given))
