"""Curves of the classes over a training: scores, class weights, shares of the loss and of its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from segloss.aggregation import LABEL_METRICS
from segloss.document import Primary

from .chart import plain_ticks
from .palette import MOST_NAMED, OKABE_ITO, palette

Entry = dict[str, Any]
MARKED = 40
"""Epochs whose points are drawn; of more, the line alone."""


class Panel(NamedTuple):
    """Curves of the classes.

    Attributes:
        title: what is shown.
        epochs: those that have it.
        values: `(epochs, C)`, NaN where undefined.
        pixels: `(C,)` the share of pixels or images, to compare a share with; None for what is no share.
    """

    title: str
    epochs: list[int]
    values: NDArray[np.float64]
    pixels: list[float] | None = None


def class_curves(history: Sequence[Entry], classes: Sequence[str], primary: Primary) -> Figure | None:
    """The curves of every class over the epochs, as far as the log holds them; None where it holds none.

    Args:
        history: the lines of the log; those of older programs lack some.
        classes: their names.
        primary: whose aggregation and score of a class are drawn.
    """
    panels = _panels(history, classes, primary)
    if not panels:
        return None
    columns = len(panels) if len(panels) < 4 else 2
    lines = -(-len(panels) // columns)
    named = len(classes) <= MOST_NAMED
    height = max(3.6 * lines, 0.2 * len(classes) if named else 0)
    figure = Figure(figsize=(5.2 * columns + 1.8, height), layout="constrained")
    axes = np.ravel(figure.subplots(lines, columns, squeeze=False))
    for axis, panel in zip(axes, panels, strict=False):
        _draw(axis, panel, classes, "images" if primary.metric in LABEL_METRICS else "pixels")
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    if named:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _panels(history: Sequence[Entry], classes: Sequence[str], primary: Primary) -> list[Panel]:
    scored = [entry for entry in history if entry.get("validation")]
    weighted = [entry for entry in history if entry.get("acw")]
    shared = [entry for entry in history if entry.get("shares")]
    found = []
    if scored:
        logged = [entry["validation"][primary.aggregation]["classes"] for entry in scored]
        values = [[of_classes[name][primary.score] for name in classes] for of_classes in logged]
        by = "" if primary.metric in LABEL_METRICS else f"{primary.aggregation} "
        found.append(_panel(f"validation {by}{primary.score}", scored, values))
    if weighted:
        found.append(_panel("adaptive class weights", weighted, [entry["acw"] for entry in weighted]))
    for name, title in (("loss", "share of the loss"), ("gradient", "share of the gradient at the logits")):
        known = [entry for entry in shared if entry["shares"][name] is not None]
        if known:
            panel = _panel(title, known, [entry["shares"][name] for entry in known])
            found.append(panel._replace(pixels=known[-1]["shares"]["pixels"]))
    return found


def _panel(title: str, entries: Sequence[Entry], values: Sequence[Sequence[float | None]]) -> Panel:
    return Panel(title, [entry["epoch"] for entry in entries], np.array(values, dtype=np.float64))


def _draw(axis: Axes, panel: Panel, classes: Sequence[str], counted: str) -> None:
    colours = palette(len(classes))
    if len(classes) > MOST_NAMED:
        _draw_unnamed(axis, panel, colours)
    many, mark = len(classes) > len(OKABE_ITO), "." if len(panel.epochs) <= MARKED else None
    for index, name in enumerate(classes if len(classes) <= MOST_NAMED else ()):
        values, style = panel.values[:, index], "--" if many and index % 2 else "-"
        if panel.pixels is not None:
            values = np.where(values > 0, values, np.nan)
            if panel.pixels[index] > 0:
                axis.plot(0, panel.pixels[index], color=colours[index], marker=">", clip_on=False)
        axis.plot(panel.epochs, values, style, color=colours[index], label=name, marker=mark, linewidth=1.2)
    axis.set(title=panel.title, xlabel="epoch")
    if panel.pixels is not None:
        axis.set(yscale="log", ylim=(None, 1.3), xlabel=f"epoch (▸ at 0: share of the {counted})")
        plain_ticks(axis.yaxis, lambda share: f"{100 * share:g} %")
    elif panel.title.startswith("validation"):
        axis.set(ylim=(0, 1.05))
    axis.grid(alpha=0.3)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_unnamed(axis: Axes, panel: Panel, colours: NDArray[np.float64]) -> None:
    """The curves of so many classes that none is named, as one: a thousand by themselves take half a minute."""
    values = panel.values if panel.pixels is None else np.where(panel.values > 0, panel.values, np.nan)
    if panel.pixels is not None:
        known = np.array(panel.pixels) > 0
        at = np.zeros(int(known.sum()))
        axis.scatter(
            at, np.array(panel.pixels)[known], c=colours[known], marker=">", s=20, clip_on=False, rasterized=True
        )
    if len(panel.epochs) <= MARKED:
        epochs = np.repeat(panel.epochs, len(colours))
        axis.scatter(epochs, values.ravel(), c=np.tile(colours, (len(panel.epochs), 1)), s=6, rasterized=True)
    lines = [np.column_stack([panel.epochs, of_class]) for of_class in values.T]
    axis.add_collection(LineCollection(lines, colors=colours, linewidths=1.2, rasterized=True))
    axis.autoscale_view()
