"""Dual focal loss of the 2021 journal paper."""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from .names import NOT_NEGATIVE, check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions
from .tensors import one_hot, pick
from .true_class import log_not, near_one


def dual_focal_2021_terms(
    logits: Tensor, target: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0, rho: float = 1.0
) -> Tensor:
    """−Σ_i [P_i log p_i + β (1−P_i) log(ρ−p_i) − α |P_i−p_i|^γ] (Hossain 2021); |P−p| of hard labels is exact at 0."""
    log_p = F.log_softmax(logits, dim=1)
    log_rest = log_not(log_p)
    log_p = near_one(log_p, log_rest)
    wanted = one_hot(target, logits.shape[1])
    if target.is_floating_point():
        distance = (wanted - log_p.exp()).abs()
        away = distance > 0
        modulus = torch.where(away, torch.where(away, distance, 1.0).pow(gamma), 1.0 if gamma == 0 else 0.0)
    else:
        modulus = torch.exp(gamma * torch.where(wanted, log_rest, log_p))
    negative = 1 - wanted.to(logits.dtype)
    far = log_rest if rho == 1 else torch.log(rho - log_p.exp())
    return (alpha * modulus - beta * negative * far).sum(1) - pick(log_p, target)


class DualFocal2021Loss(PixelwiseLoss):
    """−Σ_i [P_i log p_i + β (1−P_i) log(ρ−p_i) − α |P_i−p_i|^γ] per pixel, p = softmax(z) (Hossain 2021).

    The authors' journal form, another loss than the preprint's `dfl`: cross entropy on true and false classes plus the
    distance |P−p|. Use it to compare with that paper; with `rho` a little above 1 the loss of a sure mistake on the
    false classes stays bounded. Not as a drop-in for `dfl`: with these defaults it is nowhere the smaller.

    Args:
        alpha: ≥ 0, of the distance.
        beta: ≥ 0, of the false classes.
        gamma: ≥ 0, the power of the distance.
        rho: ≥ 1.
        class_weights, normalize, **options: see `PixelwiseLoss`.

    Raises:
        ValueError: alpha, beta or gamma < 0, rho < 1.

    >>> even = torch.zeros(1, 2)  # p = ½: log 2 + log 2 + ½ + ½
    >>> round(float(DualFocal2021Loss()(even, torch.tensor([0]))), 4)
    2.3863
    """

    formula = staticmethod(dual_focal_2021_terms)

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        rho: float = 1.0,
        **options: Unpack[PixelwiseOptions],
    ) -> None:
        for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
            check_range(name, value, *NOT_NEGATIVE)
        check_range("rho", rho, "≥ 1", lambda v: 1 <= v < float("inf"))
        super().__init__(**options)
        self.alpha, self.beta, self.gamma, self.rho = alpha, beta, gamma, rho
