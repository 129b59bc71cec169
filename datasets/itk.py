"""Arrays as SimpleITK's images."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from .geometry import LPS_TO_RAS


def to_image(array: NDArray[Any], affine: NDArray[np.float64]) -> SimpleITK.Image:
    """An image in space.

    Args:
        array: `(slices, rows, columns[, channels])`.
        affine: from the voxel index (column, row, slice) to RAS+ millimetres.
    """
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image
