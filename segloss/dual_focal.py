"""Dual focal loss of the 2019 preprint."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .pixelwise import PixelwiseLoss
from .tensors import at_class
from .true_class import log_not

NEAR = 0.5
"""Distances |P−p| below this are squared, above they are taken from their complement."""


def dual_focal_terms(logits: Tensor, target: Tensor) -> Tensor:
    """−Σ_i log(1 − (P_i − p_i)²) (Hossain 2019, eq. 7), right at any logits: nothing is clamped.

    With d = |P−p| near 0 a term is log1p(−d²). With d near 1 it is log(1−d) + log1p(d), where log(1−d) comes from the
    logits: it is log p for the true class, log(1−p) for the others. Soft labels: log(1−P+p) + log(1+P−p).
    """
    log_p = F.log_softmax(logits, dim=1)
    log_q = log_not(log_p)
    if target.is_floating_point():
        square = (target - log_p.exp()).square()
        near = square < NEAR * NEAR
        far = torch.logaddexp(torch.log1p(-target), log_p) + torch.logaddexp(torch.log(target), log_q)
    else:
        true = at_class(target, logits.shape[1])
        log_d = torch.where(true, log_q, log_p)
        near = log_d < math.log(NEAR)
        square = torch.exp(2 * log_d)
        far = torch.where(true, log_p, log_q) + torch.log1p(log_d.exp())
    return -torch.where(near, torch.log1p(-torch.where(near, square, 0.0)), far).sum(1)


class DualFocalLoss(PixelwiseLoss):
    """−Σ_i log(1 − (P_i − p_i)²) per pixel, p = softmax(z) (Hossain 2019, eq. 7).

    On the true class the loss is CE − log(2 − p), so in [CE − log 2, CE]; every other class adds a term ≥ 0, its own
    feedback. Use it where a sure mistake should cost on both classes that take part in it. Not to re-weigh classes: it
    knows none; `class_weights` or the `AdaptiveClassWeight` layer of the model do that (ADFL is the latter). Two other
    losses go by this name: the authors' journal form, here `dfl2021`, and a calibration loss of 2023.

    Args:
        class_weights: see `PixelwiseLoss`.
        normalize: see `PixelwiseLoss`.
        num_classes: see `PixelwiseLoss`.
        class_counts: see `PixelwiseLoss`.
        ignore_index: see `PixelwiseLoss`.
        reduction: see `PixelwiseLoss`.

    >>> even = torch.zeros(1, 2)  # p = ½: −2 log ¾
    >>> round(float(DualFocalLoss()(even, torch.tensor([0]))), 4)
    0.5754
    """

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        """See `dual_focal_terms`."""
        return dual_focal_terms(logits, target)
