"""Lovász losses: the convex extension of the Jaccard loss."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor

from .base import Activation, LossOptions
from .class_weights import ClassWeights
from .closed_form import applies
from .labels import Pixels
from .region import Classes, RegionLoss, by_unit
from .tensors import exact

TOGETHER = 2**17
"""Errors that are sorted together: those of several classes of small maps."""


def extension(values: Tensor, target: Tensor, valid: Tensor, per_image: bool, offset: tuple[float, float]) -> Tensor:
    """The Lovász extension of 1 − IoU of each unit and class at its errors (Berman 2018), `(units, C)`.

    Args:
        values: `(N, C, *spatial)`.
        target: `(N, *spatial)` labels.
        valid: `(N, *spatial)` bool, true where a pixel counts.
        per_image: each image is a unit, otherwise the batch.
        offset: the error of a pixel is max(0, offset[0] − value) if it is of the class, else max(0, offset[1] + value).
    """
    found: Tensor = (_Extension.apply if applies() else extension_definition)(values, target, valid, per_image, offset)
    return found


def extension_definition(
    values: Tensor, target: Tensor, valid: Tensor, per_image: bool, offset: tuple[float, float]
) -> Tensor:
    """`extension` in plain operations, for the transforms of `torch.func`."""
    valid, labels = by_unit(valid, per_image), by_unit(target, per_image)
    found = []
    for c in range(values.shape[1]):
        wanted = valid & (labels == (c if values.shape[1] > 1 else 1))
        z = by_unit(values[:, c], per_image)
        error = torch.where(wanted, offset[0] - z, offset[1] + z).relu()
        order = torch.where(valid, error.detach(), -1.0).argsort(dim=1, descending=True, stable=True)
        falling = torch.where(valid, error, 0.0).gather(1, order)
        found.append((falling * jaccard_weights(wanted.gather(1, order), values.dtype)).sum(1))
    return torch.stack(found, 1)


class _Extension(torch.autograd.Function):
    """The closed form.

    With errors sorted falling, the weight of the k-th is J_k − J_{k−1}, J_k the Jaccard loss when the k largest errors
    are mistakes. With I and U the intersection and union that remain, that is 1/U for a pixel of the class, and
    I/(U (U − 1)) for another: no difference of nearly equal numbers.

    Errors are not negative, so their bits sort as integers do, which on a CPU takes an eighth of the time. Equal errors
    are in the order of their pixels. The extension is linear in the errors until their order changes, so the weights
    are constants of any further derivative.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, target: Tensor, valid: Tensor, per_image: bool, offset: tuple[float, float]
    ) -> Tensor:
        bits, largest = (torch.int64, 2**63 - 1) if values.dtype == torch.float64 else (torch.int32, 2**31 - 1)
        classes = values.shape[1]
        index = torch.arange(classes, device=target.device).unsqueeze(1) if classes > 1 else target.new_ones(1, 1)
        gradient = torch.zeros_like(values)
        slopes = gradient.unsqueeze(0) if not per_image else gradient.unsqueeze(1)
        found = values.new_zeros(slopes.shape[0], classes)
        for unit in range(slopes.shape[0]):
            of_unit = slice(None) if not per_image else slice(unit, unit + 1)
            unit_valid, labels = valid[of_unit].reshape(-1), target[of_unit].reshape(-1)
            last = torch.where(unit_valid, 0, largest).to(bits)
            many = max(TOGETHER // max(len(labels), 1), 1) if bits == torch.int32 else 1
            for first in range(0, classes, many):
                some = slice(first, first + many)
                z = values[of_unit, some].transpose(0, 1)
                wanted = unit_valid & (labels == index[some])
                z = z.reshape(wanted.shape)
                error = torch.where(wanted, offset[0] - z, offset[1] + z).relu_()
                # Rising keys are falling errors: the bits of a float ≥ 0, read as an integer, have its order. Ignored
                # pixels have the largest key of all and come last, with an error of 0.
                key, order = _sorted((largest - 1 - error.view(bits)).bitwise_or_(last))
                weight = jaccard_weights(wanted.gather(1, order), values.dtype)
                falling = (largest - 1 - key.clamp_max_(largest - 1)).view(values.dtype)  # 0 where ignored
                found[unit, some] = (falling * weight).sum(1, dtype=exact(values.device)).to(found.dtype)
                # Back in the order of the pixels the weights are the derivative by the errors; the hinge has none at 0.
                weight = torch.empty_like(weight).scatter_(1, order, weight).mul_(error > 0)
                slope = slopes[unit, :, some].transpose(0, 1)
                slope.copy_(weight.mul_(1 - 2 * wanted.to(weight.dtype)).view(slope.shape))
        ctx.save_for_backward(gradient)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad.view(*grad.shape, *[1] * (gradient.dim() - 2)), None, None, None, None


def _sorted(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The keys `(classes, pixels)` ≥ 0 of each class rising, equal ones in their order, and their indices.

    Keys of several classes, int32, are sorted as one list, with the class in front: torch sorts one long list of
    integers on a CPU by radix.
    """
    classes, pixels = keys.shape
    if classes == 1:
        found = keys.flatten().sort(stable=True)
        return found.values.unsqueeze(0), found.indices.unsqueeze(0)
    rank = torch.arange(classes, device=keys.device).unsqueeze(1)
    found = ((rank << 32) + keys).flatten().sort(stable=True)
    key, order = (each.view(classes, pixels) for each in found)
    return (key & 0xFFFFFFFF).to(keys.dtype), order - rank * pixels


def jaccard_weights(hit: Tensor, dtype: torch.dtype) -> Tensor:
    """The weights of errors sorted falling, from whether each is of the class; both `(units, pixels)`."""
    found = hit.cumsum(1, dtype=torch.int32)
    true = hit.sum(1, keepdim=True, dtype=torch.int32)
    # When the k largest errors are mistakes, the intersection has lost the k's hits, and the union has grown by the k's
    # false positives: true + (k − found) = intersection + k.
    intersection = (true - found).to(dtype)
    union = intersection + torch.arange(1, hit.shape[1] + 1, device=hit.device, dtype=torch.int32)
    first = union == 1  # the first mistake of a class that is not there: J goes from 0 to 1, and U − 1 would be 0
    share = intersection / (union - 1).clamp_min_(1.0)
    return torch.lerp(share, torch.ones_like(share), (hit | first).to(dtype)) / union


def lovasz_softmax_of_region(pixels: Pixels, per_image: bool) -> Tensor:
    """The extension at |t − p|, `(units, C)`."""
    return extension(pixels.logits.softmax(1), pixels.target, pixels.valid, per_image, (1.0, 0.0))


def lovasz_hinge_of_region(pixels: Pixels, per_image: bool) -> Tensor:
    """The extension at max(0, 1 − s·z), s = 1 for a pixel of the class, else −1; `(units, C)`."""
    return extension(pixels.logits, pixels.target, pixels.valid, per_image, (1.0, 1.0))


class LovaszSoftmaxLoss(RegionLoss):
    """Σ_k |t − p|_(k) (J_k − J_{k−1}) per class, errors sorted falling, J_k the Jaccard loss of the k largest.

    The Lovász-softmax of Berman 2018 averaged over classes: a convex surrogate of 1 − IoU that is exact where
    probabilities are 0 or 1. Use it where the score is mIoU, with `per_image: true` for scores per image, most often
    after some epochs of `ce` or in a sum with it. Not for large batches in a hurry (it sorts every pixel of every
    class), nor for soft labels. Over micro-batches and ranks it can only be averaged.

    Args:
        per_image: see `RegionLoss`.
        classes: see `RegionLoss`; an absent class under `all` costs its largest false probability.
        class_weights, num_classes, class_counts, ignore_index, reduction: see `RegionLoss`.

    Raises:
        TypeError: soft labels.

    >>> import torch
    >>> half = torch.zeros(1, 2, 4)  # every error is ½
    >>> float(LovaszSoftmaxLoss()(half, torch.tensor([[0, 0, 1, 1]])))
    0.5
    """

    formula = staticmethod(lovasz_softmax_of_region)


class LovaszHingeLoss(RegionLoss):
    """Σ_k max(0, 1 − s·z)_(k) (J_k − J_{k−1}) per class against the rest, on raw logits, s = ±1 (Berman 2018).

    The Lovász of binary problems (and of Table 6 of Kato's MSE-OL paper). Use it for a single foreground class, C = 1
    or 2. Not where probabilities are wanted, nor for many classes, for which `lovasz` is meant. With C = 1 the logit is
    the foreground's. Over micro-batches and ranks it can only be averaged.

    Args:
        per_image: see `RegionLoss`.
        classes: count `all` classes, or those `present` in the target, under which a batch without foreground, or with
            `per_image` an image, teaches nothing about false positives.
        class_weights, num_classes, class_counts, ignore_index, reduction: see `RegionLoss`.

    Raises:
        TypeError: soft labels.

    >>> import torch
    >>> zero = torch.zeros(1, 1, 4)  # a binary logit; every hinge is 1
    >>> float(LovaszHingeLoss()(zero, torch.tensor([[0, 0, 1, 1]])))
    1.0
    """

    formula = staticmethod(lovasz_hinge_of_region)
    activation: Activation = "none"

    def __init__(
        self,
        *,
        per_image: bool = False,
        classes: Classes = "all",
        class_weights: ClassWeights = None,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(per_image=per_image, classes=classes, class_weights=class_weights, **options)
