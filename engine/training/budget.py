"""How long a training is: a number of epochs, or of minutes by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from ..configuration.config import TrainSection
from ..configuration.optim import Progress
from ..processes import ranks
from ..store.state import State


class EpochBudget:
    """A training of so many epochs.

    Args:
        epochs: passes over the training samples.
        steps: optimizer steps of an epoch.
        state: where the training stands, which changes while it goes on.
    """

    def __init__(self, epochs: int, steps: int, state: State) -> None:
        self.epochs, self.steps, self.state = epochs, steps, state

    def start(self, tell: Callable[[str], None]) -> None:
        """Nothing: the clock does not count."""

    def bar(self, batches: int, most: int | None) -> tuple[float, float]:
        """Total and state of a progress bar: micro-batches, of which an epoch has `batches`; of `most` epochs."""
        epochs = min(most or self.epochs, self.epochs)
        return epochs * batches, self.state.epoch * batches + self.state.batch

    def after_step(self, batches: int) -> float:
        """By how much a step of some micro-batches moves the bar."""
        return batches

    def before_validation(self) -> None:
        """Nothing: the clock does not count."""

    def after_validation(self) -> None:
        """Nothing: the clock does not count."""

    def paused(self) -> AbstractContextManager[None]:
        """Nothing: the clock does not count."""
        return nullcontext()

    def progress(self, step: int) -> Progress:
        """How far the training is at an optimizer step, for the schedule of the learning rate."""
        total = self.steps * self.epochs
        now = min(step, total - 1)
        return Progress(now, total, now // self.steps)

    @property
    def share(self) -> float:
        """How much of the training is done, after an epoch."""
        return self.state.epoch / self.epochs

    @property
    def is_spent(self) -> bool:
        """Whether no epoch is left."""
        return self.state.epoch >= self.epochs

    @property
    def has_time(self) -> bool:
        """Whether another step of this epoch may be taken."""
        return True

    @property
    def is_last(self) -> bool:
        """Whether the epoch under way, whose steps are done, is the last."""
        return self.state.epoch + 1 >= self.epochs

    @property
    def affords_validation(self) -> bool:
        """Whether training goes on after a validation that is due now."""
        return True

    @property
    def figures(self) -> dict[str, Any]:
        """What the log says of it."""
        return {}

    def describe(self, epoch: int) -> str:
        """Which epoch of how many."""
        return f"epoch {epoch}/{self.epochs}"


class TimeBudget:
    """A training of so many minutes: its steps, validations and checkpoints.

    A schedule sees the seconds that have passed in place of steps, so it is at its end when the time is, and the epoch
    under way ends early. What the longest validation has taken is kept free for the last one, and a validation after
    which no time would be left to train is left to the end. Of several processes the first one's clock counts.

    Args:
        minutes: of the clock, of all starts of the training together.
        steps: optimizer steps of a whole epoch.
        state: where the training stands; holds the seconds that have passed.
        now: a clock, in seconds.
    """

    def __init__(self, minutes: float, steps: int, state: State, now: Callable[[], float] = time.monotonic) -> None:
        self.minutes, self.steps, self.state, self.now = minutes, steps, state, now
        self.last_read = now()

    def start(self, tell: Callable[[str], None]) -> None:
        """Count from now on, and say so."""
        done = f", of which {self.state.elapsed / 60:.1f} have passed" if self.state.elapsed else ""
        tell(
            f"trains for {self.minutes:g} minutes{done}; the learning rate follows the clock, so the run does not "
            "repeat bit for bit"
        )
        self.last_read = self.now()

    def bar(self, batches: int, most: int | None) -> tuple[float, float]:  # noqa: ARG002
        """Total and state of a progress bar, in seconds."""
        return 60 * self.minutes, self.state.elapsed

    def after_step(self, batches: int) -> float:  # noqa: ARG002
        """Add the time since the last reading; gives it."""
        return self._read()

    def before_validation(self) -> None:
        """Add the time since the last reading."""
        self._read()

    def after_validation(self) -> None:
        """Add the time that a validation has taken."""
        self.state.validation_seconds = max(self.state.validation_seconds, self._read())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done within does not count."""
        self._read()
        try:
            yield
        finally:
            self.last_read = self.now()

    def progress(self, step: int) -> Progress:
        """How far the training is at an optimizer step, for the schedule of the learning rate: in seconds."""
        return Progress(min(self.state.elapsed, self._until), self._until, step // self.steps)

    @property
    def share(self) -> float:
        """How much of the training is done."""
        return min(self.state.elapsed / (60 * self.minutes), 1.0)

    @property
    def is_spent(self) -> bool:
        """Whether no step is left, nor the validation of steps that were taken."""
        return not self.has_time and not self.state.batch

    @property
    def has_time(self) -> bool:
        """Whether another step may be taken."""
        return self.state.elapsed < self._until

    @property
    def is_last(self) -> bool:
        """Whether the epoch under way, whose steps are done, is the last."""
        return not self.has_time

    @property
    def affords_validation(self) -> bool:
        """Whether training goes on after a validation that is due now."""
        return self.state.elapsed + self.state.validation_seconds < self._until

    @property
    def figures(self) -> dict[str, Any]:
        """What the log says of it: the minutes that have passed."""
        return {"minutes": round(self.state.elapsed / 60, 3)}

    def describe(self, epoch: int) -> str:
        """Which epoch, and how much of the time has passed."""
        return f"epoch {epoch} ({self.state.elapsed / 60:.1f} of {self.minutes:g} min)"

    def _read(self) -> float:
        now = self.now()
        passed = torch.tensor(now - self.last_read if ranks.rank() == 0 else 0.0, dtype=torch.float64)
        seconds, self.last_read = float(ranks.all_reduce(passed)), now
        self.state.elapsed += seconds
        return seconds

    @property
    def _until(self) -> float:
        """The second after which no step is begun."""
        return max(60 * self.minutes - self.state.validation_seconds, 1e-9)


Budget = EpochBudget | TimeBudget


def budget_of(section: TrainSection, steps: int, state: State) -> Budget:
    """The budget that a configuration gives.

    Args:
        section: of the training.
        steps: optimizer steps of an epoch.
        state: of the training.
    """
    if section.minutes is not None:
        return TimeBudget(section.minutes, steps, state)
    assert section.epochs is not None
    return EpochBudget(section.epochs, steps, state)
