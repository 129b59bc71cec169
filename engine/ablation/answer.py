"""What an ablation says, in one line and in a sentence for each arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from segloss.compare import FEWEST, Comparison
from segloss.comparison import between

from .verdicts import Verdicts

NETWORKS_DIFFER = "These trained networks differ; whether the losses do needs three seeds or more."
NETWORKS_ALONE = "One seed: this is about these trained networks; whether the losses differ needs three seeds or more."
MOST = 100_000
"""Groups beyond which their number says nothing."""


def answer(first: Verdicts, noise_floor: str | None = None) -> str:
    """Which arm to use, or what is missing to say so, in one line.

    Args:
        first: the verdicts in the primary metric, of which more is better.
        noise_floor: the arm that is no choice.
    """
    arms = {arm: one for arm, one in first.found.items() if arm != noise_floor}
    tested = {arm: one for arm, one in arms.items() if one.high is not None}
    if not arms:
        return f"Undecided: {first.baseline} is compared with itself under other seeds alone."
    if not tested:
        return f"Undecided: nothing is tested, which needs {FEWEST} {first.header.units}."
    better = [arm for arm in tested if first.outcome(arm) == "better"]
    if better:
        better.sort(key=lambda arm: -tested[arm].difference)
        others = f"; so {'is' if len(better) == 2 else 'are'} {', '.join(better[1:])}" if len(better) > 1 else ""
        return f"Use {better[0]}: better than {first.baseline} by {_size(first, tested[better[0]])}{others}."
    open_arms = {arm: one for arm, one in tested.items() if one.high is not None and one.high >= first.smallest}
    if not open_arms:
        return f"Use {first.baseline}: nothing is better by {first.margin}."
    lead = max(open_arms, key=lambda arm: open_arms[arm].difference)
    one = open_arms[lead]
    if one.distinguishable and one.difference > 0:
        found = f"{lead} is better than {first.baseline} by {_size(first, one)}; whether by {first.margin} is open"
    else:
        found = f"{lead} against {first.baseline}: {one.difference:+.3f} {first.measure.words} {_span(one)}"
    return f"Undecided: {found}; {_deciding(first, one)} would decide, if the difference stays as it is."


def in_words(
    first: Verdicts, noise_floor: str | None = None, differs: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """The answer, a sentence for each arm, the power where something is undecided, and the noise floor.

    Args:
        first: the verdicts in the primary metric.
        noise_floor: the arm that is the baseline with other seeds.
        differs: by arm, what else it differs from the baseline in.
    """
    arms = {arm: one for arm, one in first.found.items() if arm != noise_floor}
    lines = [answer(first, noise_floor)]
    if alone := {arm: one for arm, one in arms.items() if one.seeds == 1}:
        of_one = NETWORKS_DIFFER if any(one.distinguishable for one in alone.values()) else NETWORKS_ALONE
        lines.append(of_one if len(alone) == len(arms) else f"{', '.join(alone)}: {of_one[0].lower()}{of_one[1:]}")
    for arm in arms:
        other = ", ".join((differs or {}).get(arm, ()))
        lines.append(first.line(arm) + (f"; it also differs in {other}" if other else ""))
    undecided = [
        one for arm, one in arms.items() if first.outcome(arm) == "undecided" and not (one.distinguishable or one.tied)
    ]
    if undecided:
        lines.append(
            f"80 % power for a difference of {first.margin} takes {_needed(first, undecided, first.smallest)}."
        )
    lines += _noise_floor(first, noise_floor)
    return lines


def _noise_floor(first: Verdicts, noise_floor: str | None) -> Iterator[str]:
    if noise_floor in first.found:
        same = first.found[noise_floor]
        within = "" if same.low is None or same.high is None else f" (95 % CI {first.span(same.low, same.high)})"
        yield (
            f"noise floor: with other seeds the baseline differs by {same.difference:+.4f}{within}; differences of "
            "that size mean nothing"
        )


def _size(first: Verdicts, one: Comparison) -> str:
    return f"{one.difference:.3f} {first.measure.words} {_span(one)}"


def _span(one: Comparison) -> str:
    return "" if one.low is None or one.high is None else f"({between(one.low, one.high)})"


def _deciding(first: Verdicts, one: Comparison) -> str:
    """The number of groups that would tell a difference as it is from the smallest that matters."""
    return _needed(first, [one], abs(one.difference - first.smallest), fewest=one.groups + 1)


def _needed(first: Verdicts, undecided: Sequence[Comparison], smallest: float, fewest: int = 0) -> str:
    """The number of groups for 80 % power to find a difference, as a range."""
    units = first.header.units
    ranges = [one.groups_needed(smallest) for one in undecided]
    known = [(low, high) for low, high in ranges if low is not None and high is not None]
    if len(known) < len(ranges) and any(one.networks.variance for one in undecided):
        chosen = any(one.networks.choices > 0 for one in undecided)
        return f"more seeds{' and folds' if chosen else ''} (more {units} alone do not suffice)"
    low = max(fewest, min((low for low, _ in known), default=MOST + 1))
    high = max(low, *(high for _, high in known), 0)
    if low > MOST:
        return f"more than {MOST:,} {units}"
    return f"about {low:,} to {high:,} {units}" if low < high else f"about {low:,} {units}"
