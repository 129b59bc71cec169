"""The sign-flip test of a difference of two methods, and the interval that is its inversion.

A difference Δ is a sum over groups: Δ = Σ v_g. A shift of δ takes δ·ω_g from group g, Σ ω_g = 1; where groups count
alike ω_g is 1/G. If both methods are alike but for a shift of δ, the sign of each v_g − δ·ω_g is as likely + as −, so
that the p-value of δ is the share of all patterns of signs whose sum is as extreme as the one observed. The interval
holds every δ that is not rejected. Flipping the groups F lowers the sum by 2 Σ_F (v_g − δ·ω_g), so that it rejects
δ from below where few of the subset means Σ_F v_g / Σ_F ω_g are δ or less: the ends of the interval are quantiles of
the subset means (Hartigan 1969), one set of patterns serves every δ, and interval and p-value never disagree.

Dividing by the standard deviation would change nothing: Σ (v_g − δ·ω_g)² is the same for every pattern.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from .networks import Floats, Networks

EXACT = 14
"""Up to so many groups every pattern of signs is tried."""
DRAWS = 10_000
"""Patterns beyond that, each together with its complement."""
PART = 4_000_000
"""Numbers drawn at a time."""
STEPS = 10_000
"""Of the table of a t distribution, on each side of 0."""


def subset_sums(values: Floats, draws: int = DRAWS) -> Floats:
    """The sums over the groups that a pattern of signs flips, `(P, K)`, of columns `(G, K)`; the first flips none.

    A pattern and its complement stand for each other, so that of every two one is given. Which of equal groups are
    flipped changes no sum: of n of them Bin(n, 1/2) are, which is drawn in place of their signs.
    """
    if len(values) <= EXACT:
        signs = np.arange(2 ** (len(values) - 1))[:, None] >> np.arange(len(values)) & 1
        return np.asarray(signs.astype(np.float64) @ values)
    cells, sizes = equal_rows(values)
    single = np.count_nonzero(sizes == 1)
    order = np.argsort(sizes > 1, kind="stable")  # those of one group first
    cells, sizes = cells[order], sizes[order]
    generator, part = np.random.default_rng(0), max(1, PART // len(sizes))
    found = [np.zeros((1, values.shape[1]))]
    for start in range(0, draws, part):
        number = min(part, draws - start)
        flipped = np.empty((number, len(sizes)))
        flipped[:, :single] = generator.integers(0, 2, (number, single), dtype=np.int8)
        flipped[:, single:] = generator.binomial(sizes[single:], 0.5, (number, len(sizes) - single))
        found.append(flipped @ cells)
    return np.concatenate(found)


def equal_rows(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The different rows `(D, K)` of values `(G, K)`, in the order in which they come, and how often each `(D,)`."""
    places: dict[bytes, int] = {}
    index = [places.setdefault(row.tobytes(), len(places)) for row in values + 0.0]  # −0 is 0
    first = np.unique(index, return_index=True)[1]
    return values[first], np.bincount(index)


