"""How large images are, and how much of each class they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from .chart import plain_ticks
from .montage import shortened
from .palette import OKABE_ITO

BINS = 24
MOST = 12
"""Classes that have a histogram, the rarest."""


def sizes_picture(
    sides: Mapping[str, Sequence[float]], amounts: Mapping[str, Sequence[float]], unit: str
) -> Figure | None:
    """A histogram for each side and each class, one below the other; None where no two values differ.

    Args:
        sides: by name, such as `rows`, of each case.
        amounts: by class, of each case that holds it, above 0; on one logarithmic axis.
        unit: of the amounts.
    """
    differing = {name: values for name, values in sides.items() if len({*values}) > 1}
    rarest = sorted((name for name in amounts if amounts[name]), key=lambda name: float(np.median(amounts[name])))
    of_classes = {name: amounts[name] for name in rarest[:MOST]}
    ends = [end for values in of_classes.values() for end in (min(values), max(values))]
    if not ends or min(ends) == max(ends):
        of_classes = {}
    number = len(differing) + len(of_classes)
    if not number:
        return None
    figure = Figure(figsize=(4.8, 0.85 * number + 0.9), layout="constrained")
    axes = figure.subplots(number, 1, squeeze=False)[:, 0]
    for axis, (name, values) in zip(axes, differing.items(), strict=False):
        axis.hist(values, BINS, color=OKABE_ITO[5])
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_title(f"{name} of a case", fontsize=8, loc="left", pad=2)
    for axis, (name, values) in zip(axes[len(differing) :], of_classes.items(), strict=True):
        axis.hist(values, np.geomspace(min(ends), max(ends), BINS + 1), color=OKABE_ITO[6])
        axis.set(xscale="log", xlim=(min(ends) / 1.1, max(ends) * 1.1))
        plain_ticks(axis.xaxis, lambda value: f"{value:g}")
        if max(ends) > 100 * min(ends):
            axis.xaxis.set_major_locator(LogLocator())
        axis.set_title(f"{shortened(name, 40)}: {unit}, {len(values)} cases", fontsize=8, loc="left", pad=2)
    for axis in axes:
        axis.tick_params(labelsize=7)
        axis.yaxis.get_major_locator().set_params(integer=True, nbins=3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_ylabel("cases", fontsize=8)
    return figure
