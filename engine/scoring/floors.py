"""The floors of a run, as its `baseline.json` holds them, beside what networks reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from segloss.document import Primary

from ..console.display import percent
from ..console.sections import Section
from ..experiment.run import Run
from ..store.files import read_json

WORDS = {
    "mean_mask": "the mean training mask",
    "colours": "the best rule of grey values or colours",
    "commonest": "the commonest class everywhere",
}
RULE = "Made of the training part, without a network: what a training has to beat to have learnt anything."
FILE = "baseline.json"


def read_floors(runs: Sequence[Run], primary: Primary) -> dict[str, float]:
    """What each floor reaches in the primary metric, the mean over the runs that are finished; none of older runs."""
    values: dict[str, list[float]] = {}
    for path in (run.path / FILE for run in runs):
        for name, found in read_json(path).get("floors", {}).items() if path.is_file() else ():
            if (value := found[primary.aggregation][primary.metric]) is not None:
                values.setdefault(name, []).append(value)
    return {name: mean(each) for name, each in values.items() if name in WORDS}


def floor_section(floors: Mapping[str, float], reached: Mapping[str, float | None], primary: Primary) -> Section | None:
    """A table of floors and of what networks reach, and first of all which of these lie below; None without floors.

    Args:
        floors: by name, in the primary metric.
        reached: by the name of a run or an arm, in the same; None where undefined.
        primary: the metric.
    """
    if not floors:
        return None
    best = max(floors, key=lambda name: floors[name])
    height, known = floors[best], {name: value for name, value in reached.items() if value is not None}
    below = [name for name, value in known.items() if value <= height]
    if not below:
        line = f"above {WORDS[best]}, which reaches {primary} {height:.4f}"
    else:
        whom = (
            "all lie" if 1 < len(below) == len(known) else f"{', '.join(below)} {'lies' if len(below) == 1 else 'lie'}"
        )
        line = f"warning: {WORDS[best]} reaches {primary} {height:.4f}; {whom} below it"
    rows = [[WORDS[name], percent(value)] for name, value in floors.items()]
    rows += [[name, percent(value)] for name, value in reached.items()]
    return Section("sanity floors", [line, RULE], ["prediction", str(primary)], rows, bad=bool(below))
