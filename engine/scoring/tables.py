"""The tables of a scores document, for the console and for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean, stdev

from segloss.aggregation import AGGREGATIONS, CLASS_SCORES, METRICS, AggregationName
from segloss.document import ScoresDocument

from ..console.display import percent
from ..console.sections import Section


def score_tables(document: ScoresDocument, title: str) -> Iterator[Section]:
    """The scores in every aggregation, by class, and of volumes surfaces and volumes.

    Args:
        document: the scores.
        title: of the first table.
    """
    header = document.header
    rows = []
    for name in AGGREGATIONS:
        found = document.aggregations[name]
        units = f"{found['units']}" + (f" ({found['left_out']} left out)" if found["left_out"] else "")
        rows.append([name, *(percent(found[key]) for key in METRICS), percent(found["accuracy"]), units])
    yield Section(title, columns=["aggregation", *METRICS, "pixel accuracy", "units"], rows=rows)
    aggregation = header.primary.aggregation
    classes = document.aggregations[aggregation]["classes"]
    rows = [[name, *(percent(values[key]) for key in CLASS_SCORES)] for name, values in classes.items()]
    yield Section(f"by class, aggregation: {aggregation}", columns=["class", *CLASS_SCORES], rows=rows)
    if header.surface_rule is not None:
        yield _surfaces(document)


def rules(document: ScoresDocument) -> list[str]:
    """What the means are over, and what becomes of absent classes and surfaces."""
    header = document.header
    left_out = f"without {header.background}" if header.background else "over all classes"
    lines = [f"means {left_out}; grid: {header.grid}. {header.rule}"]
    lines += [] if header.adjust is None else [f"scores.adjust: {header.adjust.in_words(header.classes)}."]
    return lines if header.surface_rule is None else [*lines, header.surface_rule]


def _surfaces(document: ScoresDocument) -> Section:
    columns = {
        "HD95": "HD95 mm",
        "ASSD": "ASSD mm",
        "surface_DSC": f"surface DSC {document.header.tolerance_mm:g} mm",
        "volume_error_ml": "volume bias ml",
        "relative_volume_error": "absolute error, relative",
    }
    rows = [
        [name, *(percent(values[key]) for key in columns)]
        for name, values in document.aggregations["case"]["classes"].items()
        if any(values[key] is not None for key in columns)
    ]
    title = "surfaces and volumes by class, mean over cases"
    return Section(title, columns=["class", *columns.values()], rows=rows)


def by_fold(documents: Sequence[ScoresDocument], aggregation: AggregationName) -> Section:
    """A table of the folds with their mean and standard deviation."""
    found = [document.aggregations[aggregation] for document in documents]
    rows = [
        [f"{fold}", str(one["units"]), *(percent(one[metric]) for metric in METRICS)] for fold, one in enumerate(found)
    ]
    defined = [[value for one in found if (value := one[metric]) is not None] for metric in METRICS]
    rows.append(["mean", "", *(percent(mean(column) if column else None) for column in defined)])
    rows.append(["sd", "", *(percent(stdev(column) if len(column) > 1 else None) for column in defined)])
    return Section(f"by fold, aggregation: {aggregation}", columns=["fold", "units", *METRICS], rows=rows)
