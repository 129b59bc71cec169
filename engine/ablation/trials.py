"""Trials as cells of a grid: trained first, then what is chosen is trained with every seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..configuration.config import Config, TuneSection
from ..console.display import Display
from ..errors import UsageError
from ..experiment.experiment import prepare
from ..experiment.run import Run
from ..store.files import read_json, write_json
from .arms import Ablation, Cell, assembled, fold_runs, with_shared_trainings
from .executors import Executor
from .grid import train_cells
from .search import FEWEST_GROUPS, TOO_FEW, Search
from .tuning import CHOSEN, TRIALS, TUNED, Tuning


@dataclass(frozen=True)
class Tuner:
    """An arm that is tuned, or a single configuration.

    Attributes:
        arm: its name; empty for a single configuration.
        search: what its trials try.
        tuning: where they lie, and how they are compared.
        seed: of the trials.
    """

    arm: str
    search: Search
    tuning: Tuning
    seed: int

    @classmethod
    def of(cls, arm: str, search: Search, folder: Path, seed: int, section: TuneSection) -> Tuner:
        """The tuner whose trials lie in a folder."""
        folds = sorted(fold_runs(search.configs[0], folder, seed))
        every = search.config.train.validate_every
        return cls(arm, search, Tuning(folder, search.values, folds, search.epochs, section, every), seed)

    def cells(self, rung: int = 0) -> list[Cell]:
        """The trials that are trained up to a rung, as far as that is known."""
        if rung >= len(self.tuning.rungs):
            return []
        left = {fold: self.tuning.left(fold, rung) or [] for fold in self.tuning.folds}
        return [
            Cell(f"{self.arm} trial {trial} fold {fold}".lstrip(), one, self.arm, fold, trial=self.tuning.rungs[rung])
            for trial, config in self.search.configs.items()
            for fold, one in fold_runs(config, self.tuning.folder / f"trial-{trial}", self.seed).items()
            if trial in left[fold]
        ]

    def chosen(self) -> dict[int, Config]:
        """By fold the configuration with the chosen values, as far as they are chosen."""
        return {fold: self.search.whole(one.trial) for fold, one in self.tuning.choices.items()}


def tuners_of(ablation: Ablation) -> list[Tuner]:
    """The arms of an ablation that is tuned; none of one that is not."""
    section = ablation.section.tune
    if section is None:
        return []
    return [
        Tuner.of(arm, search, ablation.path / arm / TRIALS, ablation.seeds_of(arm)[0], section)
        for arm, search in ablation.searches.items()
    ]


def trial_cells(tuners: Sequence[Tuner], rung: int = 0) -> tuple[Cell, ...]:
    """The trials of all arms up to a rung; those of arms that are scored otherwise alone share their training."""
    return with_shared_trainings([cell for tuner in tuners for cell in tuner.cells(rung)])


def train_trials(tuners: Sequence[Tuner], executor: Executor, display: Display) -> list[str]:
    """Train all trials, and write what they choose; a line for each that has failed.

    Raises:
        UsageError: too few groups validate, or the workers cannot train them.
    """
    failed: list[str] = []
    for rung in range(max((len(tuner.tuning.rungs) for tuner in tuners), default=0)):
        cells = trial_cells(tuners, rung)
        left = [cell for cell in cells if not cell.finished]
        if left and rung == 0:
            refuse_few_groups(left, display)
        for cell in left:
            cell.run.share(cell.config, cell.training_of)
        failed += train_cells([cell for cell in left if cell.training_of is None], executor, display)
    return failed or [
        f"{tuner.tuning.folder}: no trial of fold {fold} has a validation score, so nothing is chosen"
        for tuner in tuners
        for fold in sorted({*tuner.tuning.folds} - tuner.tuning.choices.keys())
    ]


def refuse_few_groups(cells: Sequence[Cell], display: Display) -> None:
    """A `UsageError` where fewer than three groups of a fold validate: nothing can be chosen by so few."""
    firsts = {cell.fold: cell for cell in reversed(cells)}
    for fold, cell in sorted(firsts.items()):
        data = prepare(cell.config, cell.run, display).data
        groups = {cached.case.group for cached in data.parts["val"]}
        if len(groups) < FEWEST_GROUPS:
            raise UsageError(
                f"data.split: {len(groups)} groups validate in fold {fold}, but {TOO_FEW}; raise data.split.val"
            )


def tuned_cells(ablation: Ablation, tuners: Sequence[Tuner]) -> tuple[Cell, ...]:
    """The runs of all arms, seeds and folds with what is chosen for them, as far as it is."""
    chosen = {tuner.arm: tuner.chosen() for tuner in tuners}
    return assembled(
        [
            Cell(f"{arm} seed {seed} fold {fold}", fold_runs(config, folder, seed)[fold], arm, fold)
            for index in range(len(ablation.seeds))
            for arm, folds in chosen.items()
            for seed in [ablation.seeds_of(arm)[index]]
            for folder in [ablation.path / arm / TUNED / f"seed-{seed}"]
            for fold, config in folds.items()
        ]
    )


def tuned_run(ablation: Ablation, cell: Cell) -> Run:
    """Where the counterpart of a cell with what is chosen lies."""
    return Run(ablation.path / cell.arm / TUNED / f"seed-{cell.config.seed}" / f"fold-{cell.fold}")


def settle(tuner: Tuner, display: Display) -> None:
    """Write down what is chosen, and make room where that is another trial than before, as after more trials.

    What was trained with the values of the earlier choice is kept beside its trial, and comes back from there when it
    is chosen again.
    """
    trials, tuned = tuner.tuning.folder, tuner.tuning.folder.parent / TUNED
    path = trials.with_name(CHOSEN)
    known = {one["fold"]: one for one in read_json(path)} if path.is_file() else {}
    choices = tuner.tuning.choices
    for fold, choice in choices.items():
        old = known[fold]["trial"] if fold in known else choice.trial
        for run in _runs(tuned, fold) if old != choice.trial else []:
            kept = _move(run, trials / f"trial-{old}" / run.parent.name)
            display.line(f"{run}: trial {choice.trial} is chosen in place of trial {old}; what was here is now {kept}")
    if choices:
        known |= {fold: asdict(choice) for fold, choice in choices.items()}  # of other folds what was chosen before
        write_json(path, [known[fold] for fold in sorted(known)])
    for fold, choice in choices.items():
        for run in _runs(trials / f"trial-{choice.trial}", fold):
            _move(run, tuned / run.parent.name)


def _runs(folder: Path, fold: int) -> list[Path]:
    return sorted(folder.glob(f"seed-*/fold-{fold}"))


def _move(run: Path, folder: Path) -> Path:
    """A run, and its YAML file and log beside it, into another folder; where it is then."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (run.with_name(f"{run.name}.yaml"), run.with_name(f"{run.name}.log"), run):
        if path.exists():
            path.rename(folder / path.name)
    return folder / run.name
