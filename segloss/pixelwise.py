"""The pixelwise losses: masks, weights and reductions around a loss's per-pixel terms.

A pixelwise loss is its *terms*: a function of logits `(N, C, *spatial)` and target that gives one value a pixel,
`(N, *spatial)`. Everything else, the same for all of them, is here and in `segloss.blocks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, Unpack, get_args

import torch
from torch import Tensor, nn

from .arguments import checked, counted_labels, refuse_foreign
from .base import LossOptions, Reduction, SegmentationLoss
from .blocks import Plan, over_pixels
from .class_weights import ClassWeights
from .labels import Labels, prepare
from .names import check_choice
from .resize import Resize
from .tensors import at_class, exact, masked, per_class, ratio, two_classes

Normalize = Literal["pixels", "weights"]
Terms = Callable[[Tensor, Tensor], Tensor]
BatchWeights = Callable[[Tensor, Labels, Resize | None], Tensor]
"""From logits, labels and, for logits of a smaller map, its resize."""


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
    weight: Tensor | None = None,
    labelled: Tensor | None = None,
) -> Tensor:
    """Reduce the terms of a loss over the pixels that count.

    Args:
        terms: the loss at each pixel, `(N, *spatial)`, from prepared logits and target. Tensors that it refers to
            get a gradient where they require one: those it binds, closes over, or has as the method of a module.
        logits: `(N, C, *spatial)`, any floating dtype; computed in float32, or float64 when given in it.
        target: `(N, *spatial)` integer labels, or `(N, C, *spatial)` soft or, where one_vs_rest, overlapping labels.
        mask: `(N, *spatial)` bool, true where a pixel counts; where one_vs_rest also `(N, C, *spatial)`.
        class_weights: `(C,)`; a pixel's whole loss is multiplied by the weight of its true class (soft: Σ_i P_i w_i).
        ignore_index: the label that does not count, neither in the sum nor in the denominator.
        reduction: `mean`, `sum`, or `none` for the map `(N, *spatial)`, 0 where ignored.
        normalize: what `mean` divides by: the number of valid `pixels`, or the sum of their `weights`, `weight` times
            class weight.
        denominator: divide by this instead, a scalar: the count over all micro-batches or ranks.
        num_classes: checked against the logits, where given.
        one_vs_rest: the terms take each logit by itself, so a binary logit (C = 1) stays as it is; otherwise it becomes
            the two classes `[0, x]`.
        exclusive: the classes exclude each other: soft labels must sum to 1.
        batch_weights: further class weights `(C,)`, measured on the batch; no part of the denominator.
        draws: the terms draw random numbers.
        size: see `segloss.upsampled`.
        weight: see `segloss.SegmentationLoss.forward`.
        labelled: see `segloss.SegmentationLoss.forward`.

    Returns:
        A scalar, or the map. 0 with zero gradients when no pixel counts.

    Raises:
        TypeError, ValueError: see `segloss.arguments.checked` and `refuse_foreign`; an unknown reduction or
            normalize.
    """
    check_choice("reduction", reduction, get_args(Reduction))
    check_choice("normalize", normalize, get_args(Normalize))
    num_classes = num_classes if class_weights is None else len(class_weights)
    logits, labels = checked(
        logits, target, mask, num_classes=num_classes, size=size, ignore_index=ignore_index, exclusive=exclusive,
        overlapping=one_vs_rest, weight=weight, labelled=labelled,
    )  # fmt: skip
    resize = None if size is None else Resize(logits.shape[2], size)
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    if class_weights is not None:
        class_weights = torch.as_tensor(class_weights, dtype=dtype, device=logits.device)
    measured = None if batch_weights is None else batch_weights(logits, labels, resize)

    def values(logits: Tensor, labels: Labels) -> Tensor:
        pixels = prepare(logits, labels, one_vs_rest)
        found = masked(terms(pixels.logits, pixels.target), pixels.valid)
        for weights in (class_weights, measured):
            if weights is not None:
                found = found * pixel_weights(weights, pixels.target)
        if pixels.weight is not None:
            found = found * pixels.weight
        return (found if reduction == "none" else found.sum()) + pixels.fault

    slope = None
    if reduction == "mean":
        if denominator is None:
            denominator = pixel_denominator(labels, class_weights, normalize)
        denominator = torch.as_tensor(denominator, device=logits.device).to(exact(logits.device))
        slope = ratio(torch.ones_like(denominator), denominator)
    elif reduction == "sum":
        slope = torch.ones((), dtype=exact(logits.device), device=logits.device)
    parameters = (class_weights, measured, *tensors_of(terms))
    plan = Plan(values, "pixel" if reduction == "none" else "batch", resize, draws, parameters)
    result = over_pixels(plan, logits, labels, slope)
    return refuse_foreign(result, logits.shape[1], labels)


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


def pixel_denominator(labels: Labels, class_weights: Tensor | None, normalize: Normalize) -> Tensor:
    """What `mean` divides by, a scalar; a label outside 0..C−1 is not refused here."""
    valid, target = labels.valid, labels.target
    if normalize == "pixels" or (class_weights is None and labels.weight is None):
        return valid.sum()
    each = torch.ones_like(valid, dtype=exact(valid.device)) if labels.weight is None else labels.weight
    if class_weights is not None:
        if labels.soft:
            target = torch.where(labels.counted, target, 0.0)
        else:
            target = torch.where(valid, target, 0).long().clamp(0, len(class_weights) - 1)
        each = each * pixel_weights(class_weights, target)
    return torch.where(valid, each, 0.0).sum()


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
        merges: the classes that an image was not labelled for can be merged into the background before the terms.
    """

    merges: ClassVar[bool] = True
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

    def denominator(
        self,
        target: Tensor,
        mask: Tensor | None = None,
        *,
        weight: Tensor | None = None,
        labelled: Tensor | None = None,
        overlapping: bool = False,
    ) -> Tensor:
        """What `mean` divides by for this target, a scalar; sum it over micro-batches and ranks and pass it back in.

        Args:
            target: see `forward`.
            mask: see `forward`.
            weight: see `forward`.
            labelled: see `forward`.
            overlapping: an integer or bool target is `(N, C, *spatial)`; a floating one always is.
        """
        exclusive = self.activation == "softmax"
        labels = counted_labels(
            target, mask, ignore_index=self.ignore_index, exclusive=exclusive, overlapping=overlapping, weight=weight,
            labelled=labelled,
        )  # fmt: skip
        return pixel_denominator(labels, self.class_weights, self.normalize)

    @classmethod
    def refuse_labelled(cls, values: Mapping[str, Any]) -> None:
        """Refuse partial labels where merging classes would not give the loss of fewer classes.

        Raises:
            ValueError: a loss that cannot merge classes, or smoothes labels.
        """
        if not cls.merges:
            raise ValueError(
                f"{cls.__name__} takes no partial labels (labelled): its classes cannot be merged into the background; "
                "take ce, focal, dfl or a loss with sigmoid"
            )
        if values.get("label_smoothing"):
            raise ValueError(
                "label_smoothing must be 0 with partial labels (labelled), whose classes are not all known"
            )

    @classmethod
    def function(cls, logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """See `pixelwise_loss`."""
        if options.get("labelled") is not None:
            cls.refuse_labelled(options)
        terms, options = cls.bind(options)
        one_vs_rest, exclusive = cls.activation == "sigmoid", cls.activation == "softmax"
        return pixelwise_loss(
            terms, logits, target, mask,
            one_vs_rest=one_vs_rest, exclusive=exclusive, batch_weights=cls.batch_weights, draws=cls.draws, **options,
        )  # fmt: skip
