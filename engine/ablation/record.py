"""What is recorded of an ablation in its folder, so that it can be reported without its YAML file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ValidationError

from ..configuration.config import PaperSection, TuneSection, by_score
from ..configuration.older import rename_paper
from ..errors import UsageError
from ..experiment.run import Run
from ..store import formats
from ..store.files import read_json, write_json
from .arms import NOISE_FLOOR, Ablation
from .tuning import TRIALS, TUNED, Tuning

FILE = "ablation.json"


class Arm(BaseModel):
    """An arm.

    Attributes:
        seeds: of its trainings, in the order of those that they are compared with.
        changed: in what of data and model it differs from the baseline.
        differs: in what it differs from the baseline beside loss, ACW and its remedy, such as `optim.lr 0.003, not
            0.0005`.
        shares: the arm whose training it shares; None for its own.
        trials: where arms are tuned, what each trial sets keys to, by its number.
        trial_epochs: that a trial trains.
        validate_every: epochs between two validations of a trial.
    """

    seeds: list[int]
    changed: list[str]
    differs: list[str] = []
    shares: str | None = None
    trials: dict[int, dict[str, Any]] = {}
    trial_epochs: int = 0
    validate_every: int = 1


class Record(BaseModel):
    """The arms, seeds and folds of an ablation.

    Attributes:
        name: it is called.
        baseline: the arm that the others are compared with.
        smallest: by score, the difference that would matter; of an older version one number, of DSC and IoU.
        seeds: that arms are compared in.
        folds: their numbers.
        arms: by name.
        paper: what a paper printed for them.
        tune: how they are tuned; None where they are not.
    """

    name: str
    baseline: str
    smallest: Annotated[dict[str, float], BeforeValidator(by_score)]
    seeds: list[int]
    folds: list[int]
    arms: dict[str, Arm]
    paper: PaperSection | None = None
    tune: TuneSection | None = None

    @classmethod
    def of(cls, ablation: Ablation) -> Record:
        """The record of an ablation."""
        return cls(
            name=ablation.config.name,
            baseline=ablation.section.baseline,
            smallest=ablation.section.smallest.model_dump(),
            seeds=ablation.seeds,
            folds=sorted({cell.fold for cell in ablation.cells}),
            arms={
                arm: Arm(
                    seeds=ablation.seeds_of(arm),
                    changed=ablation.changed(arm),
                    differs=ablation.differs(arm),
                    shares=ablation.training_of(arm),
                    trials=ablation.searches[arm].values if ablation.searches else {},
                    trial_epochs=ablation.searches[arm].epochs if ablation.searches else 0,
                    validate_every=ablation.arms[arm].train.validate_every,
                )
                for arm in ablation.arms
            },
            paper=ablation.section.paper,
            tune=ablation.section.tune,
        )

    @classmethod
    def read(cls, folder: Path) -> Record:
        """The record in the folder of an ablation; a `UsageError` where it is missing, damaged or newer."""
        path = folder / FILE
        if not path.is_file():
            raise UsageError(f"{path}: missing; give the command `ablate` again: it trains nothing that is finished")
        found = read_json(path)
        if isinstance(found, dict):
            formats.refuse_newer(path, found.get("format"), formats.ABLATION)
        try:
            return cls.model_validate(rename_paper(found))
        except ValidationError as error:
            raise UsageError(f"{path}: {error.errors()[0]['msg']}; restore it, or give `ablate` again") from error

    def write(self, folder: Path) -> None:
        """Write the record; a `DataError` where the disk is full, a `UsageError` where a newer one is there."""
        path = folder / FILE
        if path.is_file() and isinstance(found := read_json(path), dict):
            formats.refuse_newer(path, found.get("format"), formats.ABLATION)
        write_json(path, {"format": formats.ABLATION} | self.model_dump())

    def runs(self, folder: Path, arm: str, pair: int) -> list[Run]:
        """The runs of all folds of an arm, of the seed that is compared with a seed; of a tuned arm its tuned runs."""
        return self._runs(folder / arm if self.tune is None else folder / arm / TUNED, arm, pair)

    def untuned(self, folder: Path, arm: str, pair: int) -> list[Run]:
        """The runs of all folds of an arm as it is configured, which need not be there where arms are tuned."""
        return self._runs(folder / arm, arm, pair)

    def _runs(self, folder: Path, arm: str, pair: int) -> list[Run]:
        seed = self.arms[arm].seeds[self.seeds.index(pair)]
        return [Run(folder / f"seed-{seed}" / f"fold-{fold}") for fold in self.folds]

    def tunings(self, folder: Path) -> dict[str, Tuning]:
        """The trials of each arm; none where nothing is tuned."""
        if self.tune is None:
            return {}
        return {
            arm: Tuning(folder / arm / TRIALS, one.trials, self.folds, one.trial_epochs, self.tune, one.validate_every)
            for arm, one in self.arms.items()
        }

    def every(self, folder: Path) -> Iterator[tuple[str, int, int, Run]]:
        """Arm, seed, fold and run of every training."""
        for arm, one in self.arms.items():
            for pair, seed in zip(self.seeds, one.seeds, strict=True):
                for fold, run in zip(self.folds, self.runs(folder, arm, pair), strict=True):
                    yield arm, seed, fold, run

    @property
    def noise_floor(self) -> str | None:
        """The arm of that name, where there is one."""
        return NOISE_FLOOR if NOISE_FLOOR in self.arms else None
