"""Region losses of overlaps: true positives, false positives and false negatives, softly counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, Unpack

import torch
from torch import Tensor

from .arguments import checked, refuse_foreign
from .base import Reduction
from .blocks import Plan, over_pixels
from .closed_form import applies, derivative, twice_differentiable
from .labels import Labels, Pixels, prepare
from .names import NOT_NEGATIVE, check_range
from .region import Classes, RegionLoss, RegionOptions, by_unit, of_class, reduce_classes
from .resize import Resize
from .tensors import one_hot, pick, put, zeroed
from .true_class import margin


class Overlap(NamedTuple):
    """Sums over the pixels of a unit, each `(units, C)`.

    Attributes:
        tp: Σ min(p, t), which is Σ p·t of labels; Σ p·t when squared.
        fp: Σ max(p − t, 0), or Σ p·(p − t) when squared.
        fn: Σ max(t − p, 0), or Σ t·(t − p) when squared.
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor

    @property
    def predicted(self) -> Tensor:
        """Σ p, or Σ p² when squared."""
        return self.tp + self.fp

    @property
    def target(self) -> Tensor:
        """Σ t, or Σ t² when squared."""
        return self.tp + self.fn


OfOverlap = Callable[[Overlap], Tensor]
"""The loss of each unit and class, `(units, C)`, or of each unit as a whole, `(units, 1)`."""
OverRanks = Callable[[Tensor], Tensor]
"""The sum over ranks of a tensor of this rank."""


def overlap_loss(
    loss: OfOverlap,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    squared: bool = False,
    sigmoid: bool = False,
    per_image: bool = False,
    classes: Classes = "present",
    class_weights: Tensor | None = None,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
    denominator: Tensor | None = None,
    num_classes: int | None = None,
    size: tuple[int, int] | None = None,
    weight: Tensor | None = None,
    labelled: Tensor | None = None,
    over_ranks: OverRanks | None = None,
) -> Tensor:
    """Reduce a loss of overlaps over classes and units; see `segloss.region.region_loss` for the rest.

    The overlaps are summed in one pass over the pixels, the gradient is made in a second one.

    Args:
        loss: see `OfOverlap`.
        logits: `(N, C, *spatial)`.
        target: `(N, *spatial)` integer labels, or `(N, C, *spatial)` soft or, with sigmoid, overlapping labels.
        mask: `(N, *spatial)` bool, true where a pixel counts; with sigmoid also `(N, C, *spatial)`.
        squared: V-Net's sums of squares.
        sigmoid: p = sigmoid(z), each class by itself, in place of softmax.
        per_image: see `region_loss`.
        classes: see `region_loss`.
        class_weights: see `region_loss`.
        ignore_index: see `region_loss`.
        reduction: see `region_loss`.
        denominator: see `region_loss`.
        num_classes: see `region_loss`.
        size: see `segloss.upsampled`.
        weight: see `segloss.SegmentationLoss.forward`.
        labelled: see `segloss.SegmentationLoss.forward`.
        over_ranks: see `OverlapLoss`; not used per image.
    """
    num_classes = num_classes if class_weights is None else len(class_weights)
    found, seen, labels = overlap_sums(
        logits, target, mask, squared=squared, sigmoid=sigmoid, per_image=per_image, ignore_index=ignore_index,
        num_classes=num_classes, size=size, weight=weight, labelled=labelled,
    )  # fmt: skip
    if over_ranks is not None and not per_image:
        both = over_ranks(torch.cat([found, seen.expand(found.shape[:2]).unsqueeze(2).to(found.dtype)], 2))
        found, seen = both[..., :3], both[..., 3] > 0
    result = loss_of_sums(loss, found, seen, per_image, classes, class_weights, reduction, denominator)
    return refuse_foreign(result, logits.shape[1], labels)


