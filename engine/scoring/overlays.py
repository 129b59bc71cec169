"""Pictures of some scored cases: image, reference, prediction and mistakes side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

import datasets
from datasets.grid import nearest_slices
from segloss.document import ScoresDocument

from ..experiment.experiment import Experiment
from ..pictures.chart import write_figure
from ..pictures.figures import overlay
from ..pictures.montage import montage
from .evaluation import predict

LONGEST = 200
"""Bytes of a picture's name, before what is appended."""


def save_overlays(
    model: nn.Module, experiment: Experiment, part: datasets.Part, fabric: Any, scores: ScoresDocument, folder: Path
) -> list[Path]:
    """Pictures of the worst, the median and the best case of a part and of those halfway between.

    Of each its overlay, of a volume that of the slice with most foreground, and of a volume a montage of its slices.
    """
    samples = experiment.samples(part)
    folder.mkdir(parents=True, exist_ok=True)
    order = ranked(scores)
    numbers = {case.case.id: number for number, case in enumerate(samples.cases)}
    places = {round(at * (len(order) - 1)) for at in (0, 0.25, 0.5, 0.75, 1)} if order else set()
    titles = {
        numbers[name]: f"{name}: mDSC {value:.3f}, place {place + 1} of {len(order)} from the worst"
        for place, (name, value) in enumerate(order)
        if place in places
    }
    written: list[Path] = []
    for found in predict(model, samples, experiment, fabric, sorted(titles)):
        case, title = samples.cases[found.case], titles[found.case]
        reference, labels = found.reference.cpu().numpy(), found.labels.cpu().numpy()
        name, classes = file_stem(case.case.id, {path.stem for path in written}), experiment.adapter.classes
        background = datasets.background_index(classes)
        figures = {folder / f"{name}.png": _overlay(case, reference, labels, classes, title)}
        if len(labels) > 1 and case.spacing is not None:
            masks, fields = {"reference": reference, "prediction": labels}, np.multiply(case.spacing, case.original)
            _, row, column = (fields / labels.shape).tolist()
            image = np.stack([_plane(case, index) for index in nearest_slices(case.shape[0], len(labels)).tolist()])
            figures[folder / f"{name}_slices.png"] = montage(image, masks, classes, background, title, (row, column))
        for path, figure in figures.items():
            write_figure(figure, path)
            written.append(path)
    return written


def validation_overlays(model: nn.Module, experiment: Experiment, fabric: Any, most: int = 3) -> dict[str, Figure]:
    """By name overlays of some cases of the validation part, the same ones in every call; none of pictures with labels.

    No random number of the training is drawn.
    """
    cases = experiment.data.parts["val"]
    if experiment.adapter.kind == "label" or not cases:
        return {}
    samples, figures = experiment.samples("val"), dict[str, Figure]()
    chosen = datasets.evenly_spaced(len(cases), most)
    with torch.random.fork_rng(devices=[]):  # a loader draws a seed
        for found in predict(model, samples, experiment, fabric, chosen):
            case, masks = samples.cases[found.case], (found.reference.cpu().numpy(), found.labels.cpu().numpy())
            figure = _overlay(case, *masks, experiment.adapter.classes, case.case.id)
            figures[f"validation/{len(figures)}"] = figure
    return figures


def _overlay(
    case: datasets.CachedCase, reference: NDArray[Any], labels: NDArray[Any], classes: Sequence[str], title: str
) -> Figure:
    """The overlay of a case, of a volume that of the slice with most foreground."""
    background = datasets.background_index(classes)
    counted = (reference != datasets.IGNORE) & (reference != (-1 if background is None else background))
    chosen = int(counted.sum((1, 2)).argmax())
    image = _plane(case, nearest_slices(case.shape[0], len(labels)).tolist()[chosen])
    where = f", slice {chosen}" if len(labels) > 1 else ""
    return overlay(image, reference[chosen], labels[chosen], classes, background, title + where)


def _plane(case: datasets.CachedCase, index: int) -> NDArray[np.float32]:
    """A slice of the image on the network's grid, in [0, 1]."""
    plane = case.image(index)
    return np.asarray(plane / np.float32(255 if plane.dtype == np.uint8 else 1), dtype=np.float32)


def file_stem(case: str, taken: Collection[str]) -> str:
    """What the pictures of a case are called: its id, with digits where that is too long, or taken: a_b of a/b."""
    stem = case.replace("/", "_")
    if stem not in taken and len(stem.encode()) < LONGEST:
        return stem
    return f"{stem.encode()[:LONGEST].decode(errors='ignore')}-{hashlib.sha256(case.encode()).hexdigest()[:8]}"


def ranked(scores: ScoresDocument) -> list[tuple[str, float]]:
    """The cases with their mean DSC over the classes that count, the worst first."""
    found = [(case, value) for (case, _), value in scores.case_means().items() if value is not None]
    return sorted(found, key=lambda pair: pair[1])
