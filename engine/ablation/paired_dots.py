"""Every arm and the baseline group by group, as data of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

import datasets

from ..console.sections import Dot, PairedDots, Section
from .comparison import Method, group_scores
from .verdicts import Verdicts

MOST = 400
"""Groups that are drawn."""


def paired_dots(
    first: Verdicts, arms: Mapping[str, Method], noise_floor: str | None = None, pictured: bool = False
) -> Section:
    """The groups of each arm beside the baseline's, in one measure.

    Args:
        first: the verdicts in that measure.
        arms: by name.
        noise_floor: the arm that is left out.
        pictured: cases are shown below, to which dots lead.
    """
    shown = [_of_arm(first, arms, arm) for arm in first.found if arm != noise_floor]
    units = first.header.units
    lines = [
        f"Each dot is one of the {units}. Band: differences of less than {first.margin}; blue: better by more, orange: "
        f"worse by more.{' Click on a dot to see its case, where that is shown below.' if pictured else ''}"
    ]
    most = max(one.groups for one in first.found.values())
    if most > MOST:
        lines.append(f"{MOST} of {most} {units} are drawn, evenly spaced from the lowest difference to the highest.")
    return Section(f"{units}, one by one, in {first.measure.title}", lines, dots=shown)


def _of_arm(first: Verdicts, arms: Mapping[str, Method], arm: str) -> PairedDots:
    one = first.found[arm]
    mine, theirs = group_scores(arms[arm], arms[first.baseline], first.measure, list(map(str, one.names)))
    known = np.isfinite(mine - theirs)
    order = [index for index in np.argsort(mine - theirs, kind="stable").tolist() if known[index]]
    if len(order) > MOST:
        order = [order[at] for at in datasets.evenly_spaced(len(order), MOST)]
    cases = _cases(arms[arm])
    dots = [
        Dot(str(one.names[index]), cases[str(one.names[index])], float(theirs[index]), float(mine[index]))
        for index in order
    ]
    finite = one.low is not None and one.high is not None and bool(np.isfinite([one.low, one.high]).all())
    title = first.measure.title + (f" in {first.measure.unit}" if first.measure.unit else "")
    low, high = (one.low, one.high) if finite else (None, None)
    return PairedDots(arm, first.baseline, title, first.smallest, one.difference, low, high, dots)


def _cases(method: Method) -> dict[str, list[str]]:
    """The cases of each group."""
    found: dict[str, dict[str, None]] = {}
    for group, case in _rows(method):
        found.setdefault(group, {})[case] = None
    return {group: [*cases] for group, cases in found.items()}


def _rows(method: Method) -> Iterator[tuple[str, str]]:
    return ((row.group, row.case) for seed in method.documents for _, row in method.rows(seed))
