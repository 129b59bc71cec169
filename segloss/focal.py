"""Softmax focal loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .class_weights import ClassWeights
from .pixelwise import Normalize, PixelwiseLoss
from .tensors import at_class, per_class, pick


def focal_terms(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: Tensor | None = None) -> Tensor:
    """−α_y (1−p_y)^γ log p_y (Hossain 2019, eq. 6 with the P_i it lacks; Wang 2020, eq. 7).

    (1−p)^γ is computed as exp(γ log(1−p)), log(1−p) from the logits of the other classes, so that value and gradient
    stay finite at p = 1 also for γ < 1. Soft labels give Σ_i P_i times the value of class i.
    """
    log_p = F.log_softmax(logits, dim=1)
    if target.is_floating_point():
        log_rest = log_not(log_p)
        values = -torch.exp(gamma * log_rest) * log_p
        return pick(values if alpha is None else values * per_class(alpha, logits), target)
    others = log_p.masked_fill(at_class(target, logits.shape[1]), -torch.inf)
    loss = -torch.exp(gamma * others.logsumexp(1)) * pick(log_p, target)
    return loss if alpha is None else alpha[target] * loss


def log_not(log_p: Tensor) -> Tensor:
    """log(1 − p_i) for every class, `(N, C, *spatial)`, exact also where p_i is near 1.

    Only the most probable class can be near 1; there it is the logsumexp of the other classes' log p.
    """
    top = at_class(log_p.argmax(1), log_p.shape[1])
    log_rest = log_p.masked_fill(top, -torch.inf).logsumexp(1, keepdim=True)
    return torch.where(top, log_rest, torch.log1p(-log_p.masked_fill(top, -torch.inf).exp()))


class FocalLoss(PixelwiseLoss):
    """−α_y (1−p_y)^γ log p_y per pixel, p = softmax(z) (Wang 2020, eq. 7; Hossain 2019, eq. 6).

    Args:
        gamma: ≥ 0; 0 gives cross entropy.
        alpha: a number, which scales all classes alike (the papers' 0.25), or one number a class.
        class_weights: see `PixelwiseLoss`.
        normalize: see `PixelwiseLoss`.
        **options: `num_classes`, `class_counts`, `ignore_index`, `reduction` of `PixelwiseLoss`.

    Raises:
        ValueError: gamma < 0, a negative alpha or one of the wrong length.
    """

    alpha: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | list[float] | None = None,
        class_weights: ClassWeights = None,
        normalize: Normalize = "pixels",
        **options: Any,
    ) -> None:
        if not 0 <= gamma < float("inf"):
            raise ValueError(f"gamma must be ≥ 0, got {gamma}")
        super().__init__(class_weights, normalize, **options)
        self.gamma = gamma
        self.register_buffer("alpha", _alpha(alpha, options.get("num_classes")))

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        """See `focal_terms`."""
        alpha = None if self.alpha is None else self.alpha.to(logits).expand(logits.shape[1])
        return focal_terms(logits, target, self.gamma, alpha)


def _alpha(alpha: float | list[float] | None, num_classes: int | None) -> Tensor | None:
    if alpha is None:
        return None
    values = torch.as_tensor(alpha, dtype=torch.float32).reshape(-1)
    if not bool((values.isfinite() & (values >= 0)).all()):
        raise ValueError(f"alpha must be finite and not negative, got {alpha}")
    if not isinstance(alpha, int | float) and num_classes is not None and len(values) != num_classes:
        raise ValueError(f"alpha must be a number or one number a class ({num_classes}), got {len(values)} numbers")
    return values
