"""Dual cross entropy."""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from .names import check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions
from .tensors import one_hot, pick


def dual_cross_entropy_terms(logits: Tensor, target: Tensor, alpha: float = 2.0, beta: float = 1.5) -> Tensor:
    """Σ_i [−P_i log p_i + β (1−P_i) log(α + p_i)] (Li 2019; Hossain 2019, eq. 10)."""
    log_p = F.log_softmax(logits, dim=1)
    negative = 1 - one_hot(target, logits.shape[1]).to(logits.dtype)
    return (beta * negative * torch.log(alpha + log_p.exp())).sum(1) - pick(log_p, target)


class DualCrossEntropyLoss(PixelwiseLoss):
    """Σ_i [−P_i log p_i + β (1−P_i) log(α + p_i)] per pixel, p = softmax(z) (Li 2019; Hossain 2019, eq. 10).

    Cross entropy with a mild push on the false classes, bounded even for a sure mistake. Use it to compare with the
    papers. Not where the value itself is read: it is never 0, since each false class costs at least β log α.

    Args:
        alpha: > 1.
        beta: > 1.
        class_weights, normalize, **options: see `PixelwiseLoss`.

    Raises:
        ValueError: alpha ≤ 1, beta ≤ 1.

    >>> even = torch.zeros(1, 2)  # p = ½: log 2 + 1.5 log 2.5
    >>> round(float(DualCrossEntropyLoss()(even, torch.tensor([0]))), 4)
    2.0676
    """

    formula = staticmethod(dual_cross_entropy_terms)

    def __init__(self, *, alpha: float = 2.0, beta: float = 1.5, **options: Unpack[PixelwiseOptions]) -> None:
        check_range("alpha", alpha, "> 1", lambda v: 1 < v < float("inf"))
        check_range("beta", beta, "> 1", lambda v: 1 < v < float("inf"))
        super().__init__(**options)
        self.alpha, self.beta = alpha, beta
