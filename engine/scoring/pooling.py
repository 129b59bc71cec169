"""The scores of all folds together, from the scores documents of each."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

import datasets
from segloss.calibration import pooled_calibration
from segloss.readings import READINGS, reading

from ..console.sections import Section
from .volumes import with_means

COUNTS = ("tp", "fp", "fn")


def pooled(documents: Sequence[dict[str, Any]], images: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """The scores document of all held-out cases together: every case counts once for each fold that held it out.

    Args:
        documents: the scores document of each fold.
        images: the rows of the slices of each fold, empty for stills.
    """
    header = documents[0]["header"]
    classes = header["classes"]
    left_out = {datasets.class_index(classes, header["background"]), header["ignore_index"]}
    rows = [{**row, "fold": fold} for fold, document in enumerate(documents) for row in document["cases"]]
    of_cases = _counts(rows, len(classes))
    of_images = _counts([row for of_fold in images for row in of_fold], len(classes))
    units = {"dataset": of_cases.sum(1, keepdim=True), "case": of_cases}
    units["image"] = of_images if of_images.shape[1] else of_cases
    aggregations = {}
    for name in READINGS:
        tp, fp, fn = units[name]
        aggregations[name] = reading(tp, fp, fn, classes, left_out)
    aggregations["case"] = with_means(aggregations["case"], rows) if "HD95" in rows[0] else aggregations["case"]
    kept = {key: value for key, value in header.items() if key not in ("fold", "epoch")}
    confusion, calibration = (_of_all(documents, key) for key in ("confusion", "calibration"))
    return {
        "header": {**kept, "fold": None, "folds": len(documents)},
        **aggregations,
        "confusion": torch.tensor(confusion).sum(0).tolist() if confusion else None,
        "cases": rows,
        "calibration": pooled_calibration(calibration) if calibration else None,
    }


def by_fold(documents: Sequence[dict[str, Any]], aggregation: str) -> Section:
    """A table of the folds with their mean and standard deviation."""
    columns = ("mDSC", "mIoU")
    found = [[document[aggregation][column] for column in columns] for document in documents]
    units = [str(document[aggregation]["units"]) for document in documents]
    rows = [
        [f"{fold}", count, *(_shown(value) for value in values)]
        for fold, (count, values) in enumerate(zip(units, found, strict=True))
    ]
    defined = [[value for value in column if value is not None] for column in zip(*found, strict=True)]
    rows.append(["mean", "", *(_shown(mean(column) if column else None) for column in defined)])
    rows.append(["sd", "", *(_shown(stdev(column) if len(column) > 1 else None) for column in defined)])
    return Section(f"by fold, aggregation: {aggregation}", columns=["fold", "units", *columns], rows=rows)


def read_images(path: Path) -> list[dict[str, Any]]:
    """The rows of images.csv, their counts as numbers; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{**row, **{key: int(row[key]) for key in COUNTS}} for row in csv.DictReader(file)]


def _of_all(documents: Sequence[dict[str, Any]], key: str) -> list[Any]:
    """What each document holds under a key; nothing where one holds nothing, as those of older runs."""
    found = [document.get(key) for document in documents]
    return [] if None in found else found


def _counts(rows: Sequence[dict[str, Any]], classes: int) -> torch.Tensor:
    """`(3, U, C)` of rows that come class by class."""
    counts = torch.tensor([[row[key] for row in rows] for key in COUNTS], dtype=torch.int64)
    return counts.reshape(3, -1, classes)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
