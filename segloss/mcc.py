"""Loss of the Matthews correlation coefficient."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from .overlap import Overlap, OverlapLoss
from .region import RegionOptions
from .tensors import ratio


def mcc_of_overlap(sums: Overlap) -> Tensor:
    """1 − (tp·tn − fp·fn)/√((tp + fp)(tp + fn)(tn + fp)(tn + fn)), `(units, C)`, each class against the rest.

    Of classes that exclude each other, the others' target is tn + fp and the others' prediction is tn + fn. Summed as
    such, they are 0 where a class is everywhere, which 1 − (tp + fn) is not after rounding. All are taken as shares of
    the pixels, so that no product overflows. Where the root is 0 the coefficient is 0, and has no gradient.
    """
    pixels = sums.target.sum(1, keepdim=True)
    tp, fp, fn = (ratio(each, pixels.expand_as(each)) for each in sums)
    others = 1 - torch.eye(tp.shape[1], dtype=tp.dtype, device=tp.device)
    tn_fp, tn_fn = ((each.unsqueeze(1) * others).sum(2) for each in (tp + fn, tp + fp))
    product = (tp + fp) * (tp + fn) * tn_fp * tn_fn
    defined = product > torch.finfo(product.dtype).tiny ** 0.5  # so that no slope of the root overflows
    root = torch.where(defined, product, 1.0).sqrt()
    return 1 - torch.where(defined, (tp * tn_fp - fp * (tp + fn)) / root, 0.0)


class MCCLoss(OverlapLoss):
    """1 − MCC per class against the rest, p = softmax(z), averaged over classes (Abhishek 2021).

    MCC = (tp·tn − fp·fn)/√((tp + fp)(tp + fn)(tn + fp)(tn + fn)), the correlation of prediction and target, from soft
    sums. Unlike Dice it counts the background that is found, so of two classes both have the same value: use it where
    neither class is the point by itself. It lies in [0, 2], and at 1 for a class that is predicted nowhere. Not for
    very rare classes, where it hardly differs from `dice`; nor for overlapping classes.

    Args:
        per_image, classes: see `RegionLoss`; a class that is absent costs 1 under `all`.
        class_weights, **options: see `RegionLoss`.

    >>> half = torch.zeros(1, 2, 4)  # p = ½ everywhere: no correlation
    >>> float(MCCLoss()(half, torch.tensor([[0, 0, 1, 1]])))
    1.0
    """

    formula = staticmethod(mcc_of_overlap)
    restrictions: ClassVar[tuple[str, ...]] = ("weight",)
    without: ClassVar[str] = "it counts every pixel for every class"

    def __init__(self, **options: Unpack[RegionOptions]) -> None:
        super().__init__(**options)
