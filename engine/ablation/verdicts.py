"""Every arm compared with a baseline, in every measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from segloss import compare
from segloss.compare import Comparison, Outcome
from segloss.comparison import measured
from segloss.document import Header

from ..errors import NothingInCommonError, UsageError
from .comparison import SMALLEST, Measure, Method, common_groups, compared, measures, refuse_different

PAIRED = {
    "case": "Differences are paired by group, over the seeds that both arms have, in the groups whose reference has "
    "the class (distances: where every arm found it).",
    "dataset": "Differences are those of the scores of all groups together, over the seeds that both arms have; paired "
    "is what each group adds to them, to first order. What is scored by group is compared in the groups whose "
    "reference has the class (distances: where every arm found it).",
}
"""What differences are, by the aggregation of the first measure."""
METHOD = (
    "p: sign-flip test of the mean difference, two-sided, with the seeds' "
    "share of the error and, where each fold was tuned, that of its choice; 95 % interval: the differences that this "
    "test does not reject, where no group differs those that so many ties leave possible. Both hold for all rows of "
    "their table together (min P of the same sign flips), so that an interval leaves 0 out exactly where p is 0.05 or "
    "less. Better or worse by a margin: the interval lies beyond it; equivalent: within it. d_z: difference over "
    "standard deviation of the groups' differences."
)

COLUMNS = ["metric", "arm", "difference", "95 % CI", "p", "by the smallest that matters", "arm score", "baseline score"]
COLUMNS += ["groups", "better/equal/worse", "without any one group", "d_z"]


@dataclass(frozen=True)
class Verdicts:
    """What one measure says of every arm.

    Attributes:
        measure: the score.
        baseline: the arm that all are compared with.
        found: by arm, the comparison; p-values and intervals hold for all of their table together.
        header: of the baseline's scores.
        smallest: the difference that would matter, in the unit of the score; infinite where none is set, as of misses.
    """

    measure: Measure
    baseline: str
    found: dict[str, Comparison]
    header: Header
    smallest: float

    @property
    def margin(self) -> str:
        """The difference that would matter, with its unit."""
        return f"{self.smallest:g} {self.measure.unit or self.measure.words}"

    def line(self, arm: str) -> str:
        """A sentence on an arm."""
        return self.found[arm].verdict(
            arm, self.baseline, self.measure.title, self.header.units, self.smallest, self.measure.lower,
            self.measure.unit,
        )  # fmt: skip

    def outcome(self, arm: str) -> Outcome:
        """What the interval of an arm says of the difference that would matter."""
        return self.found[arm].outcome(self.smallest, self.measure.lower)

    def rows(self) -> list[list[str]]:
        """The numbers, an arm a row, under `COLUMNS`."""
        return [
            [
                f"{self.measure.title}{self.measure.unit and ' '}{self.measure.unit}",
                arm,
                self._number(one.difference, "+"),
                "-" if one.low is None or one.high is None else self.span(one.low, one.high),
                chance(one.p_value),
                self.outcome(arm),
                self._number(one.mean_a),
                self._number(one.mean_b),
                str(one.groups),
                f"{self._wins(one)[0]}/{one.ties}/{self._wins(one)[1]}",
                self.span(*self._without(one)) if one.groups > 1 else "-",
                "-" if one.d_z is None else f"{one.d_z:.2f}",
            ]
            for arm, one in self.found.items()
        ]

    def flat(self) -> Iterator[dict[str, Any]]:
        """The numbers at full precision, for a CSV file."""
        for arm, one in self.found.items():
            low, high = self._without(one)
            yield {
                "aggregation": self.measure.aggregation,
                "measure": self.measure.title,
                "unit": self.measure.unit,
                "arm": arm,
                "baseline": self.baseline,
                "score": one.mean_a,
                "baseline_score": one.mean_b,
                "difference": one.difference,
                "low": one.low,
                "high": one.high,
                "p": one.p_value,
                "family": one.family,
                "smallest": self.smallest if np.isfinite(self.smallest) else None,
                "outcome": self.outcome(arm) if np.isfinite(self.smallest) else None,
                "d_z": one.d_z,
                "wins": self._wins(one)[0],
                "ties": one.ties,
                "losses": self._wins(one)[1],
                "without_one_low": low,
                "without_one_high": high,
                "groups": one.groups,
                "seeds": one.seeds,
                "seed_variance": one.networks.variance,
            }

    def _number(self, value: float, sign: str = "") -> str:
        if np.isinf(value):
            return measured(value, "")
        return f"{value:{sign}.2f}" if self.measure.unit else f"{value:{sign}.4f}"

    def span(self, low: float, high: float) -> str:
        """An interval of differences, as tables have it."""
        return f"{self._number(low, '+')} to {self._number(high, '+')}"

    def _wins(self, one: Comparison) -> tuple[int, int]:
        """Groups in which the arm is better, and in which the baseline is."""
        return (one.losses, one.wins) if self.measure.lower else (one.wins, one.losses)

    def _without(self, one: Comparison) -> tuple[float, float]:
        """The least and the greatest difference without one of the groups."""
        return float(one.without.min()), float(one.without.max())


def compare_arms(
    arms: Mapping[str, Method],
    baseline: str,
    smallest: Mapping[str, float] = SMALLEST,
    noise_floor: str | None = None,
) -> list[Verdicts]:
    """Compare every arm with the baseline in every measure; of those after the first, where both have it.

    The arms of the first measure are one family of comparisons, all rows of the others another.

    Args:
        arms: by name, those with scores.
        baseline: one of them.
        smallest: by score, the difference that would matter.
        noise_floor: the arm that is in no family, but tested by itself.
    """
    base = arms[baseline]
    wanted = measures(base)
    if not wanted:
        raise UsageError(f"{base.name}: no class but {base.header.background}: nothing to compare")
    first = _untested(arms, baseline, wanted[0], required=True)
    others = {measure: _untested(arms, baseline, measure) for measure in wanted[1:]}
    found = _tested({wanted[0]: first}, noise_floor) | _tested(others, noise_floor)
    return [
        Verdicts(measure, baseline, of_arms, base.header, smallest.get(measure.score, np.inf))
        for measure, of_arms in found.items()
        if of_arms
    ]


def _untested(
    arms: Mapping[str, Method], baseline: str, measure: Measure, required: bool = False
) -> dict[str, Comparison]:
    """By arm the comparison in one measure, all on the same groups; arms that have nothing of it are left out.

    Raises:
        NothingInCommonError: an arm has none of the baseline's groups, and `required`.
    """
    base = arms[baseline]
    there = {}
    for name, arm in arms.items():
        if name != baseline:
            refuse_different(arm, base)
            if required or common_groups([arm, base], measure):
                there[name] = arm
    groups = common_groups([base, *there.values()], measure)
    found = {}
    for name, arm in there.items():
        try:
            found[name] = compared(arm, base, measure, groups, tested=False)
        except NothingInCommonError:  # a class that no held-out case has, HD95 of another trainer's scores
            if required:
                raise
    return found


def _tested(
    found: Mapping[Measure, dict[str, Comparison]], noise_floor: str | None
) -> dict[Measure, dict[str, Comparison]]:
    """All comparisons as one family; those of the noise floor each by itself."""
    keys = [(measure, arm) for measure, of_arms in found.items() for arm in of_arms if arm != noise_floor]
    tested = dict(zip(keys, compare.together([found[measure][arm] for measure, arm in keys]), strict=True))
    return {
        measure: {
            arm: compare.together([one])[0] if arm == noise_floor else tested[measure, arm]
            for arm, one in of_arms.items()
        }
        for measure, of_arms in found.items()
    }


def fewer_seeds(found: Mapping[str, Comparison]) -> str:
    """The arms that are compared over fewer seeds than others, as ` (dfl: 1)`; empty where all have as many."""
    most = max(one.seeds for one in found.values())
    fewer = [f"{arm}: {one.seeds}" for arm, one in found.items() if one.seeds < most]
    return f" ({', '.join(fewer)})" if fewer else ""


def chance(p_value: float | None) -> str:
    """A p-value as tables print it."""
    if p_value is None:
        return "-"
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
