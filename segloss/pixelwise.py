"""The engine of the pixelwise losses: masks, runs a loss's per-pixel terms, weighs and reduces them.

A pixelwise loss is its *terms*: a function of logits `(N, C, *spatial)` and target that gives one value a pixel,
`(N, *spatial)`. Everything else, the same for all of them, stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from .base import Reduction, SegmentationLoss
from .class_weights import ClassWeights
from .names import check_choice
from .tensors import Pixels, per_class, prepare, ratio, two_classes, valid_pixels

Normalize = Literal["pixels", "weights"]
Terms = Callable[[Tensor, Tensor], Tensor]
BatchWeights = Callable[[Pixels], Tensor | None]


def pixelwise_loss(
    terms: Terms,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    class_weights: Tensor | Sequence[float] | None = None,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
    normalize: Normalize = "pixels",
    denominator: Tensor | None = None,
    num_classes: int | None = None,
    one_vs_rest: bool = False,
    batch_weights: BatchWeights | None = None,
) -> Tensor:
    """Reduce the terms of a loss over the pixels that count.

    Args:
        terms: the loss at each pixel, `(N, *spatial)`, from prepared logits and target.
        logits: `(N, C, *spatial)`, any floating dtype; computed in float32, or float64 when given in it.
        target: `(N, *spatial)` integer labels, or `(N, C, *spatial)` soft labels.
        mask: `(N, *spatial)` bool, true where a pixel counts.
        class_weights: `(C,)`; a pixel's whole loss is multiplied by the weight of its true class (soft: Σ_i P_i w_i).
        ignore_index: the label that does not count, neither in the sum nor in the denominator.
        reduction: `mean`, `sum`, or `none` for the map `(N, *spatial)`, 0 where ignored.
        normalize: what `mean` divides by: the number of valid `pixels`, or the sum of their `weights`.
        denominator: divide by this instead, a scalar: the count over all micro-batches or ranks.
        num_classes: checked against the logits, where given.
        one_vs_rest: the terms take each logit by itself, so a binary logit (C = 1) stays as it is; otherwise it becomes
            the two classes `[0, x]`.
        batch_weights: further class weights `(C,)`, measured on the batch; no part of the denominator.

    Returns:
        A scalar, or the map. 0 with zero gradients when no pixel counts.

    Raises:
        TypeError, ValueError: see `segloss.tensors.prepare`; an unknown reduction or normalize.
    """
    check_choice("reduction", reduction, get_args(Reduction))
    check_choice("normalize", normalize, get_args(Normalize))
    num_classes = num_classes if class_weights is None else len(class_weights)
    pixels = prepare(logits, target, mask, ignore_index, num_classes, one_vs_rest)
    if class_weights is not None:
        class_weights = torch.as_tensor(class_weights, dtype=pixels.logits.dtype, device=pixels.logits.device)
    values = torch.where(pixels.valid, terms(pixels.logits, pixels.target), 0.0)
    measured = None if batch_weights is None else batch_weights(pixels)
    for weights in (class_weights, measured):
        if weights is not None:
            values = values * pixel_weights(weights, pixels.target)
    if reduction == "none":
        return values + pixels.fault
    total = values.sum() + pixels.fault
    if reduction == "sum":
        return total
    if denominator is None:
        denominator = pixel_denominator(pixels.target, pixels.valid, class_weights, normalize)
    return ratio(total, torch.as_tensor(denominator).to(total))


def pixel_weights(class_weights: Tensor, target: Tensor) -> Tensor:
    """The weight of each pixel's true class, `(N, *spatial)`."""
    if target.is_floating_point():
        target = two_classes(target)
        return (target * per_class(class_weights, target)).sum(1)
    return class_weights.to(target.device)[target]


def pixel_denominator(target: Tensor, valid: Tensor, class_weights: Tensor | None, normalize: Normalize) -> Tensor:
    """What `mean` divides by: a scalar."""
    if normalize == "pixels" or class_weights is None:
        return valid.sum()
    return torch.where(valid, pixel_weights(class_weights, target), 0.0).sum()


class PixelwiseLoss(SegmentationLoss):
    """A loss that is a mean over pixels; a subclass gives its `terms`.

    Args:
        class_weights: see `SegmentationLoss`; the weight of a pixel's true class multiplies the pixel's whole loss.
        normalize: what `mean` divides by: valid `pixels` (the papers' 1/N) or the sum of target `weights` (as torch).
        **options: `num_classes`, `class_counts`, `ignore_index`, `reduction` of `SegmentationLoss`; `none` gives the
            map `(N, *spatial)`, 0 where ignored.
    """

    def __init__(self, class_weights: ClassWeights = None, normalize: Normalize = "pixels", **options: Any) -> None:
        super().__init__(class_weights, **options)
        check_choice("normalize", normalize, get_args(Normalize))
        self.normalize = normalize

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        """The unweighted loss at each pixel, `(N, *spatial)`, from prepared logits and target."""
        raise NotImplementedError

    def batch_weights(self, pixels: Pixels) -> Tensor | None:  # noqa: ARG002
        """Class weights `(C,)` measured on the batch; None for a loss that has none."""
        return None

    def denominator(self, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """What `mean` divides by for this target, a scalar; sum it over micro-batches and ranks and pass it back in."""
        valid = valid_pixels(target, mask, self.ignore_index)
        if self.class_weights is None or self.normalize == "pixels":
            return valid.sum()
        if not target.is_floating_point():
            target = torch.where(valid, target, 0).long().clamp(0, len(self.class_weights) - 1)
        return pixel_denominator(target, valid, self.class_weights, self.normalize)

    def forward(
        self, logits: Tensor, target: Tensor, mask: Tensor | None = None, denominator: Tensor | None = None
    ) -> Tensor:
        """The loss; arguments, result and errors as in `pixelwise_loss`."""
        return pixelwise_loss(
            self.terms,
            logits,
            target,
            mask,
            class_weights=self.class_weights,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            normalize=self.normalize,
            denominator=denominator,
            num_classes=self.num_classes,
            one_vs_rest=self.activation == "sigmoid",
            batch_weights=self.batch_weights,
        )
