"""Volumes in files that say nothing of space: arrays of NumPy and MATLAB, and TIFF with a slice a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import read_array
from .errors import DataError
from .formats import ARRAYS
from .geometry import LPS_TO_RAS, Geometry, Lacks
from .tiff import pages_of


def read(path: Path, key: str | None = None) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The array `(slices, rows, columns[, channels])`, and columns to the left, rows to the back, slices up, 1 mm each.

    An array of NumPy has its axes in this order, one of MATLAB as (rows, columns, slices[, channels]); two axes are a
    slice. Truth values become 0 and 1.

    Args:
        path: the file.
        key: see `read_array`.

    Raises:
        DataError: see `read_array` and `pages_of`; an array of other axes.
    """
    suffix = path.suffix.lower()
    array = read_array(path, key) if suffix in ARRAYS else pages_of(path)
    if array.ndim == 2:
        array = array[..., np.newaxis] if suffix == ".mat" else array[np.newaxis]
    if array.ndim not in (3, 4):
        order = "(rows, columns, slices" if suffix == ".mat" else "(slices, rows, columns"
        raise DataError(f"{path}: an array of shape {array.shape}; expected {order}[, channels])")
    if suffix == ".mat":
        array = np.moveaxis(array, 2, 0)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    return np.ascontiguousarray(array), LPS_TO_RAS.copy()


def files(path: Path) -> list[Path]:
    """The file."""
    return [path]


def lacks(path: Path) -> Lacks:  # noqa: ARG001  # the same of every file
    """All of them."""
    return True, True, True


def placed(path: Path, array: NDArray[Any], onto: Geometry) -> NDArray[np.float64]:
    """The affine of a mask on the voxels of its scan's file; a `DataError` where it has another shape."""
    if array.shape[:3] == onto.shape:
        return onto.affine
    turned = array.shape[:3] == onto.shape[::-1]
    hint = "; these are columns, rows and slices, as nibabel has them, so save array.T" if turned else ""
    raise DataError(
        f"{path}: an array of shape {array.shape}, but its scan has {onto.shape[0]} slices, {onto.shape[1]} rows and "
        f"{onto.shape[2]} columns; expected (slices, rows, columns) of the scan's file{hint}"
    )
