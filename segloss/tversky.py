"""Tversky losses: Dice and IoU with a price for each kind of error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from .names import NOT_NEGATIVE, POSITIVE, check_range
from .overlap import Overlap, OverlapLoss, OverlapOptions
from .tensors import ratio


def tversky_of_overlap(sums: Overlap, alpha: float = 0.3, beta: float = 0.7, smooth: float = 0.0) -> Tensor:
    """1 − (tp + s)/(tp + α fp + β fn + s), `(units, C)`."""
    errors = alpha * sums.fp + beta * sums.fn
    whole = sums.tp + errors + smooth
    absent = sums.target == 0  # where 1 − 0/fp is 1 and has a gradient of exactly 0
    return torch.where(absent, 1 - ratio(sums.tp + smooth, whole), ratio(errors, whole))


def focal_tversky_of_overlap(
    sums: Overlap, alpha: float = 0.3, beta: float = 0.7, gamma: float = 4 / 3, smooth: float = 0.0
) -> Tensor:
    """(1 − Tversky index)^(1/γ), `(units, C)`; at an index of 1 the root has no gradient, and gets 0."""
    loss = tversky_of_overlap(sums, alpha, beta, smooth)
    return torch.where(loss > 0, torch.where(loss > 0, loss, 1.0).pow(1 / gamma), 0.0)


class TverskyLoss(OverlapLoss):
    """1 − (tp + s)/(tp + α fp + β fn + s) per class, p = softmax(z), averaged over classes (Salehi 2017).

    ½ and ½ is Dice, 1 and 1 is IoU. Use it with β > α where a missed pixel is worse than a false one, as for small
    lesions. Not to make up for absent classes or noisy masks: what it gains in recall it pays in precision. Of soft
    labels P, tp = Σ min(p, P), fp = Σ max(p − P, 0) and fn = Σ max(P − p, 0), so that the loss is least at p = P (Wang
    2023).

    Args:
        alpha: ≥ 0, the price of false positives.
        beta: ≥ 0, the price of false negatives.
        per_image, classes: see `RegionLoss`.
        smooth, sigmoid: see `OverlapLoss`.
        class_weights, **options: see `RegionLoss`.

    Raises:
        ValueError: alpha or beta < 0.

    >>> import torch
    >>> half = torch.zeros(1, 2, 4)  # p = ½ everywhere: for each class tp = fp = fn = 1
    >>> float(TverskyLoss(alpha=1.0, beta=2.0)(half, torch.tensor([[0, 0, 1, 1]])))
    0.75
    """

    formula: ClassVar[Callable[..., Tensor]] = staticmethod(tversky_of_overlap)

    def __init__(self, *, alpha: float = 0.3, beta: float = 0.7, **options: Unpack[OverlapOptions]) -> None:
        check_range("alpha", alpha, *NOT_NEGATIVE)
        check_range("beta", beta, *NOT_NEGATIVE)
        super().__init__(**options)
        self.alpha, self.beta = alpha, beta


class IoULoss(TverskyLoss):
    """1 − (tp + s)/(tp + fp + fn + s) per class, p = softmax(z), averaged over classes (Rahman 2016).

    The soft Jaccard loss: use it where the score is IoU. It is a monotone function of `dice` for each class, steeper
    where the overlap is good and flatter where it is bad, so not for the first epochs of a class that is hardly found.
    Soft labels as of `tversky`.

    Args:
        per_image, classes: see `RegionLoss`.
        smooth, sigmoid: see `OverlapLoss`.
        class_weights, **options: see `RegionLoss`.

    >>> import torch
    >>> half = torch.zeros(1, 2, 4)  # p = ½ everywhere: for each class tp = fp = fn = 1
    >>> round(float(IoULoss()(half, torch.tensor([[0, 0, 1, 1]]))), 4)
    0.6667
    """

    formula = staticmethod(partial(tversky_of_overlap, alpha=1.0, beta=1.0))

    def __init__(self, **options: Unpack[OverlapOptions]) -> None:
        super().__init__(alpha=1.0, beta=1.0, **options)


class FocalTverskyLoss(TverskyLoss):
    """(1 − Tversky index)^(1/γ) per class, averaged over classes (Abraham 2019).

    With γ > 1 a class that is already well found keeps more of its gradient, and one that is hardly found gets less
    of it than from `tversky`: use it for small structures of which the outline is missed. Not for a class that is not
    found at all. Soft labels as of `tversky`.

    Args:
        alpha: ≥ 0, the price of false positives.
        beta: ≥ 0, the price of false negatives.
        gamma: > 0; the paper searched in [1, 3].
        per_image, classes: see `RegionLoss`.
        smooth, sigmoid: see `OverlapLoss`.
        class_weights, **options: see `RegionLoss`.

    Raises:
        ValueError: alpha or beta < 0, gamma ≤ 0.

    >>> import torch
    >>> half = torch.zeros(1, 2, 4)  # p = ½ everywhere: for each class tp = fp = fn = 1
    >>> float(FocalTverskyLoss(alpha=1.0, beta=2.0, gamma=0.5)(half, torch.tensor([[0, 0, 1, 1]])))
    0.5625
    """

    formula = staticmethod(focal_tversky_of_overlap)

    def __init__(
        self, *, alpha: float = 0.3, beta: float = 0.7, gamma: float = 4 / 3, **options: Unpack[OverlapOptions]
    ) -> None:
        check_range("gamma", gamma, *POSITIVE)
        super().__init__(alpha=alpha, beta=beta, **options)
        self.gamma = gamma
