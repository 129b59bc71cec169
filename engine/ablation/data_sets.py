"""Several ablations, one a data set, together: mean ranks of the arms, and their differences with random effects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from segloss.compare import RandomEffects, mean_ranks, random_effects
from segloss.comparison import between

from ..console.sections import Section, Subject
from .conclusion import Conclusion
from .verdicts import Verdicts, chance


def joined(ablations: Sequence[Conclusion]) -> Subject | None:
    """What several ablations say of the arms that they share; None where there are no two of either."""
    found = [one for one in ablations if one.verdicts]
    floors = {one.record.noise_floor for one in found}
    shared = [arm for arm in found[0].arms if all(arm in one.arms for one in found)] if found else []
    shared = [arm for arm in shared if arm not in floors]
    if len(found) < 2 or len(shared) < 2:
        return None
    names = [one.record.name for one in found]
    unique = [name if names.count(name) == 1 else f"{name} ({at})" for at, name in enumerate(names, start=1)]
    verdicts = dict(zip(unique, (one.verdicts[0] for one in found), strict=True))
    return Subject("together", [*_differences(verdicts, shared), _ranks(verdicts, shared)])


def _differences(verdicts: dict[str, Verdicts], shared: Sequence[str]) -> Iterator[Section]:
    """The differences from the baseline over data sets; nothing where baselines or scores are not the same."""
    first = next(iter(verdicts.values()))
    scores = {name: f"{_words(one)} against {one.baseline}" for name, one in verdicts.items()}
    if len({*scores.values()}) > 1:
        named = ", ".join(f"{name}: {words}" for name, words in scores.items())
        yield Section("differences over data sets", [f"Not worked out, since these are not the same: {named}."])
        return
    smallest = max(one.smallest for one in verdicts.values())
    every = {arm: [one.found[arm] for one in verdicts.values()] for arm in shared if arm != first.baseline}
    known = {arm: of_arm for arm, of_arm in every.items() if all(one.groups > 1 and one.error > 0 for one in of_arm)}
    found = {
        arm: random_effects([one.difference for one in of_arm], [one.error for one in of_arm], len(known))
        for arm, of_arm in known.items()
    }
    rows = []
    for arm, of_arm in every.items():
        own = [f"{one.difference:+.4f}" for one in of_arm]
        rows.append([arm, *(_cells(found[arm]) if arm in found else ["-"] * 7), *own])
    columns = ["arm", "difference", "95 % CI", "p", "τ", "I²", "p of equal differences", "in a further data set"]
    together = f" They hold for all {len(known)} arms together (Bonferroni)." if len(known) > 1 else ""
    lines = [
        _answer(first, found, smallest, all_known=len(found) == len(every)),
        "Random effects (DerSimonian and Laird; intervals and p of Knapp and Hartung): the mean difference over data "
        f"sets like these.{together} τ: the standard deviation of the true differences between data sets; I²: the "
        "share of their variance that is not chance; in a further data set: 95 % prediction interval, from three on.",
    ]
    title = f"{_words(first)} against {first.baseline} over {len(verdicts)} data sets"
    yield Section(title, lines, [*columns, *verdicts], rows)


def _cells(found: RandomEffects) -> list[str]:
    further = found.prediction
    return [
        f"{found.mean:+.4f}",
        f"{found.low:+.4f} to {found.high:+.4f}",
        chance(found.p_value),
        f"{found.tau:.4f}",
        f"{found.i_squared:.0%}",
        chance(found.p_equal),
        "-" if further is None else f"{further[0]:+.4f} to {further[1]:+.4f}",
    ]


def _answer(first: Verdicts, found: Mapping[str, RandomEffects], smallest: float, all_known: bool) -> str:
    """Which arm to use over data sets like these, in one line."""
    better = {arm: one for arm, one in found.items() if one.low >= smallest}
    if better:
        arm = max(better, key=lambda name: better[name].mean)
        one = better[arm]
        return f"Use {arm}: better than {first.baseline} by {one.mean:.3f} ({between(one.low, one.high)})."
    if all_known and all(one.high < smallest for one in found.values()):
        return f"Use {first.baseline}: nothing is better by {smallest:g} {first.measure.words}."
    return f"Undecided: no arm is better than {first.baseline} by {smallest:g} {first.measure.words} beyond chance."


def _words(first: Verdicts) -> str:
    """The score that data sets are compared in, with its aggregation: those of other ones are other numbers."""
    pooled = first.measure.aggregation == "dataset" and first.header.kind != "label"
    return f"{'pooled ' if pooled else ''}{first.measure.words}"


def _ranks(verdicts: dict[str, Verdicts], shared: Sequence[str]) -> Section:
    scores = np.array([[_score(one, arm) for arm in shared] for one in verdicts.values()])
    ranks, p_value = mean_ranks(scores)
    each = zip(shared, ranks, scores.T, strict=True)
    rows = [[arm, f"{rank:.2f}", *(f"{score:.4f}" for score in of_arm)] for arm, rank, of_arm in each]
    rows.sort(key=lambda row: float(row[1]))
    columns = ["arm", "mean rank", *(f"{name}: {one.measure.title}" for name, one in verdicts.items())]
    lines = [f"The best arm of a data set has rank 1. Friedman's test: p = {chance(p_value)}."]
    if p_value is None:
        lines = ["The best arm of a data set has rank 1. Friedman's test needs three arms and three data sets."]
    return Section(f"mean ranks over {len(verdicts)} data sets", lines, columns, rows)


def _score(first: Verdicts, arm: str) -> float:
    others = first.found
    return others[arm].mean_a if arm in others else next(iter(others.values())).mean_b
