"""Score a trained run, or the masks of any program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import datasets
from datasets.files import first_of

from ..configuration import build
from ..configuration.config import DataSection
from ..console.display import Display
from ..errors import UsageError
from ..experiment.device import launch
from ..experiment.experiment import prepare
from ..experiment.folds import Folds
from ..experiment.run import Run
from ..scoring import results
from ..scoring.adjustment import parts_needed
from ..scoring.checkpoint import score_checkpoint
from ..scoring.evaluation import Scores
from ..scoring.mask_options import Options
from ..scoring.mask_pairs import MaskPairs
from ..scoring.masks import masks_in, score_masks
from ..scoring.nnunet import named_by_dataset
from ..store.lock import Lock
from ..store.outputs import Outputs


def evaluate(path: Path, part: datasets.Part, checkpoint: str | None, overrides: list[str], display: Display) -> None:
    """Score a trained run on one part, from a checkpoint; None for the one that `scores.checkpoint` names.

    Raises:
        UsageError: the folder is no run, or has no such checkpoint.
    """
    if Folds.holds(path):
        scored = Folds(path).runs[0].config_with(overrides).scores
        checkpoint = checkpoint or scored.checkpoint
        for run in Folds(path).runs:
            evaluate(run.path, part, checkpoint, overrides, display)
        folder = path / results.evaluation_folder(part, checkpoint, scored)
        pooled = results.pool(Folds(path).runs, folder.name)
        with Lock(folder, display.line):
            _present(folder, pooled, f"{path}: {part} parts of all folds", display)
        return
    run = Run.open(path)
    config = run.config_with(overrides)
    checkpoint = checkpoint or config.scores.checkpoint
    if not run.checkpoint(checkpoint).is_file():
        raise UsageError(f"{run.checkpoint(checkpoint)}: no such checkpoint; has the run been trained?")
    _warn_of_other_labels(config.data, display)
    fabric = launch(config.train)
    parts = [part, *parts_needed(run, checkpoint, config)]
    experiment = prepare(config, run.training, display, parts)
    _, scores = score_checkpoint(run, checkpoint, part, experiment, fabric, display)
    folder = run.path / results.evaluation_folder(part, checkpoint, config.scores)
    if not run.trained:
        epoch = scores.document.header.epoch
        display.line(f"warning: this run is not finished; its {checkpoint} checkpoint is of epoch {epoch}")
    with Lock(folder, display.line):  # its own: the run may be training
        _present(folder, scores, f"{run.path}: {part} part, checkpoint {checkpoint}", display)


def _present(folder: Path, scores: Scores, title: str, display: Display) -> None:
    """Write scores into a folder, and show them."""
    folder.mkdir(parents=True, exist_ok=True)
    results.write(folder, scores)
    results.show_scores(scores.document, title, display)
    display.line(f"scores: {folder / 'scores.json'}, as CSV by case and by class beside it")


def _warn_of_other_labels(data: DataSection, display: Display) -> None:
    """Warn where a file of the data set now gives the classes of a run other values, or more classes."""
    mine = getattr(data, "labels", None)
    if mine is None:
        return
    try:
        found = build.build_adapter(data.model_copy(update={"labels": None})).resolved().get("labels")
    except (ValueError, TypeError, datasets.DataError):  # only the section can say, or the file gives none of use
        return
    values = {name: datasets.as_values(one) for name, one in mine.items()}
    if found and values.keys() <= found.keys() and values != found:
        display.line(
            f"warning: the data set now gives the labels {found!r}; this run was trained with {mine!r}, and is scored "
            "by these"
        )


def evaluate_masks(
    predicted: Path, reference: Path, overrides: Sequence[str], out: Path | None, display: Display
) -> None:
    """Score the mask files of a folder against those of another; see `masks.score_masks`."""
    predicted = masks_in(predicted)
    options, named = named_by_dataset(Options.parse(overrides), [predicted, reference])
    folder = out or predicted
    outputs = Outputs(folder, "evaluate")
    outputs.claim(results.FILES)
    for line in named:
        display.line(line)
    pairs = MaskPairs.find(predicted, reference, options)
    if alone := pairs.unplaced:
        display.line(
            f"note: {len(alone)} volume(s) of arrays alone, in which a voxel counts as 1 mm: {first_of(alone)}; give "
            "one side as NIfTI for distances in mm and volumes in ml"
        )
    scores = score_masks(pairs, options, display.track("scoring"))
    with outputs.writing(*results.FILES):
        _present(folder, scores, f"{predicted} against {reference}", display)
