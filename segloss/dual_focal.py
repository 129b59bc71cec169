"""Dual focal loss of the 2019 preprint."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .closed_form import applies, derivative, recompute, save, twice_differentiable
from .pixelwise import PixelwiseLoss
from .tensors import at_class, pick, put
from .true_class import log_not, margin

NEAR = 0.5
"""Distances |P−p| below this are squared, above they are taken from their complement."""


def dual_focal_terms(logits: Tensor, target: Tensor) -> Tensor:
    """−Σ_i log(1 − (P_i − p_i)²) (Hossain 2019, eq. 7), right at any logits: nothing is clamped."""
    if not target.is_floating_point() and logits.shape[1] == 2:
        # Both terms are −log(p_y (2 − p_y)), which is log(1 + e^(−m)/(2 + e^m)), m the margin of the true class.
        found = margin(logits, target)
        log_denominator = math.log(2) + F.softplus(found - math.log(2), threshold=40)
        return 2 * F.softplus(-found - log_denominator, threshold=40)
    if target.is_floating_point() or not applies():
        return dual_focal_definition(logits, target)
    terms: Tensor = _DualFocal.apply(logits, target)
    return terms


def dual_focal_definition(logits: Tensor, target: Tensor) -> Tensor:
    """`dual_focal_terms` in plain operations, for autograd and for soft labels.

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


class _DualFocal(torch.autograd.Function):
    """The closed form for labels.

    The classes of a pixel are of three kinds: the true one y; the most probable other one, k, which alone of the false
    ones may be near 1; and the rest, all of p ≤ ½. With log p_y, log p_k and log(1−p_k) from the logits the rest needs
    one exponential and one logarithm each, and no case distinction. With a_i = dL/dlog p_i the gradient is
    a_i − p_i Σ_j a_j; what belongs to k in it is written with b = a_k (1−p_k), which stays finite.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        # The most probable false class k: its logit `high`, its index `top`.
        others = put(logits.clone(), target, -torch.inf)
        if torch.compiler.is_compiling():  # the compiler fuses a comparison, and not an index
            high, top = others.amax(1, keepdim=True), None
            ties = (others == high).sum(1, keepdim=True, dtype=logits.dtype) - 1  # as high as k, so p ≤ ½ as the rest
            others = others.masked_fill(others == high, -torch.inf)
        else:
            high, top = others.max(1, keepdim=True)
            ties = torch.zeros_like(high)
            others.scatter_(1, top, -torch.inf)
        # The rest, relative to its own largest logit `low`. Of two classes none is left: `low` is then `high`, and its
        # shares are 0.
        low = others.amax(1, keepdim=True)
        low = torch.where(low == -torch.inf, high, low)
        apart = others.sub_(low)
        share = apart.exp() if top is None else apart.exp_()
        # Logarithms of sums of exponentials, relative to that of k: of the rest, then of all false classes.
        log_rest = (low - high) + share.sum(1, keepdim=True).log()
        log_rest = torch.where(ties > 0, torch.logaddexp(log_rest, ties.log()), log_rest)
        log_others = F.softplus(log_rest, threshold=40)
        # log p_y and log(1−p_y) from the margin of the true class, as in `true_class`; then log p_k and log(1−p_k), the
        # latter from the sum of the true class and the rest.
        found = (pick(logits, target).unsqueeze(1) - high) - log_others
        log_true, log_false = F.logsigmoid(found), F.logsigmoid(-found)
        log_top = log_false - log_others
        log_not_top = torch.logaddexp(log_true, log_top + log_rest)
        log_scale = log_top + (low - high)  # p_i = scale · share_i for the rest

        # Of the rest: p², and half of a_i = 2 p²/(1 − p²).
        scale = log_scale.exp()
        if top is None:  # each with an exponential of its own: the compiler writes down one that is needed twice
            square = scale.square() * torch.exp(2 * apart)
            half = scale.square() / (torch.exp(-2 * apart) - scale.square())
        else:
            square = (share * scale).square_()
            half = square / (1 - square)
        # What the backward pass multiplies by the incoming gradient, one number a pixel: at y, at k, and for the rest
        # the factor of its shares. `slope` is Σ a over the rest, `u` the p² of classes that tie with k.
        slope = 2 * half.sum(1, keepdim=True)
        rest = square.neg_().log1p_().sum(1, keepdim=True)
        of_top = _log_not_square(log_top, log_not_top)

        p, p_top, q = log_true.exp(), log_top.exp(), log_false.exp()
        u = torch.where(ties > 0, p_top.square(), 0.0)
        slope = slope + 2 * ties * u / (1 - u)
        b = 2 * p_top.square() / (1 + p_top)
        sum_a = slope - 2 * q / (1 + q)
        by_true = -p * slope - 2 * q * q / (1 + q) - torch.exp(log_true - log_not_top) * b
        by_top = b - p_top * sum_a
        by_rest = scale * sum_a + torch.exp(log_scale - log_not_top) * b
        kept = save(logits, share), save(logits, half)
        ctx.save_for_backward(logits, target, high, top, low, scale, by_true, by_top, by_rest, *kept)
        return -(_log_not_square(log_false, log_true) + (1 + ties) * of_top + rest).squeeze(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, target, high, top, low, scale, by_true, by_top, by_rest, share, half = ctx.saved_tensors
        if twice_differentiable():
            return derivative(dual_focal_definition, logits, target, grad), None
        grad = grad.unsqueeze(1)
        share = recompute(share, lambda z: torch.exp(z - low), grad)
        if top is None:
            half = 1 / (1 / (share * scale).square() - 1)
        # a_i − p_i Σ_j a_j for every class as if it were of the rest; then k's and the true class's are put in.
        gradient = (half * (2 * grad)).addcmul_(share, by_rest * grad, value=-1)
        if top is None:
            gradient = torch.where(logits == high, by_top * grad, gradient)
        else:
            gradient.scatter_(1, top, by_top * grad)
        return put(gradient, target, by_true * grad), None


def _log_not_square(log_d: Tensor, log_not_d: Tensor) -> Tensor:
    """log(1 − d²) of log d and log(1−d)."""
    limit = math.log(NEAR)
    near = torch.log1p(-torch.exp(2 * log_d.clamp_max(limit)))  # infinite beyond the limit, in its gradient too
    return torch.where(log_d < limit, near, log_not_d + torch.log1p(log_d.exp()))


class DualFocalLoss(PixelwiseLoss):
    """−Σ_i log(1 − (P_i − p_i)²) per pixel, p = softmax(z) (Hossain 2019, eq. 7).

    On the true class the loss is CE − log(2 − p), so in [CE − log 2, CE]; every other class adds a term ≥ 0, its own
    feedback. Use it where a sure mistake should cost on both classes that take part in it. Not to re-weigh classes: it
    knows none; `class_weights` or the `AdaptiveClassWeight` layer of the model do that (ADFL is the latter). Two other
    losses go by this name: the authors' journal form, here `dfl2021`, and a calibration loss of 2023.

    Args:
        class_weights, normalize, num_classes, class_counts, ignore_index, reduction: see `PixelwiseLoss`.

    >>> even = torch.zeros(1, 2)  # p = ½: −2 log ¾
    >>> round(float(DualFocalLoss()(even, torch.tensor([0]))), 4)
    0.5754
    """

    formula = staticmethod(dual_focal_terms)
