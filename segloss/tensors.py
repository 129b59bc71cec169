"""From what a caller hands over to what a loss computes on: checked, upcast, with ignored pixels blanked."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Pixels(NamedTuple):
    """Logits and target of one call, ready for the per-pixel terms of a loss.

    Attributes:
        logits: `(N, C, *spatial)`, C ≥ 2, float32 or float64; 0 at every pixel that does not count.
        target: `(N, *spatial)` int64 in 0..C−1 (0 where it does not count), or soft labels `(N, C, *spatial)`.
        valid: `(N, *spatial)` bool, true where the pixel counts.
        fault: a scalar to be added to the loss: 0, or NaN when a label lies outside 0..C−1.
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
    num_classes: int | None = None,
) -> Pixels:
    """Check, upcast and mask the arguments of a loss.

    Ignored pixels are blanked before any softmax, so that even a NaN there changes neither value nor gradient.
    A binary logit (C = 1) becomes the two classes `[0, x]`.

    Args:
        logits: `(N, C, *spatial)`, floating; computed in float32, or float64 when given in it.
        target: `(N, *spatial)` integer labels, or `(N, C, *spatial)` floating soft labels.
        mask: `(N, *spatial)` bool, true where a pixel counts.
        ignore_index: the label that does not count.
        num_classes: C, 2 for a binary logit, where it is known beforehand.

    Raises:
        TypeError: logits that are not floating, a target that is neither integer nor floating.
        ValueError: shapes, devices or numbers of classes that do not fit; on the CPU, outside compiled graphs, a label
            outside 0..C−1.
    """
    _check(logits, target, mask)
    soft = target.is_floating_point()
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        target = torch.cat([1 - target, target], dim=1) if soft else target
    classes = logits.shape[1]
    if num_classes is not None and num_classes != classes:
        raise ValueError(f"logits have {classes} classes, but the loss was made for {num_classes}")
    if soft:
        valid = valid_pixels(target, mask, ignore_index)
        fault = logits.new_zeros(())
        target = torch.where(valid.unsqueeze(1), target.to(logits.dtype), 0.0).clamp(
            0.0, 1.0
        )  # rounding outside [0, 1]
    else:
        labels = target.long()
        valid = valid_pixels(labels, mask, ignore_index)
        foreign = valid & ((labels < 0) | (labels >= classes))
        fault = _fault(labels, foreign, classes, ignore_index).to(logits.dtype)
        target = torch.where(valid & ~foreign, labels, 0)
    return Pixels(torch.where(valid.unsqueeze(1), logits, 0.0), target, valid, fault)


def valid_pixels(target: Tensor, mask: Tensor | None = None, ignore_index: int = 255) -> Tensor:
    """Where a pixel counts: `(N, *spatial)` bool, from labels `(N, *spatial)` or soft labels `(N, C, *spatial)`."""
    soft = target.is_floating_point()
    valid = torch.ones_like(target[:, 0], dtype=torch.bool) if soft else target != ignore_index
    return valid if mask is None else valid & mask


def pick(values: Tensor, target: Tensor) -> Tensor:
    """Per-class values `(N, C, *spatial)` at the true class, `(N, *spatial)`; soft labels give Σ_i P_i values_i."""
    if target.is_floating_point():
        return (values * target).sum(1)
    return values.gather(1, target.unsqueeze(1)).squeeze(1)


def per_class(values: Tensor, like: Tensor) -> Tensor:
    """One value a class `(C,)`, shaped to broadcast over `(N, C, *spatial)`."""
    return values.view(1, -1, *[1] * (like.dim() - 2))


def at_class(index: Tensor, classes: int) -> Tensor:
    """One-hot of an index map as bool: `(N, *spatial)` to `(N, C, *spatial)`, without an int64 copy of it."""
    order = torch.arange(classes, device=index.device, dtype=torch.int32)
    return index.to(torch.int32).unsqueeze(1) == order.view(1, -1, *[1] * (index.dim() - 1))


def _check(logits: Tensor, target: Tensor, mask: Tensor | None) -> None:
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating (raw network outputs, not labels), got {logits.dtype}")
    if logits.dim() < 2:
        raise ValueError(f"logits must be (N, C, *spatial), got shape {tuple(logits.shape)}")
    if target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"target must hold integer labels or floating soft labels, got {target.dtype}")
    pixels = (logits.shape[0], *logits.shape[2:])
    expected = tuple(logits.shape) if target.is_floating_point() else pixels
    if tuple(target.shape) != expected:
        kind = "soft labels" if target.is_floating_point() else "integer labels"
        raise ValueError(
            f"target ({kind}) must have shape {expected} for logits of {tuple(logits.shape)}, got {tuple(target.shape)}"
        )
    if target.device != logits.device:
        raise ValueError(f"logits are on {logits.device}, target on {target.device}: move them to one device")
    if mask is None:
        return
    if mask.dtype != torch.bool or tuple(mask.shape) != pixels:
        raise ValueError(f"mask must be bool of shape {pixels}, got {mask.dtype} of {tuple(mask.shape)}")
    if mask.device != logits.device:
        raise ValueError(f"logits are on {logits.device}, mask on {mask.device}: move them to one device")


def _fault(labels: Tensor, foreign: Tensor, classes: int, ignore_index: int) -> Tensor:
    """0, or NaN for labels outside the classes; on the CPU, where looking costs no synchronisation, an error."""
    if labels.device.type == "cpu" and not torch.compiler.is_compiling() and bool(foreign.any()):
        values = sorted(set(labels[foreign].tolist()))
        raise ValueError(
            f"target holds {int(foreign.sum())} pixels with the label(s) {', '.join(map(str, values[:5]))}: "
            f"neither in 0..{classes - 1} nor ignore_index ({ignore_index})"
        )
    return torch.where(foreign.any(), torch.nan, 0.0)
