"""Cross entropy of the hardest pixels."""

from __future__ import annotations

import math
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
from .tensors import ratio, valid_pixels


def topk_loss(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    k: float = 0.1,
    label_smoothing: float = 0.0,
    ignore_index: int = 255,
    reduction: Reduction = "mean",
    denominator: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Reduce cross entropy over the share `k` of the valid pixels that have the most of it.

    Args:
        logits: `(N, C, *spatial)`.
        target: `(N, *spatial)` labels or `(N, C, *spatial)` soft labels.
        mask: `(N, *spatial)` bool, true where a pixel counts.
        k: in (0, 1]; k times the number of valid pixels is rounded, to at least one pixel.
        label_smoothing: of the cross entropy.
        ignore_index: the label that does not count.
        reduction: `mean` over the chosen pixels, their `sum`, or `none`: the map, 0 where not chosen.
        denominator: divides the mean: the number of micro-batches, when the caller accumulates over them.
        **options: `class_weights` and `num_classes` of `pixelwise_loss`; weights count in the choice.

    Returns:
        A scalar, or the map. 0 with zero gradients when no pixel counts.

    Raises:
        TypeError, ValueError: see `segloss.pixelwise.pixelwise_loss`.
    """
    logits, target, mask = checked(logits, target, mask)
    terms = partial(cross_entropy_terms, label_smoothing=label_smoothing)
    each = pixelwise_loss(terms, logits, target, mask, ignore_index=ignore_index, reduction="none", **options)
    valid = valid_pixels(target, mask, ignore_index).flatten()
    values = each.flatten()
    # The number of valid pixels is known on the device only. So that no shape depends on data, k of all pixels are
    # chosen, ignored ones last, and those beyond k of the valid ones get the value 0.
    most = math.ceil(k * valid.numel())
    order = torch.where(valid, values.detach(), -torch.inf).topk(most).indices
    wanted = (k * valid.sum().double()).round().clamp(min=1)
    rank = torch.arange(most, device=valid.device)
    hardest = torch.where(rank < wanted, values[order], 0.0)
    if reduction == "none":
        return torch.zeros_like(values).scatter(0, order, hardest).view_as(each)
    if reduction == "sum":
        return hardest.sum()
    mean = ratio(hardest.sum(), torch.minimum(wanted, valid.sum()).to(values))
    return mean if denominator is None else mean / denominator.to(mean)


class TopKLoss(SegmentationLoss):
    """The mean of −log p_y over the share k of the pixels where it is largest, p = softmax(z) (Wu 2016, bootstrapped).

    Easy pixels are left out altogether: use it where the background is large and easy. Not for noisy masks, whose wrong
    labels are the hardest pixels, nor from the first step of a network that knows nothing yet. Over micro-batches and
    ranks it can only be averaged.

    Args:
        k: in (0, 1], the share of the valid pixels; 1 gives cross entropy.
        label_smoothing: in [0, 1], the share of the target that is spread evenly over the classes.
        class_weights: see `SegmentationLoss`; they count in the choice.
        num_classes, class_counts, ignore_index: see `SegmentationLoss`.
        reduction: see `SegmentationLoss`; `none` gives the map, 0 where a pixel was not chosen.

    Raises:
        ValueError: k outside (0, 1], label_smoothing outside [0, 1].

    >>> logits = torch.tensor([[0.0, 0.0], [9.0, 0.0], [9.0, 0.0], [9.0, 0.0]])
    >>> round(float(TopKLoss(k=0.25)(logits, torch.tensor([0, 0, 0, 0]))), 4)  # log 2, of the first pixel
    0.6931
    """

    takes: ClassVar[tuple[str, ...]] = ("k", "label_smoothing")

    def __init__(
        self,
        *,
        k: float = 0.1,
        label_smoothing: float = 0.0,
        class_weights: ClassWeights = None,
        **options: Unpack[LossOptions],
    ) -> None:
        check_range("k", k, "in (0, 1]", lambda v: 0 < v <= 1)
        check_range("label_smoothing", label_smoothing, *SHARE)
        super().__init__(class_weights=class_weights, **options)
        self.k, self.label_smoothing = k, label_smoothing

    @classmethod
    def function(cls, logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """See `topk_loss`."""
        return topk_loss(logits, target, mask, **options)
