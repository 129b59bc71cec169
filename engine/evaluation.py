"""Predictions and scores of a trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import Subset

import datasets
from segloss.scores import SegmentationScores

from .experiment import Experiment
from .inference import describe, infer


class Prediction(NamedTuple):
    """One predicted 2D image.

    Attributes:
        sample: the sample's number.
        case: the case's number.
        labels: `(H, W)` int64, on the device.
        reference: `(H, W)` int64, on the device; 255 where ignored.
    """

    sample: int
    case: int
    labels: Tensor
    reference: Tensor


@torch.no_grad()
def predict(
    model: nn.Module,
    samples: datasets.Samples,
    experiment: Experiment,
    fabric: Fabric,
    only: Sequence[int] | None = None,
) -> Iterator[Prediction]:
    """Predict samples in order.

    With `scores.grid: original` the logits are resized to each image's own size before the argmax, and compared with
    its own mask; with `network` both stay on the network's grid, as in the papers.

    Args:
        model: maps images to logits, set up by Fabric; put into evaluation mode, and back.
        samples: what to predict.
        experiment: its configuration gives grid, batch size and workers.
        fabric: the device and the precision.
        only: the numbers of the samples wanted, None for all.
    """
    chosen = range(len(samples)) if only is None else only
    one_size = len({case.shape[1:3] for case in samples.cases}) == 1
    batch_size = experiment.config.train.batch_size if one_size else 1
    loader = datasets.evaluation_loader(Subset(samples, list(chosen)), batch_size, experiment.config.data.workers)
    was_training = model.training
    model.eval()
    batch: Any
    for batch in datasets.plainly(loader):
        logits = infer(model, fabric.to_device(batch["image"]), experiment.config.scores)
        for row, (index, case) in enumerate(zip(batch["index"].tolist(), batch["case"].tolist(), strict=True)):
            labels, reference = logits[row : row + 1], batch["mask"][row]
            if experiment.config.scores.grid == "original":
                reference = samples.reference(index).long()
                labels = F.interpolate(labels, reference.shape, mode="bilinear", align_corners=False)
            yield Prediction(index, case, labels[0].argmax(0), fabric.to_device(reference))
    model.train(was_training)


def score(
    model: nn.Module,
    part: datasets.Part,
    experiment: Experiment,
    fabric: Fabric,
    track: Callable[[Iterable[Prediction], int], Iterable[Prediction]] = lambda found, _: found,
) -> dict[str, Any]:
    """The scores document of a part; see `SegmentationScores.document`.

    Args:
        model: the trained network, set up by Fabric.
        part: train, val or test.
        experiment: the data and the rules.
        fabric: the device and the precision.
        track: shows progress: is given the predictions as they come and their number, and gives them on.
    """
    samples = experiment.samples(part)
    scores = SegmentationScores(len(experiment.adapter.classes), datasets.IGNORE, experiment.background)
    scores = scores.to(fabric.device)
    for found in track(predict(model, samples, experiment, fabric), len(samples)):
        scores.update(found.labels[None], found.reference[None], image=[found.sample], case=[found.case])
    cases = [cached.case for cached in samples.cases]
    split: Any = experiment.config.data.split
    return scores.document(
        experiment.adapter.classes,
        [case.id for case in cases],
        [case.group for case in cases],
        grid=experiment.config.scores.grid,
        inference=describe(experiment.config.scores),
        seed=experiment.config.seed,
        fold=getattr(split, "fold", None),
        part=part,
    )
