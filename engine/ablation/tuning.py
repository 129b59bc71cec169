"""The trials of a configuration as they lie on disk, and which of them validation chooses.

All of it follows from the logs of the trials, so it is the same after a kill.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from ..configuration.config import TuneSection
from ..experiment.run import Run

TRIALS, TUNED = "trials", "tuned"
"""Folders of an arm: its trials, and the runs with the values that they choose."""
CHOSEN = "chosen.json"
"""The file beside the trials that says, fold by fold, what has been chosen: trial, values and score."""
BESIDE = "-tuning"
"""What follows a run's name in that of the folder of its trials."""
RUNGS = (0.25, 0.5, 1.0)
"""Shares of a trial's epochs after which successive halving compares trials."""


def beside(run: Path) -> Path:
    """The folder of the trials of a run, which is there if it was tuned."""
    here = run.resolve()  # that of `.` has a name
    return here.with_name(f"{here.name}{BESIDE}")


@dataclass(frozen=True)
class Choice:
    """What validation has chosen.

    Attributes:
        fold: for which it is.
        trial: the number of the best trial; the first of equal ones.
        values: that it sets keys to.
        score: its best validation score in the primary metric; with `per: grid` the mean over folds.
    """

    fold: int
    trial: int
    values: Mapping[str, Any]
    score: float


@dataclass(frozen=True)
class Tuning:
    """The trials of an arm, or of a single configuration.

    Attributes:
        folder: that holds them, each as trial-T/fold-F.
        values: by the number of the trial, what it sets keys to; trial 0 has what is configured.
        folds: their numbers.
        epochs: that a trial trains.
        section: how it is chosen among them.
        validate_every: epochs between two of their validations.
    """

    folder: Path
    values: Mapping[int, Mapping[str, Any]]
    folds: Sequence[int]
    epochs: int
    section: TuneSection
    validate_every: int = 1

    def run(self, trial: int, fold: int) -> Run:
        """The run of a trial on a fold."""
        return Run(self.folder / f"trial-{trial}" / f"fold-{fold}")

    @property
    def rungs(self) -> list[int]:
        """After how many epochs trials are compared: those of a validation; the last is all of them."""
        shares, every = RUNGS if self.section.halving else RUNGS[-1:], self.validate_every
        return sorted({min(every * math.ceil(share * self.epochs / every), self.epochs) for share in shares})

    def left(self, fold: int, rung: int) -> list[int] | None:
        """The trials of a fold that are trained up to a rung; None while those of the rung below are not compared.

        All of them at first, then the better half of the rung below.
        """
        if rung == 0:
            return [*self.values]
        below = self.ranked(fold, rung - 1)
        return None if below is None else sorted(below[: math.ceil(len(below) / 2)])

    def ranked(self, fold: int, rung: int) -> list[int] | None:
        """The trials of a rung, the best first and those without a score last; None while one has not come so far."""
        left, epochs = self.left(fold, rung), self.rungs[rung]
        if left is None or not all(self.run(trial, one).tried(epochs) for trial in left for one in self._with(fold)):
            return None
        scores = {trial: self.score(trial, fold, epochs) for trial in left}
        return sorted(left, key=lambda trial: (scores[trial] is None, -(scores[trial] or 0.0), trial))

    def score(self, trial: int, fold: int, epochs: int | None = None) -> float | None:
        """The best validation score of a trial in its first epochs; None where there is none, or it diverged in them.

        With `per: grid` the mean over all folds.
        """
        found = [self.alone(trial, one, epochs) for one in self._with(fold)]
        known = [score for score in found if score is not None]
        return mean(known) if len(known) == len(found) else None

    def alone(self, trial: int, fold: int, epochs: int | None = None) -> float | None:
        """The same of one fold, whatever is chosen together."""
        run, epochs = self.run(trial, fold), epochs or self.epochs
        if run.not_finite and run.last_epoch < epochs:
            return None
        scores = [entry["score"] for entry in run.history() if entry["epoch"] <= epochs]
        return max((score for score in scores if score is not None), default=None)

    def choice(self, fold: int) -> Choice | None:
        """What is chosen for a fold; None while trials are not finished, and where none has a score."""
        ranked = self.ranked(fold, len(self.rungs) - 1)
        score = self.score(ranked[0], fold) if ranked else None
        return Choice(fold, ranked[0], self.values[ranked[0]], score) if ranked and score is not None else None

    @property
    def choices(self) -> dict[int, Choice]:
        """What is chosen so far, by fold; read from the logs of all trials at every call."""
        found = {fold: self.choice(fold) for fold in self.folds}
        return {fold: one for fold, one in found.items() if one is not None}

    def _with(self, fold: int) -> Sequence[int]:
        """The folds whose trials are compared together."""
        return self.folds if self.section.per == "grid" else [fold]
