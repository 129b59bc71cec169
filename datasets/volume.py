"""Volumes: an array with its place in the scanner's space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .geometry import Geometry


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan or a mask.

    Attributes:
        array: `(slices, rows, columns[, channels])`.
        affine: 4×4 float64, from the voxel index (column, row, slice) to RAS+ millimetres.

    Raises:
        ValueError: an array that is no volume, an affine that is no finite, invertible 4×4 matrix.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.array.ndim not in (3, 4) or 0 in self.array.shape:
            raise ValueError(f"a volume is (slices, rows, columns[, channels]), got shape {self.array.shape}")
        _ = self.geometry

    @property
    def geometry(self) -> Geometry:
        """The grid of the voxels."""
        slices, rows, columns = self.array.shape[:3]
        return Geometry((slices, rows, columns), self.affine)

    @property
    def axes(self) -> str:
        """The directions in which the column, row and slice index increase; see `Geometry.axes`."""
        return self.geometry.axes

    def reordered(self, axes: str) -> Volume:
        """The same voxels in another order, not one of them changed; see `Geometry.reordered`."""
        from nibabel import orientations

        by_column = np.moveaxis(self.array, (0, 2), (2, 0))
        turned = orientations.apply_orientation(by_column, self.geometry.change(axes))
        return Volume(np.ascontiguousarray(np.moveaxis(turned, (0, 2), (2, 0))), self.geometry.reordered(axes).affine)

    def resampled(self, onto: Geometry, labels: bool) -> Volume:
        """The values on another grid; outside this one 0 for labels, else the least value: air, of CT not water.

        Args:
            onto: the other grid.
            labels: take the nearest value, in the same dtype; else interpolate linearly, as float32 (float64 stays).
        """
        import SimpleITK

        from .itk import to_image

        dtype = self.array.dtype
        wanted = np.dtype(np.uint8) if dtype.kind == "b" else dtype
        if not labels:
            wanted = np.dtype(np.float64 if dtype == np.float64 else np.float32)
        grid = to_image(np.zeros((1, 1, 1), np.uint8), onto.affine)
        found = SimpleITK.Resample(
            to_image(self.array.astype(wanted, copy=False), self.affine),
            onto.shape[::-1],
            SimpleITK.Transform(),
            SimpleITK.sitkNearestNeighbor if labels else SimpleITK.sitkLinear,
            grid.GetOrigin(),
            grid.GetSpacing(),
            grid.GetDirection(),
            0.0 if labels else float(self.array.min()),
        )
        array: NDArray[Any] = SimpleITK.GetArrayFromImage(found)
        return Volume(array.astype(dtype, copy=False) if labels else array, onto.affine)
