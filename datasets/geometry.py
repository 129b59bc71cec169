"""Where a grid of voxels lies in the scanner's space."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Lacks = tuple[bool, bool, bool]
"""Whether a file does not say how large its voxels are from slice to slice, row to row, column to column."""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Between the axes of DICOM and ITK and those of NIfTI; its own inverse."""
TOLERANCE = 1e-3
"""Millimetres by which corners of equal grids may differ: NIfTI stores float32, MetaImage decimal text."""
LEAST_VOLUME = 1e-6
"""Of the box that three axes of a voxel span, against the product of their lengths: less is a flat voxel."""
_NUDGE = np.eye(3) + 1e-7 * np.array([[0.0, -3.0, 2.0], [3.0, 0.0, -1.0], [-2.0, 1.0, 0.0]])
"""A rotation too small to matter, but for axes exactly between two directions: they are named alike in any order."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """A grid of voxels in space.

    Attributes:
        shape: (slices, rows, columns).
        affine: 4×4 float64, from the voxel index (column, row, slice) to RAS+ millimetres.

    Raises:
        ValueError: a shape that is no volume's, an affine that is no finite, invertible 4×4 matrix.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"a volume has slices, rows and columns, got shape {self.shape}")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise ValueError(f"affine must be a finite 4×4 matrix, got {self.affine.tolist()}")
        with np.errstate(over="ignore"):
            lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        spans = lengths.all() and abs(np.linalg.det(self.affine[:3, :3] / lengths)) >= LEAST_VOLUME
        if not spans or self.affine[3].tolist() != [0, 0, 0, 1]:
            raise ValueError(f"affine must place voxels in space (invertible), got {self.affine.tolist()}")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between slices, rows and columns."""
        column, row, slice_ = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return slice_, row, column

    @property
    def axes(self) -> str:
        """The directions in which the column, row and slice index increase, nearest ones for oblique grids.

        "LPS": columns to the left, rows to posterior, slices to superior.
        """
        from nibabel import orientations  # takes time to import, and stills need none

        return "".join(orientations.ornt2axcodes(_orientation(self.affine)))

    @property
    def voxel_ml(self) -> float:
        """The volume of a voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def corners(self) -> NDArray[np.float64]:
        """The centres of the 8 corner voxels, `(8, 3)` in RAS+ millimetres."""
        last = [size - 1 for size in self.shape[::-1]]
        indices = np.array([*product((0, 1), repeat=3)]) * last
        return indices @ self.affine[:3, :3].T + self.affine[:3, 3]

    def difference(self, other: Geometry) -> str | None:
        """How this grid differs from another, in one phrase with both values; None where all corners agree."""
        if self.shape != other.shape:
            return f"{_sizes(self.shape)} voxels against {_sizes(other.shape)}"
        apart = float(np.linalg.norm(self.corners() - other.corners(), axis=1).max())
        if apart <= TOLERANCE:
            return None
        steps = np.maximum(1, np.array(self.shape) - 1)
        if (np.abs(np.subtract(self.spacing, other.spacing)) * steps).max() > TOLERANCE:
            return f"spacing {_sizes(self.spacing)} mm against {_sizes(other.spacing)} mm"
        if self.axes != other.axes:
            return f"axes {self.axes} against {other.axes}"
        ours, theirs = (geometry.affine[:3, :3] for geometry in (self, other))
        if (np.linalg.norm(ours - theirs, axis=0)[::-1] * steps).max() > TOLERANCE:
            cosines = (ours * theirs).sum(0) / np.linalg.norm(ours, axis=0) / np.linalg.norm(theirs, axis=0)
            angle = np.degrees(np.arccos(cosines.clip(-1, 1).min()))
            return f"directions that differ by {angle:.3g}°, corners by {apart:.3g} mm"
        origins = (_place(geometry.affine[:3, 3]) for geometry in (self, other))
        return f"position {' against '.join(origins)} mm, {apart:.3g} mm apart"

    def reordered(self, axes: str) -> Geometry:
        """The same voxels with their indices increasing in other directions: "LPS", or any three letters of RL, AP, SI.

        Raises:
            ValueError: letters that do not name three directions.
        """
        from nibabel import orientations

        change = self.change(axes)
        affine = self.affine @ orientations.inv_ornt_aff(change, self.shape[::-1])
        columns, rows, slices = (self.shape[::-1][int(axis)] for axis in np.argsort(change[:, 0]))
        return Geometry((slices, rows, columns), affine)

    def change(self, axes: str) -> NDArray[np.float64]:
        """The permutation and flips to other axes, as `nibabel.orientations.apply_orientation` takes them."""
        from nibabel import orientations

        pairs = ("LR", "PA", "IS")
        if len(axes) != 3 or {pair for pair in pairs for axis in axes if axis in pair} != set(pairs):
            raise ValueError(f"axes must be three letters, one each of L or R, P or A, I or S, got {axes!r}")
        wanted = orientations.axcodes2ornt(tuple(axes))
        change: NDArray[np.float64] = orientations.ornt_transform(_orientation(self.affine), wanted)
        return change


def _orientation(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    from nibabel import orientations

    nudged = np.eye(4)
    nudged[:3, :3] = _NUDGE @ affine[:3, :3]
    found: NDArray[np.float64] = orientations.io_orientation(nudged)
    return found


def _sizes(values: tuple[float, float, float]) -> str:
    """Column by row by slice, as files and viewers show them."""
    return " x ".join(f"{value:.7g}" for value in values[::-1])


def _place(point: NDArray[np.float64]) -> str:
    return f"({', '.join(f'{value:.7g}' for value in point)})"
