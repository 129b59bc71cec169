"""The floors of a run, as its `baseline.json` holds them, beside what networks reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from pydantic import BaseModel, Field, ValidationError

from segloss.document import Primary, ScoresDocument

from ..console.display import percent
from ..console.sections import Section
from ..errors import UsageError
from ..experiment.run import Run
from ..store.files import read_json

WORDS = {
    "mean_mask": "the mean training mask",
    "colours": "the best rule of grey values or colours",
    "commonest": "the commonest class everywhere",
}
RULE = "Made of the training part, without a network: what a training has to beat to have learnt anything."
FILE = "baseline.json"


class MaskRow(BaseModel):
    """What the mean training mask reaches on a case.

    Attributes:
        case: its id.
        label: the name of the class, `class` in the file.
        DSC: None where undefined.
    """

    case: str
    label: str = Field(alias="class")
    DSC: float | None


class Majority(BaseModel):
    """What giving every picture the commonest training class scores.

    Attributes:
        label: the name of that class, `class` in the file.
        accuracy: of all pictures.
        balanced_accuracy: the mean over classes.
        f1: the same.
    """

    label: str = Field(alias="class")
    accuracy: float
    balanced_accuracy: float
    f1: float


class Baseline(BaseModel):
    """What is known of a run's test part without its network; nothing of older runs.

    Attributes:
        floors: by name, aggregation and metric; None where undefined.
        mean_mask: of volumes, a row a case and class.
        majority: of pictures with one label.
    """

    floors: dict[str, dict[str, dict[str, float | None]]] = {}
    mean_mask: list[MaskRow] = []
    majority: Majority | None = None


def read_baseline(folder: Path) -> Baseline:
    """What the folder of a run holds of it; a `UsageError` where the file is damaged."""
    path = folder / FILE
    try:
        return Baseline.model_validate(read_json(path)) if path.is_file() else Baseline()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise UsageError(
            f"{path}: {where}: {first['msg']}, got {first['input']!r:.60}; restore it, or remove it: floors are then "
            "left out"
        ) from error


def read_floors(runs: Sequence[Run], primary: Primary) -> dict[str, float]:
    """What each floor reaches in the primary metric, the mean over the runs that are finished; none of older runs."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for name, found in read_baseline(run.path).floors.items():
            if (value := found.get(primary.aggregation, {}).get(primary.metric)) is not None:
                values.setdefault(name, []).append(value)
    return {name: mean(each) for name, each in values.items() if name in WORDS}


def mean_of_folds(documents: Sequence[ScoresDocument]) -> float | None:
    """The primary metric of the folds of one training as `read_floors` takes it of a floor: the mean of the folds.

    Of all held-out cases together it is another number, and both of one prediction could lie apart.
    """
    values = [value for one in documents if (value := one.primary) is not None]
    return mean(values) if values else None


def floor_section(
    floors: Mapping[str, float], reached: Mapping[str, float | None], primary: Primary, folds: int = 1
) -> Section | None:
    """A table of floors and of what networks reach, and first of all which of these lie below; None without floors.

    Args:
        floors: by name, in the primary metric.
        reached: by the name of a run or an arm, in the same; None where undefined.
        primary: the metric.
        folds: of how many both are the mean.
    """
    if not floors:
        return None
    what = str(primary) if folds == 1 else f"{primary}, mean of {folds} folds"
    best = max(floors, key=lambda name: floors[name])
    height, known = floors[best], {name: value for name, value in reached.items() if value is not None}
    below = [name for name, value in known.items() if value <= height]
    floor = f"{WORDS[best]} reaches {primary} {height:.4f}"
    if not known:
        line = f"{floor}; it is not defined of what is scored here"
    elif not below:
        whose = "" if len(known) == len(reached) else f"{', '.join(known)}: "
        line = f"{whose}above {WORDS[best]}, which reaches {primary} {height:.4f}"
    else:
        whom = (
            "none is"
            if 1 < len(below) == len(known)
            else f"{', '.join(below)} {'is' if len(below) == 1 else 'are'} not"
        )
        line = f"warning: {floor}; {whom} above it"
    rows = [[WORDS[name], percent(value)] for name, value in floors.items()]
    rows += [[name, percent(value)] for name, value in reached.items()]
    return Section("sanity floors", [line, RULE], ["prediction", what], rows, bad=bool(below))
