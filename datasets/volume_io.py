"""Volumes read from files and written to them, each format by its own module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .dicom_options import WHOLE, Colour, SegRule, Spacing
from .dicom_rule import Rule, SeriesRule
from .errors import DataError
from .formats import (
    METAIMAGE,
    NIFTI,
    NIFTI_HEADERS,
    NIFTI_IMAGES,
    NRRD,
    UNPLACED,
    VOLUMES,
    is_dicom,
    is_read_as_dicom,
    is_unplaced,
    volume_suffix,
)
from .geometry import Geometry, Lacks
from .volume import Volume
from .walk import below

if TYPE_CHECKING:
    from .dicom_index import Index
    from .dicom_series import Series

READERS = {
    **dict.fromkeys(METAIMAGE, "metaimage"),
    **dict.fromkeys(NRRD, "nrrd"),
    **dict.fromkeys((*NIFTI, *NIFTI_HEADERS, *NIFTI_IMAGES), "nifti"),
    **dict.fromkeys(UNPLACED, "unplaced"),
}
"""The module of each suffix; it has `read`, `files` and `lacks`, and where the format is written too, `write`."""
MOST_OFF = 1e-3
"""What a label that a header scales may differ from a whole number."""
INTEGERS = (np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)


def read_volume(
    path: str | Path,
    series: Rule | None = None,
    stack: str | None = None,
    colour: Colour = "grey",
    spacing: Spacing | None = None,
    key: str | None = None,
) -> Volume:
    """Read a MetaImage (`.mhd`, `.mha`), NIfTI (`.nii`, `.nii.gz`, `.hdr` with `.img`), NRRD, DICOM, array or TIFF.

    Integers stay integers where the file does not scale them; several values a voxel become channels. The slices of a
    DICOM series are ordered by their position, whatever its files are called; see `datasets.dicom`.

    Args:
        path: the file, or the folder of a DICOM series.
        series: DICOM: the SeriesInstanceUID, a pattern on the series' description, or a rule, where a folder holds
            several; see `datasets.Dicom`.
        stack: DICOM: the name of a stack or orientation, where a series has several; the error lists them.
        colour: DICOM: one channel (`grey`) or three (`rgb`).
        spacing: millimetres between slices, rows and columns, for files that do not say; otherwise 1 is taken, but of
            DICOM.
        key: of the arrays of an `.npz` or `.mat` file the one that is meant; null: the only one.

    Raises:
        DataError: the file is missing, unreadable or no volume in space, holds fewer voxels than it says, or names
            data outside its folder.
    """
    path = Path(path)
    if is_read_as_dicom(path):
        return read_series(path, series, stack, colour, spacing)[0]
    with _readable(path):
        array, affine = _format(path).read(path, *([] if key is None else [key]))
        return Volume(array, affine if spacing is None else _spaced(affine, lacks(path), spacing))


def read_series(
    path: Path,
    series: Rule | SeriesRule | None,
    stack: str | None,
    colour: Colour,
    spacing: Spacing | None,
    index: Index | None = None,
) -> tuple[Volume, Series]:
    """Read DICOM, and say which frames of which files its slices are; arguments and errors as `read_volume`.

    `index` has the headers that have been read before.
    """
    from . import dicom
    from .dicom_series import find_series

    with _readable(path):
        found = find_series(path, series, stack, spacing, index)
        return Volume(dicom.read(found, colour), found.geometry.affine), found


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Errors of reading a volume as a `DataError` that names it; numbers that are not finite are refused afterwards."""
    try:
        with np.errstate(all="ignore"):
            yield
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file and the disk") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}; export it again from its source") from error


def read_mask_volume(
    path: str | Path,
    rule: SegRule = WHOLE,
    onto: Geometry | None = None,
    index: Index | None = None,
    spacing: Spacing | None = None,
    key: str | None = None,
) -> Volume:
    """Read a mask: one whole number a voxel, as the file's integers, or the smallest type that fits its floats.

    A DICOM SEG becomes the numbers of its segments, the contours of an RTSTRUCT those of its structures, 0 where there
    is none.

    Args:
        path: the file.
        rule: what to make of the fractions and overlaps of a SEG.
        onto: the grid of its scan, for the slices that a SEG leaves out; null: from its first to its last.
        index: the headers of DICOM files that have been read before; null: none.
        spacing: see `read_volume`.
        key: see `read_volume`.

    Raises:
        DataError: values that are no whole numbers, several values a voxel; see `read_volume`.
    """
    path = Path(path)
    if is_dicom(path):
        from . import dicom_contours, dicom_seg
        from .dicom_index import Index

        header = (index or Index()).header(path)
        if header.is_segmentation:
            return dicom_seg.read(path, rule, onto)
        if header.is_structures:
            return dicom_contours.read(path, rule, onto)
    volume = read_volume(path, spacing=spacing, key=key)
    array = volume.array
    if onto is not None and is_unplaced(path):
        from . import unplaced

        volume = Volume(array, unplaced.placed(path, array, onto))
    if array.ndim != 3:
        raise DataError(f"{path}: {array.shape[-1]} values a voxel; expected a mask of one")
    if array.dtype.kind in "iu":
        return volume
    if _is_nifti(path) and label_scale(path) != (1.0, 0.0):  # in 32 bits, a slope times a label is seldom whole
        near = np.rint(array)
        array = np.where(np.abs(array - near) <= MOST_OFF, near, array)
    bad = array[~(np.floor(array) == array) | (np.abs(array) >= 2**63)]
    if bad.size:
        raise DataError(
            f"{path}: {bad[0]} in {bad.size} of {array.size} voxels is no label; expected a mask of whole numbers, so "
            f"resample it by nearest neighbour, or is this the scan?{_slope_hint(path)}"
        )
    return Volume(array.astype(smallest_integer(array.min(), array.max())), volume.affine)


