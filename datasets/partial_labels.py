"""Cases that were labelled for some of the classes alone: what their masks leave as background may be any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .case import Case
from .errors import DataError
from .table import read_rows

if TYPE_CHECKING:
    from .regions import Regions  # with torch

COLUMNS = ("case", "classes")
BETWEEN = ";"
"""Classes of one case."""


def read_labelled(path: Path) -> dict[str, list[str]]:
    """The classes of each case from a CSV file with the columns `case` and `classes`, these with `;` between them.

    Raises:
        DataError: a file that is missing or no table, a column that is missing, a case that stands there twice.
    """
    names, rows = read_rows(path, "data.labelled")
    for name in COLUMNS:
        if names.count(name) != 1:
            there = ", ".join(map(repr, names)) or "none"
            raise DataError(f"{path}: needs one column {name!r} (data.labelled); the columns are {there}")
    case, classes = (names.index(name) for name in COLUMNS)
    found: dict[str, list[str]] = {}
    for at, row in rows:
        if not row[case] or row[case] in found:
            wrong = f"the case {row[case]!r} stands there twice" if row[case] else "no case"
            raise DataError(f"{at}: {wrong}; keep one line a case")
        found[row[case]] = [name for cell in row[classes].split(BETWEEN) if (name := cell.strip())]
    return found


def labelled_classes(case: Case, classes: Sequence[str]) -> NDArray[np.bool_]:
    """Whether a case was labelled for each class, `(C,)`; for the first, the background, every case was."""
    known = case.labelled
    return np.array([known is None or index == 0 or name in known for index, name in enumerate(classes)])


def labelled_parts(case: Case, classes: Sequence[str], regions: Regions | None) -> NDArray[np.bool_]:
    """Whether a case was labelled for each of what is scored: the regions, `(R,)`, or the classes, `(C,)`.

    For a region it was where it was for all of its classes.
    """
    known = labelled_classes(case, classes)
    return known if regions is None else (known | ~regions.members.numpy()).all(1)


def refuse_unlabelled(case: Case, pixels: Sequence[int], classes: Sequence[str]) -> None:
    """Raise a `DataError` where a mask holds a class which its case was not labelled for."""
    if case.labelled is None:
        return
    for name, count, known in zip(classes, pixels, labelled_classes(case, classes), strict=True):
        if count and not known:
            raise DataError(
                f"{case.mask}: holds {count} pixels of {name}, which the case {case.id!r} was not labelled for; name "
                "it in data.labelled, or mend the mask"
            )
