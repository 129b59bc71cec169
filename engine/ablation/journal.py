"""The table of an ablation for a paper: an arm a row, with units, and bold by a rule that the caption states."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from segloss.comparison import measured

from ..console.sections import Section
from .comparison import DETECTION
from .verdicts import Verdicts, chance, fewer_seeds

MOST_CLASSES = 6
"""Beyond which classes have no columns of their own."""


def journal_table(found: Sequence[Verdicts], leading: Collection[str], noise_floor: str | None = None) -> Section:
    """The scores of all arms, and their differences from the baseline in the primary outcome.

    Args:
        found: the verdicts of all measures, the primary first.
        leading: those than which no other is distinguishably better.
        noise_floor: the arm that is left out.
    """
    first, *others = found
    measure, header = first.measure, first.header
    shown = [one for one in others if one.measure.score not in DETECTION] if len(header.counted) <= MOST_CLASSES else []
    scored = [first, *shown]
    names = [first.baseline, *(arm for arm in first.found if arm != noise_floor)]
    rows = []
    for name in names:
        scores = [_score(one, name) for one in scored]
        compared = first.found.get(name)
        if compared is None:
            rows.append([name, *scores, "reference", "-"])
        elif compared.low is None or compared.high is None:
            rows.append([name, *scores, f"{compared.difference:+.3f}", "-"])
        else:
            low, high = (measured(end, "", "+") for end in (compared.low, compared.high))
            span = f"{compared.difference:+.3f} ({low} to {high})"
            rows.append([name, *scores, span, chance(compared.p_value)])
    one = first.found[names[1]]
    units = [one.measure.title + (f" ({one.measure.unit})" if one.measure.unit else "") for one in scored]
    most = max(found.seeds for found in first.found.values())
    fewer = fewer_seeds({name: first.found[name] for name in names[1:]})
    seeds = f", mean of {most} seeds{fewer}" if most > 1 else ""
    family = f", for all {one.family} comparisons together" if one.family > 1 else ""
    sentences = [
        f"Scores on {one.groups} {header.units}{seeds}, and differences from {first.baseline} in {measure.title} with",
        f"95 % confidence intervals and p values of the sign-flip test{family}.",
        "Differences: over the seeds that both arms have." if fewer else "",
        f"Classes: on the {header.units} whose reference has them." if shown else "",
        "Distances: on those in which every arm found the class." if any(one.measure.unit for one in shown) else "",
        f"Bold: arms than which no other is distinguishably better in {measure.title}.",
    ]
    caption = " ".join(filter(None, sentences))
    bold = [(row, column) for row, name in enumerate(names) if name in leading for column in (0, 1)]
    columns = ["arm", *units, f"Δ {measure.title} (95 % CI)", "p"]
    return Section("results", columns=columns, rows=rows, bold=bold, caption=caption)


def _score(found: Verdicts, arm: str) -> str:
    """What an arm has in a measure; a dash where it is not compared in it."""
    if arm == found.baseline:
        value = max(found.found.values(), key=lambda one: one.seeds).mean_b
    elif arm in found.found:
        value = found.found[arm].mean_a
    else:
        return "-"
    return f"{value:.2f}" if found.measure.unit else f"{value:.3f}"
