"""All arms against each other: pairs, ranks, how often each is the best, and where they fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from segloss import compare

from ..console.sections import Section
from .comparison import Measure, Method, common_groups, compared
from .verdicts import Verdicts, chance

FAILED = 0.5
"""The score of a group below which an arm has failed on it."""


def ranking(arms: Mapping[str, Method], first: Verdicts, noise_floor: str | None = None) -> Iterator[Section]:
    """Ranks of the arms in the primary metric with their intervals, and the comparison of every pair.

    Nothing where there is no arm beside the baseline and its noise floor.

    Args:
        arms: by name.
        first: the verdicts in the primary metric.
        noise_floor: the arm that is left out.
    """
    measure, header = first.measure, first.header
    named = {first.baseline: arms[first.baseline]} | {name: arms[name] for name in first.found if name != noise_floor}
    if len(named) < 2:
        return
    groups = common_groups([*named.values()], measure)
    keys = [*combinations(named, 2)]
    untested = [compared(named[a], named[b], measure, groups, tested=False) for a, b in keys]
    pairs = dict(zip(keys, compare.together(untested), strict=True))
    ranks = compare.rank_intervals([*named], pairs)
    best = compare.share_best([first.found[name] for name in named if name != first.baseline])
    tested = all(one.p_value is not None for one in pairs.values())  # resamples of fewer groups say nothing
    rows = []
    for (name, arm), share in zip(named.items(), best, strict=True):
        low, high = ranks[name]
        rank = str(low) if low == high else f"{low} to {high}"
        shown = f"{share:.0%}" if tested else "-"
        failures, number = _failures(arm, measure, groups)
        rows.append([name, rank, shown, f"{failures:g} of {number}"])
    lines = [
        "Rank: behind the arms that are distinguishably better, ahead of those that are worse. Best: share of 2,000 "
        f"resamples of {header.units} and seeds in which the arm is the best. Failed: {header.units} whose score is "
        f"below {FAILED}, mean over seeds."
    ]
    columns = ["arm", "rank (95 % CI)", "best", "failed"]
    leading = [(row, 0) for row, name in enumerate(named) if ranks[name][0] == 1]
    yield Section(f"ranks in {measure.title}", lines, columns, rows, bold=leading)
    if len(pairs) > 1:
        rows = [
            [
                f"{a} - {b}",
                f"{one.difference:+.4f}",
                "-" if one.low is None or one.high is None else first.span(one.low, one.high),
                chance(one.p_value),
            ]
            for (a, b), one in pairs.items()
        ]
        title = f"all pairs in {measure.title}; p and intervals hold for all {len(pairs)} together"
        yield Section(title, columns=["pair", "difference", "95 % CI", "p"], rows=rows)


def _failures(arm: Method, measure: Measure, groups: list[str]) -> tuple[float, int]:
    """In how many groups the score is below `FAILED`, on average over seeds, and how many have a score.

    Where counts are pooled, a group of which the reference holds nothing of the class counts in the score, but has none
    of its own.
    """
    found, known = [], 0
    for one in map(arm.scores, arm.documents):
        values = one.overlap(measure.score, measure.name)[[one.places[name] for name in groups if name in one.places]]
        found.append(int((values < FAILED).sum()))
        known = max(known, int(np.isfinite(values).sum()))
    return round(float(np.mean(found)), 1), known
