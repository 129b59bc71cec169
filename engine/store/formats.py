"""The numbers of the formats that are written and read again, so that a later version's is refused by name.

Those of scores documents and of the cache are `segloss.document.FORMAT` and `datasets.cache.FORMAT`; `docs/runs.md`
lists all. Whoever raises a number keeps a file of the format before it in `tests/formats`, and the code that reads it.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError

RUN = 1
"""Of the folder of a run, said in environment.json, or training.json where it has no training of its own."""
ABLATION = 1
"""Of ablation.json and what lies beside it."""
CHECKPOINT = 2
EXPORT = 1
"""Of the JSON file beside an exported network."""


def refuse_newer(path: Path, found: object, known: int) -> None:
    """Refuse a file of a format that this version cannot know.

    Args:
        path: the file.
        found: the number that it says; None in files from before formats were numbered.
        known: the highest number that this version reads.

    Raises:
        UsageError: another number, or none at all.
    """
    if found is None or (type(found) is int and 0 < found <= known):
        return
    raise UsageError(
        f"{path}: its format is {found!r}, and this version reads up to {known}; use the version that wrote it"
    )
