"""The region losses: one value a class, from sums or orders over many pixels.

A region loss is no mean over pixels, so over micro-batches and ranks it can only be averaged: the sum of its values
over their number. `denominator` is 1 for that reason.

Pixels are pooled into *units*: the whole batch is one, or each image is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Unpack, get_args

import torch
from torch import Tensor

from .arguments import checked, refuse_foreign
from .base import LossOptions, Reduction, SegmentationLoss
from .class_weights import ClassWeights
from .labels import Pixels, prepare
from .names import check_choice
from .tensors import at_class, of_valid, per_class, ratio

Classes = Literal["present", "all"]
OfRegion = Callable[[Pixels, bool], Tensor]
"""The loss of each unit and class, `(units, C)`, from all pixels of the batch and whether each image is a unit."""


def region_loss(
    of_region: OfRegion,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    per_image: bool = False,
    classes: Classes = "present",
    one_vs_rest: bool = False,
    foreground: bool = False,
    class_weights: Tensor | None = None,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
    denominator: Tensor | None = None,
    num_classes: int | None = None,
) -> Tensor:
    """Reduce a loss of regions of labels over classes and units; it sees the whole batch at once.

    Args:
        of_region: see `OfRegion`.
        logits: `(N, C, *spatial)`, any floating dtype; computed in float32, or float64 when given in it.
        target: `(N, *spatial)` integer labels.
        mask: `(N, *spatial)` bool, true where a pixel counts.
        per_image: score each image by itself, average over its counted classes and then over the images with a valid
            pixel; otherwise pixels are pooled over the batch.
        classes: count the classes `present` in the target, or `all`.
        one_vs_rest: a binary logit (C = 1) stays by itself; otherwise it becomes the two classes `[0, x]`.
        foreground: leave class 0, the background, out.
        class_weights: `(C,)`, weigh the mean over classes; no part of `sum` and `none`.
        ignore_index: the label that does not count.
        reduction: `mean`, `sum` over units and classes, or `none`: `(C,)`, or `(N, C)` per image.
        denominator: divides the mean: the number of micro-batches, when the caller accumulates over them.
        num_classes: checked against the logits, where given.

    Returns:
        A scalar, or one value a class. 0 with zero gradients when no pixel counts.

    Raises:
        TypeError: soft labels; see `segloss.arguments.checked` for the rest.
        ValueError: an unknown reduction or classes; see `segloss.arguments.checked` for the rest.
    """
    if target.is_floating_point():
        raise TypeError(
            f"this loss needs integer labels (N, *spatial), got {target.dtype} of {tuple(target.shape)}: "
            "target.long() for labels, target.argmax(1) for one-hot ones"
        )
    num_classes = num_classes if class_weights is None else len(class_weights)
    logits, labels = checked(logits, target, mask, num_classes=num_classes, ignore_index=ignore_index)
    counted, valid = labels.counted, labels.valid
    pixels = prepare(of_valid(logits, counted), labels, one_vs_rest)
    sizes = of_class(valid.to(pixels.logits.dtype), pixels.target, max(logits.shape[1], 2))
    present = (sizes if per_image else sizes.sum(0, keepdim=True)) > 0
    values = of_region(pixels, per_image) + pixels.fault
    if logits.shape[1] == 1 and one_vs_rest:
        present = present[:, 1:]
    seen = by_unit(valid, per_image).any(1, keepdim=True)
    if foreground:
        seen = seen & (torch.arange(values.shape[1], device=values.device) > 0)
    result = reduce_classes(values, present, seen, per_image, classes, class_weights, reduction, denominator)
    return refuse_foreign(result, logits.shape[1], labels)


def reduce_classes(
    values: Tensor,
    present: Tensor,
    seen: Tensor,
    per_image: bool,
    classes: Classes,
    class_weights: Tensor | None,
    reduction: Reduction,
    denominator: Tensor | None,
) -> Tensor:
    """Reduce one value a unit and class.

    Args:
        values: `(units, C)`, or `(units, 1)` of the unit as a whole; NaN where labels are at fault.
        present: `(units, C)` bool, the classes in the target.
        seen: `(units, 1)` or `(units, C)` bool, true where a unit has a pixel that counts.
        per_image: see `region_loss`; so are the rest.
        classes: count the classes `present` in the target, or `all`.
        class_weights: weigh the mean over classes.
        reduction: `mean`, `sum` or `none`.
        denominator: divides the mean.
    """
    check_choice("reduction", reduction, get_args(Reduction))
    check_choice("classes", classes, get_args(Classes))
    fault = torch.where(values.isnan().any(), torch.nan, 0.0).to(values.dtype)
    counted = seen & (present | (classes == "all"))
    if values.shape[1] == 1:  # the unit as a whole, or a binary logit: no class to weigh against another
        counted, class_weights = counted.any(1, keepdim=True), None
    values = torch.where(counted, values, 0.0)
    if reduction == "none":
        return (values if per_image else values[0]) + fault
    if reduction == "sum":
        return values.sum() + fault
    weights = torch.ones_like(values) if class_weights is None else per_class(class_weights, values)
    share = torch.where(counted, weights, 0.0)
    units = ratio((values * share).sum(1), share.sum(1))
    mean = ratio(units.sum(), (share.sum(1) > 0).sum())
    return (mean if denominator is None else mean / torch.as_tensor(denominator).to(mean)) + fault


def by_unit(per_pixel: Tensor, per_image: bool) -> Tensor:
    """`(N, *spatial)` laid out as `(units, pixels)`: each image a unit, or the batch as one."""
    return per_pixel.reshape(len(per_pixel) if per_image else 1, math.prod(per_pixel.shape[int(per_image) :]))


def of_class(values: Tensor, target: Tensor, classes: int) -> Tensor:
    """The sum of values `(N, *spatial)` over the pixels of each class, `(N, classes)`."""
    if torch.compiler.is_compiling():  # fused, where a histogram is not
        found = torch.where(at_class(target, classes), values.unsqueeze(1), 0.0)
        return found.flatten(2).sum(2) if found.dim() > 2 else found
    sums = values.new_zeros(len(values), classes)
    return sums.scatter_add(1, by_unit(target, per_image=True), by_unit(values, per_image=True))


class RegionOptions(LossOptions, total=False):
    """What the constructor of a region loss passes on to `RegionLoss`."""

    per_image: bool
    classes: Classes
    class_weights: ClassWeights


class RegionLoss(SegmentationLoss):
    """One value a class from all its pixels, averaged over classes; its formula is an `OfRegion`.

    Args:
        per_image: score each image by itself, average over its counted classes and then over the images with a valid
            pixel; otherwise pixels are pooled over the batch.
        classes: count the classes `present` in the target, or `all`.
        class_weights: a list, or a scheme as of any loss; they weigh the mean over classes, and nothing else.
        **options: `num_classes`, `class_counts`, `ignore_index`, `reduction` of `SegmentationLoss`; `sum` is over units
            and classes, `none` gives `(C,)`, or `(N, C)` per image.

    Attributes:
        foreground: class 0, the background, is left out.
    """

    options: ClassVar[tuple[str, ...]] = (*SegmentationLoss.options, "per_image", "classes")
    restrictions: ClassVar[tuple[str, ...]] = ()
    without: ClassVar[str] = "it ranks pixels or looks at their places; take a pixelwise or an overlap loss"
    foreground: ClassVar[bool] = False

    def __init__(
        self,
        *,
        per_image: bool = False,
        classes: Classes = "present",
        class_weights: ClassWeights = None,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(class_weights=class_weights, **options)
        check_choice("classes", classes, get_args(Classes))
        self.per_image, self.classes = per_image, classes

    @classmethod
    def function(cls, logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """See `region_loss`."""
        of_region, options = cls.bind(options)
        one_vs_rest = cls.activation == "none"
        options |= {"one_vs_rest": one_vs_rest, "foreground": cls.foreground}
        return region_loss(of_region, logits, target, mask, **options)
