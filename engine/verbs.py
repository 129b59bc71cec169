"""What the program does, one function a verb."""

from __future__ import annotations

import csv
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import datasets
import models
import segloss
from datasets.files import write_atomically
from models import SegmentationModel
from segloss.readings import READINGS

from . import build, figures, memory
from .baseline import best_threshold
from .checking import load_config
from .checkpoint import load_model
from .config import Config
from .determinism import use_threads
from .display import Display
from .errors import UsageError
from .evaluation import score
from .experiment import Experiment, launch, place
from .findings import samples_picture, sections
from .inspection import inspect
from .lock import Lock
from .masks import Options, score_masks
from .prediction import inputs, predict_file, write_classes, write_prediction
from .report import page
from .run import Run, write_json
from .signals import Stop
from .training import Trainer


def train(path: Path, overrides: Sequence[str], display: Display, stop: Stop) -> None:
    """Train what a YAML file describes, from its start or its last checkpoint, and score the best weights once.

    Raises:
        UsageError, DataError: bad input, one line that says what to do.
        Stopped: SIGTERM has come; the state is saved.
    """
    config = load_config(path, overrides)
    run = Run.of(config)
    if not run.finished:
        with Lock(run.path):
            if not run.finished:  # by another process, before this one had the lock
                experiment = fit(config, run, display, stop)
                _show(run, display)
                _hint(path, overrides, run, experiment, display)
                return
    display.line(f"{run.path}: finished already; choose another name to train again")
    _show(run, display)


def fit(config: Config, run: Run, display: Display, stop: Stop) -> Experiment:
    """Train a run in its folder, which must be locked, and score the best weights once; see `train`."""
    if use_threads(run.threads()):
        display.line(f"computes with {run.threads()} threads, as this run began: sums depend on it")
    with stop.interrupts():
        fabric = launch(config.train)
        experiment = prepare(config, run, display)
        _describe(experiment, display)
        with _warnings_shown(display):
            trainer = Trainer(experiment, run, fabric, display, stop)
    run.create(config)
    run.write_json("split.json", experiment.data.split)
    trainer.fit()
    with stop.interrupts(), memory.scoring():
        model, origin = _trained(run, experiment.network(trained=True), fabric, "best")
        scores = score(model, "test", experiment, fabric, display.track("scoring test"))
        scores["header"] |= origin
        _draw(run, experiment, fabric, model)
    if _binary_grey(experiment):
        run.write_json("baseline.json", {"threshold_DSC": best_threshold(experiment.samples("test"))})
    _write_scores(run.path, scores)
    return experiment


def check(path: Path, overrides: Sequence[str], html: bool, display: Display) -> bool:
    """Open every file of the data set that a YAML file names, and tell what it holds and what is wrong.

    Returns:
        Whether nothing is wrong.

    Raises:
        UsageError, DataError: the file is at fault, or the data cannot even be listed.
    """
    config = load_config(path, overrides)
    found = inspect(config, display.track("reading"))
    folder = Path(config.output) / f"{config.name}-check"
    folder.mkdir(parents=True, exist_ok=True)
    picture = None
    if any(sum(facts.pixels) for facts in found.facts):
        picture = folder / "samples.png"
        samples_picture(found, build.build_adapter(config.data)).savefig(picture, dpi=90)
    told = list(sections(found, picture))
    for section in told:
        display.section(section)
    if html:
        write_atomically(folder / "check.html", page(f"{config.name}: the data", told).encode())
        display.line(f"page: {folder / 'check.html'}")
    return not found.problems


def evaluate(path: Path, part: datasets.Part, checkpoint: str, overrides: list[str], display: Display) -> None:
    """Score a trained run on one part, from its best or last checkpoint.

    Raises:
        UsageError: the folder is no run, or has no such checkpoint.
    """
    run = Run.open(path)
    config = run.config(overrides)
    if not run.checkpoint(checkpoint).is_file():
        raise UsageError(f"{run.checkpoint(checkpoint)}: no such checkpoint; has the run been trained?")
    fabric = launch(config.train)
    experiment = prepare(config, run, display)
    model, origin = _trained(run, experiment.network(trained=True), fabric, checkpoint)
    with memory.scoring():
        scores = score(model, part, experiment, fabric, display.track(f"scoring {part}"))
    scores["header"] |= origin
    folder = run.path / f"evaluation-{part}-{checkpoint}-{config.scores.grid}"
    folder.mkdir(exist_ok=True)
    _write_scores(folder, scores)
    if not run.finished:
        display.line(
            f"warning: this run is not finished; its {checkpoint} checkpoint is of epoch {scores['header']['epoch']}"
        )
    display.scores(f"{run.path}: {part} part, checkpoint {checkpoint}", scores)
    display.line(f"scores: {folder / 'scores.json'}, as CSV by case and by class beside it")


def predict(
    path: Path,
    images: Sequence[Path],
    out: Path,
    checkpoint: str,
    probabilities: bool,
    overrides: list[str],
    display: Display,
) -> None:
    """Write masks, previews and, where wanted, probabilities for images, at their own size.

    Raises:
        UsageError, DataError: no run, no such checkpoint, an image that is missing or unreadable.
    """
    run = Run.open(path)
    config = run.config(overrides)
    adapter = build.build_adapter(config.data)
    _refuse_file(out)
    wanted = inputs(images, adapter.volumetric, out)
    fabric = launch(config.train)
    section = build.without_files(config.model)
    network = build.build_model(section, len(adapter.classes), adapter.channels, config.seed)
    model, _ = _trained(run, network, fabric, checkpoint)
    model.eval()
    out.mkdir(parents=True, exist_ok=True)
    write_classes(out, adapter)
    refused = []
    for one in display.track("predicting")(wanted, len(wanted)):
        try:
            found = predict_file(one.path, model, adapter, config, fabric)
            write_prediction(found, one, out, adapter, probabilities)
        except datasets.DataError as error:
            refused.append(str(error))
    kept = " and probabilities" if probabilities else ""
    display.line(f"{len(wanted) - len(refused)} masks in {out / 'masks'}, previews{kept} beside")
    display.line(f"values and colours of the classes: {out / 'classes.json'}")
    if refused:
        raise datasets.DataError("\n".join(refused))


