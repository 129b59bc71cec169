"""The engine of the region losses, which are made of sums over pixels: true positives, predicted, target.

A region loss is no mean over pixels, so over micro-batches and ranks it can only be averaged: the sum of its values
over their number. `denominator` is 1 for that reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from .class_weights import ClassCounts, ClassWeights, Counts, resolve_class_weights
from .names import check_choice
from .pixelwise import Activation, Reduction
from .tensors import at_class, prepare

Classes = Literal["present", "all"]


class Overlap(NamedTuple):
    """Sums over pixels, each `(units, C)`, a unit being an image or the whole batch.

    Attributes:
        tp: Σ p·t.
        predicted: Σ p, or Σ p² when squared.
        target: Σ t, or Σ t² when squared.
    """

    tp: Tensor
    predicted: Tensor
    target: Tensor


def overlap(probabilities: Tensor, target: Tensor, valid: Tensor, per_image: bool, squared: bool) -> Overlap:
    """Sum over the valid pixels of each image, or of the batch.

    Args:
        probabilities: `(N, C, *spatial)`.
        target: `(N, *spatial)` labels or `(N, C, *spatial)` soft labels.
        valid: `(N, *spatial)` bool.
        per_image: one unit an image instead of one for the batch.
        squared: V-Net's sums of squares.
    """
    p = torch.where(valid.unsqueeze(1), probabilities, 0.0)
    t = target if target.is_floating_point() else at_class(target, p.shape[1])
    t = torch.where(valid.unsqueeze(1), t.to(p.dtype), 0.0)
    dims = list(range(2, p.dim())) if per_image else [0, *range(2, p.dim())]

    def total(values: Tensor) -> Tensor:
        return (values.sum(dims) if dims else values).reshape(-1, p.shape[1])

    if squared:
        return Overlap(total(p * t), total(p * p), total(t * t))
    return Overlap(total(p * t), total(p), total(t))


OfOverlap = Callable[[Overlap], Tensor]


def region_loss(
    of_overlap: OfOverlap,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    per_image: bool = False,
    classes: Classes = "present",
    squared: bool = False,
    class_weights: Tensor | None = None,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
    denominator: Tensor | None = None,
    num_classes: int | None = None,
) -> Tensor:
    """Reduce a loss of overlaps over classes and units.

    Args:
        of_overlap: the loss of each unit and class, `(units, C)`, from its sums.
        logits: `(N, C, *spatial)`, any floating dtype; computed in float32, or float64 when given in it.
        target: `(N, *spatial)` integer labels, or `(N, C, *spatial)` soft labels.
        mask: `(N, *spatial)` bool, true where a pixel counts.
        per_image: score each image by itself, average over its counted classes and then over the images with a valid
            pixel; otherwise sums are pooled over the batch.
        classes: count the classes `present` in the target, or `all`.
        squared: sums of squares of probabilities and target.
        class_weights: `(C,)`, weigh the mean over classes.
        ignore_index: the label that does not count.
        reduction: `mean`, `sum` over units and classes, or `none`: `(C,)`, or `(N, C)` per image.
        denominator: divides the mean: the number of micro-batches, when the caller accumulates over them.
        num_classes: checked against the logits, where given.

    Returns:
        A scalar, or one value a class. 0 with zero gradients when no pixel counts.

    Raises:
        TypeError, ValueError: see `segloss.tensors.prepare`.
    """
    num_classes = num_classes if class_weights is None else len(class_weights)
    pixels = prepare(logits, target, mask, ignore_index, num_classes)
    sums = overlap(pixels.logits.softmax(1), pixels.target, pixels.valid, per_image, squared)
    seen = pixels.valid.unsqueeze(-1).flatten(1).any(1) if per_image else pixels.valid.any().reshape(1)
    counted = seen.unsqueeze(1) & ((sums.target > 0) | (classes == "all"))
    values = torch.where(counted, of_overlap(sums), 0.0)
    if reduction == "none":
        return (values if per_image else values[0]) + pixels.fault
    if reduction == "sum":
        return values.sum() + pixels.fault
    share = torch.where(counted, 1.0 if class_weights is None else class_weights.to(values), 0.0)
    units = _ratio((values * share).sum(1), share.sum(1))
    mean = _ratio(units.sum(), (share.sum(1) > 0).sum())
    return (mean if denominator is None else mean / denominator.to(mean)) + pixels.fault


class RegionLoss(nn.Module):
    """One value a class from its overlap with the target, averaged over classes; a subclass gives `of_overlap`.

    Args:
        per_image: score each image by itself, average over its counted classes and then over the images with a valid
            pixel; otherwise sums are pooled over the batch.
        classes: count the classes `present` in the target, or `all`.
        smooth: ≥ 0, added to numerator and denominator.
        class_weights: weigh the mean over classes; see `PixelwiseLoss`.
        num_classes: see `PixelwiseLoss`.
        class_counts: see `PixelwiseLoss`.
        ignore_index: the label that does not count.
        reduction: `mean`, `sum` over units and classes, or `none`: `(C,)`, or `(N, C)` per image.

    Raises:
        ValueError: a parameter out of its range; the message names it.
    """

    activation: ClassVar[Activation] = "softmax"
    class_weights: Tensor | None
    squared: bool = False

    def __init__(
        self,
        per_image: bool = False,
        classes: Classes = "present",
        smooth: float = 0.0,
        class_weights: ClassWeights = None,
        *,
        num_classes: int | None = None,
        class_counts: Counts | None = None,
        ignore_index: int = 255,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_choice("classes", classes, get_args(Classes))
        check_choice("reduction", reduction, get_args(Reduction))
        if not 0 <= smooth < float("inf"):
            raise ValueError(f"smooth must be ≥ 0, got {smooth}")
        counts = None if class_counts is None else ClassCounts.of(class_counts)
        self.per_image, self.classes, self.smooth = per_image, classes, smooth
        self.ignore_index, self.reduction, self.num_classes = ignore_index, reduction, num_classes
        self.register_buffer("class_weights", resolve_class_weights(class_weights, counts, num_classes))

    def of_overlap(self, sums: Overlap) -> Tensor:
        """The loss of each unit and class, `(units, C)`."""
        raise NotImplementedError

    def denominator(self, target: Tensor, mask: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """1: a region loss is averaged over micro-batches and ranks."""
        return torch.ones((), device=target.device)

    def forward(
        self, logits: Tensor, target: Tensor, mask: Tensor | None = None, denominator: Tensor | None = None
    ) -> Tensor:
        """The loss; arguments, result and errors as in `region_loss`."""
        return region_loss(
            self.of_overlap,
            logits,
            target,
            mask,
            per_image=self.per_image,
            classes=self.classes,
            squared=self.squared,
            class_weights=self.class_weights,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            denominator=denominator,
            num_classes=self.num_classes,
        )


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Numerator over denominator, 0 where the denominator is 0."""
    return numerator / torch.where(denominator > 0, denominator, 1)
