"""The engine of the region losses: one value a class, from sums or orders over many pixels.

A region loss is no mean over pixels, so over micro-batches and ranks it can only be averaged: the sum of its values
over their number. `denominator` is 1 for that reason.

Pixels are pooled into *units*: the whole batch is one, or each image is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from .base import Reduction, SegmentationLoss
from .class_weights import ClassWeights
from .names import check_choice
from .tensors import check_arguments, of_valid, one_hot, per_class, prepare, ratio, refuse_foreign, valid_pixels

Classes = Literal["present", "all"]
OfRegion = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The loss of each unit and class, `(units, C)`, or of each unit as a whole, `(units, 1)`.

From probabilities (or logits) and target, both `(units, C, pixels)` and 0 where a pixel does not count, and from
`(units, pixels)` bool, true where it does.
"""
OfTarget = Callable[[Tensor, Tensor], Tensor]
"""Maps `(N, C, *spatial)` made of the target of that shape and of `(N, *spatial)` bool, true where a pixel counts."""


def region_loss(
    of_region: OfRegion,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    per_image: bool = False,
    classes: Classes = "present",
    softmax: bool = True,
    of_target: OfTarget | None = None,
    hard_labels: bool = False,
    class_weights: Tensor | None = None,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
    denominator: Tensor | None = None,
    num_classes: int | None = None,
) -> Tensor:
    """Reduce a loss of regions over classes and units.

    Args:
        of_region: see `OfRegion`.
        logits: `(N, C, *spatial)`, any floating dtype; computed in float32, or float64 when given in it.
        target: `(N, *spatial)` integer labels, or `(N, C, *spatial)` soft labels where the loss allows them.
        mask: `(N, *spatial)` bool, true where a pixel counts.
        per_image: score each image by itself, average over its counted classes and then over the images with a valid
            pixel; otherwise pixels are pooled over the batch.
        classes: count the classes `present` in the target, or `all`.
        softmax: hand over probabilities; otherwise the logits, a binary logit (C = 1) by itself.
        of_target: makes the maps that `of_region` gets in the target's place; see `OfTarget`.
        hard_labels: refuse soft labels.
        class_weights: `(C,)`, weigh the mean over classes; no part of `sum` and `none`.
        ignore_index: the label that does not count.
        reduction: `mean`, `sum` over units and classes, or `none`: `(C,)`, or `(N, C)` per image.
        denominator: divides the mean: the number of micro-batches, when the caller accumulates over them.
        num_classes: checked against the logits, where given.

    Returns:
        A scalar, or one value a class. 0 with zero gradients when no pixel counts.

    Raises:
        TypeError: soft labels where labels must be hard; see `segloss.tensors.check_arguments` for the rest.
        ValueError: an unknown reduction or classes; see `segloss.tensors.check_arguments` for the rest.
    """
    if hard_labels and target.is_floating_point():
        raise TypeError(
            f"this loss needs integer labels (N, *spatial), got {target.dtype} of {tuple(target.shape)}: "
            "target.long() for labels, target.argmax(1) for one-hot ones"
        )
    check_choice("reduction", reduction, get_args(Reduction))
    check_choice("classes", classes, get_args(Classes))
    num_classes = num_classes if class_weights is None else len(class_weights)
    check_arguments(logits, target, mask, num_classes)
    logits = of_valid(logits, valid_pixels(target, mask, ignore_index))
    pixels = prepare(logits, target, mask, ignore_index, one_vs_rest=not softmax)
    counts = pixels.valid.unsqueeze(1)
    values = torch.where(counts, pixels.logits.softmax(1), 0.0) if softmax else pixels.logits
    wanted = torch.where(counts, one_hot(pixels.target, values.shape[1]).to(values.dtype), 0.0)
    valid = by_unit(counts, per_image).squeeze(1)
    present = by_unit(wanted, per_image).sum(2) > 0
    if of_target is not None:
        wanted = of_target(wanted, pixels.valid)
    values = of_region(by_unit(values, per_image), by_unit(wanted, per_image), valid)
    counted = valid.any(1, keepdim=True) & (present | (classes == "all"))
    if values.shape[1] == 1:  # the unit as a whole, or a binary logit: no class to weigh against another
        counted, class_weights = counted.any(1, keepdim=True), None
    values = torch.where(counted, values, 0.0)
    if reduction == "none":
        result = values if per_image else values[0]
    elif reduction == "sum":
        result = values.sum()
    else:
        weights = torch.ones_like(values) if class_weights is None else per_class(class_weights, values)
        share = torch.where(counted, weights, 0.0)
        units = ratio((values * share).sum(1), share.sum(1))
        result = ratio(units.sum(), (share.sum(1) > 0).sum())
        if denominator is not None:
            result = result / torch.as_tensor(denominator).to(result)
    return refuse_foreign(result + pixels.fault, logits.shape[1], target, mask, ignore_index)


def by_unit(per_pixel: Tensor, per_image: bool) -> Tensor:
    """`(N, C, *spatial)` laid out as `(units, C, pixels)`: each image a unit, or the batch as one."""
    images, channels, *spatial = per_pixel.shape
    flat = per_pixel.reshape(images, channels, math.prod(spatial))
    return flat if per_image else flat.transpose(0, 1).reshape(1, channels, images * flat.shape[2])


class RegionLoss(SegmentationLoss):
    """One value a class from all its pixels, averaged over classes; a subclass gives `of_region`.

    Attributes:
        hard_labels: soft labels are refused.

    Args:
        per_image: score each image by itself, average over its counted classes and then over the images with a valid
            pixel; otherwise pixels are pooled over the batch.
        classes: count the classes `present` in the target, or `all`.
        class_weights: weigh the mean over classes, and nothing else; see `SegmentationLoss`.
        **options: `num_classes`, `class_counts`, `ignore_index`, `reduction` of `SegmentationLoss`; `sum` is over units
            and classes, `none` gives `(C,)`, or `(N, C)` per image.
    """

    hard_labels: ClassVar[bool] = False

    def __init__(
        self,
        per_image: bool = False,
        classes: Classes = "present",
        class_weights: ClassWeights = None,
        **options: Any,
    ) -> None:
        super().__init__(class_weights, **options)
        check_choice("classes", classes, get_args(Classes))
        self.per_image, self.classes = per_image, classes

    def of_region(self, values: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See `OfRegion`."""
        raise NotImplementedError

    def of_target(self, target: Tensor, valid: Tensor) -> Tensor:  # noqa: ARG002
        """See `OfTarget`: the target itself."""
        return target

    def forward(
        self, logits: Tensor, target: Tensor, mask: Tensor | None = None, denominator: Tensor | None = None
    ) -> Tensor:
        """The loss; arguments, result and errors as in `region_loss`."""
        return region_loss(
            self.of_region,
            logits,
            target,
            mask,
            per_image=self.per_image,
            classes=self.classes,
            softmax=self.activation == "softmax",
            of_target=self.of_target,
            hard_labels=self.hard_labels,
            class_weights=self.class_weights,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            denominator=denominator,
            num_classes=self.num_classes,
        )
