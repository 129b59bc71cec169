"""The family of losses that are a function of the true class's probability alone.

Such a loss is its scalar f(log p, log(1 − p)). Both logarithms come from one number a pixel, the margin of the true
class, so that they are exact near 0 and near 1, and one gradient serves the whole family.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .closed_form import derivative, late, twice_differentiable
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
    value = of_margin(f, true_margin(logits, target))
    return value if scale is None else scale.flatten()[target] * value


def of_margin(f: OfTrueClass, margin: Tensor) -> Tensor:
    """f(log p, log(1−p)) where p is the sigmoid of the margin."""
    return f(F.logsigmoid(margin), F.logsigmoid(-margin))


def true_margin(logits: Tensor, target: Tensor) -> Tensor:
    """z_y − log Σ_{j≠y} exp z_j at each pixel, y the true class: p_y is its sigmoid; `(N, *spatial)`."""
    margin: Tensor = _TrueMargin.apply(logits, target)
    return margin


def true_margin_terms(logits: Tensor, target: Tensor) -> Tensor:
    """`true_margin` as its definition says, for autograd."""
    others = logits.masked_fill(at_class(target, logits.shape[1]), -torch.inf)
    return pick(logits, target) - others.logsumexp(1)


class _TrueMargin(torch.autograd.Function):
    """The gradient is 1 for the true class and minus the softmax of the others for them."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        others = put(logits, target, -torch.inf)
        top = others.amax(1, keepdim=True)
        top = torch.where(top == -torch.inf, 0.0, top)
        total = torch.exp(others - top).sum(1, keepdim=True)
        ctx.save_for_backward(logits, target, top, total)
        return ((logits.gather(1, target.unsqueeze(1)) - top) - total.log()).squeeze(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, target, top, total = ctx.saved_tensors
        if twice_differentiable():
            return derivative(true_margin_terms, logits, target, grad), None
        grad = grad.unsqueeze(1)
        share = torch.where(total > 0, -grad / total, 0.0)
        return put(torch.exp(late(logits, grad) - top) * share, target, grad), None


def near_one(log_p: Tensor, log_rest: Tensor) -> Tensor:
    """Log p, worked out of log(1−p) where p is near 1: there log-softmax rounds it to multiples of 1e-7."""
    sure = log_rest < -1
    return torch.where(sure, torch.log1p(-torch.where(sure, log_rest, -1.0).exp()), log_p)


def log_not(log_p: Tensor) -> Tensor:
    """log(1 − p_i) for every class, `(N, C, *spatial)`, exact also where p_i is near 1.

    Only the most probable class can be near 1; there it is the logsumexp of the other classes' log p.
    """
    top = at_class(log_p.argmax(1), log_p.shape[1])
    log_rest = log_p.masked_fill(top, -torch.inf).logsumexp(1, keepdim=True)
    return torch.where(top, log_rest, torch.log1p(-log_p.masked_fill(top, -torch.inf).exp()))
