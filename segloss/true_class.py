"""The family of losses that are a function of the true class's probability alone.

Such a loss is its scalar f(log p, log(1 − p)); both logarithms come from the logits and are exact near 0 and near 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .tensors import at_class, per_class, pick

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
    log_p = F.log_softmax(logits, dim=1)
    if scale is not None:
        scale = torch.as_tensor(scale)
        scale = per_class(scale if scale.dim() else scale.expand(logits.shape[1]), logits, "alpha")
    if target.is_floating_point():
        log_rest = log_not(log_p)
        values = f(near_one(log_p, log_rest), log_rest)
        return pick(values if scale is None else values * scale, target)
    log_rest = log_p.masked_fill(at_class(target, logits.shape[1]), -torch.inf).logsumexp(1)
    value = f(near_one(pick(log_p, target), log_rest), log_rest)
    return value if scale is None else scale.flatten()[target] * value


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
