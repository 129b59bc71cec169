"""The pixelwise losses: masks, weights and reductions around a loss's per-pixel terms.

A pixelwise loss is its *terms*: a function of logits `(N, C, *spatial)` and target that gives one value a pixel,
`(N, *spatial)`. Everything else, the same for all of them, is here and in `segloss.blocks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, Unpack, get_args

import torch
from torch import Tensor, nn

from .arguments import checked, labels_and_mask, refuse_foreign
from .base import LossOptions, Reduction, SegmentationLoss
from .blocks import Plan, over_pixels
from .class_weights import ClassWeights
from .names import check_choice
from .resize import Resize
from .tensors import at_class, exact, per_class, prepare, ratio, two_classes, valid_pixels

Normalize = Literal["pixels", "weights"]
Terms = Callable[[Tensor, Tensor], Tensor]
BatchWeights = Callable[[Tensor, Tensor, Tensor | None, int, Resize | None], Tensor]
"""From logits, target, mask, `ignore_index` and, for logits of a smaller map, its resize."""


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
    exclusive: bool = True,
    batch_weights: BatchWeights | None = None,
    draws: bool = False,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Reduce the terms of a loss over the pixels that count.

    Args:
        terms: the loss at each pixel, `(N, *spatial)`, from prepared logits and target. Tensors that it refers to
            get a gradient where they require one: those it binds, closes over, or has as the method of a module.
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
        exclusive: the classes exclude each other: soft labels must sum to 1.
        batch_weights: further class weights `(C,)`, measured on the batch; no part of the denominator.
        draws: the terms draw random numbers.
        size: see `segloss.upsampled`.

    Returns:
        A scalar, or the map. 0 with zero gradients when no pixel counts.

    Raises:
        TypeError, ValueError: see `segloss.tensors.checked` and `refuse_foreign`; an unknown reduction or
            normalize.
    """
    check_choice("reduction", reduction, get_args(Reduction))
    check_choice("normalize", normalize, get_args(Normalize))
    num_classes = num_classes if class_weights is None else len(class_weights)
    logits, target, mask = checked(logits, target, mask, num_classes, size)
    resize = None if size is None else Resize(logits.shape[2], size)
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    if class_weights is not None:
        class_weights = torch.as_tensor(class_weights, dtype=dtype, device=logits.device)
    measured = None if batch_weights is None else batch_weights(logits, target, mask, ignore_index, resize)

    def values(logits: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        pixels = prepare(logits, target, mask, ignore_index, one_vs_rest, exclusive)
        found = torch.where(pixels.valid, terms(pixels.logits, pixels.target), 0.0)
        for weights in (class_weights, measured):
            if weights is not None:
                found = found * pixel_weights(weights, pixels.target)
        return (found if reduction == "none" else found.sum()) + pixels.fault

    slope = None
    if reduction == "mean":
        if denominator is None:
            denominator = pixel_denominator(target, mask, ignore_index, class_weights, normalize)
        denominator = torch.as_tensor(denominator, device=logits.device).to(exact(logits.device))
        slope = ratio(torch.ones_like(denominator), denominator)
    elif reduction == "sum":
        slope = torch.ones((), dtype=exact(logits.device), device=logits.device)
    parameters = (class_weights, measured, *tensors_of(terms))
    plan = Plan(values, "pixel" if reduction == "none" else "batch", resize, ignore_index, draws, parameters)
    result = over_pixels(plan, logits, target, mask, slope)
    return refuse_foreign(result, logits.shape[1], target, mask, ignore_index, exclusive)


def tensors_of(function: Callable[..., Any]) -> Iterator[Tensor]:
    """The tensors that a function refers to: bound by `partial`, closed over, or of the module it is a method of."""
    if isinstance(function, partial):
        held = [*function.args, *function.keywords.values()]
        yield from tensors_of(function.func)
    else:
        held = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
        held.append(getattr(function, "__self__", None))
    for each in held:
        if isinstance(each, nn.Module):
            yield from each.parameters()
            yield from each.buffers()
        elif isinstance(each, Tensor):
            yield each


def pixel_weights(class_weights: Tensor, target: Tensor) -> Tensor:
    """The weight of each pixel's true class, `(N, *spatial)`."""
    if target.is_floating_point():
        target = two_classes(target)
        return (target * per_class(class_weights, target)).sum(1)
    if torch.compiler.is_compiling():  # looked up once a pixel, not once a logit
        weights = class_weights.to(target.device).view(1, -1, *[1] * (target.dim() - 1))
        return torch.where(at_class(target, len(class_weights)), weights, 0.0).sum(1)
    return class_weights.to(target.device)[target]


def pixel_denominator(
    target: Tensor, mask: Tensor | None, ignore_index: int, class_weights: Tensor | None, normalize: Normalize
) -> Tensor:
    """What `mean` divides by, a scalar; a label outside 0..C−1 is not refused here."""
    target, mask = labels_and_mask(target, mask)
    valid = valid_pixels(target, mask, ignore_index)
    if normalize == "pixels" or class_weights is None:
        return valid.sum()
    if not target.is_floating_point():
        target = torch.where(valid, target, 0).long().clamp(0, len(class_weights) - 1)
    return torch.where(valid, pixel_weights(class_weights, target), 0.0).sum()


class UnweightedOptions(LossOptions, total=False):
    """What the constructor of a pixelwise loss that makes its class weights passes on to `PixelwiseLoss`."""

    normalize: Normalize


class PixelwiseOptions(UnweightedOptions, total=False):
    """What the constructor of a pixelwise loss passes on to `PixelwiseLoss`."""

    class_weights: ClassWeights


class PixelwiseLoss(SegmentationLoss):
    """A loss that is a mean over pixels; its formula is its terms, `(N, *spatial)`.

    Args:
        class_weights: see `SegmentationLoss`; the weight of a pixel's true class multiplies the pixel's whole loss.
        normalize: what `mean` divides by: valid `pixels` (the papers' 1/N) or the sum of target `weights` (as torch).
        **options: `num_classes`, `class_counts`, `ignore_index`, `reduction` of `SegmentationLoss`; `none` gives the
            map `(N, *spatial)`, 0 where ignored.

    Attributes:
        batch_weights: a `BatchWeights`, see `pixelwise_loss`; None for a loss that has none.
        draws: the terms draw random numbers.
    """

    batch_weights: ClassVar[Any] = None
    options: ClassVar[tuple[str, ...]] = (*SegmentationLoss.options, "normalize")
    upsamples: ClassVar[bool] = True
    draws: ClassVar[bool] = False

    def __init__(
        self, *, class_weights: ClassWeights = None, normalize: Normalize = "pixels", **options: Unpack[LossOptions]
    ) -> None:
        super().__init__(class_weights=class_weights, **options)
        check_choice("normalize", normalize, get_args(Normalize))
        self.normalize = normalize

    def denominator(self, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """What `mean` divides by for this target, a scalar; sum it over micro-batches and ranks and pass it back in."""
        return pixel_denominator(target, mask, self.ignore_index, self.class_weights, self.normalize)

    @classmethod
    def function(cls, logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """See `pixelwise_loss`."""
        terms, options = cls.bind(options)
        one_vs_rest, exclusive = cls.activation == "sigmoid", cls.activation == "softmax"
        return pixelwise_loss(
            terms, logits, target, mask,
            one_vs_rest=one_vs_rest, exclusive=exclusive, batch_weights=cls.batch_weights, draws=cls.draws, **options,
        )  # fmt: skip
