"""Where a training stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class State:
    """Where a training stands; all of it is in every checkpoint.

    Attributes:
        epoch: epochs completed.
        batch: micro-batches done in the epoch that is under way.
        step: optimizer steps done.
        best: the best primary score on validation so far.
        best_epoch: the epoch it came from, counted from 1.
        epochs_without_improvement: validations since then.
        log_lines: lines of log.jsonl that belong to this state.
        stopped: whether early stopping has ended the training.
        class_accuracy: recall of each class in the last validation, null where it was absent; null before the first.
        elapsed: seconds that a training by the clock has taken; 0 of one by epochs.
        validation_seconds: of them, those of its longest validation.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    epochs_without_improvement: int = 0
    log_lines: int = 0
    stopped: bool = False
    class_accuracy: list[float | None] | None = None
    elapsed: float = 0.0
    validation_seconds: float = 0.0

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take up what a checkpoint says; a `TypeError` where it says something else."""
        for key, value in asdict(State(**saved)).items():
            setattr(self, key, value)
