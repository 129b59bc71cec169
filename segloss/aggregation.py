"""From confusion matrices to scores: DSC and IoU, aggregated in three ways; accuracy and F1 of pictures with one label.

`dataset` pools all pixels; `case` scores each volume or still and averages; `image` scores each 2D image and averages.
The three differ, often by more than two methods do, so a score is always named with its aggregation.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Literal, NotRequired, TypedDict, TypeVar

import torch
from torch import Tensor

RULE = (
    "A class absent from both prediction and reference of a unit is left out of that unit's mean; absent from the "
    "reference alone it scores 0; a unit without any class is left out and counted."
)
AggregationName = Literal["dataset", "case", "image"]
Metric = Literal["mDSC", "mIoU", "accuracy", "balanced_accuracy", "f1"]
AGGREGATIONS: tuple[AggregationName, ...] = ("dataset", "case", "image")
METRICS: tuple[Metric, ...] = ("mDSC", "mIoU")
CLASS_SCORES = ("DSC", "IoU", "precision", "recall")
LABEL_RULE = (
    "Macro F1 is the mean over the classes that a picture has or is given; balanced accuracy is the mean recall of "
    "those that a picture has."
)
LABEL_METRICS: tuple[Metric, ...] = ("accuracy", "balanced_accuracy", "f1")
"""Of pictures with one label, in place of `METRICS`."""
LABEL_CLASS_SCORES = ("f1", "precision", "recall")
"""Of pictures with one label, in place of `CLASS_SCORES`."""
SHOTS: tuple[Literal["many", "medium", "few"], ...] = ("many", "medium", "few")
MANY, FEW = 100, 20
"""Training pictures of a class: more than `MANY`, fewer than `FEW`, or between (Liu 2019)."""
TOP = 5


class Aggregation(TypedDict):
    """The scores of some units, averaged over them: fractions of 1, None where undefined.

    Attributes:
        accuracy: the share of the pixels, or of the pictures with one label, that are right.
        units: how many there are: cases, 2D images, or one data set; pictures with one label.
        left_out: those of them that hold no class that counts.
        classes: by name DSC, IoU, precision and recall; of volumes and by case the means of `SURFACE_SCORES` too; of
            pictures with one label F1, precision and recall.
        mDSC: of masks, the mean over classes of the Dice similarity coefficient.
        mIoU: of masks, the mean over classes of intersection over union.
        top5: of pictures with one label, and so are the rest: the share whose class is among the five most probable.
        balanced_accuracy: the mean recall of the classes.
        f1: the mean F1 of the classes.
        many: the mean recall of the classes with more than 100 training pictures.
        medium: of those with 20 to 100.
        few: of those with fewer than 20.
    """

    accuracy: float | None
    units: int
    left_out: int
    classes: dict[str, dict[str, float | None]]
    mDSC: NotRequired[float | None]
    mIoU: NotRequired[float | None]
    top5: NotRequired[float | None]
    balanced_accuracy: NotRequired[float | None]
    f1: NotRequired[float | None]
    many: NotRequired[float | None]
    medium: NotRequired[float | None]
    few: NotRequired[float | None]


def class_counts(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """True positives, false positives and false negatives, each `(U, C)`, of confusion matrices.

    Args:
        matrices: `(U, C, C)`, rows the reference, columns the prediction.
    """
    tp = matrices.diagonal(dim1=1, dim2=2)
    return tp, matrices.sum(1) - tp, matrices.sum(2) - tp


def region_counts(matrices: Tensor, regions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """True positives, false positives and false negatives, each `(U, R)`, of regions that are unions of classes.

    Args:
        matrices: `(U, C, C)`, rows the reference, columns the prediction.
        regions: `(R, C)` bool, whether a class is in a region.
    """
    members = regions.to(matrices.device, matrices.dtype)
    tp = ((members @ matrices) * members).sum(2)
    return tp, matrices.sum(1) @ members.T - tp, matrices.sum(2) @ members.T - tp


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
    tp: Tensor,
    fp: Tensor,
    fn: Tensor,
    classes: Sequence[str],
    left_out: Collection[int | None],
    overlapping: bool = False,
) -> Aggregation:
    """The scores of some units, averaged over them.

    Args:
        tp: `(U, C)` true positives, one row a unit.
        fp: false positives, as `tp`.
        fn: false negatives, as `tp`.
        classes: the names of the C classes.
        left_out: indices left out of mDSC and mIoU.
        overlapping: a pixel may be in several classes; there is no pixel accuracy of such.
    """
    ratios = class_ratios(tp.double(), fp.double(), fn.double())
    scores = {name: part / whole for name, (part, whole) in ratios.items()}  # 0/0 is NaN in floating arithmetic
    kept = [index for index in range(len(classes)) if index not in left_out]
    dsc, iou = (scores[name][:, kept].nanmean(1) for name in ("DSC", "IoU"))
    accuracy = tp.sum(1).double() / (tp + fn).sum(1)
    return {
        "mDSC": _number(dsc.nanmean()),
        "mIoU": _number(iou.nanmean()),
        "accuracy": None if overlapping else _number(accuracy.nanmean()),
        "units": len(tp),
        "left_out": int(dsc.isnan().sum()),
        "classes": {
            name: {score: _number(scores[score][:, index].nanmean()) for score in CLASS_SCORES}
            for index, name in enumerate(classes)
        },
    }


def label_scores(
    matrix: Tensor, classes: Sequence[str], in_top: int | None = None, class_images: Sequence[int] | None = None
) -> Aggregation:
    """The scores of pictures with one label.

    Args:
        matrix: `(C, C)` numbers of pictures, rows the reference, columns the prediction.
        classes: the names of the C classes.
        in_top: pictures whose class is among the five most probable; None where that is not known.
        class_images: training pictures of each class; None where they are not known.
    """
    tp, fp, fn = (counts[0].double() for counts in class_counts(matrix.unsqueeze(0)))
    scores = {"f1": 2 * tp / (2 * tp + fp + fn), "precision": tp / (tp + fp), "recall": tp / (tp + fn)}
    total = int(matrix.sum())
    found: Aggregation = {
        "accuracy": _number(tp.sum() / total),
        "top5": None if in_top is None or not total else in_top / total,
        "balanced_accuracy": _number(scores["recall"].nanmean()),
        "f1": _number(scores["f1"].nanmean()),
        "units": total,
        "left_out": 0,
        "classes": {
            name: dict(zip(scores, map(_defined, of_class), strict=True))
            for name, of_class in zip(classes, torch.stack([*scores.values()], 1).tolist(), strict=True)
        },
    }
    for shot in SHOTS if class_images is not None else ():
        chosen = [index for index, count in enumerate(class_images or ()) if shot == shot_of(count)]
        found[shot] = _number(scores["recall"][chosen].nanmean())
    return found


def shot_of(images: int) -> Literal["many", "medium", "few"]:
    """Whether a class with so many training pictures counts as one of many, medium or few."""
    return "many" if images > MANY else "few" if images < FEW else "medium"


def _number(value: Tensor) -> float | None:
    """A scalar as a Python float, None for NaN."""
    return _defined(float(value))


def _defined(value: float) -> float | None:
    """A number, None for NaN."""
    return None if math.isnan(value) else value
