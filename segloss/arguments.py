"""The arguments of a call: checked, each mistake with its remedy; internal."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .closed_form import transformed
from .labels import Labels
from .tensors import plain


class LossInputWarning(UserWarning):
    """Logits or labels that a loss can compute with, and that are most likely something else."""


def checked(
    logits: Any,
    target: Any,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    size: tuple[int, int] | None = None,
    ignore_index: int = 255,
    exclusive: bool = True,
    overlapping: bool = False,
    weight: Tensor | None = None,
    labelled: Tensor | None = None,
) -> tuple[Tensor, Labels]:
    """Logits and labels of a loss, as torch's own tensors; the labels themselves are not looked at.

    Args:
        logits: `(N, C, *spatial)`, floating.
        target: `(N, *spatial)` integer labels, also bool for two classes and with a channel axis of 1; or `(N, C,
            *spatial)` floating soft labels, or overlapping ones of any dtype, in which `ignore_index` does not count.
        mask: `(N, *spatial)` bool, also with a channel axis of 1; of overlapping classes also `(N, C, *spatial)`.
        num_classes: C, 2 for a binary logit, where it is known beforehand.
        size: (H, W) that the logits will be upsampled to; the target covers its upper left part.
        ignore_index: the label that does not count.
        exclusive: the classes exclude each other (softmax).
        overlapping: each class is a problem of its own (sigmoid).
        weight: `(N, *spatial)` floating, also with a channel axis of 1.
        labelled: `(N, C)` bool.

    Raises:
        TypeError: logits that are not floating, a target that is neither integer nor floating.
        ValueError: shapes, devices or numbers of classes that do not fit.
    """
    _check_types(logits, target)
    if logits.dim() < 2:
        raise ValueError(f"logits must be (N, C, *spatial), got shape {tuple(logits.shape)}")
    channels, dims = logits.shape[1], logits.dim()
    classes = max(channels, 2)
    logits, target = plain(logits), plain(target)
    target = target if target.is_floating_point() else without_channel(target, dims)
    mask, weight, labelled = (None if each is None else plain(each) for each in (mask, weight, labelled))
    mask, weight = (None if each is None else without_channel(each, dims) for each in (mask, weight))
    if target.dtype == torch.bool and target.dim() < dims and classes > 2:
        raise TypeError(
            f"a bool target holds the labels of two classes, and the logits have {classes}: target.long() of labels"
        )
    pixels = _pixels_wanted(logits, target, size)
    of_classes = (pixels[0], channels, *pixels[1:])
    if overlapping and target.dim() == dims and not target.is_floating_point():
        target, mask = as_overlapping(target, mask, ignore_index)
        target = target.to(torch.float64 if logits.dtype == torch.float64 else torch.float32)
    target = labels_of(target)
    expected = of_classes if target.is_floating_point() else pixels
    if tuple(target.shape) != expected:
        kind = "soft labels" if target.is_floating_point() else "integer labels"
        raise ValueError(
            f"target ({kind}) must have shape {expected} for logits of {tuple(logits.shape)}, "
            f"got {tuple(target.shape)}{_remedy(target, logits)}"
        )
    if num_classes is not None and num_classes != classes:
        raise ValueError(f"logits have {classes} classes, but the loss was made for {num_classes}")
    if mask is not None and (
        mask.dtype != torch.bool or tuple(mask.shape) not in ((pixels, of_classes) if overlapping else (pixels,))
    ):
        raise ValueError(f"mask must be bool (mask.bool()) of shape {pixels}, got {mask.dtype} of {tuple(mask.shape)}")
    if weight is not None and (not weight.is_floating_point() or tuple(weight.shape) != pixels):
        raise ValueError(
            f"weight must be floating (weight.float()) of shape {pixels}, got {weight.dtype} of {tuple(weight.shape)}"
        )
    known = channels if overlapping else classes
    if labelled is not None and (labelled.dtype != torch.bool or tuple(labelled.shape) != (pixels[0], known)):
        raise ValueError(
            f"labelled must be bool of shape {(pixels[0], known)}, one value an image and class, got "
            f"{labelled.dtype} of {tuple(labelled.shape)}"
        )
    for name, each in (("target", target), ("mask", mask), ("weight", weight), ("labelled", labelled)):
        if each is not None and each.device != logits.device:
            raise ValueError(f"logits are on {logits.device}, {name} on {each.device}: move them to one device")
    if overlapping and labelled is not None:
        mask, labelled = _labelled_mask(mask, labelled, of_classes), None
    return logits, Labels.of(target, mask, weight, labelled, ignore_index, exclusive)


def counted_labels(
    target: Tensor,
    mask: Tensor | None = None,
    *,
    ignore_index: int = 255,
    exclusive: bool = True,
    overlapping: bool = False,
    weight: Tensor | None = None,
    labelled: Tensor | None = None,
) -> Labels:
    """The labels as `checked` gives them, where no logits are known; see there.

    Args:
        target: see `checked`.
        mask: see `checked`.
        ignore_index: see `checked`.
        exclusive: see `checked`.
        overlapping: the target is `(N, C, *spatial)`, whatever its dtype.
        weight: see `checked`.
        labelled: see `checked`; it decides which pixels count where the target is overlapping.
    """
    target = plain(target)
    mask, weight = (None if each is None else plain(each) for each in (mask, weight))
    if overlapping and not target.is_floating_point():
        target, mask = as_overlapping(target, mask, ignore_index)
        target = target.float()
    target = labels_of(target)
    if not target.is_floating_point():  # the target may have a channel axis, or the others
        dims = 1 + min(each.dim() for each in (target, mask, weight) if each is not None)
        target = without_channel(target, dims)
    else:
        dims = target.dim()
    mask, weight = (None if each is None else without_channel(each, dims) for each in (mask, weight))
    if labelled is not None and not exclusive and target.is_floating_point():
        mask, labelled = _labelled_mask(mask, labelled, tuple(target.shape)), None
    return Labels.of(target, mask, weight, None, ignore_index, exclusive)


def as_overlapping(target: Tensor, mask: Tensor | None, ignore_index: int) -> tuple[Tensor, Tensor | None]:
    """Integer or bool labels of overlapping classes, 0 where ignored, and the mask without those."""
    if target.dtype == torch.bool:
        return target, mask
    bounds = torch.iinfo(target.dtype)
    if not bounds.min <= ignore_index <= bounds.max:
        return target, mask
    known = target != ignore_index
    mask = None if mask is None else mask if mask.dim() == target.dim() else mask.unsqueeze(1)
    return torch.where(known, target, 0), known if mask is None else known & mask


def _labelled_mask(mask: Tensor | None, labelled: Tensor, shape: Sequence[int]) -> Tensor:
    """Where each class counts, `(N, C, *spatial)`, from the pixels and the classes that do."""
    of_class = labelled.view(*labelled.shape, *[1] * (len(shape) - 2)).expand(*shape)
    if mask is None:
        return of_class
    return of_class & (mask if mask.dim() == len(shape) else mask.unsqueeze(1))


def labels_of(target: Tensor) -> Tensor:
    """Bool labels as integers; others as they are."""
    return target.to(torch.uint8) if target.dtype == torch.bool else target


def without_channel(values: Tensor, dims: int) -> Tensor:
    """Labels, a mask or a weight `(N, 1, *spatial)`, as MONAI's batches have them, without their channel axis."""
    return values.squeeze(1) if values.dim() == dims and values.shape[1] == 1 else values


