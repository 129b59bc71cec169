"""From checked arguments to what a loss computes on: upcast, with ignored pixels masked; internal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .closed_form import applies

ROUNDING = 0.01
"""How far soft labels may lie outside [0, 1], and their sum from 1, from resizing or half precision."""


class Pixels(NamedTuple):
    """Logits and target of one call, ready for the per-pixel terms of a loss.

    Attributes:
        logits: `(N, C, *spatial)`, float32 or float64; anything at pixels that do not count, where no gradient flows
            back from. C ≥ 2, but 1 for a binary logit that is kept.
        target: `(N, *spatial)` int64 in 0..C−1 (0 where it does not count), or soft labels `(N, C, *spatial)`.
        valid: `(N, *spatial)` bool, true where the pixel counts.
        fault: a scalar to be added to the loss: 0, or NaN when a target that counts is none.
    """

    logits: Tensor
    target: Tensor
    valid: Tensor
    fault: Tensor


def prepare(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    ignore_index: int = 255,
    one_vs_rest: bool = False,
    exclusive: bool = False,
) -> Pixels:
    """Upcast and mask what `segloss.arguments.checked` has let through.

    What a loss makes of pixels that do not count, it drops itself; see `of_valid` for their gradient. A binary logit
    (C = 1) becomes the two classes `[0, x]`, or stays as it is for losses that take each logit by itself.

    Args:
        logits: `(N, C, *spatial)`, floating; computed in float32, or float64 when given in it.
        target: `(N, *spatial)` integer labels, or `(N, C, *spatial)` floating soft labels.
        mask: `(N, *spatial)` bool, true where a pixel counts.
        ignore_index: the label that does not count.
        one_vs_rest: keep a binary logit, and soft labels of it, at C = 1.
        exclusive: the classes exclude each other: soft labels must sum to 1.
    """
    soft = target.is_floating_point()
    classes = max(logits.shape[1], 2)
    labels = target if soft else target.long()
    valid = valid_pixels(labels, mask, ignore_index)
    foreign = foreign_labels(labels, valid, classes)
    fault = foreign.any() | not_summing_to_one(labels, valid).any() if soft and exclusive else foreign.any()
    logits = full(logits)
    if logits.shape[1] == 1 and not one_vs_rest:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        labels = two_classes(labels) if soft else labels
    if soft:
        labels = torch.where(valid.unsqueeze(1), labels.to(logits.dtype), 0.0).clamp(0.0, 1.0)
    else:
        labels = torch.where(valid & ~foreign, labels, 0)
    return Pixels(logits, labels, valid, torch.where(fault, torch.nan, 0.0).to(logits.dtype))


def of_valid(logits: Tensor, valid: Tensor) -> Tensor:
    """The logits as they are, with no gradient at pixels that do not count, even where they are NaN."""
    if not applies():
        return torch.where(valid.unsqueeze(1), logits, 0.0)
    same: Tensor = _OfValid.apply(logits, valid)
    return same


class _OfValid(torch.autograd.Function):
    """Masks the gradient and not the logits, so that no masked copy of them is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, valid: Tensor) -> Tensor:
        ctx.save_for_backward(valid)
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (valid,) = ctx.saved_tensors
        return torch.where(valid.unsqueeze(1), grad, 0.0), None


def foreign_labels(target: Tensor, valid: Tensor, classes: int) -> Tensor:
    """Where a target that counts is none: labels outside 0..C−1, `(N, *spatial)`; soft ones, `(N, C, *spatial)`."""
    if target.is_floating_point():
        return valid.unsqueeze(1) & ~((target >= -ROUNDING) & (target <= 1 + ROUNDING))
    return valid & ((target < 0) | (target >= classes))


def not_summing_to_one(target: Tensor, valid: Tensor) -> Tensor:
    """Where soft labels that count do not sum to 1 over the classes, `(N, *spatial)`; those of a binary logit do."""
    return valid & ((two_classes(target).sum(1) - 1).abs() > ROUNDING)


def valid_pixels(target: Tensor, mask: Tensor | None = None, ignore_index: int = 255) -> Tensor:
    """Where a pixel counts: `(N, *spatial)` bool, from labels `(N, *spatial)` or soft labels `(N, C, *spatial)`."""
    if target.is_floating_point():
        valid = torch.ones_like(target[:, 0], dtype=torch.bool)
    else:  # torch would wrap a number that the labels' dtype cannot hold: 255 is -1 in int8
        bounds = torch.iinfo(target.dtype)
        held = bounds.min <= ignore_index <= bounds.max
        valid = target != ignore_index if held else torch.ones_like(target, dtype=torch.bool)
    return valid if mask is None else valid & mask


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


def pixels_of(target: Tensor) -> list[int]:
    """The shape `(N, *spatial)` of a target."""
    return [size for axis, size in enumerate(target.shape) if axis != 1 or not target.is_floating_point()]


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