def overlap_sums(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    squared: bool = False,
    sigmoid: bool = False,
    per_image: bool = False,
    ignore_index: int = 255,
    num_classes: int | None = None,
    size: tuple[int, int] | None = None,
    weight: Tensor | None = None,
    labelled: Tensor | None = None,
) -> tuple[Tensor, Tensor, Labels]:
    """Tp, fp and fn of each unit and class, `(units, C, 3)`; arguments as of `overlap_loss`.

    Returns:
        The sums; where a unit has a pixel that counts, `(units, 1)` or `(units, C)`; and the checked labels.
    """
    logits, labels = checked(
        logits, target, mask, num_classes=num_classes, size=size, ignore_index=ignore_index, exclusive=not sigmoid,
        overlapping=sigmoid, weight=weight, labelled=labelled,
    )  # fmt: skip
    resize = None if size is None else Resize(logits.shape[2], size)

    def sums(logits: Tensor, labels: Labels) -> Tensor:
        pixels = prepare(logits, labels, sigmoid)
        found = overlaps(pixels, squared, sigmoid)
        if labels.labelled is not None:
            found = torch.where(labels.labelled.unsqueeze(2), found, 0.0)
        found = found + pixels.fault
        return found if per_image else found.sum(0)

    plan = Plan(sums, "image" if per_image else "batch", resize)
    found = over_pixels(plan, logits, labels)
    seen = labels.counted.flatten(2).sum(2) > 0 if len(labels.shape) > 1 else labels.counted  # faster than `any`
    seen = seen if labels.labelled is None else seen & labels.labelled
    return (found, seen, labels) if per_image else (found.unsqueeze(0), seen.any(0, keepdim=True), labels)


def loss_of_sums(
    loss: OfOverlap,
    sums: Tensor,
    seen: Tensor,
    per_image: bool,
    classes: Classes,
    class_weights: Tensor | None,
    reduction: Reduction,
    denominator: Tensor | None = None,
) -> Tensor:
    """Reduce a loss of the sums that `overlap_sums` gives; see `segloss.region.reduce_classes`."""
    of_units = Overlap(*sums.unbind(2))
    result = reduce_classes(
        loss(of_units), of_units.target.detach() > 0, seen, per_image, classes, class_weights, reduction, denominator
    )
    return result + torch.where(sums.detach().isnan().any(), torch.nan, 0.0).to(result.dtype)


def overlaps(pixels: Pixels, squared: bool = False, sigmoid: bool = False) -> Tensor:
    """Tp, fp and fn of each image and class, `(N, C, 3)`."""
    plain = not (squared or sigmoid or pixels.target.is_floating_point()) and pixels.weight is None
    if not plain or not applies():
        return overlaps_definition(
            pixels.logits, pixels.target, pixels.counted, squared=squared, sigmoid=sigmoid, weight=pixels.weight
        )
    closed = _OverlapsOfTwo if pixels.logits.shape[1] == 2 else _Overlaps
    found: Tensor = closed.apply(pixels.logits, pixels.target, pixels.valid)
    return found


def overlaps_definition(
    logits: Tensor,
    target: Tensor,
    counted: Tensor,
    squared: bool = False,
    sigmoid: bool = False,
    weight: Tensor | None = None,
) -> Tensor:
    """`overlaps` in plain operations, for autograd, soft labels, squares, sigmoid and weights.

    With products in place of minima, soft labels would drive every p to 0 or 1; so the loss is least at p = t (Wang
    2023). Squares have that property as they are.
    """
    p = torch.where(counted, logits.sigmoid() if sigmoid else logits.softmax(1), 0.0)
    t = torch.where(counted, one_hot(target, p.shape[1]).to(p.dtype), 0.0)
    both = p * t if squared else torch.minimum(p, t)
    each = [both, p * (p - t), t * (t - p)] if squared else [both, p - both, t - both]
    each = each if weight is None else [values * weight.unsqueeze(1) for values in each]
    return torch.stack([values.flatten(2).sum(2) if p.dim() > 2 else values for values in each], 2)


