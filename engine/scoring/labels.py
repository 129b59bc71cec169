"""Scores of pictures with one label each, and what needs no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

import datasets
from segloss.aggregation import Aggregation, AggregationName, label_scores
from segloss.calibration import Calibration
from segloss.classification import ClassificationScores

from ..experiment.experiment import Experiment
from ..processes import ranks
from .evaluation import Loaders, Scores, evaluation_loader, merged
from .inference import describe, infer


@dataclass(frozen=True)
class LabelCounts:
    """What is counted of a part of pictures with one label.

    Attributes:
        classes: their names.
        cases: of the part.
        counts: what each of them is given.
        calibration: None where it was not measured.
        header: what the document's header says beside the classes.
    """

    classes: Sequence[str]
    cases: Sequence[datasets.Case]
    counts: ClassificationScores
    calibration: Calibration | None
    header: dict[str, Any]

    def aggregations(self) -> dict[AggregationName, Aggregation]:
        """The scores; pictures are not aggregated in several ways."""
        return {"dataset": self.counts.aggregation(self.classes)}

    def scores(self, **origin: Any) -> Scores:
        """The document.

        Args:
            **origin: what the header says of the weights: `checkpoint`, `epoch` and `class_images`.
        """
        ids, groups = [case.id for case in self.cases], [case.group for case in self.cases]
        document = self.counts.document(
            self.classes, ids, groups, grouped=len({*groups}) < len(ids), **{**self.header, **origin}
        )
        if self.calibration is not None:
            document = replace(document, calibration=self.calibration.document(self.classes))
        return Scores(document, [])


@torch.no_grad()
def score_labels(
    model: nn.Module,
    part: datasets.Part,
    experiment: Experiment,
    fabric: Fabric,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda found, _: found,
    thorough: bool = False,
    loaders: Loaders | None = None,
) -> LabelCounts:
    """Count a part; several processes share its pictures, and each gives the counts of all of them.

    Args:
        model: the trained network, set up by Fabric; put into evaluation mode, and back.
        part: train, val or test.
        experiment: the data and the rules.
        fabric: the device and the precision.
        track: shows progress: is given the batches as they come and their number, and gives them on.
        thorough: score the calibration too, where the loss trains probabilities.
        loaders: see `evaluation.score`.
    """
    samples, config = experiment.samples(part), experiment.config
    classes, activation = experiment.adapter.classes, experiment.activation
    ignored = datasets.ignored_label(len(classes))
    calibration = Calibration(len(classes), activation, ignored) if thorough and activation != "none" else None
    counts = ClassificationScores(len(classes), activation).to(fabric.device)
    mine = ranks.partition([1] * len(samples.cases), ranks.rank(), ranks.world_size())
    loader = evaluation_loader(samples, experiment, fabric, mine, loaders)
    own = torch.zeros(len(samples.cases), dtype=torch.bool)
    own[list(mine)] = True
    was_training = model.training
    model.eval()
    batch: Any
    for batch in track(datasets.unwrap_worker_errors(loader), len(loader)):
        kept, found = own[batch["case"]], datasets.unpacked(batch, fabric.to_device)
        on_device = fabric.to_device(kept)
        logits, labels = infer(model, found["image"], config.scores)[on_device], found["mask"][on_device]
        counts.update(logits, labels, batch["case"][kept])
        if calibration is not None:
            calibration.update(logits, labels)
    model.train(was_training)
    counts, calibration = merged(counts, calibration)
    split: Any = config.data.split
    header = {
        "primary": experiment.primary,
        "flip": config.scores.flip,
        "inference": describe(config.scores),
        "part": part,
        "seed": config.seed,
        "fold": getattr(split, "fold", None),
    }
    return LabelCounts(classes, [cached.case for cached in samples.cases], counts, calibration, header)


def majority(
    training: Sequence[datasets.CachedCase], test: Sequence[datasets.CachedCase], classes: Sequence[str]
) -> dict[str, Any]:
    """The scores of giving every picture the class that most training pictures have: its name under `class`."""
    common = int(np.argmax(datasets.total_pixels(training, len(classes))))
    matrix = torch.zeros(len(classes), len(classes), dtype=torch.int64)
    matrix[:, common] = torch.tensor(datasets.total_pixels(test, len(classes)))
    found = label_scores(matrix, classes)
    return {"class": classes[common], **{key: found[key] for key in ("accuracy", "balanced_accuracy", "f1")}}
