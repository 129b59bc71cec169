"""Predictions and scores of a trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from math import prod
from typing import Any, NamedTuple, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torchmetrics import Metric

import datasets
from segloss.aggregation import Aggregation, AggregationName
from segloss.calibration import Calibration
from segloss.document import Adjustment, Row, ScoresDocument, Unit
from segloss.scores import SegmentationScores

from ..experiment.experiment import Experiment
from ..processes import ranks
from .inference import describe, infer, labels_of, on_own_grid
from .volumes import VolumeScores

Loaders = dict[str, Any]
"""Loaders that a caller keeps; see `score`."""
S = TypeVar("S", bound=Metric)
PIXELS = 2**21
"""The pixels that a GPU predicts at once, where they are more than those of a training batch."""


class Scores(NamedTuple):
    """The scores of a part, as they are written.

    Attributes:
        document: what `scores.json` holds.
        images: of volumes a row for each slice and class, for `images.csv`.
    """

    document: ScoresDocument
    images: list[Row]


@dataclass(frozen=True)
class PartCounts:
    """What is counted of a part: its aggregations follow at once, its rows are made only to be written.

    Attributes:
        classes: their names.
        cases: of the part, in the order of their ids.
        slices: how many each case has.
        counts: the confusion matrices.
        calibration: None where it was not measured.
        volumes: surfaces and volumes, where they were measured.
        header: what the document's header says beside classes and background.
    """

    classes: Sequence[str]
    cases: Sequence[datasets.Case]
    slices: Sequence[int]
    counts: SegmentationScores
    calibration: Calibration | None
    volumes: VolumeScores
    header: dict[str, Any]

    def aggregations(self) -> dict[AggregationName, Aggregation]:
        """The three aggregations."""
        return self.counts.aggregations(self.classes)

    def scores(self, **origin: Any) -> Scores:
        """The document and the rows of slices.

        Args:
            **origin: what the header says of the weights, such as `checkpoint` and `epoch`.
        """
        ids, groups = [case.id for case in self.cases], [case.group for case in self.cases]
        document = self.volumes.into(self.counts.document(self.classes, ids, groups, **self.header | origin))
        if self.calibration is not None:
            document = replace(document, calibration=self.calibration.document(self.classes))
        units = [
            Unit(case.id, case.group, index)
            for case, slices in zip(self.cases, self.slices, strict=True)
            for index in range(slices)
        ]
        images = self.counts.image_rows(self.classes, units) if document.header.kind == "volume" else []
        return Scores(document, images)


class Prediction(NamedTuple):
    """One predicted case.

    Attributes:
        case: the case's number.
        labels: `(slices, H, W)` int64, on the device; a still has one slice.
        reference: `(slices, H, W)` int64, on the device; 255 where ignored.
    """

    case: int
    labels: Tensor
    reference: Tensor


def predict(
    model: nn.Module,
    samples: datasets.Samples,
    experiment: Experiment,
    fabric: Fabric,
    cases: Sequence[int] | None = None,
    calibration: Calibration | None = None,
    loaders: Loaders | None = None,
) -> Iterator[Prediction]:
    """Predict cases in order, their logits adjusted where the network holds an adjustment.

    With `scores.grid: original` the logits are brought back to each case's own grid before the argmax, and compared
    with its own mask; with `network` both stay on the network's grid, as in the papers.

    Args:
        model: maps images to logits, set up by Fabric; put into evaluation mode, and back.
        samples: what to predict, every slice of its cases.
        experiment: its configuration gives grid, batch size and workers.
        fabric: the device and the precision.
        cases: the numbers of the cases wanted, ascending, None for all.
        calibration: is shown the logits that are compared, and their reference.
        loaders: see `score`.
    """
    background = datasets.background_index(experiment.adapter.classes)
    for number, logits, reference in case_logits(model, samples, experiment, fabric, cases, loaders):
        shown = logits if calibration is None else _shown(logits, reference, calibration)
        labels = labels_of(shown, experiment.config.scores, background)
        yield Prediction(number, fabric.to_device(labels), reference)


@torch.no_grad()
def case_logits(
    model: nn.Module,
    samples: datasets.Samples,
    experiment: Experiment,
    fabric: Fabric,
    cases: Sequence[int] | None = None,
    loaders: Loaders | None = None,
) -> Iterator[tuple[int, Iterator[Tensor], Tensor]]:
    """The logits of cases in order, on the grid that is scored; see `predict`.

    Yields:
        The number of the case; the logits `(C, rows, columns)` of its slices, to be taken before the next case; the
        reference `(slices, rows, columns)` int64, on the device, 255 where ignored.
    """
    config = experiment.config
    wanted = set(range(len(samples.cases)) if cases is None else cases)
    was_training = model.training
    model.eval()
    loader = evaluation_loader(samples, experiment, fabric, cases, loaders)
    for number, planes in groupby(_planes(model, loader, experiment, fabric), key=lambda found: found[0]):
        if number not in wanted:
            continue
        case = samples.cases[number]
        original = config.scores.grid == "original"
        logits = on_own_grid((plane for _, plane in planes), case.shape[0], case.original if original else case.shape)
        masks = torch.from_numpy(case.references() if original else case.masks())
        yield number, logits, fabric.to_device(masks.pin_memory() if fabric.device.type == "cuda" else masks).long()
    model.train(was_training)


def evaluation_loader(
    samples: datasets.Samples,
    experiment: Experiment,
    fabric: Fabric,
    cases: Sequence[int] | None,
    loaders: Loaders | None,
) -> Any:
    """A loader, kept among `loaders` for another pass over the same samples.

    On a GPU a batch holds more images than in training, since nothing is kept for a backward pass; on the CPU, where
    that gains nothing, it stays as it is, and with it the last digits of the logits.
    """
    if loaders and (kept := loaders.get("evaluation")) is not None:
        return kept
    config, gpu = experiment.config, fabric.device.type == "cuda"
    largest = max((case.shape[1] * case.shape[2] for case in samples.cases), default=1)
    size = max(config.train.batch_size, PIXELS // largest if gpu else 0)
    loader = datasets.evaluation_loader(samples, size, config.data.workers, cases, gpu, loaders is not None)
    if loaders is not None:
        loaders["evaluation"] = loader
    return loader


def _shown(logits: Iterable[Tensor], reference: Tensor, calibration: Calibration) -> Iterator[Tensor]:
    """The logits `(C, rows, columns)` of each slice, once they have been shown."""
    for plane, labels in zip(logits, reference, strict=True):
        calibration.update(plane.unsqueeze(0), labels.unsqueeze(0))
        yield plane


def _planes(model: nn.Module, loader: Any, experiment: Experiment, fabric: Fabric) -> Iterator[tuple[int, Tensor]]:
    """The number of the case and the logits `(C, h, w)` of each sample."""
    batch: Any
    for batch in datasets.unwrap_worker_errors(loader):
        images = datasets.unpacked(batch, fabric.to_device)["image"]
        logits = infer(model, images, experiment.config.scores)
        yield from zip(batch["case"].tolist(), logits, strict=True)


def score(
    model: nn.Module,
    part: datasets.Part,
    experiment: Experiment,
    fabric: Fabric,
    track: Callable[[Iterable[Prediction], int], Iterable[Prediction]] = lambda found, _: found,
    thorough: bool = False,
    adjustment: Adjustment | None = None,
    loaders: Loaders | None = None,
) -> PartCounts:
    """Count a part; several processes share its cases, and each gives the counts of all of them.

    Args:
        model: the trained network, set up by Fabric.
        part: train, val or test.
        experiment: the data and the rules.
        fabric: the device and the precision.
        track: shows progress: is given the predictions as they come and their number, and gives them on.
        thorough: score the calibration too, where the loss trains probabilities, and of scans the surfaces and volumes
            in mm and ml, which takes a while.
        adjustment: what the network does to its logits, for the header.
        loaders: keeps the loader, with its processes, for the next call with the same part and experiment; None ends
            them.
    """
    samples, config = experiment.samples(part), experiment.config
    classes = experiment.adapter.classes
    activation = experiment.activation if thorough else "none"
    calibration = None if activation == "none" else Calibration(len(classes), activation, datasets.IGNORE)
    scores = SegmentationScores(len(classes), datasets.IGNORE, experiment.background).to(fabric.device)
    volumes = VolumeScores(classes, datasets.background_index(experiment.adapter.classes), config.scores.tolerance)
    lengths = [(c.original if config.scores.grid == "original" else c.shape)[0] for c in samples.cases]
    starts = [0, *accumulate(lengths)]
    mine = ranks.partition(lengths, ranks.rank(), ranks.world_size())
    predictions = predict(model, samples, experiment, fabric, mine, calibration, loaders)
    for found in track(predictions, len(mine)):
        cached, slices = samples.cases[found.case], len(found.labels)
        images = list(range(starts[found.case], starts[found.case + 1]))
        scores.update(found.labels, found.reference, image=images, case=[found.case] * slices)
        if thorough and cached.spacing is not None and cached.voxel_ml is not None:
            shape = found.labels.shape
            spacing = tuple(mm * of / to for mm, of, to in zip(cached.spacing, cached.original, shape, strict=True))
            voxel_ml = cached.voxel_ml * prod(cached.original) / prod(shape)
            volumes.add(found.labels.cpu().numpy(), found.reference.cpu().numpy(), spacing, voxel_ml)
    scores, calibration = merged(scores, calibration)
    volumes.rows = [row for rows in ranks.all_gather(volumes.rows) for row in rows]
    split: Any = config.data.split
    section = config.scores
    header = {
        "kind": experiment.adapter.kind,
        "primary": experiment.primary,
        "grid": section.grid,
        "window": section.window,
        "overlap": None if section.window is None else section.overlap,
        "flip": section.flip,
        "largest_component": section.largest_component,
        "adjust": adjustment,
        "inference": describe(section),
        "part": part,
        "seed": config.seed,
        "fold": getattr(split, "fold", None),
    }
    cases = [cached.case for cached in samples.cases]
    return PartCounts(classes, cases, lengths, scores, calibration, volumes, header)


def merged(scores: S, calibration: Calibration | None) -> tuple[S, Calibration | None]:
    """What was counted by all processes, in the order of their cases: each has a run of neighbours."""
    if ranks.world_size() == 1:
        return scores, calibration
    counted = {key: [tensor.cpu() for tensor in tensors] for key, tensors in scores.metric_state.items()}
    found = ranks.all_gather((counted, None if calibration is None else calibration.sums.cpu()))
    whole = deepcopy(scores).cpu()
    whole.reset()
    for each, _ in found:
        whole.merge_state(each)
    if calibration is not None:
        calibration.sums = torch.stack([sums for _, sums in found if sums is not None]).sum(0)
    return whole, calibration
