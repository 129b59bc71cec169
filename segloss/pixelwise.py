"""The engine of the pixelwise losses: masks, runs a loss's per-pixel terms, weighs and reduces them.

A pixelwise loss is its *terms*: a function of logits `(N, C, *spatial)` and target that gives one value a pixel,
`(N, *spatial)`. Everything else, the same for all of them, stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from .class_weights import ClassCounts, ClassWeights, Counts, resolve_class_weights
from .names import check_choice
from .tensors import per_class, prepare, valid_pixels

Activation = Literal["softmax", "sigmoid", "none"]
Normalize = Literal["pixels", "weights"]
Reduction = Literal["mean", "sum", "none"]
Terms = Callable[[Tensor, Tensor], Tensor]


def pixelwise_loss(
    terms: Terms,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    class_weights: Tensor | None = None,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
    normalize: Normalize = "pixels",
    denominator: Tensor | None = None,
    num_classes: int | None = None,
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

    Returns:
        A scalar, or the map. 0 with zero gradients when no pixel counts.

    Raises:
        TypeError, ValueError: see `segloss.tensors.prepare`.
    """
    num_classes = num_classes if class_weights is None else len(class_weights)
    pixels = prepare(logits, target, mask, ignore_index, num_classes)
    values = torch.where(pixels.valid, terms(pixels.logits, pixels.target), 0.0)
    if class_weights is not None:
        values = values * pixel_weights(class_weights.to(values), pixels.target)
    if reduction == "none":
        return values + pixels.fault
    total = values.sum() + pixels.fault
    if reduction == "sum":
        return total
    if denominator is None:
        denominator = pixel_denominator(pixels.target, pixels.valid, class_weights, normalize)
    denominator = denominator.to(total)
    mean: Tensor = total / torch.where(denominator > 0, denominator, 1.0)
    return mean


def pixel_weights(class_weights: Tensor, target: Tensor) -> Tensor:
    """The weight of each pixel's true class, `(N, *spatial)`."""
    if target.is_floating_point():
        return (target * per_class(class_weights.to(target), target)).sum(1)
    return class_weights[target]


def pixel_denominator(target: Tensor, valid: Tensor, class_weights: Tensor | None, normalize: Normalize) -> Tensor:
    """What `mean` divides by: a scalar."""
    if normalize == "pixels" or class_weights is None:
        return valid.sum().float()
    return torch.where(valid, pixel_weights(class_weights, target), 0.0).sum().float()


class PixelwiseLoss(nn.Module):
    """A loss that is a mean over pixels; a subclass gives its `terms`.

    Args:
        class_weights: a list of one weight a class, the name of a scheme of `segloss.class_weights`, or a mapping
            `{"name": scheme, **parameters}`; schemes need `class_counts`.
        normalize: what `mean` divides by: valid `pixels` (the papers' 1/N) or the sum of target `weights` (as torch).
        num_classes: the number of classes, 2 for a binary logit; needed by some losses, checked by all.
        class_counts: what the training data holds of each class.
        ignore_index: the label that does not count.
        reduction: `mean`, `sum`, or `none`.

    Raises:
        ValueError: a parameter out of its range; the message names it.
    """

    activation: ClassVar[Activation] = "softmax"
    class_weights: Tensor | None

    def __init__(
        self,
        class_weights: ClassWeights = None,
        normalize: Normalize = "pixels",
        *,
        num_classes: int | None = None,
        class_counts: Counts | None = None,
        ignore_index: int = 255,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_choice("normalize", normalize, get_args(Normalize))
        check_choice("reduction", reduction, get_args(Reduction))
        counts = None if class_counts is None else ClassCounts.of(class_counts)
        self.ignore_index, self.normalize, self.reduction = ignore_index, normalize, reduction
        self.num_classes = num_classes
        self.register_buffer("class_weights", resolve_class_weights(class_weights, counts, num_classes))

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        """The unweighted loss at each pixel, `(N, *spatial)`, from prepared logits and target."""
        raise NotImplementedError

    def denominator(self, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """What `mean` divides by for this target, a scalar; sum it over micro-batches and ranks and pass it back in."""
        valid = valid_pixels(target, mask, self.ignore_index)
        if self.class_weights is None or self.normalize == "pixels":
            return valid.sum().float()
        if target.is_floating_point():
            target = torch.cat([1 - target, target], dim=1) if target.shape[1] == 1 else target
        else:
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
        )

    def extra_repr(self) -> str:
        """The parameters that the representation shows."""
        shown = {k: v for k, v in vars(self).items() if not k.startswith("_") and k != "training"}
        return ", ".join(f"{k}={v!r}" for k, v in shown.items())
