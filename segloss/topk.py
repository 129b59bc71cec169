"""Cross entropy of the hardest pixels."""

from __future__ import annotations

import math
import operator
from functools import partial
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from .arguments import checked
from .base import LossOptions, Reduction, SegmentationLoss
from .class_weights import ClassWeights
from .cross_entropy import cross_entropy_terms
from .names import SHARE, check_range
from .pixelwise import pixelwise_loss
from .tensors import ratio


def topk_loss(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    k: float = 0.1,
    threshold: float | None = None,
    min_kept: int = 1,
    label_smoothing: float = 0.0,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
    denominator: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Reduce cross entropy over the valid pixels that have the most of it: a share `k`, or those below a `threshold`.

    Args:
        logits: `(N, C, *spatial)`.
        target: `(N, *spatial)` labels or `(N, C, *spatial)` soft labels.
        mask: `(N, *spatial)` bool, true where a pixel counts.
        k: in (0, 1]; k times the number of valid pixels is rounded, to at least one pixel.
        threshold: in place of k: the pixels whose p_y is below it, and in any case the `min_kept` hardest ones.
        min_kept: pixels of the batch.
        label_smoothing: of the cross entropy.
        ignore_index: the label that does not count.
        reduction: `mean` over the chosen pixels, their `sum`, or `none`: the map, 0 where not chosen.
        denominator: divides the mean: the number of micro-batches, when the caller accumulates over them.
        **options: `class_weights`, `num_classes`, `weight` and `labelled` of `pixelwise_loss`; weights count in the
            choice.

    Returns:
        A scalar, or the map. 0 with zero gradients when no pixel counts.

    Raises:
        TypeError, ValueError: see `segloss.pixelwise.pixelwise_loss`.
    """
    terms = partial(cross_entropy_terms, label_smoothing=label_smoothing)
    each = pixelwise_loss(terms, logits, target, mask, ignore_index=ignore_index, reduction="none", **options)
    weight, labelled = options.get("weight"), options.get("labelled")
    _, labels = checked(logits, target, mask, ignore_index=ignore_index, weight=weight, labelled=labelled)
    valid = labels.valid.flatten()
    unweighed: dict[str, Any] = {"ignore_index": ignore_index, "reduction": "none", "labelled": labelled}
    values = each.flatten()
    # The number of valid pixels is known on the device only. So that no shape depends on data, k of all pixels are
    # chosen, ignored ones last, and those beyond k of the valid ones get the value 0.
    most = math.ceil(k * valid.numel()) if threshold is None else min(min_kept, valid.numel())
    order = torch.where(valid, values.detach(), -torch.inf).topk(most).indices
    count = valid.sum()
    wanted = torch.minimum((k * count.double()).round().clamp(min=1), count) if threshold is None else count
    first = torch.arange(most, device=valid.device) < wanted
    chosen = torch.zeros_like(valid).scatter(0, order, first)
    if threshold is not None:
        p = pixelwise_loss(cross_entropy_terms, logits.detach(), target, mask, **unweighed).neg().exp().flatten()
        chosen = chosen | (valid & (p < threshold))
    hardest = torch.where(chosen, values, 0.0)
    if reduction == "none":
        return hardest.view_as(each)
    if reduction == "sum":
        return hardest.sum()
    mean = ratio(hardest.sum(), chosen.sum().to(values))
    return mean if denominator is None else mean / denominator.to(mean)


class TopKLoss(SegmentationLoss):
    """The mean of −log p_y over the share k of the pixels where it is largest, p = softmax(z) (Wu 2016, bootstrapped).

    With a `threshold` it is the mean over the pixels with p_y below it, and at least over the `min_kept` hardest ones
    (online hard example mining, Shrivastava 2016): the share follows the training.

    Easy pixels are left out altogether: use it where the background is large and easy. Not for noisy masks, whose wrong
    labels are the hardest pixels, nor from the first step of a network that knows nothing yet. Over micro-batches and
    ranks it can only be averaged.

    Args:
        k: in (0, 1], the share of the valid pixels; 1 gives cross entropy.
        threshold: in (0, 1], of p_y, in place of k; null: k counts. Of soft labels p_y is the exponential of Σ P log p.
        min_kept: ≥ 1, the fewest pixels of a batch under a threshold; usual is 100000 for images of a megapixel.
        label_smoothing: in [0, 1], the share of the target that is spread evenly over the classes.
        class_weights: see `SegmentationLoss`; they count in the choice.
        num_classes, class_counts, ignore_index: see `SegmentationLoss`.
        reduction: see `SegmentationLoss`; `none` gives the map, 0 where a pixel was not chosen.

    Raises:
        ValueError: k or threshold outside (0, 1], min_kept < 1, label_smoothing outside [0, 1].

    >>> logits = torch.tensor([[0.0, 0.0], [9.0, 0.0], [9.0, 0.0], [9.0, 0.0]])
    >>> round(float(TopKLoss(k=0.25)(logits, torch.tensor([0, 0, 0, 0]))), 4)  # log 2, of the first pixel
    0.6931
    """

    takes: ClassVar[tuple[str, ...]] = ("k", "threshold", "min_kept", "label_smoothing")

    def __init__(
        self,
        *,
        k: float = 0.1,
        threshold: float | None = None,
        min_kept: int = 1,
        label_smoothing: float = 0.0,
        class_weights: ClassWeights = None,
        **options: Unpack[LossOptions],
    ) -> None:
        check_range("k", k, "in (0, 1]", lambda v: 0 < v <= 1)
        check_range("threshold", threshold, "in (0, 1], or None", lambda v: v is None or 0 < v <= 1)
        check_range("min_kept", min_kept, "a whole number ≥ 1", lambda v: operator.index(v) >= 1)
        check_range("label_smoothing", label_smoothing, *SHARE)
        super().__init__(class_weights=class_weights, **options)
        self.k, self.threshold, self.min_kept, self.label_smoothing = k, threshold, min_kept, label_smoothing

    @classmethod
    def function(cls, logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """See `topk_loss`."""
        return topk_loss(logits, target, mask, **options)
