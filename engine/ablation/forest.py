"""Pictures of an ablation: differences with their intervals, classes side by side, weights over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..pictures.palette import MOST_NAMED, OKABE_ITO, palette
from .comparison import Method
from .score_tables import scores_by_class
from .verdicts import Verdicts

DISTINGUISHABLE, NOT = OKABE_ITO[5], "#888888"
MOST_PANELS = 48
"""Measures that the differences are drawn in."""


def forest(verdicts: Sequence[Verdicts]) -> Figure:
    """A panel a measure: each arm's difference from the baseline and its 95 % interval.

    Of more measures than there is room for the first, and those with the smallest p-values.
    """
    every, verdicts = len(verdicts), _shown(verdicts)
    columns = min(3, len(verdicts))
    lines = -(-len(verdicts) // columns)
    arms = len(verdicts[0].found)
    figure = Figure(figsize=(4.2 * columns, (0.38 * arms + 1.3) * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(verdicts) :]:
        axis.set_axis_off()
    for axis, one in zip(axes, verdicts, strict=False):
        for place, found in enumerate(reversed(one.found.values())):
            colour = DISTINGUISHABLE if found.distinguishable else NOT
            if found.low is not None and found.high is not None and np.isfinite([found.low, found.high]).all():
                axis.plot([found.low, found.high], [place, place], color=colour, linewidth=2)
            axis.plot(found.difference, place, "s", color=colour)
            axis.annotate(
                f"{found.difference:+.3f}", (found.difference, place), xytext=(0, 5), textcoords="offset points",
                ha="center", fontsize=7,
            )  # fmt: skip
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(yticks=range(len(one.found)), yticklabels=list(reversed(one.found)), ylim=(-0.6, len(one.found) - 0.3))
        better = "lower is better" if one.measure.lower else "higher is better"
        axis.set_title(f"{one.measure.title} against {one.baseline}", fontsize=9)
        unit = f" in {one.measure.unit}" if one.measure.unit else ""
        axis.set_xlabel(f"difference{unit} ({better})", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.grid(axis="x", alpha=0.3)
    of_all = f"; of {every:,} measures the first and those with the smallest p" if len(verdicts) < every else ""
    said = f"95 % intervals that hold for all rows of a table together; blue: 0 is outside{of_all}"
    figure.supxlabel(said, fontsize=8)
    return figure


def _shown(verdicts: Sequence[Verdicts]) -> Sequence[Verdicts]:
    def least(at: int) -> float:
        return min((one.p_value for one in verdicts[at].found.values() if one.p_value is not None), default=np.inf)

    return [verdicts[at] for at in (0, *sorted(sorted(range(1, len(verdicts)), key=least)[: MOST_PANELS - 1]))]


def class_bars(arms: Mapping[str, Method]) -> Figure:
    """Every class's score in the primary metric by every arm: the mean over seeds, with its standard deviation.

    Of more classes than there is room for a curve an arm, over the classes in the order of the first arm's scores.
    """
    header = next(iter(arms.values())).header
    classes, primary = header.counted, header.primary
    named = len(classes) <= MOST_NAMED
    wide = max(5.0, 0.22 * len(classes) * (len(arms) + 1) + 1.5) if named else 9.0
    figure = Figure(figsize=(wide, 3.6), layout="constrained")
    axis = figure.subplots()
    width, order = 0.85 / len(arms), np.arange(len(classes))
    for index, (arm, colour) in enumerate(zip(arms, palette(max(len(arms), 2)), strict=False)):
        found = scores_by_class(arms[arm], primary.aggregation, primary.score)
        means = np.array([mean(found[name]) if found[name] else np.nan for name in classes])
        if not named:
            order = np.argsort(-means, kind="stable") if index == 0 else order
            axis.plot(means[order], color=colour, label=arm, linewidth=1, alpha=0.85)
            continue
        errors = [stdev(found[name]) if len(found[name]) > 1 else 0.0 for name in classes]
        places = order + (index - (len(arms) - 1) / 2) * width
        axis.bar(places, means, width, yerr=errors if any(errors) else None, color=colour, label=arm, alpha=0.85)
    by = "" if header.kind == "label" else f", aggregation: {primary.aggregation}"
    axis.set(ylabel=f"{primary.score}{by}", ylim=(0, 1.02))
    if named:
        many = len(classes) > 3
        axis.set_xticks(order, classes, rotation=30 if many else 0, ha="right" if many else "center")
    else:
        axis.set_xlabel(f"{len(classes):,} classes, from the best of {next(iter(arms))} to its worst")
    axis.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=min(len(arms), 6), fontsize=8, frameon=False)
    return figure


def learning_curves(
    histories: Mapping[str, Sequence[Sequence[dict[str, Any]]]], primary: str, losses: Mapping[str, str]
) -> Figure | None:
    """Validation score and training loss over the epochs: a colour an arm, a thin line a run, their mean thick.

    The values of other losses are not on one scale, so each loss has a panel of its own.

    Args:
        histories: by arm, the log of each of its runs.
        primary: the primary metric.
        losses: by arm, its loss in words.
    """
    logged = {arm: runs for arm, runs in histories.items() if runs and all(runs)}
    if not logged:
        return None
    colours = dict(zip(logged, palette(len(logged)), strict=True))
    panels = [("score", f"validation {primary}", list(logged))]
    for loss in dict.fromkeys(losses[arm] for arm in logged):
        panels.append(("loss", f"training loss: {loss}", [arm for arm in logged if losses[arm] == loss]))
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.2 * lines + 0.4), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis, (key, title, arms) in zip(axes, panels, strict=False):
        for arm in arms:
            runs = logged[arm]
            shortest = min(map(len, runs))
            values = np.array([[entry[key] for entry in run[:shortest]] for run in runs], dtype=np.float64)
            epochs = np.array([entry["epoch"] for entry in runs[0][:shortest]])
            known = np.isfinite(values).all(0)
            if known.any():
                _runs_and_mean(axis, epochs[known], values[:, known], colours[arm], arm)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("epoch", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=min(len(handles), 6), fontsize=8, frameon=False
    )
    return figure


def acw_curves(histories: Mapping[str, Sequence[Sequence[dict[str, Any]]]], classes: Sequence[str]) -> Figure | None:
    """The adaptive class weights over the epochs: a panel an arm that has them, a thin line a run, their mean thick.

    Args:
        histories: by arm, the log of each of its runs.
        classes: their names.
    """
    weighted = {
        arm: [[entry["acw"] for entry in run] for run in runs]
        for arm, runs in histories.items()
        if runs and all(run and run[0]["acw"] is not None for run in runs)
    }
    if not weighted:
        return None
    figure = Figure(figsize=(4.6 * len(weighted), 3.4), layout="constrained")
    axes = figure.subplots(1, len(weighted), squeeze=False, sharey=True)[0]
    colours = palette(len(classes))
    for axis, (arm, runs) in zip(axes, weighted.items(), strict=True):
        shortest = min(map(len, runs))
        values = np.array([run[:shortest] for run in runs])
        epochs = np.arange(1, shortest + 1)
        for index, name in enumerate(classes):
            _runs_and_mean(axis, epochs, values[:, :, index], colours[index], name)
        axis.set(title=arm, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("adaptive class weight")
    if len(classes) <= MOST_NAMED:
        axes[-1].legend(fontsize=7, ncols=1 + len(classes) // 8)
    return figure


def _runs_and_mean(axis: Axes, epochs: NDArray[Any], values: NDArray[Any], colour: Any, label: str) -> None:
    """Values `(runs, epochs)` as a thin line each and their mean as a thick one, a point where there is one epoch."""
    axis.plot(epochs, values.T, color=colour, linewidth=0.6, alpha=0.4)
    mark = "." if len(epochs) == 1 else None
    axis.plot(epochs, values.mean(0), marker=mark, color=colour, linewidth=2, label=label)
