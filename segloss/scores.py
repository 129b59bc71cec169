"""Segmentation scores that can be computed batch by batch, on any device, over any number of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from .aggregation import AGGREGATIONS, Aggregation, AggregationName, aggregate, class_counts, region_counts
from .document import Header, Kind, Primary, Row, ScoresDocument, Unit
from .tensors import numbered, sent


def confusion_matrices(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Count each image's pixels by reference and prediction, without a host synchronisation.

    Args:
        prediction: `(N, *spatial)` integer labels.
        target: `(N, *spatial)` integer labels; `ignore_index` does not count.
        num_classes: C.
        ignore_index: the label that does not count.

    Returns:
        `(N, C·C + 2)` int64: the matrix row by row (rows the reference), then the ignored pixels, then the pixels
        whose label or prediction is no class.
    """
    cells = num_classes * num_classes
    target, prediction = target.flatten(1).long(), prediction.flatten(1).long()
    known = (target >= 0) & (target < num_classes) & (prediction >= 0) & (prediction < num_classes)
    cell = torch.where(known, target * num_classes + prediction, cells + 1)
    cell = torch.where(target == ignore_index, cells, cell)
    matrices = torch.zeros(len(cell), cells + 2, dtype=torch.int64, device=cell.device)
    return matrices.scatter_add_(1, cell, torch.ones_like(cell))


