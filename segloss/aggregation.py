"""From confusion matrices to scores: DSC and IoU, aggregated in three ways.

`dataset` pools all pixels; `case` scores each volume or still and averages; `image` scores each 2D image and averages.
The three differ, often by more than two methods do, so a score is always named with its aggregation.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Literal, TypedDict, TypeVar

from torch import Tensor

RULE = (
    "A class absent from both prediction and reference of a unit is left out of that unit's mean; absent from the "
    "reference alone it scores 0; a unit without any class is left out and counted."
)
AggregationName = Literal["dataset", "case", "image"]
Metric = Literal["mDSC", "mIoU"]
AGGREGATIONS: tuple[AggregationName, ...] = ("dataset", "case", "image")
METRICS: tuple[Metric, ...] = ("mDSC", "mIoU")
CLASS_SCORES = ("DSC", "IoU", "precision", "recall")


class Aggregation(TypedDict):
    """The scores of some units, averaged over them: fractions of 1, None where undefined.

    Attributes:
        mDSC: the mean over classes of the Dice similarity coefficient.
        mIoU: the mean over classes of intersection over union.
        accuracy: the share of the pixels that are right.
        units: how many there are: cases, 2D images, or one data set.
        left_out: those of them that hold no class that counts.
        classes: by name DSC, IoU, precision and recall; of volumes and by case the means of `SURFACE_SCORES` too.
    """

    mDSC: float | None
    mIoU: float | None
    accuracy: float | None
    units: int
    left_out: int
    classes: dict[str, dict[str, float | None]]


def class_counts(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """True positives, false positives and false negatives, each `(U, C)`, of confusion matrices.

    Args:
        matrices: `(U, C, C)`, rows the reference, columns the prediction.
    """
    tp = matrices.diagonal(dim1=1, dim2=2)
    return tp, matrices.sum(1) - tp, matrices.sum(2) - tp


Counts = TypeVar("Counts", int, Tensor)


def class_ratios(tp: Counts, fp: Counts, fn: Counts) -> dict[str, tuple[Counts, Counts]]:
    """DSC, IoU, precision and recall, each as numerator and denominator; 0/0 where undefined."""
    return {
        "DSC": (2 * tp, 2 * tp + fp + fn),
        "IoU": (tp, tp + fp + fn),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
    }


def aggregate(
    tp: Tensor, fp: Tensor, fn: Tensor, classes: Sequence[str], left_out: Collection[int | None]
) -> Aggregation:
    """The scores of some units, averaged over them.

    Args:
        tp: `(U, C)` true positives, one row a unit.
        fp: false positives, as `tp`.
        fn: false negatives, as `tp`.
        classes: the names of the C classes.
        left_out: indices left out of mDSC and mIoU.
    """
    ratios = class_ratios(tp.double(), fp.double(), fn.double())
    scores = {name: part / whole for name, (part, whole) in ratios.items()}  # 0/0 is NaN in floating arithmetic
    kept = [index for index in range(len(classes)) if index not in left_out]
    dsc, iou = (scores[name][:, kept].nanmean(1) for name in ("DSC", "IoU"))
    accuracy = tp.sum(1).double() / (tp + fn).sum(1)
    return {
        "mDSC": _number(dsc.nanmean()),
        "mIoU": _number(iou.nanmean()),
        "accuracy": _number(accuracy.nanmean()),
        "units": len(tp),
        "left_out": int(dsc.isnan().sum()),
        "classes": {
            name: {score: _number(scores[score][:, index].nanmean()) for score in CLASS_SCORES}
            for index, name in enumerate(classes)
        },
    }


def _number(value: Tensor) -> float | None:
    """A scalar as a Python float, None for NaN."""
    result = float(value)
    return None if math.isnan(result) else result
