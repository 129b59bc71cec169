"""Dual focal loss of the 2019 preprint."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .pixelwise import PixelwiseLoss
from .tensors import at_class
from .true_class import log_not


def dual_focal_terms(logits: Tensor, target: Tensor) -> Tensor:
    """−Σ_i log(1 − (P_i − p_i)²) (Hossain 2019, eq. 7), exact at any logits: nothing is clamped.

    True class: log p + log(1 + (1−p)); the others: log(1−p) + log(1+p), with log(1−p) from the logits. Soft labels
    factor the same way: log(1−P+p) + log(1+P−p).
    """
    log_p = F.log_softmax(logits, dim=1)
    log_q = log_not(log_p)
    if target.is_floating_point():
        near = torch.logaddexp(torch.log1p(-target), log_p)
        far = torch.logaddexp(torch.log(target), log_q)
        return -(near + far).sum(1)
    true = at_class(target, logits.shape[1])
    certain = torch.where(true, log_p, log_q)
    other = torch.where(true, log_q, log_p).exp()
    return -(certain + torch.log1p(other)).sum(1)


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
