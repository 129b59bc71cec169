"""Scores of surfaces in millimetres, by MONAI: what overlap does not see."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SURFACE_SCORES = ("HD95", "ASSD", "surface_DSC")
SURFACE_RULE = (
    "Surfaces: a class absent from both masks is left out; absent from one of them, missed or invented, it has surface "
    "DSC 0 and no distances."
)


def surface_scores(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float], tolerance: float = 1.0
) -> dict[str, float | None]:
    """How far the surfaces of two masks of one class lie apart.

    HD95 is the larger of the two 95th percentiles of the distances from one surface to the other, ASSD the mean of all
    distances in both directions, surface DSC the share of both surfaces that lies within the tolerance of the other
    (Nikolov et al. 2018). A surface is made of the voxels at the border of a mask.

    Args:
        prediction: `(slices, rows, columns)`.
        reference: `(slices, rows, columns)`.
        spacing: millimetres between slices, rows and columns.
        tolerance: millimetres.

    Returns:
        `{"HD95": mm, "ASSD": mm, "surface_DSC": fraction}`; None where both masks are empty; where one is, the
        distances are None and surface DSC is 0.

    Raises:
        ValueError: shapes that differ, a spacing or a tolerance that is not positive.
    """
    if prediction.shape != reference.shape or prediction.ndim != 3:
        raise ValueError(f"two masks (slices, rows, columns) are needed, got {prediction.shape} and {reference.shape}")
    if len(spacing) != 3 or min(spacing) <= 0 or tolerance <= 0:
        raise ValueError(f"spacing and tolerance must be positive millimetres, got {list(spacing)} and {tolerance}")
    present = bool(prediction.any()), bool(reference.any())
    if not any(present):
        return dict.fromkeys(SURFACE_SCORES)
    if not all(present):
        return {"HD95": None, "ASSD": None, "surface_DSC": 0.0}
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice
    from monai.metrics.surface_distance import compute_average_surface_distance

    box = _box(prediction | reference)
    one, other = (torch.from_numpy(mask[box])[None, None].float() for mask in (prediction, reference))
    shared: dict[str, Any] = {"include_background": True, "spacing": list(spacing)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI of its own arguments
        found = {
            "HD95": compute_hausdorff_distance(one, other, percentile=95, **shared),
            "ASSD": compute_average_surface_distance(one, other, symmetric=True, **shared),
            "surface_DSC": compute_surface_dice(one, other, class_thresholds=[tolerance], **shared),
        }
    return {name: float(value) for name, value in found.items()}


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box around a mask with a margin of one voxel, where there is one."""
    box = []
    for axis in range(mask.ndim):
        holds = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(max(0, int(holds[0]) - 1), int(holds[-1]) + 2))
    return tuple(box)
