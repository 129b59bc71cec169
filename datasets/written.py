"""What commands have written into a folder where others may keep files too: a list in it, a line before and after each.

A file counts as written by a command as long as its content is what that command wrote: one that was edited since
belongs to whoever edited it. A line without digest is of a file that was being written; lines are only ever appended,
so a kill at any moment leaves a list that can be read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .errors import DataError
from .files import cannot_write, first_of

LIST = ".segloss-written.jsonl"
PREDICTS = "predict"
"""The command whose masks are predictions."""


MOVE = "move what predict has written out of the data set (a mask that was corrected since is a reference)"


class Written(NamedTuple):
    """A file that a command has written.

    Attributes:
        command: the command.
        digest: SHA-256 of the content; None where the command has not come to the end of writing it.
    """

    command: str
    digest: str | None

    def holds(self, path: Path) -> bool:
        """Whether a file is still what was written."""
        return self.digest is None or self.digest == _digest(path)


def read_list(folder: Path) -> dict[str, Written]:
    """What was written into a folder and its sub-folders, by path below it; lines that are damaged are passed over."""
    found: dict[str, Written] = {}
    with suppress(OSError):
        for line in (folder / LIST).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, LookupError, TypeError):
                entry = json.loads(line)
                found[str(entry["file"])] = Written(str(entry["command"]), entry["sha256"])
    return found


def note(folder: Path, command: str, names: Iterable[str], finished: bool) -> None:
    """Append to the list of a folder that a command is about to write files, or has written them.

    Args:
        folder: is made where it is missing.
        command: the command.
        names: paths below the folder.
        finished: what lies there now is what was written; names without a file are passed over.

    Raises:
        DataError: the list cannot be written.
    """
    lines = []
    for name in names:
        if finished and not (folder / name).is_file():
            continue
        digest = _digest(folder / name) if finished else None
        lines.append(json.dumps({"file": name, "command": command, "sha256": digest}))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LIST).open("a", encoding="utf-8") as file:
            file.write("".join(f"\n{line}" for line in lines))  # in front: a line that a kill has cut stays alone
    except OSError as error:
        raise DataError(f"{folder / LIST}: {cannot_write(error, folder)}") from error


def predictions(paths: Iterable[Path]) -> list[Path]:
    """Those files that `predict` has written, and nobody has changed since."""
    lists: dict[Path, Mapping[str, Written]] = {}
    found = []
    for path in paths:
        places = dict.fromkeys((path, path.resolve()))  # a link to a folder that predict has written into is one too
        for place, folder in ((one, folder) for one in places for folder in one.parents):
            if folder not in lists:
                lists[folder] = read_list(folder)
            if not lists[folder]:
                continue
            written = lists[folder].get(place.relative_to(folder).as_posix())
            if written is not None and written.command == PREDICTS and path.is_file() and written.holds(path):
                found.append(path)
                break
    return found


def refuse_predictions(found: Sequence[Path]) -> None:
    """Raise a `DataError` that names predictions in the place of references; nothing where there are none."""
    if found:
        raise DataError(f"{first_of(found)}: {len(found)} predicted by this program, so no references; {MOVE}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
