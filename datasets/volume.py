"""Volumes: an array with its place in the scanner's space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import metaimage
from .errors import DataError


@dataclass(frozen=True)
class Volume:
    """A scan or a mask.

    Attributes:
        array: `(slices, rows, columns[, channels])`.
        affine: 4×4 float64, from the voxel index (column, row, slice) to RAS+ millimetres.

    Raises:
        ValueError: an array that is no volume, an affine that is no invertible 4×4 matrix.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.array.ndim not in (3, 4):
            raise ValueError(f"a volume is (slices, rows, columns[, channels]), got shape {self.array.shape}")
        if self.affine.shape != (4, 4) or not abs(np.linalg.det(self.affine[:3, :3])) > 0:
            raise ValueError(f"affine must be an invertible 4×4 matrix, got {self.affine.tolist()}")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between columns, rows and slices."""
        column, row, slice_ = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return column, row, slice_


def read_volume(path: str | Path) -> Volume:
    """Read a MetaImage: `.mhd` with its data file, or `.mha`.

    Raises:
        DataError: the file is missing, unreadable or no volume, holds fewer voxels than it says, or its data file lies
            outside its folder.
    """
    path = Path(path)
    if path.suffix.lower() not in metaimage.SUFFIXES:
        raise DataError(f"{path}: not a volume that can be read; expected a file ending in .mhd or .mha")
    return Volume(*metaimage.read(path))


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a MetaImage: `.mhd` with a compressed `.zraw` beside it, or a single `.mha`.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in metaimage.SUFFIXES:
        raise ValueError(f"{path}: a volume is written as .mhd or .mha")
    metaimage.write(volume.array, volume.affine, path)
