"""Masks, or classes, for images that need no reference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from lightning_fabric import Fabric

import datasets
from datasets.written import PREDICTS

from ..configuration import build
from ..configuration.config import Config
from ..console.display import Display
from ..errors import UsageError
from ..experiment.device import launch
from ..exporting.description import Engine
from ..exporting.exported import Exported, on_cpu
from ..scoring.inference import Infer, inferring
from ..scoring.predicted_labels import NAME, predict_label, row
from ..scoring.prediction import Files, Input, inputs, predict_file, refuse_values, write_classes, write_prediction
from ..scoring.trained import Trained
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
    engine: Engine | None,
    overrides: list[str],
    display: Display,
) -> None:
    """Write masks, previews and, where wanted, probabilities for images, on their own grid.

    The weights are those of a checkpoint, None for the one that `scores.checkpoint` names. The folder of a run with
    every fold predicts by the mean of the logits of its networks. An `engine` runs what `export` has written of them.

    Raises:
        UsageError, DataError: no run, no such checkpoint, an image that is missing or unreadable, a file of somebody
            else's in the place of an output, a class whose value no mask holds.
    """
    trained = Trained.open(path, checkpoint, overrides)
    config, adapter = trained.config, trained.adapter
    if suffix is not None and adapter.kind != "volume":
        raise UsageError("--format is for volumes; masks of stills are PNG files")
    if adapter.kind == "label" and probabilities:
        raise UsageError(f"--probabilities is for masks; {NAME} holds those of the five most probable classes")
    refuse_values(adapter)
    wanted = inputs(images, adapter, out)
    if anonymous and not any(one.suffix == ".dcm" for one in wanted):
        raise UsageError("--anonymous is for DICOM; other formats hold nothing of the patient anyway")
    outputs = Outputs(out, PREDICTS)
    if adapter.kind == "label":
        _predict_labels(trained, wanted, outputs, engine, display)
        return
    regions = tuple(config.data.regions)
    files = {one: Files.of(one, adapter.kind, suffix, regions).written(probabilities) for one in wanted}
    earlier = outputs.claim([CLASSES, *chain.from_iterable(files.values())])
    activation = _activation(config, build.outputs(config.data, adapter)) if probabilities else None
    fabric, infer = _inference(trained, engine, display)
    with outputs.writing(CLASSES):
        write_classes(out / CLASSES, adapter)
    refused = []
    for one in display.track("predicting")(wanted, len(wanted)):
        try:
            found = predict_file(one.path, infer, adapter, config, fabric, activation)
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


def _inference(trained: Trained, engine: Engine | None, display: Display) -> tuple[Fabric, Infer]:
    """The device, and what runs there: the network of checkpoints, or an exported one."""
    if engine is not None:
        return launch(on_cpu(trained.config.train)), Exported.open(trained, engine)
    fabric = launch(trained.config.train)
    return fabric, inferring(trained.network(fabric, display), trained.config.scores)


def _predict_labels(
    trained: Trained, wanted: Sequence[Input], outputs: Outputs, engine: Engine | None, display: Display
) -> None:
    """Write `predictions.csv`: the five most probable classes of each image; unreadable ones are refused at the end."""
    config, adapter, out = trained.config, trained.adapter, outputs.folder
    earlier = outputs.claim([NAME])
    activation = build.activation(config.loss, len(adapter.classes))
    fabric, infer = _inference(trained, engine, display)
    rows, refused = [], []
    for one in display.track("predicting")(wanted, len(wanted)):
        try:
            rows.append(
                row(f"{one.name}{one.suffix}", predict_label(one.path, infer, adapter, config, fabric, activation))
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
