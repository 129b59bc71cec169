"""Scores documents as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segloss.aggregation import AGGREGATIONS
from segloss.document import ScoresDocument

from ..errors import UsageError
from .files import read_json

NEEDED = (
    "needed are header.classes and cases, a row for each case and class with case, class, tp, fp and fn, or DSC alone; "
    "an aggregation may be left out; of pictures with one label case, label and predicted, and "
    "header.kind: label"
)


def read_scores(path: Path, own: bool = True, missing: Callable[[], dict[str, Any]] = dict) -> ScoresDocument:
    """Read a scores document.

    Args:
        path: the file.
        own: written by this program: a document of another trainer may lack the aggregations.
        missing: gives what else the header says, where it does not name its primary metric, as before format 2.

    Raises:
        UsageError: the file is missing, damaged or of another form.
    """
    content = read_json(path)
    header = content.get("header") if isinstance(content, dict) else None
    if isinstance(header, dict) and header.get("primary") is None:
        content["header"] = header | missing()
    try:
        document = ScoresDocument.from_json(content)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: no scores of the form that is compared: {error}; {NEEDED}") from error
    if own and document.pictures is None and len(document.aggregations) < len(AGGREGATIONS):
        absent = ", ".join(name for name in AGGREGATIONS if name not in document.aggregations)
        raise UsageError(f"{path}: holds no scores by {absent}; restore it or score the run again")
    return document
