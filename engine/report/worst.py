"""The cases of some runs from the worst to the best, and the mistakes in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import datasets
from segloss.document import Header

from ..errors import UsageError
from ..experiment.run import Run
from ..scoring import results, snapshots
from ..scoring.overlays import ranked
from .viewer import CaseEntry


class Scored(NamedTuple):
    """A case of a run.

    Attributes:
        case: its id.
        fold: the position of its run.
        score: the mean DSC over its classes that count.
    """

    case: str
    fold: int
    score: float


def scored(runs: Sequence[Run]) -> list[Scored]:
    """The held-out cases of the finished ones among some runs, the worst first."""
    found = [
        Scored(case, fold, score)
        for fold, run in enumerate(runs)
        if run.finished
        for case, score in ranked(results.read(run.path))
    ]
    return sorted(found, key=lambda one: one.score)


def background(header: Header) -> int | None:
    """The index of the class that is no foreground, by the header of a scores document, or None."""
    return datasets.background_index(header.pictured)


def reason(one: Scored, runs: Sequence[Run], header: Header) -> str:
    """The mistakes in a case in words, as far as its run has kept that; else nothing. `UsageError` if of others."""
    for kept in snapshots.read(runs[one.fold].path):
        if kept.case == one.case:
            if any(max(pair[:2]) >= len(header.pictured) for pair in kept.mistakes.pairs):
                raise UsageError(
                    f"{runs[one.fold].path / snapshots.FOLDER / 'cases.json'}: holds mistakes of more classes than "
                    f"scores.json, {len(header.pictured)}; restore them, or remove the folder"
                )
            return kept.mistakes.describe(header.pictured, background(header))
    return ""


def case_entries(orders: Mapping[str, Sequence[Scored]], by: str) -> list[CaseEntry]:
    """The cases for a viewer, in the order of one arm's scores.

    Args:
        orders: by arm, its cases as `scored` gives them.
        by: the arm whose scores count.
    """
    order = orders[by]
    scores = {arm: {(one.case, one.fold): one.score for one in found} for arm, found in orders.items()}
    notes = {0: "worst", len(order) // 2: "median", len(order) - 1: "best"} if len(order) > 2 else {}
    return [
        CaseEntry(
            one.case,
            one.fold,
            notes.get(at, ""),
            {arm: f"{found[one[:2]]:.3f}" if one[:2] in found else "-" for arm, found in scores.items()},
        )
        for at, one in enumerate(order)
    ]


def spread(order: Sequence[Scored]) -> str:
    """The median of some cases, as text."""
    return f"{median(one.score for one in order):.4f}"
