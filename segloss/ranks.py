"""Ranks of several methods: over data sets, with intervals, and how often each is the best of resampled groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from .comparison import Comparison
from .multiplicity import aligned
from .networks import Floats
from .sign_flip import PART


def mean_ranks(scores: ArrayLike) -> tuple[Floats, float | None]:
    """Mean ranks of methods over several data sets, 1 the best (Demšar 2006), and the p-value of Friedman's test.

    Args:
        scores: `(data sets, methods)`, higher is better.

    Returns:
        One rank a method, and p; None for fewer than three methods or data sets.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"scores must be finite numbers (data sets, methods), got shape {values.shape}")
    ranks = stats.rankdata(-values, axis=1).mean(0)
    if min(values.shape) < 3:
        return ranks, None
    return ranks, float(stats.friedmanchisquare(*values.T).pvalue)


def rank_intervals(methods: Sequence[str], pairs: Mapping[tuple[str, str], Comparison]) -> dict[str, tuple[int, int]]:
    """The best and the worst rank that each method may have, 1 the best; higher scores are better.

    A method is behind those that are distinguishably better than it and ahead of those that are worse. Where the
    comparisons of all pairs hold together (`compare.together`), so do these intervals (Mogstad 2024).

    Args:
        methods: their names.
        pairs: the comparison a − b of every pair, in either order.
    """
    better, worse = dict.fromkeys(methods, 0), dict.fromkeys(methods, 0)
    for (a, b), one in pairs.items():
        if one.distinguishable:
            winner, loser = (a, b) if one.difference > 0 else (b, a)
            better[loser] += 1
            worse[winner] += 1
    return {name: (1 + better[name], len(methods) - worse[name]) for name in methods}


def share_best(comparisons: Sequence[Comparison], draws: int = 2_000) -> Floats:
    """How often each method is the best where groups are drawn anew, and its networks too: `(1 + K,)`, summing to 1.

    Args:
        comparisons: of K methods with one that is the first of the result; higher scores are better.
        draws: resamples.
    """
    values, shares = aligned(comparisons)
    differences = np.array([0.0, *(one.difference for one in comparisons)])
    deviations = np.pad(values - shares * differences[1:], ((0, 0), (1, 0)))
    groups, generator = len(values), np.random.default_rng(0)
    best = np.zeros(len(differences))
    part = max(1, PART // groups)
    for start in range(0, draws, part):
        number = min(part, draws - start)
        drawn = generator.integers(0, groups, (number, groups)) + groups * np.arange(number)[:, None]
        times = np.bincount(drawn.ravel(), minlength=number * groups).reshape(number, groups)  # how often each is
        found = differences + times.astype(np.float64) @ deviations
        for index, one in enumerate(comparisons, start=1):
            if one.networks.variance:
                noise = generator.standard_t(one.networks.freedom, number)
                found[:, index] += np.sqrt(one.networks.variance) * noise
        top = found >= found.max(1, keepdims=True)
        best += (top / top.sum(1, keepdims=True)).sum(0)
    return np.asarray(best / draws)
