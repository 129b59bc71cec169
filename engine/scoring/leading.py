"""What scores are led by, and which aggregations of them are the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import datasets
from segloss.aggregation import AGGREGATIONS, METRICS, Aggregation, AggregationName
from segloss.document import Header, Row


def leading_class(header: Header, rows: Iterable[Row]) -> str | None:
    """Of two classes of which none is background, the one that the reference holds less of; else None: the mean leads.

    The mean over a rare class and all the rest is mostly about the rest.

    Args:
        header: what was scored.
        rows: of all its cases; the mean leads where they have no counts, or the reference holds nothing of a class.
    """
    two = len(header.classes) == 2 and header.background is None and datasets.background_of(header.classes) is None
    if header.kind == "label" or header.mask_classes is not None or not two:
        return None
    pixels = dict.fromkeys(header.classes, 0)
    for row in rows:
        if row.tp is None or row.fn is None:
            return None
        pixels[row.label] += row.tp + row.fn
    rarer, other = sorted(pixels, key=lambda name: pixels[name])
    return rarer if 0 < pixels[rarer] < pixels[other] else None


def distinct_aggregations(
    found: Sequence[Mapping[AggregationName, Aggregation]],
) -> list[list[AggregationName]]:
    """The aggregations of some documents, those together that are the same numbers in each of them.

    By case and by image are the same of stills, and all three of a single image.

    >>> one = {"units": 2, "left_out": 0, "mDSC": 0.5, "mIoU": 0.4, "accuracy": 0.9, "classes": {}}
    >>> distinct_aggregations([{"dataset": one | {"units": 1}, "case": one, "image": one}])
    [['dataset'], ['case', 'image']]
    """
    numbers: dict[tuple[object, ...], list[AggregationName]] = {}
    keys = ("units", "left_out", "accuracy", *METRICS)
    for name in AGGREGATIONS:
        means = [one[name].get(key) for one in found for key in keys]
        of_classes = [scores.get("DSC") for one in found for scores in one[name]["classes"].values()]
        numbers.setdefault((*means, *of_classes), []).append(name)
    return [*numbers.values()]
