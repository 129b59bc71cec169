"""Tune a configuration, then train it with the values that validation chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..ablation.arms import fold_cells
from ..ablation.executors import local_executor
from ..ablation.search import Search
from ..ablation.trials import Tuner, settle, train_trials, trial_cells
from ..ablation.tuning import BESIDE
from ..ablation.tuning_report import TRIALS_CAPTION, trials_picture, tuning_sections
from ..configuration.build import build_adapter
from ..configuration.checking import load_config
from ..configuration.config import Config, TuneSection
from ..configuration.source import load
from ..console.display import Display
from ..console.sections import Subject
from ..errors import UsageError
from ..experiment.experiment import primary_of
from ..experiment.folds import Folds
from ..experiment.run import Run
from ..pictures.chart import save
from ..processes import launcher
from ..processes.signals import Stop
from ..store.lock import Lock
from ..store.outputs import refuse_foreign
from .report import write_page
from .train import train, train_folds

DECADE = 10.0
"""How far around its learning rate a configuration is searched that does not say what to tune."""


def tune(
    config: Config, path: Path, overrides: Sequence[str], display: Display, stop: Stop, workers: int | None = None
) -> None:
    """Tune what a YAML file describes, each of its folds by itself, then train and score it as `train` does.

    The trials lie in output/name-tuning. The run that is trained with their choice is an ordinary one.

    Args:
        config: what the YAML file describes, checked.
        path: the YAML file.
        overrides: `key=value`.
        display: where progress is shown.
        stop: asked between steps whether to save and leave.
        workers: trials, and then folds, trained at a time; None for one a GPU, or one.

    Raises:
        UsageError, DataError: bad input, one line that says what to do.
        Stopped: SIGTERM has come; the state is saved.
    """
    if config.ablation is not None:
        raise UsageError(f"{path}: holds an ablation, whose arms are tuned by ablation.tune; see train_seg.py ablate")
    if launcher.process_info().launcher is not None or config.train.devices > 1:
        raise UsageError("tune: trials train on one device each; tune without torchrun and with train.devices: 1")
    if config.tune is None:
        overrides = [*overrides, _around(config)]
        config = load_config(path, overrides)
    root, section = load(path, overrides), config.tune or TuneSection()
    node, config = root.value.pop("tune"), config.model_copy(update={"tune": None})
    folder = Path(config.output) / f"{config.name}{BESIDE}"
    refuse_foreign(folder, ("trials",))
    search = Search.of(root, config, section, node)
    tuner = Tuner.of("", search, folder / "trials", config.seed, section)
    for cell in trial_cells([tuner]):
        Run.of(cell.config)
    _refuse_other(search)
    executor = local_executor(config, workers)
    display.line(f"{folder}: {section.trials} trials; {executor}")
    with stop.interrupts(), Lock(folder):
        failed = train_trials([tuner], executor, display)
        settle(tuner, display)
        _report(tuner, config, folder, display)
    if failed:
        raise UsageError("\n".join(failed))
    chosen = tuner.chosen()
    if not Folds.wanted(config):
        train(next(iter(chosen.values())), path, overrides, display, stop)
        return
    cells = [fold_cells(chosen[fold])[fold] for fold in tuner.tuning.folds]
    train_folds(config, workers, display, stop, cells)


def _refuse_other(search: Search) -> None:
    """A `UsageError`, before any trial is trained, where the run is there already and has the values of none."""
    wholes = [search.whole(trial) for trial in search.values]
    folds = [[cell.config for cell in fold_cells(one)] if Folds.wanted(one) else [one] for one in wholes]
    for candidates in zip(*folds, strict=True):
        refused = []
        for one in candidates:
            try:
                Run.of(one)
            except UsageError as error:
                refused.append(error)
        if len(refused) == len(candidates):
            raise refused[0]


def _around(config: Config) -> str:
    """What `--tune` tunes where the file does not say: the learning rate."""
    rate = getattr(config.optim, "lr", None)
    if rate is None:
        raise UsageError(f"--tune: {config.optim.name} has no learning rate; say what to tune: the key tune")
    low, high = rate / DECADE, rate * DECADE
    return f"tune={{keys: {{optim.lr: {{low: {low:g}, high: {high:g}, log: true}}}}}}"


def _report(tuner: Tuner, config: Config, folder: Path, display: Display) -> None:
    """The tables, the picture and the page of the trials."""
    primary = str(primary_of(config, build_adapter(config.data).kind))
    tunings = {config.name: tuner.tuning}
    sections = list(tuning_sections(tunings, primary))
    for section in sections:
        display.section(section)
    figure = trials_picture(tunings, primary)
    if figure is not None:
        (folder / "figures").mkdir(exist_ok=True)
        save(figure, folder / "figures" / "trials")
        sections[0] = replace(sections[0], charts={TRIALS_CAPTION: folder / "figures" / "trials.svg"})
    display.line(f"page of the trials: {write_page(folder, Subject(f'{config.name}: tuning', sections))}")
