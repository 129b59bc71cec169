"""Train a run, or every fold of one, and score its best checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

import datasets
from datasets.errors import killed_workers_explained

from ..ablation.arms import Cell, fold_cells
from ..ablation.executors import local_executor
from ..ablation.grid import train_cells
from ..configuration.config import Config
from ..console.display import Display
from ..errors import NotFiniteError, UsageError
from ..experiment.contents import changed_between, record_contents, refuse_changed, seen_before
from ..experiment.device import launch
from ..experiment.experiment import Experiment, prepare, warnings_shown
from ..experiment.folds import Folds
from ..experiment.run import TRAINED, Run
from ..processes import launcher, ranks
from ..processes.abort import AbortTogether, lost_processes_explained
from ..processes.determinism import use_threads
from ..processes.signals import Stop
from ..report.run_report import run_subject
from ..scoring import results
from ..scoring.adjustment import parts_needed, refuse_unfit
from ..scoring.checkpoint import score_checkpoint
from ..scoring.floors import FILE
from ..scoring.overlays import ranked
from ..scoring.snapshots import CaseSnapshots
from ..store.initial import checkpoint_of
from ..store.lock import Lock, remove_left
from ..store.outputs import refuse_foreign
from ..training.trainer import Trainer
from .report import PAGE, write_page

MARKS = ("fold-*/config.yaml", "fold-*/.lock", "fold-*.yaml")
"""What makes a folder that of the folds of a run: what is first in it, whoever trains them."""


def train(
    config: Config,
    path: Path,
    overrides: Sequence[str],
    display: Display,
    stop: Stop,
    workers: int | None = None,
    waits: bool = False,
    trial: int | None = None,
) -> None:
    """Train what a YAML file describes, from its start or its last checkpoint, and score the best weights once.

    Args:
        config: what a YAML file describes, checked.
        path: the YAML file.
        overrides: `key=value`.
        display: where progress is shown.
        stop: asked between steps whether to save and leave.
        workers: folds trained at a time, with `data.split.fold: all`; None for one a GPU, or one.
        waits: wait for another process that is at work on the run, where it would be refused.
        trial: train so many epochs of a trial and score nothing; None for a run.

    Raises:
        UsageError, DataError: bad input, one line that says what to do.
        Stopped: SIGTERM has come; the state is saved.
    """
    if config.ablation is not None:
        raise UsageError(f"{path}: holds an ablation; train_seg.py ablate {path} trains its arms")
    if config.tune is not None:
        raise UsageError(
            f"{path}: holds the key tune; train_seg.py train {path} --tune tunes first, tune=null does not"
        )
    if Folds.wanted(config):
        train_folds(config, workers, display, stop)
        return
    if workers is not None:
        raise UsageError("--workers: folds trained at a time, so it needs data.split.fold: all")
    run = Run.of(config)
    is_new = train_run(config, run, display, stop, waits, trial)
    if trial is not None or launcher.process_info().rank != 0:
        return
    results.show(run.path, display)
    _write_missing_page(run, display, stop)
    if is_new:
        results.hint(path, overrides, run, config, display)


def write_missing_pages(cells: Sequence[Cell], display: Display, stop: Stop) -> None:
    """Write the pages of finished cells that were killed before their own; remove what else a kill has left of them."""
    for cell in cells:
        if cell.finished:
            _write_missing_page(cell.run, display, stop)


def _write_missing_page(run: Run, display: Display, stop: Stop) -> None:
    """Write the page of a finished run that has none; of any other remove what a kill has left."""
    if (run.path / PAGE).is_file():
        remove_left(run.path)
        return
    with ExitStack() as held:
        with stop.interrupts():
            held.enter_context(Lock(run.path, display.line))
        page = write_page(run.path, run_subject(run.path))
    display.line(f"page:     {page}")


@lost_processes_explained()
def train_run(
    config: Config, run: Run, display: Display, stop: Stop, waits: bool = False, trial: int | None = None
) -> bool:
    """Train and score a run with all processes of its training, or train a trial; false where that is done already."""

    def done() -> bool:
        return run.finished if trial is None else run.trial_ended(trial, config.train.epochs)

    if not done():
        with stop.interrupts():
            fabric = launch(config.train, together=True)
        stop.alone = fabric.world_size == 1
        with AbortTogether(), killed_workers_explained(), ExitStack() as held:
            if fabric.is_global_zero:
                with stop.interrupts():
                    held.enter_context(Lock(run.path, display.line if waits else None))
            ranks.barrier()  # the first process has the lock
            run = Run.of(config, fabric.is_global_zero)  # another may have begun another run here before
            if not done():  # by another, before this one had the lock
                complete(config, run, fabric, display, stop, trial)
                return True
    display.line(f"{run.path}: finished already; choose another name to train again")
    return False


def complete(config: Config, run: Run, fabric: Fabric, display: Display, stop: Stop, trial: int | None = None) -> None:
    """What is left of a run, whose folder must be locked: its training, then the scores of the best checkpoint.

    Args:
        config: of the run.
        run: its folder.
        fabric: device and precision.
        display: where progress is shown.
        stop: asked between steps whether to save and leave.
        trial: train so many epochs of a trial, and score nothing; None for a run.
    """
    training = run.training
    if use_threads(training.threads()):
        display.line(f"computes with {training.threads()} threads, as this run began: sums depend on their number")
    with stop.interrupts():
        with fabric.rank_zero_first():
            experiment = _prepare(config, run, display)
        _describe(experiment, display)
    if trial is not None:
        fit_trial(experiment, run, fabric, display, stop, trial)
        return
    if run.shares_training and not run.trained:
        left = ", ".join(str(one.path) for one in run.members if not one.trained)
        raise UsageError(
            f"{run.path}: is scored from the checkpoints of {left}, which is not trained; train that first (the same "
            "`ablate` command does)"
        )
    if config.scores.ensemble and not run.shares_training:
        raise UsageError(
            f"{run.path}: scores.ensemble takes the networks of another arm; it is for arms of an ablation"
        )
    if not run.trained:
        refuse_unfit(experiment)
        fit(experiment, run, fabric, display, stop)
    score_held_out(experiment, run, fabric, display, stop)


def _prepare(config: Config, run: Run, display: Display) -> Experiment:
    """All parts; of a run that is only to be scored those it needs alone, where files of another part are gone."""
    try:
        return prepare(config, run.training, display)
    except datasets.DataError as error:
        if not run.trained:
            raise
        needed = parts_needed(run, config.scores.checkpoint, config)
        experiment = prepare(config, run.training, display, parts=["test", *needed])
        display.line(f"note: scored without the training part, which baselines are made of: {error}")
        return experiment


def fit(
    experiment: Experiment, run: Run, fabric: Fabric, display: Display, stop: Stop, epochs: int | None = None
) -> None:
    """Train all epochs, or so many of them; afterwards the checkpoint `best` is there."""
    refuse_changed(run, experiment.data)
    if (source := experiment.config.model.init_from) is not None:
        line = seen_before(Run(checkpoint_of(source).parent.parent), experiment.data)
        if line is not None:
            display.line(f"warning: model.init_from: {line}")
    with stop.interrupts(), warnings_shown(display):
        trainer = Trainer(experiment, run, fabric, display, stop)
    _describe_processes(trainer, display)
    run.create(trainer.experiment.config)
    run.write_json("split.json", experiment.data.split)
    record_contents(run, experiment.data)
    ranks.barrier()  # the folder is there
    with closing(trainer):
        trainer.fit(epochs)
    if trainer.complete:
        parameters = sum(one.numel() for one in trainer.stepper.model.parameters())
        done: dict[str, Any] = {"epochs": trainer.state.epoch, "best_epoch": trainer.state.best_epoch}
        done["parameters"] = parameters
        done |= trainer.budget.figures
        if experiment.adapter.kind == "label":
            done["class_images"] = experiment.class_images
        run.write_json(TRAINED, done)
    ranks.barrier()  # the best checkpoint is there


def fit_trial(experiment: Experiment, run: Run, fabric: Fabric, display: Display, stop: Stop, epochs: int) -> None:
    """Train so many epochs of a trial, whose scores are those of its log; one that diverges has ended.

    It is given no case of the test part, and keeps no weights once it is complete.
    """
    seen = replace(experiment.data, parts={**experiment.data.parts, "test": ()})
    try:
        if not (run.path / TRAINED).is_file():
            fit(replace(experiment, data=seen), run, fabric, display, stop, epochs)
    except NotFiniteError as error:
        display.line(str(error))
        run.write_json(TRAINED, {"epochs": run.last_epoch, "not_finite": str(error)})
    if (run.path / TRAINED).is_file():
        shutil.rmtree(run.checkpoints)


def score_held_out(experiment: Experiment, run: Run, fabric: Fabric, display: Display, stop: Stop) -> None:
    """Score the chosen checkpoint once on the test part, and write all that is known of it; the scores come last."""
    config, adapter = experiment.config, experiment.adapter
    snapshots = None
    with stop.interrupts():
        if adapter.kind != "label":
            background = datasets.background_index(adapter.classes)
            snapshots = CaseSnapshots(experiment.samples("test"), len(adapter.classes), background)
        watch = [] if snapshots is None else [snapshots.watch]
        model, scores = score_checkpoint(run, config.scores.checkpoint, "test", experiment, fabric, display, *watch)
        if snapshots is not None:
            snapshots.gather()
        if fabric.is_global_zero:
            results.draw(run, experiment, fabric, model, scores.document, display)
            if snapshots is not None:
                snapshots.write(run.path, [case for case, _ in ranked(scores.document)], config.scores.grid)
    if fabric.is_global_zero:
        if baselines := results.baselines(experiment):
            run.write_json(FILE, baselines)
        run.write_json("split.json", run.training.read_json("split.json"))
        (run.path / PAGE).unlink(missing_ok=True)  # one that `report` has written before is not that of these scores
        results.write(run.path, scores)
    ranks.barrier()  # all is written


def train_folds(
    config: Config, workers: int | None, display: Display, stop: Stop, cells: Sequence[Cell] | None = None
) -> None:
    """Train every fold that is not finished, as the cells of an ablation are, and score all held-out cases together.

    Args:
        config: with `data.split.fold: all`.
        workers: folds trained at a time; None for one a GPU, or one.
        display: where progress is shown.
        stop: asked between steps whether to save and leave.
        cells: the folds, where they differ in more than their split; None for those of the configuration.
    """
    folder = Path(config.output) / config.name
    if (folder / "config.yaml").is_file():
        raise UsageError(
            f"{folder}: holds a run of one fold; give this one another name, such as name={config.name}-cv"
        )
    refuse_foreign(folder, MARKS)
    cells = cells or fold_cells(config)
    for cell in cells:
        Run.of(cell.config)  # refuses another configuration under the same name
    left = [cell for cell in cells if not cell.run.finished]
    if launcher.process_info().launcher is not None or config.train.devices > 1:
        for cell in left:  # by all processes of the training, together
            display.line(f"{cell.run.path}:")
            train_run(cell.config, cell.run, display, stop)
        failed = []
    else:
        executor, finished = local_executor(config, workers), len(cells) - len(left)
        display.line(f"{folder}: {len(cells)} folds, {finished} finished; {executor}; logs: {folder}/fold-*.log")
        with stop.interrupts(), Lock(folder):
            failed = train_cells(left, executor, display)
        write_missing_pages(cells, display, stop)
    if failed:
        raise UsageError("\n".join(failed))
    if launcher.process_info().rank == 0:
        folds = Folds(folder, len(cells))
        with Lock(folder, display.line):
            scores = results.pool(folds.runs)
            results.draw_scores(folder / "figures", scores.document)
            results.write(folder, scores)
            results.show_folds(folds, display)
            if line := changed_between(folds.runs):
                display.line(f"warning: {line}")
            display.line(f"page: {write_page(folder, run_subject(folder))}")


def _describe(experiment: Experiment, display: Display) -> None:
    for part, cases in experiment.data.parts.items():
        groups = len({cached.case.group for cached in cases})
        images = sum(cached.original[0] for cached in cases)
        if experiment.adapter.kind != "label":
            display.line(f"{part}: {images} images of {len(cases)} cases in {groups} groups")
        else:
            display.line(f"{part}: {images} images" + (f" in {groups} groups" if groups < images else ""))
    if ground := datasets.looks_like_background(experiment.adapter.classes):
        display.line(f"warning: no class is named background, so {ground!r} counts as foreground; see data.labels")
    for line in lacking_classes(experiment):
        display.line(f"warning: {line}")
    files = [cached.path for cases in experiment.data.parts.values() for cached in cases]
    size = sum(file.stat().st_size for file in {*files})
    display.line(f"cache: {size / 2**20:.1f} MiB of {len(files)} cases in {files[0].parent}")


def lacking_classes(experiment: Experiment) -> list[str]:
    """A line for each part, where no pixel of a class that counts is in it."""
    classes, lines = experiment.adapter.classes, []
    for part in datasets.PARTS:
        cases = experiment.data.parts[part]
        pixels = datasets.total_pixels(cases, len(classes))
        counted = [index for index in range(len(classes)) if index != experiment.background]
        absent = [classes[index] for index in counted if cases and not pixels[index]]
        if absent:
            held = "image" if experiment.adapter.kind == "label" else "pixel"
            kept = part == "val" and len(absent) == len(counted)
            last = "; it cannot tell which epoch is best, so the last one is kept" if kept else ""
            follows = f"there, predicting it scores 0 and not predicting it is left out of the means{last}"
            if part == "train":
                values = "; check the values of data.labels" if held == "pixel" else ""
                follows = f"nothing of it is learnt{values}"
            lines.append(f"no {held} of {', '.join(absent)} in the {part} part: {follows}; see data.split")
    return lines


def _describe_processes(trainer: Trainer, display: Display) -> None:
    """How several processes share a training, and what does not come out as in one."""
    count, device = ranks.world_size(), trainer.fabric.device.type
    if count == 1:
        return
    size = trainer.config.batch_size
    display.line(f"{count} processes ({device}) share each batch of {size}, {-(-size // count)} samples at most each")
    if device == "cpu" and ranks.has_batch_statistics(trainer.stepper.model):
        display.line(
            "warning: on the CPU each process normalises by its own share of a batch, and the running statistics are "
            "those of the first; on GPUs they are of the whole batch"
        )
