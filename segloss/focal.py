"""Softmax focal loss."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Unpack

import torch
from torch import Tensor

from .class_weights import as_values
from .names import NOT_NEGATIVE, check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions
from .true_class import of_true_class


def focal_terms(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: Tensor | float | None = None) -> Tensor:
    """−α_y (1−p_y)^γ log p_y (Hossain 2019, eq. 6 with the P_i it lacks; Wang 2020, eq. 7); `alpha` 1 or C numbers."""
    return of_true_class(partial(_focal, gamma=gamma), logits, target, alpha)


def _focal(log_p: Tensor, log_rest: Tensor, gamma: float) -> Tensor:
    """(1−p)^γ as exp(γ log(1−p)): value and gradient stay finite at p = 1, also for γ < 1."""
    return -torch.exp(gamma * log_rest) * log_p


class FocalLoss(PixelwiseLoss):
    """−α_y (1−p_y)^γ log p_y per pixel, p = softmax(z) (Wang 2020, eq. 7; Hossain 2019, eq. 6).

    Pixels that are already right lose their say: use it where easy background fills the image and hard pixels are few.
    Not for noisy masks, whose wrong labels are the hard pixels, and not for the one-vs-rest focal loss of detectors,
    which is `sigmoid_focal`. For equal learning rates mind that with α ≤ 1 it is smaller than `ce` everywhere.

    Args:
        gamma: ≥ 0; 0 gives cross entropy.
        alpha: a number, which scales all classes alike (the papers' 0.25), or one number a class.
        class_weights, normalize, **options: see `PixelwiseLoss`.

    Raises:
        ValueError: gamma < 0, a negative alpha or one of the wrong length.

    >>> import torch
    >>> even = torch.zeros(1, 2)  # p = ½: (1 − ½)² log 2
    >>> round(float(FocalLoss()(even, torch.tensor([0]))), 4)
    0.1733
    """

    formula = staticmethod(focal_terms)
    alpha: Tensor | None

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        alpha: float | Sequence[float] | Tensor | None = None,
        **options: Unpack[PixelwiseOptions],
    ) -> None:
        check_range("gamma", gamma, *NOT_NEGATIVE)
        super().__init__(**options)
        self.gamma = gamma
        self.register_buffer("alpha", _alpha(alpha, self.num_classes))


def _alpha(alpha: float | Sequence[float] | Tensor | None, num_classes: int | None) -> Tensor | None:
    if alpha is None:
        return None
    values = as_values("alpha", alpha)
    check_range("alpha", alpha, "finite and not negative", lambda _: (values.isfinite() & (values >= 0)).all())
    if values.dim() > 1 or (values.dim() == 1 and num_classes not in (None, len(values))):
        raise ValueError(f"alpha must be a number or one number a class ({num_classes}), got {values.numel()} numbers")
    return values
