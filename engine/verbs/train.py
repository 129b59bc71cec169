"""What the program does, one function a verb."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from lightning_fabric import Fabric

import datasets
from datasets.labels import looks_like_background

from ..configuration import build
from ..configuration.checking import load_config
from ..configuration.config import Config
from ..console.display import Display
from ..errors import UsageError
from ..experiment.device import launch, load_trained
from ..experiment.experiment import Experiment, prepare, warnings_shown
from ..experiment.folds import Folds, fold_configs
from ..experiment.run import LABELS, Run
from ..processes import launcher, ranks
from ..processes.abort import AbortTogether
from ..processes.determinism import use_threads
from ..processes.signals import Stop
from ..report.run_report import run_subject
from ..scoring import results
from ..scoring.evaluation import score
from ..scoring.overlays import ranked
from ..scoring.snapshots import CaseSnapshots
from ..store.files import read_json
from ..store.lock import Lock
from ..training import memory
from ..training.trainer import Trainer
from .report import PAGE, write_page


def train(path: Path, overrides: Sequence[str], display: Display, stop: Stop, waits: bool = False) -> None:
    """Train what a YAML file describes, from its start or its last checkpoint, and score the best weights once.

    With `waits` another process that is at work on the run is waited for, not refused.

    Raises:
        UsageError, DataError: bad input, one line that says what to do.
        Stopped: SIGTERM has come; the state is saved.
    """
    config = load_config(path, overrides)
    if config.ablation is not None:
        raise UsageError(f"{path}: holds an ablation; train_seg.py ablate {path} trains its arms")
    if Folds.wanted(config):
        _train_folds(config, display, stop)
        return
    run = Run.of(config)
    experiment = _train_one(config, run, display, stop, waits)
    if launcher.process_info().rank != 0:
        return
    results.show(run.path, display)
    if experiment is not None or not (run.path / PAGE).is_file():
        display.line(f"page:     {write_page(run.path, run_subject(run.path))}")
    if experiment is not None:
        results.hint(path, overrides, run, experiment, display)


def _train_one(config: Config, run: Run, display: Display, stop: Stop, waits: bool = False) -> Experiment | None:
    """Train a run that is not finished, with all processes; None where it is."""
    splitter, recorded = build.build_splitter(config.data.split), run.path / "split.json"
    if isinstance(splitter, datasets.FromFile) and recorded.is_file():
        splitter.refuse_other(read_json(recorded), str(recorded))
    if not run.finished:
        with stop.interrupts():
            fabric = launch(config.train, together=True)
        stop.alone = fabric.world_size == 1
        with AbortTogether(), ExitStack() as held:
            if fabric.is_global_zero:
                with stop.interrupts():
                    held.enter_context(Lock(run.path, display.line if waits else None))
            ranks.barrier()  # the first process has the lock
            run = Run.of(config, fabric.is_global_zero)  # another may have begun another run here before
            if not run.finished:  # by another, before this one had the lock
                return fit(config, run, fabric, display, stop)
    display.line(f"{run.path}: finished already; choose another name to train again")
    return None


def fit(config: Config, run: Run, fabric: Fabric, display: Display, stop: Stop) -> Experiment:
    """Train a run in its folder, which must be locked, and score the best weights once; see `train`."""
    if use_threads(run.threads()):
        display.line(f"computes with {run.threads()} threads, as this run began: sums depend on it")
    with stop.interrupts():
        with fabric.rank_zero_first():
            experiment = prepare(config, run, display)
        _describe(experiment, display)
        with warnings_shown(display):
            trainer = Trainer(experiment, run, fabric, display, stop)
    _describe_processes(trainer, display)
    run.create(config)
    if told := build.told(experiment.adapter):
        run.write_json(LABELS, told)
    run.write_json("split.json", experiment.data.split)
    ranks.barrier()  # the folder is there
    with closing(trainer):
        trainer.fit()
    ranks.barrier()  # the best checkpoint is there
    with stop.interrupts(), memory.scoring():
        model, origin = load_trained(run, experiment.network(trained=True), fabric, "best")
        adapter, track = experiment.adapter, display.track("scoring test")
        material = CaseSnapshots(experiment.samples("test"), len(adapter.classes), build.background_class(adapter))
        scores = score(
            model,
            "test",
            experiment,
            fabric,
            lambda found, total: material.watch(track(found, total)),
            thorough=True,
        )
        scores.document["header"] |= origin
        material.gather()
        if fabric.is_global_zero:
            results.draw(run, experiment, fabric, model, scores.document)
            material.write(run.path, [case for case, _ in ranked(scores.document)], config.scores.grid)
    if fabric.is_global_zero:
        baselines = results.baselines(experiment)
        if baselines:
            run.write_json("baseline.json", baselines)
        results.write(run.path, scores)
    ranks.barrier()  # all is written
    return experiment


def _train_folds(config: Config, display: Display, stop: Stop) -> None:
    """Train every fold that is not finished, one after the other, and score all held-out cases together."""
    folder = Path(config.output) / config.name
    if (folder / "config.yaml").is_file():
        raise UsageError(
            f"{folder}: holds a run of one fold; give this one another name, such as name={config.name}-cv"
        )
    configs = fold_configs(config)
    for one in configs:
        run = Run.of(one)
        display.line(f"{run.path}:")
        _train_one(one, run, display, stop)
    folds = Folds(folder, len(configs))
    if launcher.process_info().rank == 0:
        scores = results.pool(folds.runs)
        results.draw_scores(folder / "figures", scores.document)
        results.write(folder, scores)
        results.show_folds(folds, display)
        display.line(f"page: {write_page(folder, run_subject(folder))}")


def _describe(experiment: Experiment, display: Display) -> None:
    for part, cases in experiment.data.parts.items():
        groups = len({cached.case.group for cached in cases})
        images = sum(cached.original[0] for cached in cases)
        display.line(f"{part}: {images} images of {len(cases)} cases in {groups} groups")
    if ground := looks_like_background(experiment.adapter.classes):
        display.line(f"warning: no class is named background, so {ground!r} counts as foreground; see data.labels")
    files = [cached.path for cases in experiment.data.parts.values() for cached in cases]
    size = sum(file.stat().st_size for file in files)
    display.line(f"cache: {size / 2**20:.1f} MiB of {len(files)} cases in {files[0].parent}")


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
