"""Pictures of what a trained network confuses, how sure it is, and what its last layer sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .palette import MOST_NAMED, OKABE_ITO, palette

MARKS = "os^Dv"
NUMBERED = 40
FEW = 20
"""Pixels or images: a bin of fewer says nothing."""


def confusion_picture(matrix: Sequence[Sequence[int]], classes: Sequence[str], counted: str = "pixels") -> Figure:
    """The confusion matrix in percent of each row; a class that the reference lacks has an empty row.

    Args:
        matrix: `(C, C)` numbers, rows the reference, columns the prediction.
        classes: the names of the C classes; of more than `NUMBERED` the shares are colours alone, of more than
            `MOST_NAMED` without names.
        counted: what is counted.
    """
    counts = np.array(matrix, dtype=np.float64)
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(100 * counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    many = len(classes) > NUMBERED
    named = len(classes) <= MOST_NAMED
    side = max(3.6, 1.6 + (0.16 if many else 0.45) * len(classes)) if named else 10.0
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for row, column in [] if many else np.argwhere(np.isfinite(shares)).tolist():
        share = shares[row, column]
        text = f"{share:.1f}" if share >= 0.05 else "0" if counts[row, column] == 0 else "<.1"
        axis.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if share > 55 else "#333333")
    size = 6 if many else 8
    places = range(len(classes) if named else 0)
    axis.set_xticks(places, classes[: len(places)], rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    percent = [f"{name}  {100 * total / counts.sum():.2g} %" for name, total in zip(classes, totals[:, 0], strict=True)]
    axis.set_yticks(places, (percent if counts.any() else classes)[: len(places)], fontsize=size)
    axis.set(xlabel="prediction", ylabel=f"reference, and its share of the {counted}")
    figure.colorbar(shown, label=f"% of the reference's {counted}", shrink=0.8)
    return figure


def reliability_picture(calibration: dict[str, Any], counted: str = "pixels", regions: bool = False) -> Figure:
    """Reliability curves: accuracy by confidence, of the top class, and of each class against the rest.

    Of regions, which overlap, in place of the top class all decisions whether a pixel is in one.

    Bins of fewer than `FEW` are not drawn.

    Args:
        calibration: see `segloss.calibration.Calibration.document`.
        counted: what is counted.
        regions: whether the classes are regions.
    """
    classes, kind = calibration["classes"], "region" if regions else "class"
    many = len(classes) > len(OKABE_ITO)
    named = len(classes) <= MOST_NAMED
    height = max(4.4, 0.2 * len(classes) if named else 0)
    figure = Figure(figsize=(10.5 + 1.5 * many, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curve(left, calibration["bins"], color=OKABE_ITO[5], marker="o", markersize=4)
    counts = np.array([one["count"] for one in calibration["bins"]], dtype=np.float64)
    edges = np.linspace(0, 1, len(counts) + 1)
    left.bar(edges[:-1], counts / max(counts.sum(), 1), 1 / len(counts), align="edge", color=OKABE_ITO[5], alpha=0.2)
    left.set(
        title=f"{'in or out of a region' if regions else 'most probable class'}: ECE {_number(calibration['ece'])}",
        xlabel=f"confidence (bars: share of the {counted})",
        ylabel="accuracy",
    )
    colours = palette(len(classes))
    if not named:  # as one, which takes a second where a thousand curves take half a minute
        lines = [_points(of_class["bins"]) for of_class in classes.values()]
        right.add_collection(LineCollection(lines, colors=colours, linewidths=1.2))
    for index, (name, of_class) in enumerate(classes.items() if named else ()):
        style = "--" if many and index % 2 else "-"
        label = f"{name}: {_number(of_class['ece'])}"
        _curve(right, of_class["bins"], color=colours[index], marker=".", linestyle=style, label=label)
    right.set(
        title=f"each {kind} against the rest",
        xlabel=f"probability of the {kind}",
        ylabel=f"how often it is {'in that region' if regions else 'that class'}",
    )
    if named:
        figure.legend(title="ECE", loc="outside right upper", fontsize=8, frameon=False)
    for axis in (left, right):
        axis.plot([0, 1], [0, 1], color="#888888", linewidth=0.8, linestyle=":")
        axis.set(xlim=(0, 1), ylim=(0, 1.02))
        axis.grid(alpha=0.3)
    return figure


def _curve(axis: Axes, bins: Sequence[dict[str, Any]], **style: Any) -> None:
    axis.plot(*_points(bins).T, linewidth=1.2, **style)


def _points(bins: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Confidence and accuracy of the bins that are drawn, `(n, 2)`."""
    full = [(one["confidence"], one["accuracy"]) for one in bins if one["count"] >= FEW]
    return np.array(full, dtype=np.float64).reshape(-1, 2)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def features_picture(
    points: NDArray[np.float64],
    shares: NDArray[np.float64],
    labels: NDArray[np.int64],
    embedding: tuple[NDArray[np.intp], NDArray[np.float64]],
    classes: Sequence[str],
) -> Figure:
    """Pixels or images by the first two principal components of their features, and beside it by t-SNE.

    Args:
        points: `(P, 2)`.
        shares: `(2,)` the share of the variance that each component explains.
        labels: `(P,)` true classes.
        embedding: the numbers of those that t-SNE was given, and where it puts them; see `engine.scoring.features`.
        classes: the names of the C classes.
    """
    chosen, neighbours = embedding
    figure = Figure(figsize=(12.4 if len(chosen) else 7.4, 5.2), layout="constrained")
    axes = figure.subplots(1, 2 if len(chosen) else 1, squeeze=False)[0]
    _scatter(axes[0], points, labels, classes)
    axes[0].set(
        title="penultimate features, evenly drawn per class",
        xlabel=f"principal component 1 ({100 * shares[0]:.0f} % of the variance)",
        ylabel=f"principal component 2 ({100 * shares[1]:.0f} %)",
    )
    for axis in axes[1:]:
        _scatter(axis, neighbours, labels[chosen], classes)
        some = f", {len(chosen)} of {len(points)}" if len(chosen) < len(points) else ""
        axis.set(
            title=f"the same by t-SNE{some}", xlabel="distances and sizes of clusters mean little", xticks=[], yticks=[]
        )
    if len(classes) <= MOST_NAMED:
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _scatter(axis: Axes, points: NDArray[np.float64], labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Points `(P, 2)` with the colour and the mark of their class."""
    colours = palette(len(classes))
    style: dict[str, Any] = {"s": 14, "alpha": 0.6, "linewidths": 0}
    for index, name in enumerate(classes if len(classes) <= MOST_NAMED else ()):
        own = points[labels == index]
        if len(own):
            mark = MARKS[index // 4 % len(MARKS)] if len(classes) > len(OKABE_ITO) else "o"
            axis.scatter(*own.T, color=colours[index], marker=mark, label=name, **style)
    if len(classes) > MOST_NAMED:
        axis.scatter(*points.T, color=colours[labels], **style)
    axis.grid(alpha=0.3)
