"""NIfTI files, versions 1 and 2: headers read and written by nibabel, pixels as far as a file really holds them."""

from __future__ import annotations

import gzip
import logging
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from .errors import DataError
from .files import write_atomically
from .formats import NIFTI, NIFTI_HEADERS, NIFTI_IMAGES
from .geometry import Lacks
from .pixels import as_array, head, inflated, refuse_too_large, scaled, stored

MILLIMETRES = {1: 1000.0, 3: 1e-3}
"""Of a unit of length by its code: metres and microns; anything else is taken as millimetres."""
PLACE = (
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z"),
)
"""What a header says twice of where its voxels lie, beside their sizes (`pixdim`) and the unit of all of it."""
COLOURS = ("R", "G", "B", "A")
MOST_APART = 0.01
"""Millimetres between what qform and sform say of a voxel: a quaternion of 32 bits is no more exact on a large scan."""
_LARGEST_SIDE = 2**15 - 1
"""Of NIfTI-1, which stores sizes in 16 bits."""
_QUIET = logging.Logger("nifti")
_QUIET.addHandler(logging.NullHandler())


def read(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The array `(slices, rows, columns[, channels])` and the affine to RAS+ millimetres; errors as `read_volume`."""
    header_path, data = _pair(path)
    header = _header(header_path, header_path == data)
    dtype, colours = _dtype(header, header_path)
    sides, channels = _sides(header, header_path, colours)
    size = prod(sides) * channels * dtype.itemsize
    refuse_too_large(header_path, size)
    start = _start(header, header_path, header_path == data)
    affine = _affine(header, header_path, sides)
    slope, intercept = (1.0, 0.0) if colours else _slope(header, header_path)
    packed = data.suffix.lower() == ".gz"
    content = inflated(data, 0, size, skip=start) if packed else stored(data, start, size)
    shape = sides[::-1]
    if channels == 1:
        array = as_array(content, dtype, shape)
    elif colours:  # the colours of a voxel lie together
        array = as_array(content, dtype, (*shape, channels))
    else:  # one volume behind another
        array = np.ascontiguousarray(np.moveaxis(as_array(content, dtype, (channels, *shape)), 0, -1))
    return scaled(array, slope, intercept), affine


def files(path: Path) -> list[Path]:
    """The file, or the header and the image of a pair; errors as `read_volume`."""
    return sorted({*_pair(path)})


def write(array: NDArray[Any], affine: NDArray[np.float64], path: Path, like: Path | None = None) -> None:
    """Write NIfTI-1, or NIfTI-2 where a side is longer than that stores or `like` is; a `DataError` where that fails.

    Args:
        array: `(slices, rows, columns[, channels])`.
        affine: to RAS+ millimetres.
        path: the file.
        like: a NIfTI file with the same grid, whose qform, sform and unit are written as they are; programs differ in
            which of the two they believe.
    """
    theirs = None if like is None else _header_of(like)
    second = max(array.shape) > _LARGEST_SIDE or (theirs is not None and int(theirs["sizeof_hdr"]) == 540)
    kind: Any = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    image = kind(np.moveaxis(array, (0, 2), (2, 0)), None, dtype=array.dtype)
    if theirs is None:
        image.header.set_xyzt_units("mm")
        image.set_qform(affine, code=1)
        image.set_sform(affine, code=1)
    else:
        for field in PLACE:
            image.header[field] = theirs[field]
        image.header["pixdim"][:4] = theirs["pixdim"][:4]
        image.header["xyzt_units"] = int(theirs["xyzt_units"]) % 8
    content = image.to_bytes()
    if path.name.lower().endswith(".gz"):
        content = gzip.compress(content, 6, mtime=0)  # the same bytes for the same volume
    write_atomically(path, content)


def doubt(path: Path) -> str | None:
    """Why programs may place a NIfTI file in different ways, in one phrase; None where they have no reason to."""
    header = _header_of(path)
    codes = int(header["qform_code"]), int(header["sform_code"])
    if codes == (0, 0):
        return "neither qform nor sform"
    if not all(codes):
        return None
    try:
        with np.errstate(all="ignore"):
            forms = header.get_qform(), header.get_sform()
    except (HeaderDataError, ValueError):
        return "a qform that is no rotation"
    sides, _ = _sides(header, path, _dtype(header, path)[1])
    corners = np.array([*product(*((0, side - 1) for side in sides))])
    places = [corners @ form[:3, :3].T + form[:3, 3] for form in forms]
    apart = float(np.linalg.norm(places[0] - places[1], axis=1).max()) * _millimetres(header)
    if not np.isfinite(apart):
        return "a qform that is no rotation"
    return None if apart <= MOST_APART else f"qform and sform {apart:.3g} mm apart"


def scale(path: Path) -> tuple[float, float]:
    """The slope and intercept of a file's numbers."""
    header = _header_of(path)
    return (1.0, 0.0) if _dtype(header, path)[1] else _slope(header, path)


def lacks(path: Path) -> Lacks:
    """The sides longer than 1 whose voxel size is 0 where the header places voxels by it."""
    header_path, data = _pair(path)
    header = _header(header_path, header_path == data, mended=False)
    count = min(3, int(header["dim"][0])) if int(header["sform_code"]) == 0 else 0
    sides = zip(header["dim"][1 : count + 1], header["pixdim"][1:4], strict=False)
    column, row, slice_ = [side > 1 and size == 0 for side, size in sides] + [False] * (3 - count)
    return bool(slice_), bool(row), bool(column)


def _pair(path: Path) -> tuple[Path, Path]:
    """The files with header and pixels: one, or a pair that is found by either name."""
    lower = path.name.lower()
    single = next((suffix for suffix in NIFTI if lower.endswith(suffix)), None)
    if single:
        return path, path
    own, others = (NIFTI_HEADERS, NIFTI_IMAGES) if lower.endswith(NIFTI_HEADERS) else (NIFTI_IMAGES, NIFTI_HEADERS)
    suffix = next(suffix for suffix in own if lower.endswith(suffix))
    stem, upper = path.name[: -len(suffix)], path.name[-len(suffix) :].isupper()
    # first the partner that is packed like this one
    partners = sorted(others, key=lambda other: other.endswith(".gz") != suffix.endswith(".gz"))
    names = [stem + (partner.upper() if upper else partner) for partner in partners]
    for partner in map(path.with_name, names):
        if partner.is_file():
            return (path, partner) if own == NIFTI_HEADERS else (partner, path)
    what = "image" if own == NIFTI_HEADERS else "header"
    raise DataError(f"{path}: no {what} {names[0]} beside it; a pair of .hdr and .img belongs together")


def _header_of(path: Path) -> Any:
    """The header of a file, or of a pair by either name; errors as `read_volume`."""
    header_path, data = _pair(path)
    return _header(header_path, header_path == data)


def _header(path: Path, single: bool, mended: bool = True) -> Any:
    """The header, with the small things mended that nibabel mends."""
    block = head(path, 540, path.suffix.lower() == ".gz")
    for order in "<>":
        size = int(np.frombuffer(block[:4].ljust(4, b"\0"), f"{order}i4")[0])
        if size in (348, 540):
            break
    else:
        raise DataError(f"{path}: not a NIfTI file: it does not begin with 348 or 540; damaged, or of another kind?")
    if len(block) < size:
        raise DataError(f"{path}: {len(block)} bytes, less than its header of {size}; the file is cut short")
    magic = block[344:348] if size == 348 else block[4:12]
    wanted = {348: (b"ni1\0", b"n+1\0"), 540: (b"ni2\0\r\n\x1a\n", b"n+2\0\r\n\x1a\n")}[size][single]
    if magic[:3] != wanted[:3]:
        if size == 348 and not magic.startswith((b"n+", b"ni")):
            raise DataError(
                f"{path}: no mark of NIfTI, as in Analyze 7.5, which does not say left from right; convert it to NIfTI"
            )
        form = "header and pixels in one file (.nii)" if single else "a header with its pixels in another file"
        raise DataError(f"{path}: marked {magic[:3]!r}; expected {wanted[:3]!r}, {form}, so correct the file's name")
    if size == 348:
        kind: Any = nibabel.Nifti1Header if single else nibabel.nifti1.Nifti1PairHeader
    else:
        kind = nibabel.Nifti2Header if single else nibabel.nifti2.Nifti2PairHeader
    with np.errstate(all="ignore"):
        header = kind(block[:size], endianness=order, check=False)
        if mended:
            header.check_fix(logger=_QUIET, error_level=100)
    return header


def _dtype(header: Any, path: Path) -> tuple[np.dtype[Any], int]:
    """The type of the stored numbers, and how many of them are a colour, 0 for plain numbers."""
    code = int(header["datatype"])
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except KeyError:
        dtype = np.dtype("V")
    if dtype.names is not None and dtype.names == COLOURS[: len(dtype.names)]:
        return np.dtype(np.uint8), len(dtype.names)
    if dtype.kind not in "iuf" or not 1 <= dtype.itemsize <= 8:
        raise DataError(
            f"{path}: datatype {code} ({dtype.name if dtype.itemsize else 'unknown'}); expected integers or floats of "
            "up to 64 bits, or RGB, so convert it (complex: magnitude or phase)"
        )
    return dtype, 0


def _sides(header: Any, path: Path, colours: int) -> tuple[tuple[int, ...], int]:
    """Columns, rows, slices; and the values a voxel."""
    count = int(header["dim"][0])
    sides = [int(side) for side in header["dim"][1 : count + 1]] if 2 <= count <= 7 else []
    wrong = f"{path}: dim = {' '.join(str(int(side)) for side in header['dim'])}"
    if not sides or min(sides) < 1:
        raise DataError(f"{wrong}; expected a volume or an image: 2 sides or more, each ≥ 1; export the file again")
    if len(sides) == 2:
        sides.append(1)
    while len(sides) > 3 and sides[-1] == 1:
        del sides[-1]
    further = [side for side in sides[3:] if side > 1]
    if len(further) > 1 or (further and sides[-1] != further[0]) or (further and colours):
        raise DataError(f"{wrong}; expected a volume, or several channels in one further dimension; divide the file")
    return tuple(sides[:3]), colours or (further[0] if further else 1)


def _start(header: Any, path: Path, single: bool) -> int:
    offset = float(header["vox_offset"])
    if not np.isfinite(offset) or offset < 0 or offset != int(offset) or offset >= 2**62:
        raise DataError(f"{path}: vox_offset = {offset}; expected where the pixels begin, so export the file again")
    least = 0 if not single else 352 if int(header["sizeof_hdr"]) == 348 else 544
    return max(int(offset), least)


def _affine(header: Any, path: Path, sides: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        with np.errstate(all="ignore"):
            affine = np.array(header.get_best_affine(), np.float64)
            if sides[2] == 1 and not affine[:3, 2].any():  # one slice of unknown thickness
                affine[:3, 2] = np.cross(*(affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)).T)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: no usable sform or qform ({reason}); set its orientation and save it again"
        ) from error
    affine[:3] *= _millimetres(header)
    return affine


def _millimetres(header: Any) -> float:
    """The unit of the header."""
    return MILLIMETRES.get(int(header["xyzt_units"]) % 8, 1.0)


def _slope(header: Any, path: Path) -> tuple[float, float]:
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
        raise DataError(
            f"{path}: scl_inter = {intercept} beside scl_slope = {slope}; expected finite numbers, so export it again"
        ) from error
    return (1.0, 0.0) if slope is None else (slope, intercept)
