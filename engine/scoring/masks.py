"""Scores of mask files, whatever program wrote them: no model and no run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import datasets
from segloss.document import Unit
from segloss.scores import SegmentationScores

from .evaluation import Scores
from .mask_options import Options, matched
from .mask_pairs import MaskPairs
from .volumes import VolumeScores


def masks_in(folder: Path) -> Path:
    """Where the masks of a folder lie: in `masks`, as predict leaves them, or in itself."""
    predicted = (folder / "classes.json").is_file() and (folder / "masks").is_dir()
    return folder / "masks" if predicted else folder


Track = Callable[[Iterable[str], int], Iterable[str]]


def score_masks(pairs: MaskPairs, options: Options, track: Track = lambda cases, _: cases) -> Scores:
    """The scores of a folder of predicted masks; one pair is in memory at a time.

    Args:
        pairs: the masks.
        options: which group a case belongs to, and the tolerance of the surface DSC.
        track: shows progress: is given the cases as they are scored and their number, and gives them on.

    Raises:
        DataError: see `MaskPairs.read`.
    """
    classes, cases = pairs.classes, list(pairs.files)
    scores = SegmentationScores(len(classes), datasets.IGNORE, pairs.background)
    ground = datasets.background_index(classes)
    volumes = VolumeScores(classes, pairs.background if ground is None else ground, options.tolerance)
    units: list[Unit] = []
    for number, case in enumerate(track(cases, len(cases))):
        predicted, reference, geometry = pairs.read(case)
        ids = list(range(len(units), len(units) + len(reference)))
        scores.update(_tensor(predicted), _tensor(reference), image=ids, case=[number] * len(reference))
        units += [Unit(case, matched(options.group, case), index) for index in range(len(reference))]
        if geometry is not None:
            volumes.add(predicted, reference, geometry.spacing, geometry.voxel_ml)
    groups = [matched(options.group, case) for case in cases]
    document = volumes.into(scores.document(classes, cases, groups, kind=pairs.kind, grid="original"))
    return Scores(document, scores.image_rows(classes, units) if pairs.kind == "volume" else [])


def _tensor(mask: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(mask.astype(np.int64))
