"""Keys that have another name today: refused in what a user writes, translated in what an older run has saved."""

from __future__ import annotations

from typing import Any

from .source import Node

RENAMED = {
    "scores.headline": "primary",
    "scores.primary.reading": "aggregation",
    "scores.primary.score": "metric",
    "ablation.paper.reading": "aggregation",
    "train.compile": "step",
}
"""Old keys, those of a section after the section's own, and the last part of their new names."""
VALUES: dict[str, dict[bool, str]] = {"train.compile": {False: "eager", True: "compiled"}}
"""What values of old keys are called today."""


def rename_keys(root: Node) -> list[str]:
    """Give renamed keys their new names, in place; a line for each, to be refused with."""
    problems = []
    for old, new in RENAMED.items():
        *section, key = old.split(".")
        node, found = root.find(section)
        if found != section or not isinstance(node.value, dict) or key not in node.value:
            continue
        values = VALUES.get(old, {})
        now = ", ".join(f"{str(before).lower()} is {after} now" for before, after in values.items())
        renamed = f"has been renamed to {'.'.join([*section, new])}{f': {now}' if now else ''}"
        problems.append(f"{node.value[key].at}: {old}: {renamed}")
        saved = node.value[key]
        known = isinstance(saved.value, bool) and saved.value in values
        translated = Node(values[saved.value], saved.at) if known else saved
        pairs = [(new, translated) if name == key else (name, value) for name, value in node.value.items()]
        node.value = dict(pairs)
    return problems


def rename_paper(record: Any) -> Any:
    """The content of an ablation.json with `aggregation` for the `reading` of its paper."""
    paper = record.get("paper") if isinstance(record, dict) else None
    if not isinstance(paper, dict) or "reading" not in paper:
        return record
    return record | {"paper": {"aggregation" if key == "reading" else key: value for key, value in paper.items()}}
