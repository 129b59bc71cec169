"""One-vs-rest losses: each class is a binary problem of its own, summed over classes."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Activation
from .closed_form import applies, derivative, recompute, save, twice_differentiable
from .names import NOT_NEGATIVE, check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions
from .tensors import one_hot, pick, put


def sigmoid_ce_terms(logits: Tensor, target: Tensor) -> Tensor:
    """−Σ_i [P_i log q_i + (1−P_i) log(1−q_i)], q = sigmoid(z) (Cui 2019, eq. 10)."""
    return sigmoid_focal_terms(logits, target, 0.0, None)


def sigmoid_focal_terms(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: float | None = 0.25) -> Tensor:
    """−Σ_i [α P_i (1−q_i)^γ log q_i + (1−α)(1−P_i) q_i^γ log(1−q_i)], q = sigmoid(z) (Lin 2017, eq. 5).

    Hossain 2019 misprints the q^γ of the negatives in eq. 9. Without α both sides weigh 1 (Cui 2019, eq. 12).
    """
    if target.is_floating_point() or logits.shape[1] == 1 or not applies(gamma, alpha):
        return sigmoid_focal_definition(logits, target, gamma, alpha)
    terms: Tensor = _SigmoidFocal.apply(logits, target, gamma, alpha)
    return terms


def sigmoid_focal_definition(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: float | None = 0.25) -> Tensor:
    """`sigmoid_focal_terms` in plain operations, for autograd, soft labels and a binary logit.

    The powers are exp(γ log ·), so value and gradient stay finite at q = 0 and q = 1, also for γ < 1.
    """
    positive = one_hot(target, logits.shape[1]).to(logits.dtype)
    log_q, log_rest = F.logsigmoid(logits), F.logsigmoid(-logits)
    hit = positive * torch.exp(gamma * log_rest) * log_q
    miss = (1 - positive) * torch.exp(gamma * log_q) * log_rest
    return -(hit + miss if alpha is None else alpha * hit + (1 - alpha) * miss).sum(1)


class _SigmoidFocal(torch.autograd.Function):
    """The closed form for labels: every class as a negative, then the true one put right.

    With m the probability of the mistake (q for a negative), a term is −m^γ log(1−m), and its derivative by the logit
    of m is m^γ (m − γ (1−m) log(1−m)).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, gamma: float, alpha: float | None) -> Tensor:
        ctx.gamma, ctx.alpha = gamma, alpha
        hit, miss = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
        # All classes as negatives, for which the mistake is q = sigmoid(z); the true class then costs 0 in their sum.
        m, cost = _mistake(logits, gamma)
        cost = put(cost, target, 0.0)
        ctx.save_for_backward(logits, target, save(logits, m), save(logits, cost))
        # Of the true class the mistake is 1 − q = sigmoid(−z).
        return miss * cost.sum(1) + hit * _mistake(-pick(logits, target), gamma)[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        logits, target, m, cost = ctx.saved_tensors
        if twice_differentiable():
            definition = partial(sigmoid_focal_definition, gamma=ctx.gamma, alpha=ctx.alpha)
            return derivative(definition, logits, target, grad), None, None, None
        grad = grad.unsqueeze(1)
        hit, miss = (1.0, 1.0) if ctx.alpha is None else (ctx.alpha, 1 - ctx.alpha)
        m = recompute(m, torch.sigmoid, grad)
        cost = recompute(cost, lambda z: _mistake(z, ctx.gamma)[1], grad)
        slope = _slope(m, cost, ctx.gamma) * (miss * grad)
        # The true class's value replaces its negative's; the sign is that of d(−z)/dz.
        of_true = _slope(*_mistake(-logits.gather(1, target.unsqueeze(1)), ctx.gamma), ctx.gamma)
        return put(slope, target, of_true * (-hit * grad)), None, None, None


def _mistake(logits: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The probability of a mistake, m = sigmoid(logits), and its cost, −m^γ log(1−m)."""
    m, cost = torch.sigmoid(logits), F.softplus(logits, threshold=40)  # −log(1−m) = softplus; linear beyond 40 anyhow
    return m, cost if gamma == 0 else cost.mul_(m.pow(gamma))


def _slope(m: Tensor, cost: Tensor, gamma: float) -> Tensor:
    """The derivative of the cost by the logit: m^(γ+1) + γ (1−m) · cost."""
    return m if gamma == 0 else m.pow(gamma + 1).addcmul_(1 - m, cost, value=gamma)


def prior_bias_(bias: Tensor, prior: float | None = None) -> Tensor:
    """Fill the bias of a head that a sigmoid loss trains with −log((1−π)/π), so that every class starts at q = π.

    Without it the many negatives dominate the first steps (Lin 2017, 4.1; Cui 2019, 4.2). Give this bias no weight
    decay.

    Args:
        bias: `(C,)`, changed in place.
        prior: π, in (0, 1); 1/C when left out, ½ for a binary logit.

    Returns:
        The bias.

    Raises:
        TypeError: something that is no tensor.
        ValueError: a prior outside (0, 1).

    >>> head = torch.nn.Conv2d(8, 4, 1)
    >>> prior_bias_(head.bias).sigmoid().tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    if not isinstance(bias, Tensor):
        raise TypeError(f"the bias of a head is filled, head.bias; got {type(bias).__name__}")
    prior = 1 / max(bias.numel(), 2) if prior is None else prior
    check_range("prior", prior, "in (0, 1)", lambda v: 0 < v < 1)
    with torch.no_grad():
        return bias.fill_(-math.log((1 - prior) / prior))


class SigmoidCrossEntropyLoss(PixelwiseLoss):
    """−Σ_i [P_i log q_i + (1−P_i) log(1−q_i)] per pixel, q = sigmoid(z), summed over classes (Cui 2019, eq. 10).

    Use it where classes overlap (soft labels may be 1 for several) or for a binary logit (C = 1). Not where classes
    exclude each other and `ce` would do: C − 1 of its C terms are negatives, most of them easy; nor with class weights
    where a pixel may belong to no class, since its weight Σ P_i w_i is then 0. Start the head's bias with
    `prior_bias_`.

    Args:
        class_weights, normalize, **options: see `PixelwiseLoss`.

    >>> even = torch.zeros(1, 3)  # q = ½ for each of 3 classes: 3 log 2
    >>> round(float(SigmoidCrossEntropyLoss()(even, torch.tensor([0]))), 4)
    2.0794
    """

    formula = staticmethod(sigmoid_ce_terms)
    activation: Activation = "sigmoid"


class SigmoidFocalLoss(PixelwiseLoss):
    """−Σ_i [α P_i (1−q_i)^γ log q_i + (1−α)(1−P_i) q_i^γ log(1−q_i)] per pixel, q = sigmoid(z) (Lin 2017, eq. 5).

    The focal loss of detectors, one-vs-rest, summed over classes: use it for a binary logit or for overlapping classes
    with many easy negatives. Not for classes that exclude each other: that is `focal`, and the two differ by far. Start
    the head's bias with `prior_bias_`.

    Args:
        gamma: ≥ 0; 0 gives sigmoid cross entropy (weighed by α).
        alpha: in [0, 1], the weight of positives, 1 − alpha that of negatives; null for 1 and 1.
        class_weights, normalize, **options: see `PixelwiseLoss`.

    Raises:
        ValueError: gamma < 0, alpha outside [0, 1].

    >>> even = torch.zeros(1, 1)  # a binary logit, q = ½: ¼·¼ log 2
    >>> round(float(SigmoidFocalLoss()(even, torch.tensor([1]))), 4)
    0.0433
    """

    formula = staticmethod(sigmoid_focal_terms)
    activation: Activation = "sigmoid"

    def __init__(self, *, gamma: float = 2.0, alpha: float | None = 0.25, **options: Unpack[PixelwiseOptions]) -> None:
        check_range("gamma", gamma, *NOT_NEGATIVE)
        check_range("alpha", alpha, "in [0, 1], or None", lambda v: v is None or 0 <= v <= 1)
        super().__init__(**options)
        self.gamma, self.alpha = gamma, alpha
