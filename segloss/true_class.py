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


def of_true_class(f: OfTrueClass, logits: Tensor, target: Tensor, scale: Tensor | None = None) -> Tensor:
    """s_y f(log p_y, log(1−p_y)) at each pixel, y the true class; soft labels give Σ_i P_i s_i f(log p_i, log(1−p_i)).

    Args:
        f: elementwise.
        logits: `(N, C, *spatial)`.
        target: `(N, *spatial)` labels or `(N, C, *spatial)` soft labels.
        scale: `(C,)`, s; 1 when left out.

    Returns:
        `(N, *spatial)`.
    """
    log_p = F.log_softmax(logits, dim=1)
    if target.is_floating_point():
        values = f(log_p, log_not(log_p))
        return pick(values if scale is None else values * per_class(scale, logits), target)
    others = log_p.masked_fill(at_class(target, logits.shape[1]), -torch.inf)
    value = f(pick(log_p, target), others.logsumexp(1))
    return value if scale is None else scale[target] * value


def log_not(log_p: Tensor) -> Tensor:
    """log(1 − p_i) for every class, `(N, C, *spatial)`, exact also where p_i is near 1.

    Only the most probable class can be near 1; there it is the logsumexp of the other classes' log p.
    """
    top = at_class(log_p.argmax(1), log_p.shape[1])
    log_rest = log_p.masked_fill(top, -torch.inf).logsumexp(1, keepdim=True)
    return torch.where(top, log_rest, torch.log1p(-log_p.masked_fill(top, -torch.inf).exp()))
