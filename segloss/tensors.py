"""Arithmetic on tensors of logits and labels that losses share; internal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .closed_form import applies


def of_valid(logits: Tensor, counted: Tensor) -> Tensor:
    """The logits as they are, with no gradient where they do not count, even where they are NaN.

    Args:
        logits: `(N, C, *spatial)`.
        counted: `(N, 1, *spatial)` bool, or `(N, C, *spatial)`.
    """
    if not applies():
        return torch.where(counted, logits, 0.0)
    same: Tensor = _Masked.apply(logits, counted, False)
    return same


def masked(values: Tensor, counted: Tensor) -> Tensor:
    """The values where they count, and 0 elsewhere, even where they are NaN; so is the gradient.

    Args:
        values: floating.
        counted: bool, broadcast to the values.
    """
    if torch.compiler.is_compiling() or not applies():
        return torch.where(counted, values, 0.0)
    found: Tensor = _Masked.apply(values, counted, True)
    return found


class _Masked(torch.autograd.Function):
    """Masks the gradient, and the values where they are wanted so: otherwise no masked copy of them is made."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, counted: Tensor, forward: bool) -> Tensor:
        ctx.save_for_backward(counted)
        return zeroed(values, counted) if forward else values.view_as(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (counted,) = ctx.saved_tensors
        return zeroed(grad, counted), None, None


def zeroed(values: Tensor, counted: Tensor) -> Tensor:
    """See `masked`; differentiable where autograd is on."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or values.device.type != "cpu":
        return torch.where(counted, values, 0.0)
    # On a CPU `where` branches at every element; to AND all bits, or none, takes a fifth of its time.
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()]
    return (values.view(bits) & counted.to(bits).neg_()).view(values.dtype)


def pick(values: Tensor, target: Tensor) -> Tensor:
    """Per-class values `(N, C, *spatial)` at the true class, `(N, *spatial)`; soft labels give Σ_i P_i values_i."""
    if target.is_floating_point():
        return (values * target).sum(1)
    if torch.compiler.is_compiling():  # fused, where a gather is not
        return torch.where(at_class(target, values.shape[1]), values, 0.0).sum(1)
    return values.gather(1, target.unsqueeze(1)).squeeze(1)


def one_hot(target: Tensor, classes: int) -> Tensor:
    """The target of each logit, `(N, classes, *spatial)`: bool from labels, soft labels as they are.

    For a binary logit (`classes` = 1) it is true where the label is 1.
    """
    if target.is_floating_point():
        return target
    return target.unsqueeze(1) == 1 if classes == 1 else at_class(target, classes)


def put(values: Tensor, target: Tensor, new: Tensor | float) -> Tensor:
    """Values `(N, C, *spatial)` with `new`, a number or `(N, 1, *spatial)`, at the class `(N, *spatial)`, in place.

    Returns the result: in a compiled graph, where a comparison is fused and a scatter is not, the values stay.
    """
    if torch.compiler.is_compiling():
        return torch.where(at_class(target, values.shape[1]), new, values)
    return values.scatter_(1, target.unsqueeze(1), new)


def two_classes(soft: Tensor) -> Tensor:
    """Soft labels of a binary logit, `(N, 1, *spatial)`, as those of two classes; others as they are."""
    return torch.cat([1 - soft, soft], dim=1) if soft.shape[1] == 1 else soft


def per_class(values: Tensor | Sequence[float], like: Tensor, name: str = "class_weights") -> Tensor:
    """One value a class `(C,)`, in the dtype and on the device of `(N, C, *spatial)`, shaped to broadcast over it.

    Raises:
        ValueError: not one value for each of the C classes; the message begins with the name.
    """
    values = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    if tuple(values.shape) != (like.shape[1],):
        raise ValueError(f"{name} must hold one number a class ({like.shape[1]}), got shape {tuple(values.shape)}")
    return values.view(1, -1, *[1] * (like.dim() - 2))


def full(logits: Tensor) -> Tensor:
    """In float32, or float64 as they are."""
    return logits if logits.dtype == torch.float64 else logits.float()


def exact(device: torch.device) -> torch.dtype:
    """The dtype in which sums over pixels are taken."""
    return torch.float32 if device.type == "mps" else torch.float64


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Numerator over denominator; 0 where the denominator is 0, or so small that its square (in the gradient) is."""
    least = torch.finfo(denominator.dtype).tiny ** 0.5 if denominator.is_floating_point() else 0
    defined = denominator > least
    return torch.where(defined, numerator, 0.0) / torch.where(defined, denominator, 1)


def at_class(index: Tensor, classes: int) -> Tensor:
    """One-hot of an index map as bool: `(N, *spatial)` to `(N, C, *spatial)`, without an int64 copy of it."""
    order = torch.arange(classes, device=index.device, dtype=torch.int32)
    return index.to(torch.int32).unsqueeze(1) == order.view(1, -1, *[1] * (index.dim() - 1))


def plain(values: Tensor) -> Tensor:
    """As torch's own class: MONAI's `MetaTensor` follows a batch item by item, which a sum over pixels has none of."""
    return values if type(values) is Tensor else values.as_subclass(Tensor)


def numbered(name: str, ids: Tensor | Sequence[int]) -> Tensor:
    """Ids as an integer tensor; a `ValueError` that begins with their name where they are no whole numbers."""
    try:
        found = torch.as_tensor(ids)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must hold whole numbers as ids, got {ids!r:.60}; number what has a name") from error
    if found.is_floating_point() and found.numel():
        raise ValueError(f"{name} must hold whole numbers as ids, got {found.dtype}; number what has a name")
    return found.long()


def sent(ids: Tensor, device: torch.device) -> Tensor:
    """The ids on a device, without waiting for it."""
    if device.type == "cuda" and not ids.is_cuda:
        ids = ids.pin_memory()
    return ids.to(device, non_blocking=True)