def _check_types(logits: Any, target: Any) -> None:
    if isinstance(logits, Mapping):
        keys = ", ".join(repr(key) for key in logits)
        raise TypeError(f"logits must be a tensor, got a mapping with {keys}: take one, such as outputs['out']")
    if isinstance(logits, list | tuple):
        raise TypeError(
            f"logits must be a tensor, got {len(logits)} outputs: take one of them, or add up the loss of each"
        )
    if isinstance(getattr(logits, "logits", None), Tensor):
        raise TypeError(f"logits must be a tensor, got {type(logits).__name__}: take its outputs.logits")
    if not (isinstance(logits, Tensor) and isinstance(target, Tensor)):
        kinds = f"{type(logits).__name__} and {type(target).__name__}"
        raise TypeError(f"logits and target must be tensors, got {kinds}; torch.from_numpy(…) makes one of an array")
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating (raw network outputs, not labels), got {logits.dtype}")
    if target.is_complex():
        raise TypeError(f"target must hold integer labels (target.long()) or floating soft labels, got {target.dtype}")


def _pixels_wanted(logits: Tensor, target: Tensor, size: tuple[int, int] | None) -> tuple[int, ...]:
    """The shape `(N, *spatial)` that the target must have."""
    if size is None:
        return (logits.shape[0], *logits.shape[2:])
    height, width = target.shape[-2:]
    if logits.dim() != 4 or target.dim() < 3 or height > size[0] or width > size[1]:
        raise ValueError(
            f"logits (N, C, h, w) upsampled to {tuple(size)} must cover the target's (H, W), "
            f"got logits of {tuple(logits.shape)}, target of {tuple(target.shape)}"
        )
    return (logits.shape[0], height, width)


