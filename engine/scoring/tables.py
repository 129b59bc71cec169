"""The tables of a scores document, for the console and for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean, stdev

from segloss.aggregation import (
    CLASS_SCORES,
    LABEL_CLASS_SCORES,
    LABEL_METRICS,
    METRICS,
    SHOTS,
    AggregationName,
)
from segloss.document import TITLES, ScoresDocument

from ..console.display import percent
from ..console.sections import Section
from .leading import distinct_aggregations, leading_class


def score_tables(document: ScoresDocument, title: str) -> Iterator[Section]:
    """The scores in every aggregation, by class, and of volumes surfaces and volumes.

    Args:
        document: the scores.
        title: of the first table.
    """
    header = document.header
    if header.kind == "label":
        yield from _label_tables(document, title)
        return
    rarer, rows = leading_class(header, document.rows), []
    for same in distinct_aggregations([document.aggregations]):
        found = document.aggregations[same[0]]
        units = f"{found['units']}" + (f" ({found['left_out']} left out)" if found["left_out"] else "")
        lead = [] if rarer is None else [found["classes"][rarer][key] for key in ("DSC", "IoU")]
        rows.append(
            [" = ".join(same), *map(percent, [*lead, *(found[key] for key in METRICS), found["accuracy"]]), units]
        )
    lead_columns = [] if rarer is None else [f"DSC {rarer}", f"IoU {rarer}"]
    yield Section(title, columns=["aggregation", *lead_columns, *METRICS, "pixel accuracy", "units"], rows=rows)
    aggregation = header.primary.aggregation
    classes = document.aggregations[aggregation]["classes"]
    rows = [[name, *(percent(values[key]) for key in CLASS_SCORES)] for name, values in classes.items()]
    yield Section(f"by {header.scored}, aggregation: {aggregation}", columns=[header.scored, *CLASS_SCORES], rows=rows)
    if header.surface_rule is not None:
        yield _surfaces(document)


def _label_tables(document: ScoresDocument, title: str) -> Iterator[Section]:
    """The scores of pictures with one label, and those of each class."""
    header, found = document.header, document.aggregations["dataset"]
    scores = {"accuracy": found["accuracy"], "error": None if found["accuracy"] is None else 1 - found["accuracy"]}
    scores |= {"top-5": found["top5"]} if found["top5"] is not None else {}
    scores |= {"balanced accuracy": found["balanced_accuracy"], "macro F1": found["f1"]}
    scores |= {f"{shot}-shot": found[shot] for shot in SHOTS if header.class_images is not None}
    row = ["all", *map(percent, scores.values()), str(found["units"])]
    yield Section(title, columns=["images", *scores, "images in all"], rows=[row])
    tested = [0 if document.confusion is None else sum(counts) for counts in document.confusion or ()]
    trained: Sequence[int | None] = header.class_images or [None] * len(header.classes)
    rows = [
        [
            name,
            *("-" if count is None else str(count) for count in counts),
            *(percent(one[k]) for k in LABEL_CLASS_SCORES),
        ]
        for (name, one), *counts in zip(found["classes"].items(), trained, tested, strict=True)
    ]
    yield Section("by class", columns=["class", "training images", "images", "F1", "precision", "recall"], rows=rows)


def rules(document: ScoresDocument) -> list[str]:
    """What the means are over, and what becomes of absent classes and surfaces."""
    header = document.header
    if header.kind == "label":
        shots = " Many-shot: classes with more than 100 training images, few-shot: with fewer than 20."
        return [header.rule + (shots if header.class_images is not None else "")]
    every = "classes" if header.scored == "class" else "regions"
    left_out = f"without {header.background}" if header.background else f"over all {every}"
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
    rows = []
    for name, values in document.aggregations["case"]["classes"].items():
        there = [row.scores for row in document.rows if row.label == name and (row.tp or row.fp or row.fn)]
        measured = sum(scores.get("HD95") is not None for scores in there)
        if any(values[key] is not None for key in columns):
            rows.append([name, f"{measured} of {len(there)}", *(percent(values[key]) for key in columns)])
    title = f"surfaces and volumes by {document.header.scored}, mean over cases"
    return Section(title, columns=[document.header.scored, "cases with distances", *columns.values()], rows=rows)


def by_fold(documents: Sequence[ScoresDocument], aggregation: AggregationName) -> Section:
    """A table of the folds with their mean and standard deviation."""
    found = [document.aggregations[aggregation] for document in documents]
    of_labels = documents[0].header.kind == "label"
    metrics = LABEL_METRICS if of_labels else METRICS
    rows = [
        [str(document.header.fold), str(one["units"]), *(percent(one[metric]) for metric in metrics)]
        for document, one in zip(documents, found, strict=True)
    ]
    defined = [[value for one in found if (value := one[metric]) is not None] for metric in metrics]
    rows.append(["mean", "", *(percent(mean(column) if column else None) for column in defined)])
    rows.append(["sd", "", *(percent(stdev(column) if len(column) > 1 else None) for column in defined)])
    title, units = ("by fold", "images") if of_labels else (f"by fold, aggregation: {aggregation}", "units")
    return Section(title, columns=["fold", units, *(TITLES.get(metric, metric) for metric in metrics)], rows=rows)
