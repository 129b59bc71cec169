"""The effective number of images of each class, and what it weighs, by beta (Cui 2019, Figs. 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from .chart import plain_ticks
from .palette import OKABE_ITO

COLOURS = [OKABE_ITO[index] for index in (1, 2, 3, 5, 6, 7)]
"""Without black, and without yellow, which is pale as a line."""


def effective_number(images: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """Eₙ = (1 − βⁿ) / (1 − β) of n images: 1 for β = 0, and n as β comes near 1; β in (0, 1)."""
    found: NDArray[np.float64] = -np.expm1(images * np.log(beta)) / (1 - beta)
    return found


def effective_picture(
    images: Sequence[int], classes: Sequence[str], weights: Mapping[float, Sequence[float]]
) -> Figure:
    """Effective numbers and class weights over the images of a class, a curve a beta.

    Args:
        images: of each class.
        classes: their names.
        weights: of each class, by beta in (0, 1).
    """
    counts = np.array(images, dtype=np.float64)
    there = np.flatnonzero(counts)
    order = there[np.argsort(counts[there], kind="stable")]
    own = counts[order]
    curve = np.geomspace(1, 10 * own[-1], 200)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for colour, (beta, of_classes) in zip(COLOURS, weights.items(), strict=False):
        left.plot(curve, effective_number(curve, beta), color=colour, linewidth=1.2, label=f"β = {beta:g}")
        left.plot(own, effective_number(own, beta), color=colour, marker=".", linestyle="none")
        right.plot(own, np.array(of_classes)[order], color=colour, marker=".", linewidth=1.2)
    left.plot(curve, curve, color="#888888", linewidth=0.8, linestyle=":", label="every image counts (β → 1)")
    right.axhline(1, color="#888888", linewidth=0.8, linestyle=":")
    left.set(title="effective number of images", ylabel="Eₙ = (1 − βⁿ) / (1 − β)")
    right.set(title="class weight", ylabel="weight; without weights 1")
    for axis in (left, right):
        axis.set(xscale="log", yscale="log", xlabel="n, training images of a class (dots: the classes)")
        axis.grid(alpha=0.3)
        for each in (axis.xaxis, axis.yaxis):
            plain_ticks(each, lambda value: f"{value:g}")
    left.xaxis.set_major_locator(LogLocator())  # of many decades
    for index, side in ((order[0], "left"), (order[-1], "right")):
        place = (counts[index], 1)
        right.annotate(classes[index], place, textcoords="offset points", xytext=(0, 4), ha=side, fontsize=8)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure
