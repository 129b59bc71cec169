"""The scores of all folds together, from the scores documents of each."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from segloss.aggregation import AGGREGATIONS, Aggregation, AggregationName, aggregate
from segloss.calibration import pooled_calibration
from segloss.document import Adjustment, Row, ScoresDocument, Unit

from ..errors import UsageError
from .volumes import with_means


def refuse_other_background(documents: Sequence[ScoresDocument], what: str) -> None:
    """Refuse scores that belong together, of which some leave a class out of means that others count."""
    found = {document.header.background for document in documents}
    if len(found) > 1:
        left_out = " and ".join(sorted(map(str, found)))
        raise UsageError(
            f"{what}: scored with different classes left out of the means ({left_out}), as by different versions of "
            "segloss; train or score all of them with one"
        )


def pooled(documents: Sequence[ScoresDocument], images: Sequence[Sequence[Row]]) -> ScoresDocument:
    """The scores document of all held-out cases together: every case counts once for each fold that held it out.

    Args:
        documents: the scores document of each fold.
        images: the rows of the slices of each fold, empty for stills.
    """
    header = documents[0].header
    refuse_other_background(documents, "folds")
    if header.kind == "label":
        return _of_pictures(documents)
    rows = [replace(row, fold=fold) for fold, document in enumerate(documents) for row in document.rows]
    of_cases = _counts(rows, header.classes)
    of_images = _counts([replace(row, fold=fold) for fold, some in enumerate(images) for row in some], header.classes)
    units: dict[AggregationName, torch.Tensor] = {"dataset": of_cases.sum(1, keepdim=True), "case": of_cases}
    units["image"] = of_images if of_images.shape[1] else of_cases
    aggregations: dict[AggregationName, Aggregation] = {}
    for name in AGGREGATIONS:
        tp, fp, fn = units[name]
        aggregations[name] = aggregate(tp, fp, fn, header.classes, header.left_out, header.mask_classes is not None)
    if "HD95" in rows[0].scores:
        aggregations["case"] = with_means(aggregations["case"], rows)
    confusion = [document.confusion for document in documents if document.confusion is not None]
    calibration = [document.calibration for document in documents if document.calibration is not None]
    adjust = _in_common([document.header.adjust for document in documents])
    return ScoresDocument(
        replace(header, fold=None, folds=len(documents), epoch=None, adjust=adjust),
        aggregations,
        rows,
        torch.tensor(confusion).sum(0).tolist() if len(confusion) == len(documents) else None,
        pooled_calibration(calibration) if len(calibration) == len(documents) else None,
    )


def _in_common(found: Sequence[Adjustment | None]) -> Adjustment | None:
    """What several folds have done to their logits, without what is not the same in all."""
    first, *others = found
    if first is None:
        return None
    differs: dict[str, Any] = {
        key: None for key, value in vars(first).items() if any(getattr(one, key, None) != value for one in others)
    }
    return replace(first, **differs)


def _of_pictures(documents: Sequence[ScoresDocument]) -> ScoresDocument:
    """Of pictures with one label; training pictures of a class are known where they are the same in every fold."""
    header = documents[0].header
    pictures = [one._replace(fold=fold) for fold, document in enumerate(documents) for one in document.pictures or ()]
    trained = header.class_images if all(one.header.class_images == header.class_images for one in documents) else None
    calibration = [document.calibration for document in documents if document.calibration is not None]
    return ScoresDocument.of_pictures(
        replace(header, fold=None, folds=len(documents), epoch=None, class_images=trained),
        pictures,
        pooled_calibration(calibration) if len(calibration) == len(documents) else None,
    )


def read_images(path: Path, classes: Collection[str]) -> list[Row]:
    """The rows of images.csv, of some classes; none where there is no such file, a `UsageError` for a damaged one."""
    if not path.is_file():
        return []
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                label, counts = row["class"], [int(row[key]) for key in ("tp", "fp", "fn")]
                if label not in classes:
                    raise ValueError(f"the class {label!r} is none of {', '.join(classes)}")
                rows.append(Row.from_counts(Unit(row["case"], row["group"], int(row["slice"])), label, counts))
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            what = f"no column {error}" if isinstance(error, KeyError) else error
            raise UsageError(f"{path}:{reader.line_num}: {what}; restore it or score the run again") from error
    return rows


def _counts(rows: Sequence[Row], classes: Sequence[str]) -> torch.Tensor:
    """`(3, U, C)` of rows; 0 where a unit has none of a class, which it was not labelled for."""
    units: dict[tuple[Any, ...], int] = {}
    places = {name: index for index, name in enumerate(classes)}
    of = [(units.setdefault((row.case, row.fold, row.slice), len(units)), places[row.label]) for row in rows]
    counts = torch.zeros(len(units), len(classes), 3, dtype=torch.int64)
    if rows:
        counts[tuple(torch.tensor(of).T)] = torch.tensor([(row.tp, row.fp, row.fn) for row in rows])
    return counts.permute(2, 0, 1)
