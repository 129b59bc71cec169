"""What a report says of tuning: the values that were chosen, how they scored, and what it has cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..configuration.config import TuneSection
from ..console.display import percent
from ..console.sections import Section
from ..experiment.run import Run
from ..pictures.chart import plain_ticks
from ..pictures.palette import palette
from ..scoring import results
from .record import Record
from .tuning import Tuning

TRIALS_CAPTION = "validation scores of the trials; a ring: chosen"
Point = tuple[int, int, Mapping[str, Any], float]
"""Fold, trial, values and best validation score."""
MOST_PANELS = 3
"""Panels beside each other."""


def tuning_sections(tunings: Mapping[str, Tuning], primary: str) -> Iterator[Section]:
    """What is chosen so far, and the budget of each arm.

    Args:
        tunings: by arm; the name of a single configuration is empty.
        primary: the metric of the validation part.
    """
    if not tunings:
        return
    first = next(iter(tunings.values()))
    keys = list(dict.fromkeys(key for tuning in tunings.values() for key in tuning.values[0]))
    rows = [row for arm, tuning in tunings.items() for row in _rows(arm, tuning, keys)]
    columns = ["arm", "fold", "trial", *keys, f"validation {primary}", "as configured"]
    lines = [*_method(first.section, primary, len(first.folds)), *_at_edges(tunings), *_diverged(tunings)]
    yield Section("tuning: what validation chose", lines, columns, rows)
    yield Section("tuning: budget", columns=["arm", "trials", "epochs", "hours"], rows=_budget(tunings))


def tuned_beside_untuned(record: Record, folder: Path, primary: str) -> Iterator[Section]:
    """The scores of the held-out cases with and without tuning, of the arms that have been trained both ways."""
    rows = []
    for arm in record.arms if record.tune is not None else ():
        both = [(record.untuned(folder, arm, seed), record.runs(folder, arm, seed)) for seed in record.seeds]
        pairs = [pair for pair in both if all(run.finished for runs in pair for run in runs)]
        scores = [(_score(plain), _score(tuned)) for plain, tuned in pairs]
        known = [(plain, tuned) for plain, tuned in scores if plain is not None and tuned is not None]
        if known:
            plain, tuned = (mean(side) for side in zip(*known, strict=True))
            rows.append([arm, str(len(known)), percent(plain), percent(tuned), f"{tuned - plain:+.4f}"])
    if rows:
        line = "Mean over the seeds that are trained both ways, on the held-out cases; nothing is tested here."
        columns = ["arm", "seeds", f"untuned {primary}", f"tuned {primary}", "difference"]
        yield Section("tuned beside untuned", [line], columns, rows)


def _score(runs: Sequence[Run]) -> float | None:
    """The primary metric of all folds together."""
    document = results.read(runs[0].path) if len(runs) == 1 else results.pool(runs).document
    return document.primary


def trials_picture(tunings: Mapping[str, Tuning], primary: str) -> Figure | None:
    """Validation scores over trials: the best so far, and a panel a key; a colour an arm, a ring around the chosen."""
    points = {arm: _points(tuning) for arm, tuning in tunings.items()}
    if not any(points.values()):
        return None
    keys = list(dict.fromkeys(key for tuning in tunings.values() for key in tuning.values[0]))
    columns = min(MOST_PANELS, 1 + len(keys))
    lines = -(-(1 + len(keys)) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * lines), layout="constrained")
    first, *panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in panels[len(keys) :]:
        axis.set_axis_off()
    for (arm, tuning), colour in zip(tunings.items(), palette(max(2, len(tunings))), strict=False):
        choices = tuning.choices
        _best_so_far(first, tuning, points[arm], arm, colour)
        for axis, key in zip(panels, keys, strict=False):
            found = [point for point in points[arm] if _is_number(point[2].get(key))]
            axis.plot([one[2][key] for one in found], [one[3] for one in found], "o", color=colour, alpha=0.5, ms=4)
            chosen = [one for one in found if one[0] in choices and choices[one[0]].trial == one[1]]
            axis.plot([one[2][key] for one in chosen], [one[3] for one in chosen], "o", mfc="none", mec=colour, ms=10)
    first.set(title="best so far, mean over folds", xlabel="trial", ylabel=f"validation {primary}")
    first.xaxis.get_major_locator().set_params(integer=True)
    for axis, key in zip(panels, keys, strict=False):
        spread = [point[2][key] for found in points.values() for point in found if _is_number(point[2].get(key))]
        if spread and min(spread) > 0 and max(spread) > 5 * min(spread):
            axis.set_xscale("log")
            plain_ticks(axis.xaxis, "{:g}".format)
        axis.set(title=key, xlabel=key, ylabel=f"validation {primary}")
    for axis in (first, *panels):
        axis.grid(alpha=0.3)
    handles, labels = first.get_legend_handles_labels()
    if any(labels):
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), fontsize=8, frameon=False)
    return figure


def _points(tuning: Tuning) -> list[Point]:
    """Fold, trial, values and best validation score of every trial that has one."""
    scores = {(fold, trial): tuning.alone(trial, fold) for fold in tuning.folds for trial in tuning.values}
    return [(fold, trial, tuning.values[trial], score) for (fold, trial), score in scores.items() if score is not None]


def _best_so_far(axis: Axes, tuning: Tuning, points: Sequence[Point], arm: str, colour: Any) -> None:
    """The best score of the trials up to each, the mean over folds."""
    found = {(trial, fold): score for fold, trial, _, score in points}
    scores = np.array([[found.get((trial, fold)) for fold in tuning.folds] for trial in tuning.values], np.float64)
    best = np.fmax.accumulate(scores, axis=0)
    known = np.isfinite(best).all(1)
    axis.step(np.array([*tuning.values])[known], best[known].mean(1), where="post", color=colour, label=arm, lw=2)


def _rows(arm: str, tuning: Tuning, keys: Sequence[str]) -> Iterator[list[str]]:
    for fold, choice in tuning.choices.items():
        values = [shown(choice.values[key]) if key in choice.values else "-" for key in keys]
        plain = percent(tuning.score(0, fold))
        yield [arm, str(fold), str(choice.trial), *values, percent(choice.score), plain]


def _method(section: TuneSection, primary: str, folds: int) -> Iterator[str]:
    """How it was chosen."""
    halving = (
        "; the better half is trained on after a quarter, and again after half, of them" if section.halving else ""
    )
    yield (
        f"{section.trials} trials of {section.epochs:.0%} of the epochs{halving}: trial 0 as configured, the others at "
        "points of a Sobol sequence, the same for every arm in the keys that they share. A trial is trained on the "
        f"training part and scored on the validation part; the best by {primary} is trained with all epochs and seeds. "
        "No trial sees the test part."
    )
    if section.per == "grid":
        yield (
            "One choice for all folds: cases that validate in one fold are tested in another, so the scores of tuned "
            "arms may be too high; per: fold avoids this."
        )
    if section.per == "grid" or folds == 1:
        yield (
            "There is one choice of values, so its chance cannot be told: p and intervals hold for these values, not "
            "for what another tuning would choose."
        )


def _at_edges(tunings: Mapping[str, Tuning]) -> Iterator[str]:
    """Where the best value is the smallest or the largest that was tried: better ones may lie beyond."""
    for arm, tuning in tunings.items():
        choices = tuning.choices
        for key in tuning.values[0]:
            tried = sorted({values[key] for values in tuning.values.values() if _is_number(values[key])})
            for end, side in ((0, "smallest"), (-1, "largest")):
                folds = [fold for fold, one in choices.items() if len(tried) > 2 and one.values[key] == tried[end]]
                if folds:
                    where = f"fold {', '.join(map(str, folds))}" if len(tuning.folds) > 1 else "the only fold"
                    of = f"{arm}: " if arm else ""
                    yield (
                        f"{of}{key} {shown(tried[end])} is the {side} of the {len(tried)} values that were tried, in "
                        f"{where}: more trials or a wider range may find a better one."
                    )


def _diverged(tunings: Mapping[str, Tuning]) -> Iterator[str]:
    for arm, tuning in tunings.items():
        found = [
            f"trial {trial} fold {fold}"
            for trial in tuning.values
            for fold in tuning.folds
            if tuning.run(trial, fold).not_finite
        ]
        if found:
            of = f" of {arm}" if arm else ""
            yield f"{len(found)} trials{of} ended since loss or gradient was not finite: {', '.join(found[:3])}."


def _budget(tunings: Mapping[str, Tuning]) -> list[list[str]]:
    """What the trials of each arm have taken: epochs, and hours of training."""
    rows = []
    for arm, tuning in tunings.items():
        logs = [tuning.run(trial, fold).history() for trial in tuning.values for fold in tuning.folds]
        seconds = sum(entry.get("seconds", 0.0) for log in logs for entry in log)
        rows.append([arm, str(sum(map(bool, logs))), str(sum(map(len, logs))), f"{seconds / 3600:.2f}"])
    return rows


def shown(value: Any) -> str:
    """A value as a table has it."""
    return f"{value:g}" if _is_number(value) else json.dumps(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
