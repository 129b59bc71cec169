"""Scores documents as files."""

from __future__ import annotations

from pathlib import Path

from segloss.aggregation import AGGREGATIONS
from segloss.document import ScoresDocument

from ..errors import UsageError
from .files import read_json

NEEDED = "needed are header.classes and cases, a row for each case and class with case, class, tp, fp and fn"


def read_scores(path: Path, own: bool = True) -> ScoresDocument:
    """Read a scores document.

    Args:
        path: the file.
        own: written by this program: a document of another trainer may lack the aggregations.

    Raises:
        UsageError: the file is missing, damaged or of another form.
    """
    content = read_json(path)
    try:
        document = ScoresDocument.from_json(content)
    except ValueError as error:
        raise UsageError(f"{path}: no scores of the form that is compared: {error}; {NEEDED}") from error
    if own and len(document.aggregations) < len(AGGREGATIONS):
        missing = ", ".join(name for name in AGGREGATIONS if name not in document.aggregations)
        raise UsageError(f"{path}: holds no scores by {missing}; restore it or score the run again")
    return document
