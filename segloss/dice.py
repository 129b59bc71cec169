"""Soft Dice loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .class_weights import ClassWeights
from .region import Classes, Overlap, RegionLoss


def dice_of_overlap(sums: Overlap, smooth: float = 0.0) -> Tensor:
    """1 − (2Σpt + s)/(Σp + Σt + s), `(units, C)`."""
    total = sums.predicted + sums.target + smooth
    return 1 - (2 * sums.tp + smooth) / torch.where(total > 0, total, 1.0)


class DiceLoss(RegionLoss):
    """1 − (2Σpt + s)/(Σp + Σt + s) per class, s = `smooth`, averaged over classes.

    Args:
        squared: V-Net's denominator, Σp² + Σt² (Milletari 2016).
        per_image: see `RegionLoss`.
        classes: see `RegionLoss`.
        smooth: see `RegionLoss`.
        class_weights: see `RegionLoss`.
        **options: `num_classes`, `class_counts`, `ignore_index`, `reduction` of `RegionLoss`.

    >>> sure = torch.tensor([[[9.0, -9.0], [-9.0, 9.0]]])
    >>> round(float(DiceLoss()(sure, torch.tensor([[0, 1]]))), 4)
    0.0
    """

    def __init__(
        self,
        squared: bool = False,
        per_image: bool = False,
        classes: Classes = "present",
        smooth: float = 0.0,
        class_weights: ClassWeights = None,
        **options: Any,
    ) -> None:
        super().__init__(per_image, classes, smooth, class_weights, **options)
        self.squared = squared

    def of_overlap(self, sums: Overlap) -> Tensor:
        """See `dice_of_overlap`."""
        return dice_of_overlap(sums, self.smooth)
