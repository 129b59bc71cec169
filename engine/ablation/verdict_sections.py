"""The verdicts in words and numbers, as an ablation and `compare` print them and write them into their pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segloss.compare import FEWEST

from ..configuration.config import TuneSection
from ..console.sections import Section
from .answer import in_words
from .comparison import DETECTION, Method, listed
from .detection import detection
from .paragraph import statistical_analysis
from .ranking import ranking
from .verdicts import COLUMNS, METHOD, PAIRED, Verdicts


def verdict_sections(
    found: Sequence[Verdicts],
    arms: Mapping[str, Method],
    noise_floor: str | None = None,
    differs: Mapping[str, Sequence[str]] | None = None,
    tune: TuneSection | None = None,
) -> Iterator[Section]:
    """The verdicts in words and numbers: of the first measure those of all arms, of classes those that differ.

    The last two sections are a paragraph on the analysis, and how all is worked out.

    Args:
        found: the verdicts of all measures.
        arms: by name, what they are about.
        noise_floor: the arm that is the baseline with other seeds.
        differs: by arm, what else it differs from the baseline in.
        tune: how the arms were tuned; None where they were not.
    """
    if not found:
        return
    first, *others = found
    title = f"{first.measure.title} against {first.baseline}{_holds_for([first], noise_floor)}"
    yield Section(title, in_words(first, noise_floor, differs), COLUMNS, first.rows())
    others = [one for one in others if one.measure.score not in DETECTION]
    if others:
        lines = [
            one.line(arm)
            for one in others
            for arm, known in one.found.items()
            if known.distinguishable and arm != noise_floor
        ]
        rows = [row for one in others for row in one.rows()]
        yield Section(f"by class, against {first.baseline}{_holds_for(others, noise_floor)}", lines, COLUMNS, rows)
    if (section := detection(arms, found[1:], noise_floor)) is not None:
        yield section
    yield from ranking(arms, first, noise_floor)
    yield statistical_analysis(found, arms, noise_floor, tune)
    how = f"{PAIRED[first.measure.aggregation]} {METHOD}"
    yield Section("how this is worked out", [how, *_remarks(first, arms[first.baseline])])


def _holds_for(found: Sequence[Verdicts], noise_floor: str | None) -> str:
    """For how many comparisons p-values and intervals hold together, as the end of a heading."""
    family = max(known.family for one in found for known in one.found.values())
    by_itself = f", those of {noise_floor} each by itself" if any(noise_floor in one.found for one in found) else ""
    return f"; p and intervals hold for all {family} comparisons together{by_itself}" if family > 1 else ""


def _remarks(first: Verdicts, baseline: Method) -> Iterator[str]:
    """What is not compared, or not as the primary metric says."""
    header, measure = first.header, first.measure
    scores = [baseline.scores(seed) for seed in baseline.documents]
    there: NDArray[np.bool_] = np.any(np.concatenate([one.held for one in scores]), 0)
    absent = [name for name in header.counted if not there[scores[0].classes[name]]]
    if absent and measure.aggregation == "dataset" and measure.name is None and measure.score != "balanced_accuracy":
        yield (
            f"In no reference, so left out of {measure.title} here: {listed(absent)}. The table of scores counts such "
            "a class as 0 where an arm invents it."
        )
    if measure.aggregation == "case" and len(scores[0].group) > len(scores[0].names):
        yield (
            f"Each of the {header.units} counts once here, its cases averaged; the table of scores counts every case "
            "alike."
        )
    if measure.aggregation == "case" and measure.name is None and header.kind != "label":
        without = int(np.isnan(scores[0].overlap(measure.score, None)).sum())
        if without:
            units, are = (header.units[:-1], "is") if without == 1 else (header.units, "are")
            yield (
                f"{without} {units} whose reference has none of the classes {are} left out of {measure.title} here. "
                "The table of scores counts a case of theirs as 0 where an arm invents a class."
            )
    if header.kind == "volume" and header.primary.aggregation == "image":
        yield f"The primary metric is {header.primary}; scores list no slices, so volumes are compared by case instead."
    if min(one.groups for one in first.found.values()) < FEWEST:
        yield f"Fewer than {FEWEST} {header.units}: nothing is tested."
