"""What is scored of a volume beside overlap: surfaces in millimetres, volumes in millilitres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import datasets
from segloss.aggregation import Aggregation
from segloss.document import VOLUME_MEANS, Row, ScoresDocument
from segloss.surface import SURFACE_RULE, surface_scores

Measured = dict[str, float | None]


class VolumeScores:
    """Collects the rows of the volumes of a part, to be laid into its scores document.

    Args:
        classes: the names of what is scored.
        background: the class without surface, or None.
        tolerance: of the surface DSC, in mm.
        regions: what `classes` are, where they are not the classes of the masks.
    """

    def __init__(
        self,
        classes: Sequence[str],
        background: int | None,
        tolerance: float,
        regions: datasets.Regions | None = None,
    ) -> None:
        self.classes, self.background, self.tolerance = classes, background, tolerance
        every = [[index] for index in range(len(classes))]
        self.members = every if regions is None else [row.nonzero().flatten().tolist() for row in regions.members]
        self.rows: list[Measured] = []

    def add(
        self,
        labels: NDArray[Any],
        reference: NDArray[Any],
        spacing: Sequence[float],
        voxel_ml: float,
        labelled: NDArray[np.bool_] | None = None,
    ) -> None:
        """Score one volume; its cases come in the order of the document, one row a class.

        Args:
            labels: `(slices, rows, columns)` class indices.
            reference: the same, 255 where ignored.
            spacing: millimetres between slices, rows and columns; distances are measured as if they were at right
                angles, so those of a sheared grid (a tilted gantry) are approximate.
            voxel_ml: millilitres of a voxel.
            labelled: which of the classes are scored; None for all.
        """
        counts = reference != datasets.IGNORE
        for index in range(len(self.classes)):
            if index == self.background or (labelled is not None and not labelled[index]):
                self.rows.append({})
                continue
            found, wanted = (counts & np.isin(mask, self.members[index]) for mask in (labels, reference))
            ours, theirs = int(found.sum()) * voxel_ml, int(wanted.sum()) * voxel_ml
            self.rows.append(
                surface_scores(found, wanted, spacing, self.tolerance)
                | {"volume_ml": ours, "reference_ml": theirs, "volume_error_ml": ours - theirs}
                | {"relative_volume_error": abs(ours - theirs) / theirs if theirs else None}
            )

    def into(self, document: ScoresDocument) -> ScoresDocument:
        """The document with its rows widened, and their means in the aggregation by case."""
        if not self.rows:
            return document
        keys = dict.fromkeys(key for row in self.rows for key in row)
        rows = [
            replace(row, scores={**row.scores, **{key: more.get(key) for key in keys}})
            for row, more in zip(document.rows, self.rows, strict=True)
        ]
        header = replace(document.header, tolerance_mm=self.tolerance, surface_rule=SURFACE_RULE)
        aggregations = {**document.aggregations, "case": with_means(document.aggregations["case"], rows)}
        return replace(document, header=header, aggregations=aggregations, rows=rows)


def with_means(aggregation: Aggregation, rows: Sequence[Row]) -> Aggregation:
    """An aggregation by case with the means over the rows of cases too, each over the rows that define it."""
    classes = {}
    for name, scores in aggregation["classes"].items():
        of_class = [row.scores for row in rows if row.label == name]
        classes[name] = dict(scores)
        for key in VOLUME_MEANS:
            defined = [value for row in of_class if (value := row.get(key)) is not None]
            classes[name][key] = sum(defined) / len(defined) if defined else None
    return {**aggregation, "classes": classes}
