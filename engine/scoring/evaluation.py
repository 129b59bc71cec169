"""Predictions and scores of a trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, islice
from math import prod
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import Metric

import datasets
from datasets.grid import Shape
from segloss.aggregation import Aggregation, AggregationName
from segloss.calibration import Calibration
from segloss.document import Adjustment, Row, ScoresDocument, Unit
from segloss.scores import SegmentationScores

from ..experiment.experiment import Experiment
from ..processes import ranks
from .inference import PIXELS, between, describe, infer, labels_of, resized
from .volumes import VolumeScores

Loaders = dict[str, Any]
"""Loaders that a caller keeps; see `score`."""
S = TypeVar("S", bound=Metric)


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
        known: of each case, which of the classes it was labelled for.
    """

    classes: Sequence[str]
    cases: Sequence[datasets.Case]
    slices: Sequence[int]
    counts: SegmentationScores
    calibration: Calibration | None
    volumes: VolumeScores
    header: dict[str, Any]
    known: Sequence[NDArray[np.bool_]]

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
        known = {
            (case.id, name)
            for case, known in zip(self.cases, self.known, strict=True)
            for name, there in zip(self.classes, known, strict=True)
            if there
        }
        rows, images = ([row for row in of if (row.case, row.label) in known] for of in (document.rows, images))
        return Scores(replace(document, rows=rows), images)


