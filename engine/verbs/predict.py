"""Masks, or classes, for images that need no reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

import datasets
from datasets.written import PREDICTS

from ..configuration import build
from ..configuration.config import Config
from ..console.display import Display
from ..errors import UsageError
from ..experiment.device import launch
from ..experiment.experiment import prepare
from ..experiment.folds import Folds
from ..experiment.run import Run
from ..scoring.adjustment import adjust, parts_needed
from ..scoring.checkpoint import load_networks
from ..scoring.inference import Ensemble
from ..scoring.predicted_labels import NAME, predict_label, row
from ..scoring.prediction import Files, Input, inputs, predict_file, write_classes, write_prediction
from ..store.files import write_csv
from ..store.outputs import Outputs, left_over

CLASSES = "classes.json"


def predict(
    path: Path,
    images: Sequence[Path],
    out: Path,
    checkpoint: str | None,
    probabilities: bool,
    suffix: str | None,
    anonymous: bool,
    overrides: list[str],
    display: Display,
) -> None:
    """Write masks, previews and, where wanted, probabilities for images, on their own grid.

    The weights are those of a checkpoint, None for the one that `scores.checkpoint` names. The folder of a run with
    every fold predicts by the mean of the logits of its networks.

    Raises:
        UsageError, DataError: no run, no such checkpoint, an image that is missing or unreadable, a file of somebody
            else's in the place of an output.
    """
    runs = Folds(path).runs if Folds.holds(path) else [Run.open(path)]
    config = runs[0].config_with(overrides)
    checkpoint = checkpoint or config.scores.checkpoint
    adapter = build.build_adapter(config.data)
    if suffix is not None and adapter.kind != "volume":
        raise UsageError("--format is for volumes; masks of stills are PNG files")
    if adapter.kind == "label" and probabilities:
        raise UsageError(f"--probabilities is for masks; {NAME} holds those of the five most probable classes")
    wanted = inputs(images, adapter, out)
    if anonymous and not any(one.suffix == ".dcm" for one in wanted):
        raise UsageError("--anonymous is for DICOM; other formats hold nothing of the patient anyway")
    outputs = Outputs(out, PREDICTS)
    if adapter.kind == "label":
        _predict_labels(path, runs, wanted, out, checkpoint, config, adapter, outputs, display, overrides)
        return
    regions = tuple(config.data.regions)
    files = {one: Files.of(one, adapter.kind, suffix, regions).written(probabilities) for one in wanted}
    earlier = outputs.claim([CLASSES, *chain.from_iterable(files.values())])
    activation = _activation(config, build.outputs(config.data, adapter)) if probabilities else None
    fabric = launch(config.train)
    model = _model(path, runs, checkpoint, config, adapter, fabric, display, overrides)
    with outputs.writing(CLASSES):
        write_classes(out / CLASSES, adapter)
    refused = []
    for one in display.track("predicting")(wanted, len(wanted)):
        try:
            found = predict_file(one.path, model, adapter, config, fabric, activation)
            with outputs.writing(*files[one]):
                write_prediction(found, one, out, adapter, suffix, anonymous)
        except datasets.DataError as error:
            refused.append(str(error))
    kept = " and probabilities" if probabilities else ""
    each = f"; a mask of each region in {out / 'regions'}" if regions else ""
    display.line(f"{len(wanted) - len(refused)} masks in {out / 'masks'}, previews{kept} beside{each}")
    display.line(f"values and colours of the classes: {out / CLASSES}")
    if earlier:
        display.line(left_over(earlier, out, PREDICTS))
    if refused:
        raise datasets.DataError("\n".join(refused))


def _model(
    path: Path,
    runs: Sequence[Run],
    checkpoint: str,
    config: Config,
    adapter: datasets.Adapter,
    fabric: Fabric,
    display: Display,
    overrides: list[str],
) -> Any:
    """The network of a run, or the mean of those of its folds, in evaluation mode."""
    networks = [load_networks(run, checkpoint, config, adapter, fabric)[0] for run in runs]
    for run, network in zip(runs, networks, strict=True):
        parts = parts_needed(run, checkpoint, config)
        of_run = run.config_with(overrides) if parts else config  # with its own fold
        adjust(
            network, run, checkpoint, of_run, fabric, partial(prepare, of_run, run.training, display, parts), display
        )
    if Folds.holds(path) and (lacking := Folds(path).unfinished(config)):
        display.line(f"warning: not finished, so the mean lacks them or has them half trained: {', '.join(lacking)}")
    if len(networks) > 1:
        display.line(f"the mean of {len(networks)} networks, one a fold")
    return (Ensemble(networks) if len(networks) > 1 else networks[0]).eval()


def _predict_labels(
    path: Path,
    runs: Sequence[Run],
    wanted: Sequence[Input],
    out: Path,
    checkpoint: str,
    config: Config,
    adapter: datasets.Adapter,
    outputs: Outputs,
    display: Display,
    overrides: list[str],
) -> None:
    """Write `predictions.csv`: the five most probable classes of each image; unreadable ones are refused at the end."""
    earlier = outputs.claim([NAME])
    activation = build.activation(config.loss, len(adapter.classes))
    fabric = launch(config.train)
    model = _model(path, runs, checkpoint, config, adapter, fabric, display, overrides)
    rows, refused = [], []
    for one in display.track("predicting")(wanted, len(wanted)):
        try:
            rows.append(
                row(f"{one.name}{one.suffix}", predict_label(one.path, model, adapter, config, fabric, activation))
            )
        except datasets.DataError as error:
            refused.append(str(error))
    with outputs.writing(NAME):
        write_csv(out / NAME, rows)
    display.line(f"{len(rows)} images in {out / NAME}")
    if earlier:
        display.line(left_over(earlier, out, PREDICTS))
    if refused:
        raise datasets.DataError("\n".join(refused))


def _activation(config: Config, classes: int) -> str:
    """What makes probabilities of the logits; a `UsageError` where the loss trains none."""
    activation = build.activation(config.loss, classes)
    if activation == "none":
        raise UsageError(f"--probabilities: the loss {config.loss[0].name} trains raw scores, no probabilities")
    return activation