def evaluate_masks(
    predicted: Path, reference: Path, overrides: Sequence[str], out: Path | None, display: Display
) -> None:
    """Score the mask files of a folder against those of another; see `masks.score_masks`."""
    options = Options.parse(overrides)
    _refuse_file(out or predicted)
    if (predicted / "classes.json").is_file() and (predicted / "masks").is_dir():  # as predict leaves it
        predicted = predicted / "masks"
    scores = score_masks(predicted, reference, options, display.track("scoring"))
    folder = out or predicted
    folder.mkdir(parents=True, exist_ok=True)
    _write_scores(folder, scores)
    display.scores(f"{predicted} against {reference}", scores)
    display.line(f"scores: {folder / 'scores.json'}, as CSV by case and by class beside it")


def _refuse_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: a file; give a folder to write into")


def prepare(config: Config, run: Run, display: Display) -> Experiment:
    """The experiment of a run: with the split it began with, or a new one."""
    recorded = None
    if (run.path / "split.json").is_file():
        recorded = datasets.Recorded(run.read_json("split.json"), str(run.path / "split.json"))
    with _warnings_shown(display):
        return Experiment.prepare(config, recorded, display.track("decoding"))


@contextmanager
def _warnings_shown(display: Display) -> Iterator[None]:
    """Show what the library and the data warn of as lines."""
    kinds = (datasets.LeakageWarning, segloss.ClassWeightWarning, models.WeightsWarning)
    with warnings.catch_warnings(record=True) as caught:
        for kind in kinds:
            warnings.simplefilter("always", kind)
        yield
    for warning in caught:
        if issubclass(warning.category, kinds):
            display.line(f"warning: {warning.message}")


def _describe(experiment: Experiment, display: Display) -> None:
    for part, cases in experiment.data.parts.items():
        groups = len({cached.case.group for cached in cases})
        images = sum(cached.shape[0] for cached in cases)
        display.line(f"{part}: {images} images of {len(cases)} cases in {groups} groups")


def _trained(run: Run, network: SegmentationModel, fabric: Any, checkpoint: str) -> tuple[Any, dict[str, Any]]:
    """The run's network with the weights of a checkpoint, on its device, and where they come from."""
    loaded = run.load(checkpoint)
    model = place(network, fabric)
    load_model(model, loaded, run.checkpoint(checkpoint))
    return fabric.setup(model), {"checkpoint": checkpoint, "epoch": loaded.state["progress"]["epoch"]}


def _draw(run: Run, experiment: Experiment, fabric: Any, model: Any) -> None:
    run.figures.mkdir(exist_ok=True)
    headline = f"{experiment.headline.reading} {experiment.headline.score}"
    curves = figures.curves(run.history(), headline, experiment.adapter.classes)
    curves.savefig(run.figures / "curves.png", dpi=110)
    figures.save_overlays(model, experiment, "test", fabric, run.figures / "overlays")


def _write_scores(folder: Path, scores: dict[str, Any]) -> None:
    """scores.json, and as CSV its rows of cases and its classes in each reading; the JSON last."""
    classes = [
        {"reading": reading, "class": name, **values}
        for reading in READINGS
        for name, values in scores[reading]["classes"].items()
    ]
    _write_csv(folder / "cases.csv", scores["cases"])
    _write_csv(folder / "classes.csv", classes)
    write_json(folder / "scores.json", scores)


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _show(run: Run, display: Display) -> None:
    scores = run.read_json("scores.json")
    display.scores(f"{run.path}: test part, best checkpoint", scores)
    if (run.path / "baseline.json").is_file():
        threshold = run.read_json("baseline.json")["threshold_DSC"]
        display.line(f"for comparison, the best global threshold (chosen in hindsight): case DSC {threshold:.4f}")


def _hint(path: Path, overrides: Sequence[str], run: Run, experiment: Experiment, display: Display) -> None:
    """Where the results lie, and two commands to go on with."""
    display.line(f"scores:   {run.path / 'scores.json'}, as CSV by case and by class beside it")
    display.line(f"pictures: {run.figures / 'curves.png'}, {run.figures / 'overlays'}")
    kept = [
        shlex.quote(override) for override in overrides if override.split("=")[0].split(".")[0] not in ("name", "loss")
    ]
    acw = ["model.acw=true"] if experiment.config.model.acw is True else []
    other = "ce" if experiment.config.loss[0].name == "focal" else "focal"
    command = ["train_seg.py train", str(path), *kept, f"name={run.path.name}-{other}", f"loss.name={other}", *acw]
    display.line("next: the same training with another loss, and the scores of the last epoch:")
    python = Path(sys.executable)
    python = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else Path("python")
    display.line(f"  {python} {' '.join(dict.fromkeys(command))}")
    display.line(f"  {python} train_seg.py evaluate {run.path} --checkpoint last")


def _binary_grey(experiment: Experiment) -> bool:
    return experiment.adapter.channels == 1 and len(experiment.adapter.classes) == 2