def write_volume(volume: Volume, path: str | Path, like: str | Path | None = None) -> None:
    """Write `.mhd` with a compressed `.zraw` beside it, `.mha`, `.nii` or `.nii.gz`, whole or not at all.

    Values stay as they are; truth values are written as uint8, float16 as float32, and 64-bit integers in the smallest
    type that holds them.

    Args:
        volume: what is written.
        path: the file.
        like: the scan that lies on the same grid. Where both are NIfTI its qform, sform and unit are written as they
            are, so that the volume lies on the scan in programs that believe either of the two.

    Raises:
        ValueError: another suffix, numbers that the formats do not have.
        DataError: the file cannot be written; what was there before is still whole.
    """
    path = Path(path)
    suffix = volume_suffix(path)
    if suffix not in (*METAIMAGE, *NIFTI):
        raise ValueError(f"{path}: a volume is written as .mhd, .mha, .nii or .nii.gz")
    array = _writable(volume.array)
    if suffix in METAIMAGE:
        from . import metaimage

        metaimage.write(array, volume.affine, path)
    else:
        from . import nifti

        nifti.write(array, volume.affine, path, Path(like) if like is not None and _is_nifti(like) else None)


def place_doubt(path: str | Path) -> str | None:
    """Why programs may place a volume in different ways, in one phrase; None where they have no reason to.

    A NIfTI file says twice where it lies, by qform and by sform; here the sform is believed where it is set.

    Raises:
        DataError: as `read_volume`.
    """
    if not _is_nifti(path):
        return None
    from . import nifti

    return nifti.doubt(Path(path))


def label_scale(path: str | Path) -> tuple[float, float]:
    """The slope and intercept by which a NIfTI header scales what is stored; (1, 0) of other files."""
    if not _is_nifti(path):
        return 1.0, 0.0
    from . import nifti

    return nifti.scale(Path(path))


def lacks(path: str | Path) -> Lacks:
    """Which voxel sizes a file does not say where one is needed; of DICOM none, which is refused without."""
    path = Path(path)
    if is_read_as_dicom(path):
        return False, False, False
    unsaid: Lacks = _format(path).lacks(path)
    return unsaid


def smallest_integer(low: Any, high: Any) -> np.dtype[Any]:
    """The smallest integer type that holds all from `low` to `high`, unsigned where both would do.

    Raises:
        ValueError: there is none.
    """
    for dtype in INTEGERS:
        if np.iinfo(dtype).min <= int(low) and int(high) <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise ValueError(f"no integer type holds {low} to {high}")


def volume_files(path: str | Path) -> list[Path]:
    """Every file that a volume's header and pixels come from; errors as `read_volume`."""
    path = Path(path)
    if is_read_as_dicom(path):
        return list(below(path)) if path.is_dir() else [path]
    found: list[Path] = _format(path).files(path)
    return found


def _spaced(affine: NDArray[np.float64], unsaid: Lacks, spacing: Spacing) -> NDArray[np.float64]:
    """An affine with the voxel sizes that its file does not say."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)[::-1].tolist()  # as a spacing: of slices, rows, columns
    wanted = [given if lacking and given else own for own, lacking, given in zip(sizes, unsaid, spacing, strict=True)]
    return affine @ np.diag([*np.divide(wanted, sizes)[::-1], 1.0])


def _format(path: Path) -> ModuleType:
    suffix = path.suffix.lower() if is_unplaced(path) else volume_suffix(path)
    if suffix is None and not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if suffix is None:
        endings = ", ".join(VOLUMES)
        raise DataError(f"{path}: not a volume that can be read; expected a file ending in {endings}, or DICOM")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    return import_module(f".{READERS[suffix]}", __package__)


def _slope_hint(path: Path) -> str:
    scale = label_scale(path)
    return f" Its header scales what is stored by {scale[0]:g} and adds {scale[1]:g}" if scale != (1.0, 0.0) else ""


def _is_nifti(path: str | Path) -> bool:
    return READERS.get(volume_suffix(path) or "") == "nifti"


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise ValueError(f"a volume of {array.dtype} cannot be written; convert it to integers or floats of 64 bits")
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        return array.astype(smallest_integer(array.min(), array.max()))
    return array.astype(array.dtype.newbyteorder("="), copy=False)
