"""Region losses of overlaps: true positives, false positives and false negatives, softly counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from .class_weights import ClassWeights
from .names import check_range
from .region import Classes, RegionLoss


class Overlap(NamedTuple):
    """Sums over the pixels of a unit, each `(units, C)`.

    Attributes:
        tp: Σ p·t.
        fp: Σ p·(1 − t), or Σ p·(p − t) when squared.
        fn: Σ (1 − p)·t, or Σ t·(t − p) when squared.
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


def overlap(probabilities: Tensor, target: Tensor, squared: bool = False) -> Overlap:
    """Sum over the pixels of each unit, `(units, C, pixels)`; `squared` for V-Net's sums of squares."""
    p, t = probabilities, target
    if squared:
        return Overlap((p * t).sum(2), (p * (p - t)).sum(2), (t * (t - p)).sum(2))
    return Overlap((p * t).sum(2), (p * (1 - t)).sum(2), ((1 - p) * t).sum(2))


OfOverlap = Callable[[Overlap], Tensor]


def on_overlap(
    loss: OfOverlap,
    values: Tensor,
    target: Tensor,
    valid: Tensor,  # noqa: ARG001
    squared: bool = False,
) -> Tensor:
    """A loss of overlaps as an `OfRegion`."""
    return loss(overlap(values, target, squared))


class OverlapLoss(RegionLoss):
    """A region loss of true positives, predicted and target sums; a subclass gives `of_overlap`.

    Args:
        per_image: see `RegionLoss`.
        classes: see `RegionLoss`.
        smooth: ≥ 0, added to numerator and denominator.
        class_weights: see `RegionLoss`.
        **options: `num_classes`, `class_counts`, `ignore_index`, `reduction` of `RegionLoss`.

    Raises:
        ValueError: smooth < 0.
    """

    squared: bool = False

    def __init__(
        self,
        per_image: bool = False,
        classes: Classes = "present",
        smooth: float = 0.0,
        class_weights: ClassWeights = None,
        **options: Any,
    ) -> None:
        check_range("smooth", smooth, "≥ 0", lambda v: 0 <= v < float("inf"))
        super().__init__(per_image, classes, class_weights, **options)
        self.smooth = smooth

    def of_region(self, values: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See `of_overlap`."""
        return on_overlap(self.of_overlap, values, target, valid, self.squared)

    def of_overlap(self, sums: Overlap) -> Tensor:
        """The loss of each unit and class, `(units, C)`."""
        raise NotImplementedError
