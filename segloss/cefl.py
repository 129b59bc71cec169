"""CEFL and CEFL2: between cross entropy and focal loss."""

from __future__ import annotations

from functools import partial
from typing import Unpack

import torch
from torch import Tensor

from .names import NOT_NEGATIVE, check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions
from .true_class import of_true_class


def cefl_terms(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """−(1−p) log p − p (1−p)^γ log p, p = p_y (Wang 2020, eq. 9)."""
    return of_true_class(partial(_cefl, gamma=gamma), logits, target)


def cefl2_terms(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """−[(1−p)² log p + p² (1−p)^γ log p] / [(1−p)² + p²], p = p_y (Wang 2020, eq. 11)."""
    return of_true_class(partial(_cefl2, gamma=gamma), logits, target)


def _cefl(log_p: Tensor, log_rest: Tensor, gamma: float) -> Tensor:
    p, rest = log_p.exp(), log_rest.exp()
    return -(rest + p * torch.exp(gamma * log_rest)) * log_p


def _cefl2(log_p: Tensor, log_rest: Tensor, gamma: float) -> Tensor:
    p, rest = torch.exp(2 * log_p), torch.exp(2 * log_rest)
    return -(rest + p * torch.exp(gamma * log_rest)) / (rest + p) * log_p


class CEFLoss(PixelwiseLoss):
    """−(1−p) log p − p (1−p)^γ log p per pixel, p = softmax(z)_y (Wang 2020, eq. 9).

    Cross entropy for pixels that are wrong, focal loss for those that are right: use it where `focal` learns the rare
    classes too slowly, since that one also shrinks the loss of hard pixels. Not for noisy masks.

    Args:
        gamma: ≥ 0; 0 gives cross entropy.
        class_weights, normalize, **options: see `PixelwiseLoss`.

    Raises:
        ValueError: gamma < 0.

    >>> even = torch.zeros(1, 2)  # p = ½: (½ + ½·¼) log 2
    >>> round(float(CEFLoss()(even, torch.tensor([0]))), 4)
    0.4332
    """

    formula = staticmethod(cefl_terms)

    def __init__(self, *, gamma: float = 2.0, **options: Unpack[PixelwiseOptions]) -> None:
        check_range("gamma", gamma, *NOT_NEGATIVE)
        super().__init__(**options)
        self.gamma = gamma


class CEFL2Loss(CEFLoss):
    """−[(1−p)² log p + p² (1−p)^γ log p] / [(1−p)² + p²] per pixel, p = softmax(z)_y (Wang 2020, eq. 11).

    `cefl` with a sharper turn from cross entropy to focal loss at p = ½: nearer to each on its side. When to use it and
    when not is the same; the paper finds the two about equal.

    Args:
        gamma: ≥ 0; 0 gives cross entropy.
        class_weights, normalize, **options: see `PixelwiseLoss`.

    Raises:
        ValueError: gamma < 0.

    >>> even = torch.zeros(1, 2)  # p = ½: (½ + ½·¼) log 2
    >>> round(float(CEFL2Loss()(even, torch.tensor([0]))), 4)
    0.4332
    """

    formula = staticmethod(cefl2_terms)
