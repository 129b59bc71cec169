"""A score over the values of a key in which arms differ and in nothing else (Cui 2019, Fig. 5; Kato, Table 7)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..experiment.identity import FREE, within
from ..pictures.palette import palette
from .comparison import Method
from .score_tables import score_by_seed

FEWEST = 3
"""Values that make a curve."""
COLUMNS = 3
"""Panels beside each other."""
APART = ("name", "seed", "data.split.fold", *FREE)
"""Keys in which all arms differ, or that do not decide what comes out."""


class Sweep(NamedTuple):
    """Arms that differ in the value of one key alone.

    Attributes:
        key: dotted.
        arms: the name of each by its value, ascending.
        rest: what else their configuration says, by dotted key.
    """

    key: str
    arms: Mapping[float, str]
    rest: Mapping[str, Any]


def sweeps(values: Mapping[str, Mapping[str, Any]]) -> list[Sweep]:
    """The keys whose value alone tells three arms or more apart, once for each set of such arms.

    Args:
        values: by arm, its configuration by dotted key.
    """
    kept = {arm: {key: one[key] for key in one if not within(key, APART)} for arm, one in values.items()}
    found = []
    for key in dict.fromkeys(key for one in kept.values() for key, value in one.items() if _is_number(value)):
        alike: dict[str, dict[float, str]] = {}
        for arm, one in kept.items():
            if _is_number(one.get(key)):
                rest = json.dumps({other: one[other] for other in sorted(one) if other != key})
                alike.setdefault(rest, {}).setdefault(one[key], arm)
        found += [Sweep(key, dict(sorted(arms.items())), json.loads(rest)) for rest, arms in alike.items()]
    return [one for one in found if len(one.arms) >= FEWEST]


def sweep_picture(values: Mapping[str, Mapping[str, Any]], arms: Mapping[str, Method]) -> Figure | None:
    """The primary metric over the values of each key of `sweeps`: a panel a key, a line for each set of arms.

    Means over seeds, with their standard deviation.

    Args:
        values: by arm, its configuration by dotted key.
        arms: the same with their scores.
    """
    found = sweeps(values)
    if not found:
        return None
    primary = next(iter(arms.values())).header.primary
    panels = {key: [one for one in found if one.key == key] for key in dict.fromkeys(one.key for one in found)}
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(4.8 * columns, 3.6 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis, (key, of_key) in zip(axes, panels.items(), strict=False):
        tried = sorted({value for one in of_key for value in one.arms})
        colours = palette(max(2, len(of_key)))
        for colour, one, label in zip(colours, of_key, _labels(of_key), strict=False):
            scores = {v: score_by_seed(arms[arm], primary.aggregation, primary.metric) for v, arm in one.arms.items()}
            known = {value: of_seeds for value, of_seeds in scores.items() if of_seeds}
            means = [mean(of_seeds) for of_seeds in known.values()]
            spread = [stdev(of_seeds) if len(of_seeds) > 1 else 0.0 for of_seeds in known.values()]
            places = [tried.index(value) for value in known]
            axis.errorbar(places, means, spread, color=colour, marker="o", capsize=3, linewidth=1.4, label=label)
        axis.set_xticks(np.arange(len(tried)), [f"{value:.12g}" for value in tried])
        axis.set(xlabel=f"{key.replace('.0.', '.')}, the values tried", ylabel=str(primary))
        axis.grid(alpha=0.3)
        if len(of_key) > 1:
            axis.legend(fontsize=7, frameon=False)
    return figure


def _labels(found: list[Sweep]) -> list[str]:
    """What tells the lines of a panel apart: names, then the values in which those that have a key differ."""
    keys = list(dict.fromkeys(key for one in found for key in one.rest))
    differ = [key for key in keys if len({json.dumps(one.rest[key]) for one in found if key in one.rest}) > 1]
    differ.sort(key=lambda key: not any(isinstance(one.rest.get(key), str) for one in found))
    return [", ".join(_named(key, one.rest[key]) for key in differ if key in one.rest) for one in found]


def _named(key: str, value: Any) -> str:
    """A value with the last part of its key, names alone."""
    return value if isinstance(value, str) else f"{key.rpartition('.')[2]} {json.dumps(value)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
