"""Classes that are missed where the reference has them, and invented where it has not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from segloss.compare import ALPHA
from segloss.comparison import chance as p_text

from ..console.sections import Section
from .comparison import DETECTION, Measure, Method, common_groups
from .verdicts import Verdicts, chance

COLUMNS = ["class", "arm", "missed", "p", "invented", "p", "invented ml"]


def detection(
    arms: Mapping[str, Method], verdicts: Sequence[Verdicts], noise_floor: str | None = None
) -> Section | None:
    """How many groups of those that have a class miss it, and of those that have none are given it.

    None where no arm misses or invents a class.

    Args:
        arms: by name.
        verdicts: of all measures.
        noise_floor: the arm of which no sentence is said.
    """
    by_measure = {(one.measure.name, one.measure.score): one for one in verdicts if one.measure.score in DETECTION}
    header = next(iter(arms.values())).header
    rows: list[list[str]] = []
    for name in dict.fromkeys(name for name, _ in by_measure):
        of_class = []
        for arm, method in arms.items():
            cells = [str(name), arm]
            for score in DETECTION:
                verdict = by_measure.get((name, score))
                number, groups = _number(arms, method, Measure("case", score, name))
                known = verdict.found.get(arm) if verdict else None
                cells += [f"{number:g} of {groups}", chance(known.p_value if known else None)]
            of_class.append([*cells, _ml(arms, method, str(name))])
        if any(not cell.startswith("0 of") for row in of_class for cell in (row[2], row[4])):
            rows += of_class
    if not rows:
        return None
    lines = [*_sentences([*by_measure.values()], noise_floor)]
    of_floor = "" if noise_floor is None else f", of {noise_floor} each by itself"
    lines.append(
        f"Missed: {header.units} whose reference has the class and of which no pixel is found. Invented: those whose "
        "reference has none and that are given some; ml: the mean false volume of all whose reference has none. Means "
        "over seeds; p: sign-flip test against the baseline, which is McNemar's exact test for one seed, for all rows "
        f"of the classes together{of_floor}."
    )
    return Section("classes missed and invented", lines, COLUMNS, rows)


def _sentences(verdicts: Sequence[Verdicts], noise_floor: str | None) -> Iterator[str]:
    """A sentence for each arm and class that differs from the baseline."""
    for one in verdicts:
        for arm, found in one.found.items():
            if arm != noise_floor and found.p_value is not None and found.p_value <= ALPHA:
                mine, theirs = (_counted(mean * found.groups) for mean in (found.mean_a, found.mean_b))
                who = "who have it" if one.measure.score == "missed" else "who have none"
                units = one.header.units
                who = who if units == "patients" else who.replace("who", "that")
                counted = f"{mine:g} of {found.groups} {units} {who}, against {theirs:g} by {one.baseline}"
                yield f"{arm}: {one.measure.name} {one.measure.score} in {counted} ({p_text(found.p_value)})"


def _number(arms: Mapping[str, Method], method: Method, measure: Measure) -> tuple[float, int]:
    """In how many groups, on average over seeds, and of how many."""
    groups = common_groups([*arms.values()], measure)
    found = []
    for seed in method.documents:
        one = method.scores(seed)
        values = (one.missed if measure.score == "missed" else one.invented)(str(measure.name))
        found.append(sum(values[one.places[name]] for name in groups if name in one.places))
    return _counted(float(np.mean(found))), len(groups)


def _ml(arms: Mapping[str, Method], method: Method, name: str) -> str:
    """The mean false volume of the groups that have none of a class; a dash where volumes are not known."""
    if method.header.kind != "volume":
        return "-"
    groups = common_groups([*arms.values()], Measure("case", "invented", name))
    values = [
        one.invented_ml(name)[one.places[group]]
        for one in map(method.scores, method.documents)
        for group in groups
        if group in one.places
    ]
    mean = float(np.mean(values)) if values else np.nan
    return "-" if np.isnan(mean) else f"{mean:.2f}"


def _counted(mean: float) -> float:
    """A number of groups, which is whole for one seed."""
    return round(mean, 1)
