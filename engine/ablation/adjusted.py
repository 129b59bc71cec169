"""What `scores.adjust` has done to the logits of the arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from segloss.document import Adjustment

from ..console.sections import Section
from .comparison import Method

LINE = (
    "What was added to the logits of each class, and what they were divided by: the mean over folds and seeds, and the "
    "lowest and highest. Score: on the part that it was fitted on, before and after; of a temperature the negative "
    "log-likelihood of a pixel."
)
COLUMNS = ["arm", "kind", "fitted on", "temperature", "offsets", "score"]


def adjusted(arms: Mapping[str, Method]) -> Section | None:
    """A row for each arm whose logits are adjusted; None where there is none."""
    rows = []
    for name, arm in arms.items():
        headers = [document.header for documents in arm.documents.values() for document in documents]
        found = [header.adjust for header in headers if header.adjust is not None]
        if found:
            rows.append([name, *_row(found, arm.header.classes)])
    return Section("what was done to the logits", [LINE], COLUMNS, rows) if rows else None


def _row(found: Sequence[Adjustment], classes: Sequence[str]) -> list[str]:
    """Kind, part, temperature, offsets and gain of the folds and seeds of an arm."""
    first = found[0]
    kind = first.kind if first.tau is None else f"{first.kind}, τ {first.tau:g}"
    by_class = zip(classes, zip(*(one.offsets for one in found if one.offsets), strict=True), strict=True)
    offsets = [f"{name} {_spread(values, '+.2f')}" for name, values in by_class if any(values)]
    cold = [one.temperature for one in found if one.temperature is not None]
    temperature = _spread(cold, ".3g") if any(value != 1 for value in cold) else "-"
    gains = [(one.before, one.after) for one in found if one.before is not None and one.after is not None]
    gain = " → ".join(f"{mean(values):.4f}" for values in zip(*gains, strict=True)) or "-"
    return [kind, "training" if first.part == "train" else "validation", temperature, ", ".join(offsets) or "-", gain]


def _spread(values: Sequence[float], form: str) -> str:
    low, high = min(values), max(values)
    between = "" if low == high else f" ({low:{form}} to {high:{form}})"
    return f"{mean(values):{form}}{between}"
