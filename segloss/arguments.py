"""The arguments of a call: checked, each mistake with its remedy; internal."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .closed_form import transformed
from .tensors import foreign_labels, not_summing_to_one, plain, valid_pixels


class LossInputWarning(UserWarning):
    """Logits or labels that a loss can compute with, and that are most likely something else."""


def checked(
    logits: Any,
    target: Any,
    mask: Tensor | None = None,
    num_classes: int | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits, target and mask of a loss, as torch's own tensors; the labels themselves are not looked at.

    Args:
        logits: see `segloss.tensors.prepare`.
        target: as there; labels may also be bool for two classes, and have a channel axis of 1.
        mask: as there; it may have a channel axis of 1.
        num_classes: C, 2 for a binary logit, where it is known beforehand.
        size: (H, W) that the logits will be upsampled to; the target covers its upper left part.

    Raises:
        TypeError: logits that are not floating, a target that is neither integer nor floating.
        ValueError: shapes, devices or numbers of classes that do not fit.
    """
    _check_types(logits, target)
    if logits.dim() < 2:
        raise ValueError(f"logits must be (N, C, *spatial), got shape {tuple(logits.shape)}")
    classes = max(logits.shape[1], 2)
    if target.dtype == torch.bool and classes > 2:
        raise TypeError(
            f"a bool target holds the labels of two classes, and the logits have {classes}: target.long() of labels"
        )
    logits, target, mask = plain(logits), labels_of(plain(target)), None if mask is None else plain(mask)
    target, mask = (without_channel(each, logits.dim()) for each in (target, mask))
    pixels = _pixels_wanted(logits, target, size)
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
    if num_classes is not None and num_classes != classes:
        raise ValueError(f"logits have {classes} classes, but the loss was made for {num_classes}")
    return logits, target, mask


def labels_of(target: Tensor) -> Tensor:
    """Bool labels as integers; others as they are."""
    return target.to(torch.uint8) if target.dtype == torch.bool else target


def labels_and_mask(target: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Both as `checked` gives them, where no logits are known."""
    target, mask = labels_of(plain(target)), None if mask is None else plain(mask)
    if mask is not None and not target.is_floating_point():
        target, mask = without_channel(target, mask.dim() + 1), without_channel(mask, target.dim() + 1)
    return target, mask


def without_channel(values: Any, dims: int) -> Any:
    """Labels or a mask `(N, 1, *spatial)`, as MONAI's batches have them, without their channel axis."""
    channel = values is not None and not values.is_floating_point() and values.dim() == dims and values.shape[1] == 1
    return values.squeeze(1) if channel else values


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
        return "; one-hot labels must be floating, target.float(), or labels, target.argmax(1)"
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
    foreign = foreign_labels(target if soft else target.long(), valid, max(classes, 2))
    if bool(foreign.any()):
        allowed = f"neither in 0..{max(classes, 2) - 1} nor ignore_index ({ignore_index})"
        values = [str(value) for value in sorted(set(target[foreign].tolist()))]
        shown = ", ".join(values[:5] + ["…"] * (len(values) > 5))
        raise ValueError(
            f"target holds {int(foreign.sum())} pixels with the label(s) {shown}: "
            f"{'soft labels lie in [0, 1]' if soft else allowed}"
        )
    if soft and exclusive and bool((wrong := not_summing_to_one(target, valid)).any()):
        sums = target.sum(1)[wrong]
        raise ValueError(
            f"soft labels must sum to 1 over the classes of a softmax loss, got a sum of {float(sums[0]):.4g} at the "
            f"first of {len(sums)} pixels; for overlapping classes take a loss with sigmoid, such as sigmoid_ce"
        )
    return result