class Prediction(NamedTuple):
    """One predicted case.

    Attributes:
        case: the case's number.
        labels: `(slices, H, W)` int64, on the device; a still has one slice. Classes that the case was not labelled for
            are background.
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
        calibration: is shown the logits that are compared, and their reference, of cases labelled for all classes.
        loaders: see `score`.
    """
    background = datasets.background_index(experiment.adapter.classes)
    for number, logits, reference in case_logits(model, samples, experiment, fabric, cases, loaders):
        known = datasets.labelled_classes(samples.cases[number].case, experiment.adapter.classes)
        shown = logits if calibration is None or not known.all() else _shown(logits, reference, calibration)
        labels = fabric.to_device(labels_of(shown, experiment.config.scores, background, experiment.regions))
        if not known.all():
            labels = torch.where(torch.from_numpy(known).to(labels.device)[labels], labels, 0)
        yield Prediction(number, labels, reference)


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
        The number of the case; the logits of its slices, `(n, C, rows, columns)` each, to be taken before the next
        case; the reference `(slices, rows, columns)` int64, on the device, 255 where ignored.
    """
    config = experiment.config
    wanted = set(range(len(samples.cases)) if cases is None else cases)
    was_training = model.training
    model.eval()
    loader = evaluation_loader(samples, experiment, fabric, cases, loaders)
    original = config.scores.grid == "original"
    shapes = [case.original if original else case.shape for case in samples.cases]
    for number, found in groupby(_chunks(model, loader, shapes, experiment, fabric), key=itemgetter(0)):
        if number not in wanted:
            continue
        case = samples.cases[number]
        logits = between((chunk for _, chunk in found), case.shape[0], shapes[number][0])
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
    """A loader, kept among `loaders` for another pass over the same samples; resident where those of training are."""
    if loaders and (kept := loaders.get("evaluation")) is not None:
        return kept
    config, gpu = experiment.config, fabric.device.type == "cuda"
    size = images_a_batch(samples, experiment, fabric)
    loader: Any
    if loaders is not None and config.data.resident is True:
        batches = datasets.evaluation_batches(samples, size, cases)
        loader = datasets.ResidentLoader(datasets.ResidentSamples(samples, fabric.device), batches)
    else:
        loader = datasets.evaluation_loader(samples, size, config.data.workers, cases, gpu, loaders is not None)
    if loaders is not None:
        loaders["evaluation"] = loader
    return loader


def images_a_batch(samples: datasets.Samples, experiment: Experiment, fabric: Fabric) -> int:
    """How many images are predicted at once, at most.

    On a GPU more than in training, since nothing is kept for a backward pass; on the CPU, where that gains nothing, as
    many, and with it the last digits of the logits stay.
    """
    largest = max((case.shape[1] * case.shape[2] for case in samples.cases), default=1)
    return max(experiment.config.train.batch_size, PIXELS // largest if fabric.device.type == "cuda" else 0)


def _shown(logits: Iterable[Tensor], reference: Tensor, calibration: Calibration) -> Iterator[Tensor]:
    """The logits `(n, C, rows, columns)` of some slices each, once they have been shown."""
    start = 0
    for chunk in logits:
        calibration.update(chunk, reference[start : start + len(chunk)])
        start += len(chunk)
        yield chunk


def _chunks(
    model: nn.Module, loader: Any, shapes: Sequence[Shape], experiment: Experiment, fabric: Fabric
) -> Iterator[tuple[int, Tensor]]:
    """The number of a case and logits `(n, C, rows, columns)` of its next slices, their planes resized to its shape.

    What lies next to each other in a batch and goes to one size is resized at once, whatever cases it is of.
    """
    batch: Any
    for batch in datasets.unwrap_worker_errors(loader):
        images = datasets.unpacked(batch, fabric.to_device)["image"]
        logits, numbers = infer(model, images, experiment.config.scores), batch["case"].tolist()
        end = 0
        for size, run in groupby(numbers, key=lambda number: shapes[number][1:]):
            start, end = end, end + len(list(run))
            left = iter(numbers[start:end])
            for some in resized(logits[start:end], size):
                of = list(islice(left, len(some)))
                lengths = [len(list(equal)) for _, equal in groupby(of)]
                yield from zip(dict.fromkeys(of), some.split(lengths), strict=True)


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
    samples, section = experiment.samples(part), experiment.config.scores
    classes, masks, regions = experiment.scored, experiment.adapter.classes, experiment.regions
    members = None if regions is None else regions.members
    activation = experiment.activation if thorough else "none"
    calibration = None
    if activation != "none":
        calibration = Calibration(len(classes), activation, datasets.IGNORE, regions=members)
    background, ground = (experiment.background, datasets.background_index(masks)) if regions is None else (None, None)
    scores = SegmentationScores(len(masks), datasets.IGNORE, background, members).to(fabric.device)
    volumes = VolumeScores(classes, ground, section.tolerance, regions)
    lengths = [(c.original if section.grid == "original" else c.shape)[0] for c in samples.cases]
    starts = [0, *accumulate(lengths)]
    known = [datasets.labelled_parts(cached.case, masks, regions) for cached in samples.cases]
    mine = ranks.partition(lengths, ranks.rank(), ranks.world_size())
    predictions = predict(model, samples, experiment, fabric, mine, calibration, loaders)
    waiting: list[Prediction] = []
    for found in track(predictions, len(mine)):
        cached = samples.cases[found.case]
        if waiting and not _fits(found, waiting):
            _count(waiting, starts, scores)
            waiting = []
        waiting.append(found)
        if thorough and cached.spacing is not None and cached.voxel_ml is not None:
            spacing, voxel_ml = _voxel(cached.spacing, cached.voxel_ml, cached.original, found.labels.shape)
            pair = found.labels.cpu().numpy(), found.reference.cpu().numpy()
            volumes.add(*pair, spacing, voxel_ml, known[found.case])
    if waiting:
        _count(waiting, starts, scores)
    scores, calibration = merged(scores, calibration)
    volumes.rows = [row for rows in ranks.all_gather(volumes.rows) for row in rows]
    cases = [cached.case for cached in samples.cases]
    header = _header(part, experiment, adjustment)
    return PartCounts(classes, cases, lengths, scores, calibration, volumes, header, known)


def _header(part: datasets.Part, experiment: Experiment, adjustment: Adjustment | None) -> dict[str, Any]:
    """What the header of a part's document says of how it is scored."""
    config, section = experiment.config, experiment.config.scores
    split: Any = config.data.split
    return {
        "kind": experiment.adapter.kind,
        "primary": experiment.primary,
        "mask_classes": None if experiment.regions is None else list(experiment.adapter.classes),
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


def _voxel(
    spacing: Sequence[float], voxel_ml: float, original: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[float, ...], float]:
    """Spacing in mm and volume in ml of the voxels of a case on a grid of another shape than its own."""
    sides = tuple(mm * of / to for mm, of, to in zip(spacing, original, shape, strict=True))
    return sides, voxel_ml * prod(original) / prod(shape)


def _fits(found: Prediction, waiting: Sequence[Prediction]) -> bool:
    """Whether a case is counted together with others: of one size, and no more than `PIXELS` pixels in all."""
    of_one_size = found.labels.shape[1:] == waiting[0].labels.shape[1:]
    return of_one_size and sum(one.labels.numel() for one in (found, *waiting)) <= PIXELS


def _count(found: Sequence[Prediction], starts: Sequence[int], scores: SegmentationScores) -> None:
    """Count cases of one size.

    Args:
        found: the cases.
        starts: by the number of a case that of its first slice among those of all cases.
        scores: what they are counted in.
    """
    images = [image for one in found for image in range(starts[one.case], starts[one.case + 1])]
    cases = [one.case for one in found for _ in one.labels]
    labels, reference = (torch.cat(each) for each in zip(*((one.labels, one.reference) for one in found), strict=True))
    scores.update(labels, reference, image=images, case=cases)


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
