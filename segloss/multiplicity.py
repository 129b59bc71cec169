"""Several comparisons at once: p-values and intervals that hold for all of them together, and agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .comparison import ALPHA, Comparison
from .networks import Floats
from .sign_flip import DRAWS, SignFlips


def together(comparisons: Sequence[Comparison], draws: int = DRAWS) -> list[Comparison]:
    """Test comparisons: p-values adjusted for their number and simultaneous intervals; too few groups stay untested.

    All are tested by the same patterns of signs, which keeps their correlation. The smallest p-value that a pattern
    would have had over all comparisons is its min P; the adjusted p-value is the share of patterns whose min P is at
    most the p-value itself (Westfall 1993, in a single step), and every interval is that of the p-value at
    which 5 % of the patterns begin. An interval leaves 0 out exactly where its adjusted p-value is 0.05 or less. What
    seeds add is drawn independently for each comparison, which is on the safe side where they share networks.
    The interval of a comparison in which no group differs is that of `Comparison.tied`.

    Args:
        comparisons: of whichever groups and scores; groups of the same name are the same.
        draws: patterns of signs, where not every one is tried.
    """
    tested = [index for index, one in enumerate(comparisons) if one.enough]
    chosen = [comparisons[index] for index in tested]
    if not chosen:
        return list(comparisons)
    values, shares = aligned(chosen)
    flips = SignFlips.of(values, shares, [one.networks for one in chosen], draws)
    p_values, alpha = np.array([one.p_value for one in flips]), ALPHA
    if len(flips) > 1:
        generator = np.random.default_rng(0)
        least = np.sort(np.min([one.as_if_observed(generator) for one in flips], axis=0))
        reached = np.searchsorted(least, least, side="right")
        alpha = float(least[reached > ALPHA * len(least)][0]) * (1 - 1e-9)
        p_values = np.searchsorted(least, p_values * (1 + 1e-12), side="right") / len(least)
    found = list(comparisons)
    for index, one, flipped, p_value in zip(tested, chosen, flips, p_values, strict=True):
        low, high = flipped.interval(alpha)
        if one.tied:
            high = one.limit * -np.expm1(np.log(ALPHA / 2 / len(tested)) / one.groups)
            low = -high
        low, high = (end if np.isinf(end) else float(np.clip(end, -one.limit, one.limit)) for end in (low, high))
        found[index] = replace(one, p_value=float(p_value), low=low, high=high, family=len(tested))
    return found


def aligned(comparisons: Sequence[Comparison]) -> tuple[Floats, Floats]:
    """Values and shares of K comparisons over all of their groups, each `(G, K)`; 0 for groups that one leaves out.

    They come in the order of their numbers, so that what is drawn of them depends on no names.
    """
    names = dict.fromkeys(name for one in comparisons for name in one.names)
    places = {name: place for place, name in enumerate(names)}
    values, shares = np.zeros((2, len(names), len(comparisons)))
    for column, one in enumerate(comparisons):
        rows = [places[name] for name in one.names]
        values[rows, column], shares[rows, column] = one.values, one.shares
    order = np.lexsort((*shares.T, *values.T))
    return values[order], shares[order]
