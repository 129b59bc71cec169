"""Lovász losses: the convex extension of the Jaccard loss."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Activation
from .region import RegionLoss


def lovasz_extension(errors: Tensor, wanted: Tensor, valid: Tensor) -> Tensor:
    """The Lovász extension of 1 − IoU at the errors (Berman 2018), `(units, C)`.

    With errors sorted falling, the weight of the k-th is J_k − J_{k−1}, J_k the Jaccard loss when the k largest errors
    are mistakes. With I and U the intersection and union that remain, that is 1/U for a pixel of the class, and
    I/(U (U − 1)) for another: no difference of nearly equal numbers.

    Args:
        errors: `(units, C, pixels)`.
        wanted: `(units, C, pixels)`, 1 for a pixel of the class, else 0.
        valid: `(units, pixels)` bool.
    """
    counts = valid.unsqueeze(1)
    order = torch.where(counts, errors.detach(), -torch.inf).argsort(dim=2, descending=True, stable=True)
    falling = torch.where(counts, errors, 0.0).gather(2, order)
    hit = wanted.gather(2, order) > 0.5
    true = hit.sum(2, keepdim=True)
    found = hit.cumsum(2)
    intersection = (true - found).to(errors.dtype)
    union = (true + torch.arange(1, hit.shape[2] + 1, device=hit.device) - found).to(errors.dtype)
    first = union == 1
    weight = torch.where(hit | first, 1 / union, intersection / (union * torch.where(first, 1.0, union - 1)))
    return (falling * weight).sum(2)


def lovasz_softmax_of_region(probabilities: Tensor, wanted: Tensor, valid: Tensor) -> Tensor:
    """The extension at |t − p|; see `lovasz_extension`."""
    return lovasz_extension((wanted - probabilities).abs(), wanted, valid)


def lovasz_hinge_of_region(logits: Tensor, wanted: Tensor, valid: Tensor) -> Tensor:
    """The extension at max(0, 1 − s·z), s = 1 for a pixel of the class, else −1; see `lovasz_extension`."""
    return lovasz_extension(F.relu(1 - (2 * wanted - 1) * logits), wanted, valid)


class LovaszSoftmaxLoss(RegionLoss):
    """Σ_k |t − p|_(k) (J_k − J_{k−1}) per class, errors sorted falling, J_k the Jaccard loss of the k largest.

    The Lovász-softmax of Berman 2018 averaged over classes: a convex surrogate of 1 − IoU that is exact where
    probabilities are 0 or 1. Use it where the score is mIoU, with `per_image: true` for scores per image, most often
    after some epochs of `ce` or in a sum with it. Not for large batches in a hurry (it sorts every pixel of every
    class), nor for soft labels. Over micro-batches and ranks it can only be averaged.

    Args:
        per_image: see `RegionLoss`.
        classes: see `RegionLoss`; an absent class under `all` costs its largest false probability.
        class_weights: see `RegionLoss`.
        num_classes: see `RegionLoss`.
        class_counts: see `RegionLoss`.
        ignore_index: see `RegionLoss`.
        reduction: see `RegionLoss`.

    Raises:
        TypeError: soft labels.

    >>> import torch
    >>> half = torch.zeros(1, 2, 4)  # every error is ½
    >>> float(LovaszSoftmaxLoss()(half, torch.tensor([[0, 0, 1, 1]])))
    0.5
    """

    hard_labels: ClassVar[bool] = True

    def of_region(self, values: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See `lovasz_softmax_of_region`."""
        return lovasz_softmax_of_region(values, target, valid)


class LovaszHingeLoss(RegionLoss):
    """Σ_k max(0, 1 − s·z)_(k) (J_k − J_{k−1}) per class against the rest, on raw logits, s = ±1 (Berman 2018).

    The Lovász of binary problems (and of Table 6 of Kato's MSE-OL paper). Use it for a single foreground class, C = 1
    or 2. Not where probabilities are wanted, nor for many classes, for which `lovasz` is meant. With C = 1 the logit is
    the foreground's, and an image without foreground counts under `classes: all` alone. Over micro-batches and ranks it
    can only be averaged.

    Args:
        per_image: see `RegionLoss`.
        classes: see `RegionLoss`.
        class_weights: see `RegionLoss`.
        num_classes: see `RegionLoss`.
        class_counts: see `RegionLoss`.
        ignore_index: see `RegionLoss`.
        reduction: see `RegionLoss`.

    Raises:
        TypeError: soft labels.

    >>> import torch
    >>> zero = torch.zeros(1, 1, 4)  # a binary logit; every hinge is 1
    >>> float(LovaszHingeLoss()(zero, torch.tensor([[0, 0, 1, 1]])))
    1.0
    """

    activation: ClassVar[Activation] = "none"
    hard_labels: ClassVar[bool] = True

    def of_region(self, values: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See `lovasz_hinge_of_region`."""
        return lovasz_hinge_of_region(values, target, valid)
