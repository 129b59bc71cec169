"""The cases of two methods side by side: from the pictures that runs keep, or from masks alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import datasets
from datasets.grid import resize_mask

from ..ablation.comparison import Method
from ..console.sections import Viewer
from ..scoring import snapshots
from ..scoring.mask_pairs import MaskPairs
from ..scoring.mistakes import Mistakes
from ..scoring.snapshots import SavedCase
from .viewer import BYTES, CaseEntry, PicturedCase, spread_out, view

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class RunPictures:
    """The pictures that the runs of a method have kept, one run a fold, and the names of its classes."""

    runs: Sequence[Path]
    classes: Sequence[str]

    def kept(self) -> dict[str, tuple[Path, SavedCase]]:
        """By case, its run and what that has kept."""
        return {one.case: (run, one) for run in self.runs for one in snapshots.read(run) if one.stem is not None}


Pictures = RunPictures | MaskPairs


def compared_cases(
    pictures: Mapping[str, Pictures], methods: Mapping[str, Method], by: str, most_bytes: int = BYTES
) -> Viewer | None:
    """The cases that all methods have pictures of, on the slices and the grid of the first run among them.

    Without a run there are no images: masks lie on black. A case whose reference is another in the masks than in the
    run is left out.

    Args:
        pictures: by method, where they come from; of those with any.
        methods: all that are compared, for their scores.
        by: the method whose scores order the cases, the worst first.
        most_bytes: of the pictures.

    Raises:
        UsageError, DataError: a file is missing or damaged.
    """
    runs = {name: one.kept() for name, one in pictures.items() if isinstance(one, RunPictures)}
    masks = {name: one for name, one in pictures.items() if isinstance(one, MaskPairs)}
    known = [*(one.keys() for one in runs.values()), *(one.files.keys() for one in masks.values())]
    order = [entry for entry in _entries(methods, by) if all(entry.case in of_one for of_one in known)]
    if not order or not known:
        return None
    lead = next((one for one in pictures.values() if isinstance(one, RunPictures)), next(iter(pictures.values())))
    classes = list(dict.fromkeys([*lead.classes, *(name for one in masks.values() for name in one.classes)]))
    background = lead.background if isinstance(lead, MaskPairs) else datasets.background_index(classes)
    cases, other = [], []
    for entry in (order[at] for at in spread_out(order)):
        case = _pictured(entry, list(pictures), runs, masks, classes, background)
        if case is None:
            other.append(entry.case)
        else:
            cases.append(case)
    if not cases:
        return None
    lines = [f"Cases are ordered by the mDSC of {by}, the worst first."]
    lines += [] if runs else ["There are only masks, no images."]
    lines += [f"{', '.join(other)}: no picture, since run and masks lie on other grids or references."] if other else []
    return view(cases, len(order), classes, background, lines, most_bytes)


def _entries(methods: Mapping[str, Method], by: str) -> list[CaseEntry]:
    """All cases that every method has scored, the worst first; their scores in the first seed of each."""
    scores = {name: _case_scores(one) for name, one in methods.items()}
    common = [case for case in scores[by] if all(case in of_one for of_one in scores.values())]
    order = sorted(common, key=lambda case: scores[by][case])
    notes = {0: "worst", len(order) // 2: "median", len(order) - 1: "best"} if len(order) > 2 else {}
    return [
        CaseEntry(case, 0, notes.get(at, ""), {name: f"{found[case]:.3f}" for name, found in scores.items()})
        for at, case in enumerate(order)
    ]


def _case_scores(method: Method) -> dict[str, float]:
    """The mean DSC of each case over the classes that count, where it is defined."""
    documents = next(iter(method.documents.values()))
    found = {case: score for one in documents for (case, _), score in one.case_means().items()}
    return {case: score for case, score in found.items() if score is not None}


def _pictured(
    entry: CaseEntry,
    names: Sequence[str],
    runs: Mapping[str, Mapping[str, tuple[Path, SavedCase]]],
    masks: Mapping[str, MaskPairs],
    classes: Sequence[str],
    background: int | None,
) -> PicturedCase | None:
    """A case with the pictures of all methods; None where their slices or references are not the same."""
    kept = {name: found[entry.case][1] for name, found in runs.items()}
    predictions = {name: snapshots.sprite(*found[entry.case], "prediction") for name, found in runs.items()}
    image: Labels | None = None
    reference: Labels | None = None
    if runs:
        run = next(iter(runs.values()))[entry.case]
        image, reference = (snapshots.sprite(*run, what) for what in ("image", "reference"))
    for name, pairs in masks.items():
        pair = pairs.read(entry.case)
        mine, theirs = (_renamed(one, pairs.classes, classes) for one in (pair.predicted, pair.reference))
        spacing = None if pair.geometry is None else np.multiply(pair.geometry.spacing, mine.shape)[1:].tolist()
        first = next(iter(kept.values()), None)
        slices, size = (first.slices, first.size) if first else snapshots.shown(mine.shape, spacing)
        if max(slices) >= len(mine):
            return None
        found = Mistakes.of(theirs, mine, len(classes), background)
        kept[name] = SavedCase(entry.case, found, "0000-", slices, size)
        predictions[name], tiles = (resize_mask(one[slices], (len(slices), *size)) for one in (mine, theirs))
        reference = tiles if reference is None else reference
        if not np.array_equal(tiles, reference):
            return None
    if reference is None or any(one.slices != next(iter(kept.values())).slices for one in kept.values()):
        return None
    image = np.zeros_like(reference) if image is None else image
    channels = image if image.ndim == 4 else image[..., None]
    return PicturedCase(
        entry, {name: kept[name] for name in names}, channels, reference, {name: predictions[name] for name in names}
    )


def _renamed(labels: Labels, own: Sequence[str], classes: Sequence[str]) -> Labels:
    """Class indices among other names; 255 stays."""
    table = np.full(256, datasets.IGNORE, dtype=np.uint8)
    table[: len(own)] = [list(classes).index(name) for name in own]
    return np.asarray(table[labels])
