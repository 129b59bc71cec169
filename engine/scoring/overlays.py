"""Pictures of some scored cases: image, reference, prediction and mistakes side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import datasets
from datasets.grid import nearest_slices
from segloss.document import ScoresDocument

from ..experiment.experiment import Experiment
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
        background = datasets.background_index(experiment.adapter.classes)
        planes = [case.image(index) for index in nearest_slices(case.shape[0], len(labels)).tolist()]
        image = np.stack([plane / np.float32(255 if plane.dtype == np.uint8 else 1) for plane in planes])
        counted = (reference != datasets.IGNORE) & (reference != (-1 if background is None else background))
        chosen = int(counted.sum((1, 2)).argmax())
        name = file_stem(case.case.id, {path.stem for path in written})
        where = f", slice {chosen}" if len(labels) > 1 else ""
        classes = experiment.adapter.classes
        figure = overlay(image[chosen], reference[chosen], labels[chosen], classes, background, title + where)
        figures = {folder / f"{name}.png": figure}
        if len(labels) > 1 and case.spacing is not None:
            masks, fields = {"reference": reference, "prediction": labels}, np.multiply(case.spacing, case.original)
            _, row, column = (fields / labels.shape).tolist()
            figures[folder / f"{name}_slices.png"] = montage(image, masks, classes, background, title, (row, column))
        for path, figure in figures.items():
            figure.savefig(path, dpi=110)
            written.append(path)
    return written


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