class SegmentationScores(Metric):
    """mDSC and mIoU in the aggregations `dataset`, `case` and `image`, from one int64 confusion matrix a 2D image.

    Whatever the batch size, the order or the sharding, the result is the same. See `segloss.aggregation` for the
    rule of absent classes.

    Args:
        num_classes: C.
        ignore_index: the label that does not count.
        background: an index left out of the means over classes, or None.
        regions: `(R, C)` bool, which classes are in which region: the scores are then those of the regions, which may
            overlap, in place of the classes; None for the classes.
        **options: of `torchmetrics.Metric`.

    Raises:
        ValueError: num_classes < 1, a background that is no class.

    >>> scores = SegmentationScores(num_classes=2)
    >>> scores.update(torch.tensor([[0, 1, 1]]), torch.tensor([[0, 1, 0]]), image=[0], case=[0])
    >>> round(scores.compute()["dataset"]["mIoU"], 4)
    0.5
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    matrices: list[Tensor]
    images: list[Tensor]
    cases: list[Tensor]

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        background: int | None = None,
        regions: Tensor | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if num_classes < 1:
            raise ValueError(f"num_classes must be ≥ 1, got {num_classes}")
        if background is not None and not 0 <= background < num_classes:
            raise ValueError(f"background must be None or in 0..{num_classes - 1}, got {background}")
        if regions is not None and (regions.dim() != 2 or regions.shape[1] != num_classes or background is not None):
            raise ValueError(f"regions must be (R, {num_classes}), without a background, got {tuple(regions.shape)}")
        self.num_classes, self.ignore_index, self.background = num_classes, ignore_index, background
        self.regions = regions
        for state in ("matrices", "images", "cases"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(
        self, prediction: Tensor, target: Tensor, image: Tensor | Sequence[int], case: Tensor | Sequence[int]
    ) -> None:
        """Count a batch.

        Args:
            prediction: `(N, *spatial)` integer labels.
            target: `(N, *spatial)` integer labels.
            image: `(N,)` an integer id of each 2D image; parts of one image add up.
            case: `(N,)` an integer id of the case each image belongs to.

        Raises:
            ValueError: floating labels, shapes that differ, ids that are no whole numbers or do not fit the batch.
        """
        if prediction.shape != target.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
        if prediction.is_floating_point() or target.is_floating_point():
            raise ValueError("prediction and target must hold labels, not probabilities; take the argmax over classes")
        image, case = numbered("image", image), numbered("case", case)
        if image.shape != (len(target),) or case.shape != (len(target),):
            raise ValueError(f"image and case must hold one id an image of the batch ({len(target)})")
        self.matrices.append(confusion_matrices(prediction, target, self.num_classes, self.ignore_index))
        self.images.append(sent(image, target.device))
        self.cases.append(sent(case, target.device))

    def compute(self) -> dict[AggregationName, Aggregation]:
        """The three aggregations, as `aggregations`, classes by index.

        Raises:
            ValueError: a label or a prediction was no class.
        """
        scored = self.num_classes if self.regions is None else len(self.regions)
        return self.aggregations([str(index) for index in range(scored)])

    def aggregations(self, classes: Sequence[str]) -> dict[AggregationName, Aggregation]:
        """The three aggregations by name.

        Args:
            classes: the names of the C classes, or R regions; so in the other methods.

        Raises:
            ValueError: a label or a prediction was no class.
        """
        matrices: dict[AggregationName, Tensor] = {"case": self._units("case")[1], "image": self._units("image")[1]}
        matrices["dataset"] = matrices["case"].sum(0, keepdim=True)
        left_out, overlapping = {self.background, self.ignore_index}, self.regions is not None
        return {name: aggregate(*self._counts(matrices[name]), classes, left_out, overlapping) for name in AGGREGATIONS}

    def document(
        self,
        classes: Sequence[str],
        cases: Sequence[str],
        groups: Sequence[str],
        *,
        kind: Kind,
        primary: Primary | None = None,
        **header: Any,
    ) -> ScoresDocument:
        """What `scores.json` holds: a header, the three aggregations, the confusion matrix, a row a case and class.

        Args:
            classes: the names of the C classes.
            cases: the name of case id 0, 1, …
            groups: the group (patient, video sequence) of case id 0, 1, …
            kind: `volume` or `still`.
            primary: the score that methods are compared in; None for what is usual of the kind.
            **header: what else the header says, such as grid, seed and fold; see `segloss.document.Header`.

        Raises:
            ValueError: names that are not one a class, or lack a case that was counted.
        """
        ids, matrices = self._units("case")
        scored = self.num_classes if self.regions is None else len(self.regions)
        if len(classes) != scored:
            raise ValueError(f"classes must be {scored} names, got {len(classes)}")
        if ids and not 0 <= ids[0] <= ids[-1] < min(len(cases), len(groups)):
            raise ValueError(
                f"cases and groups must name the cases {ids[0]} to {ids[-1]}, got {len(cases)} and {len(groups)} names"
            )
        return ScoresDocument(
            Header(
                kind=kind,
                primary=primary or Primary.of_kind(kind),
                classes=list(classes),
                background=None if self.background is None else classes[self.background],
                ignore_index=self.ignore_index,
                **header,
            ),
            self.aggregations(classes),
            self._rows(matrices, classes, [Unit(cases[case], groups[case]) for case in ids]),
            matrices.sum(0).tolist() if self.regions is None else None,
        )

    def image_rows(self, classes: Sequence[str], units: Sequence[Unit]) -> list[Row]:
        """One row an image and class, as those of cases in `document`.

        Args:
            classes: the names of the C classes.
            units: case, group and slice of image id 0, 1, …
        """
        ids, matrices = self._units("image")
        return self._rows(matrices, classes, [units[image] for image in ids])

    def _counts(self, matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return class_counts(matrices) if self.regions is None else region_counts(matrices, self.regions)

    def _rows(self, matrices: Tensor, classes: Sequence[str], units: Sequence[Unit]) -> list[Row]:
        """One row a unit and class."""
        counts = torch.stack(self._counts(matrices), 2).tolist()
        return [
            Row.from_counts(unit, label, of_class)
            for unit, of_unit in zip(units, counts, strict=True)
            for label, of_class in zip(classes, of_unit, strict=True)
        ]

    def _units(self, kind: str) -> tuple[list[int], Tensor]:
        """The ids of the units, ascending, and their matrices `(U, C, C)`, on the CPU."""
        classes = self.num_classes
        rows = _joined(self.matrices, (0, classes * classes + 2)).cpu()
        foreign = int(rows[:, -1].sum())
        if foreign:
            raise ValueError(f"{foreign} pixels hold a label or prediction outside 0..{classes - 1}")
        ids = _joined(self.cases if kind == "case" else self.images, (0,)).cpu()
        names, unit = torch.unique(ids, return_inverse=True)
        summed = torch.zeros(len(names), rows.shape[1], dtype=torch.int64).index_add_(0, unit, rows)
        return names.tolist(), summed[:, :-2].view(-1, classes, classes)


def _joined(state: list[Tensor] | Tensor, empty: tuple[int, ...]) -> Tensor:
    """A list state as one tensor; torchmetrics has joined it already after a reduction over ranks."""
    if isinstance(state, Tensor):
        return state
    return torch.cat(state) if state else torch.zeros(empty, dtype=torch.int64)
