"""Soft Dice losses."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from .base import LossOptions
from .class_weights import ClassWeights
from .overlap import Overlap, OverlapLoss, OverlapOptions
from .tensors import per_class, ratio


def dice_of_overlap(sums: Overlap, smooth: float = 0.0) -> Tensor:
    """1 − (2Σpt + s)/(Σp + Σt + s), `(units, C)`."""
    return 1 - ratio(2 * sums.tp + smooth, sums.predicted + sums.target + smooth)


def generalized_dice_of_overlap(sums: Overlap, smooth: float = 0.0, class_weights: Tensor | None = None) -> Tensor:
    """1 − (2 Σ_c v_c tp_c + s)/(Σ_c v_c (Σp + Σt)_c + s), v_c = w_c/(Σt)_c², 0 for an absent class; `(units, 1)`.

    Numerator and denominator are taken times the smallest (Σt)² present, so that no v_c overflows.
    """
    volume = sums.target
    smallest = torch.where(volume > 0, volume, torch.inf).amin(1, keepdim=True)
    smallest = torch.where(smallest < torch.inf, smallest, 1.0)
    weight = ratio(smallest.expand_as(volume), volume).square()
    if class_weights is not None:
        weight = weight * per_class(class_weights, weight)
    both = 2 * (weight * sums.tp).sum(1, keepdim=True)
    either = (weight * (sums.predicted + volume)).sum(1, keepdim=True)
    smoothed = smooth * smallest.square()
    return 1 - ratio(both + smoothed, either + smoothed)


class DiceLoss(OverlapLoss):
    """1 − (2Σpt + s)/(Σp + Σt + s) per class, p = softmax(z), s = `smooth`, averaged over classes (Milletari 2016).

    Every class counts the same, however few its pixels: use it where the score is DSC, and most often as a sum with
    `ce`, whose gradient is steadier. The background counts as a class: `class_weights: [0, 1, …]` leaves it out, as
    others' binary Dice and `include_background=False` do. Not where calibrated probabilities are wanted: of labels it
    drives them to 0 and 1. Of soft labels P, Σ min(p, P) stands for Σpt (Wang 2023), so that the loss is least at p =
    P.

    Args:
        squared: V-Net's denominator, Σp² + Σt², which Milletari 2016 uses.
        per_image, classes: see `RegionLoss`.
        smooth, sigmoid: see `OverlapLoss`.
        class_weights, **options: see `RegionLoss`.

    >>> import torch
    >>> sure = torch.tensor([[[9.0, -9.0], [-9.0, 9.0]]])
    >>> round(float(DiceLoss()(sure, torch.tensor([[0, 1]]))), 4)
    0.0
    """

    formula = staticmethod(dice_of_overlap)

    def __init__(self, *, squared: bool = False, **options: Unpack[OverlapOptions]) -> None:
        super().__init__(**options)
        self.squared = squared


class GeneralizedDiceLoss(OverlapLoss):
    """1 − 2 Σ_c v_c Σpt / Σ_c v_c (Σp + Σt), v_c = 1/(Σt)² (Sudre 2017); an absent class has v_c = 0.

    All classes share one fraction, in which a class weighs by one over its volume squared: use it for few classes of
    very different volume. Not for batches in which a rare class is often absent: false positives of an absent class
    cost no more than what they take from the class they lie on, and a class of a handful of pixels drowns all others.
    Soft labels as of `dice`.

    Args:
        per_image: one fraction an image instead of one for the batch.
        smooth, sigmoid: see `OverlapLoss`.
        class_weights: multiply v_c.
        **options: `num_classes`, `class_counts`, `ignore_index`, `reduction` of `RegionLoss`; `none` gives `(1,)`, or
            `(N, 1)` per image.

    >>> import torch
    >>> sure = torch.tensor([[[9.0, -9.0], [-9.0, 9.0]]])
    >>> round(float(GeneralizedDiceLoss()(sure, torch.tensor([[0, 1]]))), 4)
    0.0
    """

    formula = staticmethod(generalized_dice_of_overlap)

    def __init__(
        self,
        *,
        per_image: bool = False,
        smooth: float = 0.0,
        sigmoid: bool = False,
        class_weights: ClassWeights = None,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(smooth=smooth, sigmoid=sigmoid, per_image=per_image, class_weights=class_weights, **options)