class _Overlaps(torch.autograd.Function):
    """The closed form for labels.

    With d_i the slope of the loss by p_i, which is that of fp, at the true class that of tp less that of fn, the
    gradient is p_i (d_i − Σ_j p_j d_j).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            # Every fused loop has an exponential of its own: one that two loops share would be written to memory.
            top = logits.amax(1, keepdim=True)
            total = torch.exp(logits - top).sum(1, keepdim=True)
            p = torch.exp((logits - top) - total.log())
            true = torch.exp(pick(logits, target) - top.squeeze(1)) / total.squeeze(1)
            ctx.save_for_backward(logits, target, valid, true, top, total)
        else:
            p = logits.softmax(1)
            true = pick(p, target)
            ctx.save_for_backward(logits, target, valid, true, p, None)
        # A false positive of class i is p_i at a pixel of another class, so p with 0 put at the true class; tp and fn
        # have one value a pixel, added to its true class.
        false = put(zeroed(p, valid.unsqueeze(1)), target, 0.0)
        fp = false.flatten(2).sum(2) if p.dim() > 2 else false
        tp, fn = (of_class(zeroed(each, valid), target, p.shape[1]) for each in (true, 1 - true))
        return torch.stack([tp, fp, fn], 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        logits, target, valid, true, top, total = ctx.saved_tensors
        if twice_differentiable():
            definition = partial(overlaps_definition, counted=valid.unsqueeze(1))
            return derivative(definition, logits, target, grad), None, None
        tp, fp, fn = (each.view(*each.shape, *[1] * (logits.dim() - 2)) for each in grad.unbind(2))
        of_true = (true * pick((tp - fn).expand(logits.shape), target)).unsqueeze(1)
        # With s_i = p_i d_i the gradient is s_i − p_i Σ_j s_j; `of_true` is s at the true class.
        if total is None:
            p = top
            slope = put(p * fp, target, of_true)
            return slope.addcmul_(p, slope.sum(1, keepdim=True), value=-1), None, None
        z = (logits + 0 * fp) - top  # tied to the incoming gradient, see `recompute` of `closed_form`
        mean = put(torch.exp(z - total.log()) * fp, target, of_true).sum(1, keepdim=True)
        p = torch.exp(z) / total
        return put(p * fp, target, of_true) - p * mean, None, None


class _OverlapsOfTwo(torch.autograd.Function):
    """The closed form for labels of two classes: what one misses, the other finds wrongly.

    Of the margin m of the true class, p_y = sigmoid(m) and 1 − p_y = sigmoid(−m) have the slopes ± p_y (1 − p_y).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        found, second = margin(logits, target), target.to(logits.dtype)
        true, wrong = zeroed(found.sigmoid(), valid), zeroed((-found).sigmoid_(), valid)
        of_second = true * second, wrong * second
        parts = [(p - own, own) for p, own in zip((true, wrong), of_second, strict=True)]
        tp, fn = (torch.stack([by_unit(each, per_image=True).sum(1) for each in pair], 1) for pair in parts)
        ctx.save_for_backward(logits, target, valid, true, wrong, second)
        return torch.stack([tp, fn.flip(1), fn], 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        logits, target, valid, true, wrong, second = ctx.saved_tensors
        if twice_differentiable():
            definition = partial(overlaps_definition, counted=valid.unsqueeze(1))
            return derivative(definition, logits, target, grad), None, None
        tp, fp, fn = grad.unbind(2)
        slope = (tp - fn - fp.flip(1)).view(-1, 2, *[1] * (logits.dim() - 2))  # by p_y, of each class
        by_margin = (true * wrong).mul_(torch.addcmul(slope[:, 0], second, slope[:, 1] - slope[:, 0]))
        by_second = by_margin.mul_((2 * second).sub_(1))
        return torch.stack([-by_second, by_second], 1), None, None


class OverlapOptions(RegionOptions, total=False):
    """What the constructor of an overlap loss passes on to `OverlapLoss`."""

    smooth: float
    sigmoid: bool


class OverlapLoss(RegionLoss):
    """A region loss of true positives, false positives and false negatives; its formula is an `OfOverlap`.

    Args:
        per_image, classes: see `RegionLoss`.
        smooth: ≥ 0, added to numerator and denominator.
        sigmoid: p = sigmoid(z) in place of softmax, each class against the rest: for overlapping classes, of which the
            target is `(N, C, *spatial)`, and for a single logit of the foreground (C = 1).
        class_weights, **options: see `RegionLoss`.

    Attributes:
        over_ranks: adds up what the ranks that share a batch have summed, and passes the gradient to the summands of
            this rank; each rank then has the loss of the whole batch. None: a batch is of one rank.

    Raises:
        ValueError: smooth < 0.
    """

    upsamples: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = (*RegionLoss.options, "squared", "sigmoid", "over_ranks")
    restrictions: ClassVar[tuple[str, ...]] = ("weight", "labelled")
    without: ClassVar[str] = "that is for boundary alone"
    squared: bool = False
    over_ranks: OverRanks | None = None

    def __init__(self, *, smooth: float = 0.0, sigmoid: bool = False, **options: Unpack[RegionOptions]) -> None:
        check_range("smooth", smooth, *NOT_NEGATIVE)
        check_range("sigmoid", sigmoid, "true or false", lambda v: v in (True, False))
        super().__init__(**options)
        self.smooth, self.sigmoid = smooth, sigmoid
        self.activation = "sigmoid" if sigmoid else "softmax"

    @classmethod
    def function(cls, logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """See `overlap_loss`."""
        of_overlap, options = cls.bind(options)
        return overlap_loss(of_overlap, logits, target, mask, **options)

    def sums(
        self,
        logits: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        size: tuple[int, int] | None = None,
        *,
        weight: Tensor | None = None,
        labelled: Tensor | None = None,
    ) -> Tensor:
        """Tp, fp and fn of each class, `(C, 3)`, differentiable: what the loss of the batch is a function of.

        Add them up over micro-batches and ranks, and `of_sums` gives the loss of all of them exactly, not an average
        of their losses: `(total − own).detach() + own`, own the sums of this rank, has its gradient.

        Args:
            logits: see `forward`.
            target: see `forward`.
            mask: see `forward`.
            size: see `segloss.upsampled`.
            weight: see `forward`.
            labelled: see `forward`.

        Raises:
            ValueError: a loss per image, which is a mean over images; see `forward` for the rest.

        >>> import torch
        >>> from segloss import build_loss
        >>> loss, logits, target = build_loss("dice"), torch.randn(4, 3, 9), torch.randint(0, 3, (4, 9))
        >>> halves = loss.sums(logits[:2], target[:2]) + loss.sums(logits[2:], target[2:])
        >>> bool((loss.of_sums(halves) - loss(logits, target)).abs() < 1e-6)
        True
        """
        self._refuse_per_image()
        found, _, labels = overlap_sums(
            logits, target, mask, squared=self.squared, sigmoid=self.sigmoid, ignore_index=self.ignore_index,
            num_classes=self.num_classes, size=size, weight=weight, labelled=labelled,
        )  # fmt: skip
        return refuse_foreign(found, logits.shape[1], labels).squeeze(0)

    def of_sums(self, sums: Tensor) -> Tensor:
        """The loss of sums `(C, 3)` that `sums` has given, added up or not."""
        self._refuse_per_image()
        values = {name: getattr(self, name) for name in (*self.takes, *self.options)}
        of_overlap, _ = self.bind(values)
        seen = (sums.detach() > 0).any(1).unsqueeze(0)
        seen = seen if self.sigmoid else seen.any(1, keepdim=True)
        return loss_of_sums(
            of_overlap, sums.unsqueeze(0), seen, False, self.classes, self.class_weights, self.reduction
        )

    def _refuse_per_image(self) -> None:
        if self.per_image:
            raise ValueError("a loss per image is a mean over images: sums need per_image=False")
