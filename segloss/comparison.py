"""What is known of the difference of two methods, and how it is said."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from .networks import Floats, Networks

FEWEST = 6
"""Groups below which nothing is tested: 2^5 sign patterns cannot give p < 0.05 on both sides."""
ALPHA, POWER = 0.05, 0.8

Outcome = Literal["better", "worse", "equivalent", "undecided", "untested"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is known of the difference a − b of two methods.

    Attributes:
        mean_a: the mean score of a over groups and seeds, or the pooled score.
        mean_b: that of b.
        difference: a − b.
        wins: groups in which a is higher.
        ties: groups with the same score.
        losses: groups in which b is higher.
        seeds: S.
        names: of the groups; where counts are pooled, those that hold a class that is scored.
        values: `(G,)` what each group adds to the difference.
        shares: `(G,)` what of a common shift of all groups falls to each; sums to 1.
        networks: what the seeds add to the error.
        enough: whether there are enough groups for a test: six.
        limit: the greatest difference that two scores can have: 1 of fractions.
        low: the lower end of the 95 % interval; −∞ where the groups are too few for as many comparisons; None where
            nothing is tested.
        high: its upper end.
        p_value: of the sign-flip test, two-sided; None where nothing is tested.
        family: for how many comparisons together interval and p-value hold; see `together`.
    """

    mean_a: float
    mean_b: float
    difference: float
    wins: int
    ties: int
    losses: int
    seeds: int
    names: Sequence[Hashable]
    values: Floats
    shares: Floats
    networks: Networks
    enough: bool
    limit: float = np.inf
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    family: int = 1

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.names)

    @property
    def distinguishable(self) -> bool:
        """Whether the test rejects that both are the same: exactly where the interval leaves 0 out."""
        return self.p_value is not None and self.p_value <= ALPHA

    @property
    def deviations(self) -> Floats:
        """`(G,)` of each group from the difference, in its unit; where counts are pooled, to first order."""
        found = self.values - self.shares * self.difference
        rounding = 1e-12 * np.abs(self.values).max(initial=0)
        return self.groups * np.where(np.abs(found) <= rounding, 0, found)

    @property
    def spread(self) -> float:
        """The standard deviation of the groups' differences."""
        return float(np.sqrt((self.deviations**2).sum() / (self.groups - 1))) if self.groups > 1 else 0.0

    @property
    def error(self) -> float:
        """The standard error of the difference, of groups and seeds; where counts are pooled, to first order."""
        return float(np.sqrt(self.spread**2 / self.groups + self.networks.variance))

    @property
    def d_z(self) -> float | None:
        """Difference over spread (Cohen); None where groups do not differ."""
        return self.difference / self.spread if self.spread else None

    @property
    def without(self) -> Floats:
        """`(G,)` the difference without each group; where counts are pooled, to first order."""
        left = 1 - self.shares
        return np.asarray(np.where(left > 0, (self.difference - self.values) / np.where(left > 0, left, 1), np.nan))

    @property
    def carrier(self) -> int | None:
        """The index of the group that has more than half of the variance; None where none has."""
        variances = self.deviations**2
        heaviest = int(variances.argmax())
        return heaviest if self.groups > 1 and variances[heaviest] > variances.sum() / 2 else None

    @property
    def tied(self) -> bool:
        """Whether no group differs with any seed, so that nothing is seen of how groups may differ.

        A mean difference of δ takes a share δ / limit of groups that differ, at least; that none of n is among them has
        the probability (1 − δ / limit)^n, at most. The interval ends where that is 2.5 %.
        """
        return not self.values.any() and self.networks.variance == 0

    def outcome(self, smallest: float, lower: bool = False) -> Outcome:
        """What the interval says of a difference that would matter.

        Args:
            smallest: that difference. Equivalent: the interval lies within ± this, which is two one-sided tests at
                2.5 % each; better or worse: it lies beyond.
            lower: lower is better: a distance.
        """
        if self.low is None or self.high is None:
            return "untested"
        if -smallest < self.low and self.high < smallest:
            return "equivalent"
        if self.low >= smallest or self.high <= -smallest:
            return "better" if (self.low > 0) != lower else "worse"
        return "undecided"

    def groups_needed(self, smallest: float) -> tuple[int | None, int | None]:
        """Groups for 80 % power to find a difference as small as this, with as many seeds: a range.

        From the 95 % interval of the spread, of normal differences; where no group differs, as many as exclude it if
        none of them does either. None where no number of groups is enough: the seeds alone vary too much, or the scores
        have no limit.
        """
        if self.tied:
            if smallest >= self.limit or np.isinf(self.limit):
                return None, None
            ties = int(np.ceil(np.log(ALPHA / 2 / self.family) / np.log1p(-smallest / self.limit)))
            return ties, ties
        need = float((stats.norm.isf(ALPHA / 2 / self.family) + stats.norm.ppf(POWER)) ** 2)
        room = smallest**2 / need - self.networks.variance
        if room <= 0 or self.groups < 2:
            return None, None
        freedom = self.groups - 1
        squares = freedom * self.spread**2
        variances = (squares / stats.chi2.isf(tail, freedom) for tail in (ALPHA / 2, 1 - ALPHA / 2))
        fewest = int(np.ceil(1 + np.log2(self.family / ALPHA)))  # of fewer no pattern of signs is rare enough
        low, high = (max(fewest, int(np.ceil(one / room)) + 2) for one in variances)  # + 2: t in place of z
        return low, high

    def verdict(
        self,
        a: str,
        b: str,
        score: str,
        units: str = "patients",
        smallest: float = 0.01,
        lower: bool = False,
        unit: str = "",
    ) -> str:
        """The finding in words that a paper could print.

        Args:
            a: the name of a.
            b: the name of b.
            score: what was compared.
            units: what the groups are.
            smallest: the difference that would matter.
            lower: lower is better: a distance.
            unit: of the score, such as mm; empty for fractions.
        """

        def shown(value: float, sign: str = "") -> str:
            return measured(value, unit, sign)

        seeds = f"{self.seeds} seeds" if self.seeds > 1 else "one seed"
        if self.p_value is None or self.low is None or self.high is None:
            return (
                f"{a} has {shown(self.mean_a)} {score}, {b} {shown(self.mean_b)} ({self.groups} {units}, {seeds}); too "
                f"few {units} for a test, which needs {FEWEST}"
            )
        low, high = self.low, self.high
        if self.distinguishable and self.difference < 0:
            low, high = -high, -low
        found = f"({between(low, high, unit)}, {chance(self.p_value)}; {self.groups} {units}, {seeds})"
        outcome, margin = self.outcome(smallest, lower), f"{smallest:g}{unit and ' '}{unit}"
        if self.distinguishable:
            verb = "improves" if (self.difference > 0) != lower else "worsens"
            amount = {"equivalent": f"by less than {margin}", "undecided": f"whether by {margin} is undecided"}
            size = amount.get(outcome, f"by at least {margin}")
            text = f"{a} {verb} {score} over {b} by {shown(abs(self.difference))} {found}: {size}"
        elif outcome == "equivalent":
            difference = shown(self.difference, "+")
            text = f"{a} and {b} are equivalent in {score}, within {margin}: difference {difference} {found}"
        else:
            text = f"{a} against {b} is undecided in {score}: difference {shown(self.difference, '+')} {found}"
            text += f"; none of these {units} differs, which does not tell how others do" if self.tied else ""
        if self.carrier is not None:
            without = shown(float(self.without[self.carrier]), "+")
            text += f"; {self.names[self.carrier]} alone makes more than half of the variance: without it {without}"
        return text


def measured(value: float, unit: str, sign: str = "") -> str:
    """A score or a difference as sentences print it: three digits of a fraction, two of millimetres."""
    if np.isinf(value):
        return "−∞" if value < 0 else "∞"
    return f"{value:{sign}.2f} {unit}" if unit else f"{value:{sign}.3f}"


def between(low: float, high: float, unit: str = "") -> str:
    """A 95 % interval as sentences print it."""
    return f"95 % CI {measured(low, unit).removesuffix(f' {unit}')} to {measured(high, unit)}"


def chance(p_value: float) -> str:
    """A p-value as sentences print it."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
