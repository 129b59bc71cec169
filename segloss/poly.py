"""Poly-1 cross entropy."""

from __future__ import annotations

from functools import partial
from typing import Unpack

from torch import Tensor

from .names import check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions
from .true_class import of_true_class


def poly1_terms(logits: Tensor, target: Tensor, epsilon: float = 1.0) -> Tensor:
    """−log p + ε (1 − p), p = p_y (Leng 2022)."""
    return of_true_class(partial(_poly1, epsilon=epsilon), logits, target)


def _poly1(log_p: Tensor, log_rest: Tensor, epsilon: float) -> Tensor:
    return -log_p + epsilon * log_rest.exp()


class Poly1Loss(PixelwiseLoss):
    """−log p + ε (1 − p) per pixel, p = softmax(z)_y (Leng 2022).

    Cross entropy with the first term of its Taylor series in 1 − p re-weighted. With ε > 0 pixels that are nearly right
    keep more gradient, with ε < 0 less: use it as a cheap one-parameter search around `ce`. Not as a remedy of
    imbalance by itself: it knows no class.

    Args:
        epsilon: ≥ −1; 0 gives cross entropy.
        class_weights, normalize, **options: see `PixelwiseLoss`.

    Raises:
        ValueError: epsilon < −1.

    >>> import torch
    >>> even = torch.zeros(1, 2)  # p = ½: log 2 + ½
    >>> round(float(Poly1Loss()(even, torch.tensor([0]))), 4)
    1.1931
    """

    formula = staticmethod(poly1_terms)

    def __init__(self, *, epsilon: float = 1.0, **options: Unpack[PixelwiseOptions]) -> None:
        check_range("epsilon", epsilon, "≥ -1", lambda v: -1 <= v < float("inf"))
        super().__init__(**options)
        self.epsilon = epsilon
