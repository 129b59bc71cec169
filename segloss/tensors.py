"""From the arguments of a call to what a loss computes on: checked, upcast, with ignored pixels masked; internal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .closed_form import applies, transformed

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
    """Upcast and mask what `checked` has let through.

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
    foreign = _foreign(labels, valid, classes)
    fault = foreign.any() | _unnormalised(labels, valid).any() if soft and exclusive else foreign.any()
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


def _foreign(target: Tensor, valid: Tensor, classes: int) -> Tensor:
    """Where a target that counts is none: labels outside 0..C−1, `(N, *spatial)`; soft ones, `(N, C, *spatial)`."""
    if target.is_floating_point():
        return valid.unsqueeze(1) & ~((target >= -ROUNDING) & (target <= 1 + ROUNDING))
    return valid & ((target < 0) | (target >= classes))


def _unnormalised(target: Tensor, valid: Tensor) -> Tensor:
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


def checked(
    logits: Any,
    target: Any,
    mask: Tensor | None = None,
    num_classes: int | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits, target and mask of a loss, as torch's own tensors; the labels themselves are not looked at.

    Args:
        logits: see `prepare`.
        target: see `prepare`.
        mask: see `prepare`.
        num_classes: C, 2 for a binary logit, where it is known beforehand.
        size: (H, W) that the logits will be upsampled to; the target covers its upper left part.

    Raises:
        TypeError: logits that are not floating, a target that is neither integer nor floating.
        ValueError: shapes, devices or numbers of classes that do not fit.
    """
    if not (isinstance(logits, Tensor) and isinstance(target, Tensor)):
        kinds = f"{type(logits).__name__} and {type(target).__name__}"
        raise TypeError(f"logits and target must be tensors, got {kinds}; torch.from_numpy(…) makes one of an array")
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating (raw network outputs, not labels), got {logits.dtype}")
    if logits.dim() < 2:
        raise ValueError(f"logits must be (N, C, *spatial), got shape {tuple(logits.shape)}")
    if target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"target must hold integer labels (target.long()) or floating soft labels, got {target.dtype}")
    pixels = (logits.shape[0], *logits.shape[2:])
    if size is not None:
        height, width = target.shape[-2:]
        if logits.dim() != 4 or target.dim() < 3 or height > size[0] or width > size[1]:
            raise ValueError(
                f"logits (N, C, h, w) upsampled to {tuple(size)} must cover the target's (H, W), "
                f"got logits of {tuple(logits.shape)}, target of {tuple(target.shape)}"
            )
        pixels = (logits.shape[0], height, width)
    expected = (pixels[0], logits.shape[1], *pixels[1:]) if target.is_floating_point() else pixels
    if tuple(target.shape) != expected:
        kind = "soft labels" if target.is_floating_point() else "integer labels"
        raise ValueError(
            f"target ({kind}) must have shape {expected} for logits of {tuple(logits.shape)}, "
            f"got {tuple(target.shape)}{_remedy(target, logits)}"
        )
    if target.device != logits.device:
        raise ValueError(f"logits are on {logits.device}, target on {target.device}: move them to one device")
    if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != pixels):
        raise ValueError(f"mask must be bool (mask.bool()) of shape {pixels}, got {mask.dtype} of {tuple(mask.shape)}")
    if mask is not None and mask.device != logits.device:
        raise ValueError(f"logits are on {logits.device}, mask on {mask.device}: move them to one device")
    classes = max(logits.shape[1], 2)
    if num_classes is not None and num_classes != classes:
        raise ValueError(f"logits have {classes} classes, but the loss was made for {num_classes}")
    return plain(logits), plain(target), None if mask is None else plain(mask)


def plain(values: Tensor) -> Tensor:
    """As torch's own class: MONAI's `MetaTensor` follows a batch item by item, which a sum over pixels has none of."""
    return values if type(values) is Tensor else values.as_subclass(Tensor)


def refuse_foreign(
    result: Tensor, classes: int, target: Tensor, mask: Tensor | None, ignore_index: int, exclusive: bool = False
) -> Tensor:
    """The result of a loss, unless it is NaN for its labels: on the CPU, outside compiled graphs, that is an error.

    Elsewhere it stays NaN: to look would wait for the device; under `torch.func` there may be nothing to look at.

    Raises:
        ValueError: a label outside 0..C−1, a soft label outside [0, 1], or soft labels that do not sum to 1 where the
            classes are `exclusive`; it names them and counts their pixels.
    """
    blind = torch.compiler.is_compiling() or transformed() or target.device.type != "cpu"
    if blind or not bool(result.isnan().any()):
        return result
    soft = target.is_floating_point()
    valid = valid_pixels(target, mask, ignore_index)
    foreign = _foreign(target if soft else target.long(), valid, max(classes, 2))
    if bool(foreign.any()):
        allowed = f"neither in 0..{max(classes, 2) - 1} nor ignore_index ({ignore_index})"
        values = [str(value) for value in sorted(set(target[foreign].tolist()))]
        shown = ", ".join(values[:5] + ["…"] * (len(values) > 5))
        raise ValueError(
            f"target holds {int(foreign.sum())} pixels with the label(s) {shown}: "
            f"{'soft labels lie in [0, 1]' if soft else allowed}"
        )
    if soft and exclusive and bool((unnormalised := _unnormalised(target, valid)).any()):
        sums = target.sum(1)[unnormalised]
        raise ValueError(
            f"soft labels must sum to 1 over the classes of a softmax loss, got a sum of {float(sums[0]):.4g} at the "
            f"first of {len(sums)} pixels; for overlapping classes take a loss with sigmoid, such as sigmoid_ce"
        )
    return result


def _remedy(target: Tensor, logits: Tensor) -> str:
    """What to do with a target of the wrong shape, where that is clear."""
    shape, pixels = tuple(target.shape), (logits.shape[0], *logits.shape[2:])
    soft = target.is_floating_point()
    if shape == (pixels[0], 1, *pixels[1:]):
        return f"; drop the channel axis: target.squeeze(1){'.long()' if soft else ''}"
    if soft and shape == pixels:
        return "; labels must be integers: target.long()"
    if not soft and shape == tuple(logits.shape):
        return "; one-hot labels must be floating, target.float(), or labels, target.argmax(1)"
    if not soft and target.dim() == logits.dim() == 3 and shape == (1, *logits.shape[1:]):
        return "; logits and target need a batch axis: unsqueeze(0)"
    return ""
