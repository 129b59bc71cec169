"""The family of losses that are a function of the true class's probability alone.

Such a loss is its scalar f(log p, log(1 − p)). Both logarithms come from one number a pixel, the margin of the true
class, so that they are exact near 0 and near 1, and the whole family shares one gradient. Of two classes it is the
difference of their logits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .closed_form import applies, derivative, recompute, save, twice_differentiable
from .tensors import at_class, per_class, pick, put

OfTrueClass = Callable[[Tensor, Tensor], Tensor]


def of_true_class(f: OfTrueClass, logits: Tensor, target: Tensor, scale: Tensor | float | None = None) -> Tensor:
    """s_y f(log p_y, log(1−p_y)) at each pixel, y the true class; soft labels give Σ_i P_i s_i f(log p_i, log(1−p_i)).

    Args:
        f: elementwise.
        logits: `(N, C, *spatial)`.
        target: `(N, *spatial)` labels or `(N, C, *spatial)` soft labels.
        scale: s, one number or one a class; 1 when left out.

    Returns:
        `(N, *spatial)`.
    """
    if scale is not None:
        scale = torch.as_tensor(scale)
        scale = per_class(scale if scale.dim() else scale.expand(logits.shape[1]), logits, "alpha")
    if target.is_floating_point():
        log_p = F.log_softmax(logits, dim=1)
        log_rest = log_not(log_p)
        values = f(near_one(log_p, log_rest), log_rest)
        return pick(values if scale is None else values * scale, target)
    value = f(*true_class(logits, target))
    return value if scale is None else scale.flatten()[target] * value


def true_class(
    logits: Tensor,
    target: Tensor,
    scale: float = 1.0,
    shift: Tensor | None = None,
    handicap: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The logarithms of p_y and of 1−p_y at each pixel, y the true class; both `(N, *spatial)`; see `margin`."""
    found = margin(logits, target, scale, shift, handicap)
    return F.logsigmoid(found), F.logsigmoid(-found)


def margin(
    logits: Tensor,
    target: Tensor,
    scale: float = 1.0,
    shift: Tensor | None = None,
    handicap: Tensor | None = None,
) -> Tensor:
    """The margin of the true class y at each pixel, z_y − log Σ_{j≠y} exp z_j, `(N, *spatial)`; p_y is its sigmoid.

    Args:
        logits: `(N, C, *spatial)`.
        target: `(N, *spatial)` labels.
        scale: z is this times the logits,
        shift: plus this, broadcast to them,
        handicap: less this, `(N, *spatial)`, at the true class.
    """
    if logits.shape[1] == 2:
        first, second = _affine(logits, scale, shift).unbind(1)
        found = (second - first) * target.to(first.dtype).mul_(2).sub_(1)
    elif applies(scale, shift):
        found = _Margin.apply(logits, target, scale, shift)
    else:
        found = margin_definition(logits, target, scale, shift)
    return found if handicap is None else found - handicap


def margin_definition(logits: Tensor, target: Tensor, scale: float = 1.0, shift: Tensor | None = None) -> Tensor:
    """`margin` in plain operations, for autograd."""
    z = _affine(logits, scale, shift)
    return pick(z, target) - z.masked_fill(at_class(target, z.shape[1]), -torch.inf).logsumexp(1)


class _Margin(torch.autograd.Function):
    """The closed form: the gradient is 1 at the true class, and minus their softmax among themselves at the others."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, scale: float, shift: Tensor | None) -> Tensor:
        z = _affine(logits, scale, shift)
        # log Σ_{j≠y} exp z_j, with the largest z_j taken out so that no exponential overflows. Where there is no other
        # finite logit the maximum is −∞, and the lowest number is taken out in its place: −∞ − (−∞) would be NaN.
        others = put(z.clone(), target, -torch.inf)
        top = others.amax(1, keepdim=True).clamp_min(torch.finfo(z.dtype).min)
        share = others.sub_(top).exp_()
        total = share.sum(1)
        ctx.scale = scale
        ctx.save_for_backward(logits, target, shift, top, total, save(logits, share))
        # The two large numbers are subtracted first: z_y − (top + log total) would round the small logarithm away.
        return (pick(z, target) - top.squeeze(1)) - total.log()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        logits, target, shift, top, total, kept = ctx.saved_tensors
        if twice_differentiable():
            definition = partial(margin_definition, scale=ctx.scale, shift=shift)
            return derivative(definition, logits, target, grad), None, None, None
        grad = (ctx.scale * grad).unsqueeze(1)
        share = recompute(kept, lambda z: torch.exp(_affine(z, ctx.scale, shift) - top), grad)
        least = torch.finfo(total.dtype).tiny  # of no other finite logit the shares are 0
        return put(share * (-grad / total.unsqueeze(1).clamp_min(least)), target, grad), None, None, None


def _affine(logits: Tensor, scale: float, shift: Tensor | None) -> Tensor:
    logits = logits if scale == 1 else scale * logits
    return logits if shift is None else logits + shift


def near_one(log_p: Tensor, log_rest: Tensor) -> Tensor:
    """Log p, computed from log(1−p) where p is near 1: there log-softmax rounds it to multiples of 1e-7."""
    sure = log_rest < -1  # p > 1 − 1/e; the inner `where` keeps infinite gradients out of the branch not taken
    return torch.where(sure, torch.log1p(-torch.where(sure, log_rest, -1.0).exp()), log_p)


def log_not(log_p: Tensor) -> Tensor:
    """log(1 − p_i) for every class, `(N, C, *spatial)`, exact also where p_i is near 1.

    Only the most probable class can be near 1; there it is the logsumexp of the other classes' log p.
    """
    top = at_class(log_p.argmax(1), log_p.shape[1])
    log_rest = log_p.masked_fill(top, -torch.inf).logsumexp(1, keepdim=True)
    return torch.where(top, log_rest, torch.log1p(-log_p.masked_fill(top, -torch.inf).exp()))