def _remedy(target: Tensor, logits: Tensor) -> str:
    """What to do with a target of the wrong shape, where that is clear."""
    shape, pixels = tuple(target.shape), (logits.shape[0], *logits.shape[2:])
    soft = target.is_floating_point()
    if shape == (pixels[0], 1, *pixels[1:]):
        return "; drop the channel axis of labels: target.squeeze(1).long()"
    if soft and shape == pixels:
        return "; labels must be integers: target.long()"
    if not soft and shape == tuple(logits.shape):
        return (
            "; labels of overlapping classes need a loss with sigmoid (sigmoid_ce, dice and its kin with sigmoid: "
            "true); one-hot labels must be floating, target.float(), or labels, target.argmax(1)"
        )
    unbatched = (tuple(logits.shape[1:]), (1, *logits.shape[1:]))
    if not soft and logits.dim() > 2 and shape in unbatched:
        return "; logits and target need a batch axis: logits.unsqueeze(0), target.unsqueeze(0)"
    if not soft and shape == tuple(logits.shape[:-1]):
        return "; the classes of logits are axis 1, not the last: logits.movedim(-1, 1)"
    return ""


def warn_of_input(logits: Tensor, target: Tensor, ignore_index: int) -> bool:
    """Warn of probabilities in place of logits, and of labels 0 and 255 of which 255 is ignored.

    Returns:
        Whether all is known: of labels that are all 0 it is not.

    Warns:
        LossInputWarning: see above.
    """
    if logits.dim() > 1 and logits.shape[1] > 1 and logits.numel() and bool(((logits >= 0) & (logits <= 1)).all()):
        values = logits.float()
        spread = bool(((values.sum(1) - 1).abs() < 1e-2).all()) and bool((values != values.flatten()[0]).any())
        if spread:
            warnings.warn(
                "the logits lie in [0, 1] and sum to 1 over the classes: these look like probabilities, and a loss "
                "takes the raw outputs of the network, before softmax",
                LossInputWarning,
                stacklevel=6,
            )
    if ignore_index != 255 or target.is_floating_point() or target.dtype == torch.bool:
        return True
    if bool(((target != 0) & (target != 255)).any()):
        return True
    if not bool((target == 255).any()):
        return False
    warnings.warn(
        "the target holds 0 and 255 alone, and ignore_index=255 leaves all pixels of 255 out: if 255 is the "
        "foreground, as in PNG masks, make it 1, (target == 255).long()",
        LossInputWarning,
        stacklevel=6,
    )
    return True


def refuse_foreign(result: Tensor, classes: int, labels: Labels) -> Tensor:
    """The result of a loss, unless it is NaN for its labels: on the CPU, outside compiled graphs, that is an error.

    Elsewhere it stays NaN: to look would wait for the device; under `torch.func` there may be nothing to look at.

    Raises:
        ValueError: a label outside 0..C−1, a soft label outside [0, 1], soft labels of exclusive classes that do not
            sum to 1, a label that `labelled` contradicts, a weight that is negative or not finite; it counts their
            pixels.
    """
    blind = torch.compiler.is_compiling() or transformed() or labels.target.device.type != "cpu"
    if blind or not (math.isnan(result.item()) if result.dim() == 0 else bool(result.isnan().any())):
        return result
    classes = max(classes, 2)
    target, soft = labels.target, labels.soft
    foreign, sums, contradicted, weight = labels.faults(classes)
    if bool(foreign.any()):
        allowed = f"neither in 0..{classes - 1} nor ignore_index ({labels.ignore_index})"
        values = [str(value) for value in sorted(set(target[foreign].tolist()))]
        shown = ", ".join(values[:5] + ["…"] * (len(values) > 5))
        raise ValueError(
            f"target holds {int(foreign.sum())} pixels with the label(s) {shown}: "
            f"{'soft labels lie in [0, 1]' if soft else allowed}"
        )
    if sums is not None and bool(sums.any()):
        found = target.sum(1)[sums]
        raise ValueError(
            f"soft labels must sum to 1 over the classes of a softmax loss, got a sum of {float(found[0]):.4g} at the "
            f"first of {len(found)} pixels; for overlapping classes take a loss with sigmoid: sigmoid_ce, or dice and "
            "its kin with sigmoid: true"
        )
    if contradicted is not None and bool(contradicted.any()):
        raise ValueError(
            f"target holds {int(contradicted.sum())} pixels of classes that, by labelled, their images were not "
            "labelled for"
        )
    if weight is not None and bool(weight.any()):
        found = labels.weight[weight]  # type: ignore[index]
        raise ValueError(f"weight must be finite and not negative, got {float(found[0]):g} at {len(found)} pixels")
    return result