class SignFlips:
    """What the patterns of signs make of one difference.

    Args:
        difference: Δ.
        moved: `(P,)` 2 Σ_F v_g of each pattern: by how much it lowers Δ.
        weight: `(P,)` 2 Σ_F ω_g.
        networks: what the seeds add to the error: to each pattern its whole distribution is added, not a draw.
    """

    def __init__(self, difference: float, moved: Floats, weight: Floats, networks: Networks) -> None:
        self.difference, self.networks = difference, networks
        moved, weight = (np.concatenate([one, 2 * total - one]) for one, total in ((moved, difference), (weight, 1.0)))
        rounding = 1e-12 * max(np.abs(moved).max(), abs(difference))
        self.moved = np.where(np.abs(moved) <= rounding, 0.0, moved)
        self.weight = np.where(weight <= 1e-12, 0.0, weight)

    @classmethod
    def of(cls, values: Floats, shares: Floats, networks: list[Networks], draws: int = DRAWS) -> list[SignFlips]:
        """Those of K differences over the same G groups, by the same patterns.

        Args:
            values: `(G, K)` v_g of each.
            shares: `(G, K)` ω_g of each; 0, as v_g, for a group that a difference leaves out.
            networks: of each.
            draws: patterns, where not every one is tried.
        """
        both = np.concatenate([values, shares], axis=1)
        moved, weight = np.split(2 * subset_sums(both, draws), 2, axis=1)
        return [
            cls(float(values[:, index].sum()), moved[:, index], weight[:, index], one)
            for index, one in enumerate(networks)
        ]

    def p_greater(self, shift: float) -> float:
        """The p-value of a true difference of `shift` or less, against a greater one; it grows with `shift`."""
        return self._reached(self.moved - shift * self.weight)

    def p_less(self, shift: float) -> float:
        """The p-value of a true difference of `shift` or more, against a smaller one."""
        return self._reached(shift * self.weight - self.moved)

    @property
    def p_value(self) -> float:
        """The two-sided p-value of no difference."""
        return min(1.0, 2 * min(self.p_greater(0.0), self.p_less(0.0)))

    def interval(self, alpha: float) -> tuple[float, float]:
        """The differences whose two-sided p-value is above `alpha`; infinite where the groups are too few for it."""
        told = self.weight > 0
        means = np.sort(self.moved[told] / self.weight[told])
        place = int(np.floor(alpha / 2 * len(told) - (len(told) - len(means)) + 1e-11))
        if place < 0:
            return -np.inf, np.inf
        low, high = float(means[place]), float(means[-1 - place])
        if self.networks.variance:
            low, high = min(low, self._end(-1.0, alpha / 2)), max(high, self._end(1.0, alpha / 2))
        return low, high

    def as_if_observed(self, generator: np.random.Generator) -> Floats:
        """The p-value that each pattern would have had, `(P,)`, with networks drawn anew for each."""
        found = self.difference - self.moved[: len(self.moved) // 2]
        if self.networks.variance:
            found = found + np.sqrt(self.networks.variance) * generator.standard_t(self.networks.freedom, len(found))
        size = np.abs(found)
        below = np.searchsorted(np.sort(size), size - 1e-12 * size.max(), side="left")
        return np.asarray((len(size) - below) / len(size))

    def _reached(self, short: Floats) -> float:
        """The share of patterns that reach what was observed, from which they fall short by so much.

        Where seeds count it is never less than without them: of six groups that agree two patterns of 64 are as extreme
        as what was observed, whatever little the seeds add.
        """
        share = float((short <= 0).mean())
        return max(share, self._likely(short)) if self.networks.variance else share

    def _likely(self, short: Floats) -> float:
        """How likely a pattern with what the seeds add reaches what was observed, on average."""
        reach = short / np.sqrt(self.networks.variance)
        place = (1 - reach / (1 + np.abs(reach))) * STEPS
        below = np.minimum(place.astype(np.int64), 2 * STEPS - 1)
        table = _t_distribution(self.networks.freedom)
        return float((table[below] + (place - below) * (table[below + 1] - table[below])).mean())

    def _end(self, side: float, tail: float) -> float:
        """The end of the interval on a side, by what the seeds add: the root of a p-value that falls on that side."""

        def p_value(shift: float) -> float:
            return self._likely(side * (shift * self.weight - self.moved))

        step = np.sqrt(self.networks.variance)
        while p_value(self.difference + side * step) > tail:
            step *= 2
        return float(
            optimize.brentq(
                lambda shift: p_value(shift) - tail, self.difference, self.difference + side * step, xtol=1e-6 * step
            )
        )


@lru_cache
def _t_distribution(freedom: int) -> Floats:
    """The distribution function of t at t/(1 + |t|) = -1, …, 1; between its points linear to 1e-8, and fast."""
    at = np.linspace(-1, 1, 2 * STEPS + 1)[1:-1]
    return np.concatenate([[0.0], special.stdtr(freedom, at / (1 - np.abs(at))), [1.0]])
