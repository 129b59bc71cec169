"""What lies in a folder: links that its owner laid are followed, as data sets of links (DVC, git-annex) need it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .errors import DataError
from .notes import Note

RUN = ("environment.json", "training.json")
"""Files of which a run has one beside its `config.yaml`."""
FETCH = "fetch what it points to (git annex get, datalad get, dvc pull), or remove the link"


def walk(folder: Path, with_runs: bool = True) -> Iterator[Path]:
    """What lies in a folder and its sub-folders, in order, without hidden files and folders.

    Links are followed; one to a folder that it lies in itself is noted and passed over.

    Args:
        folder: where to begin, whatever it holds.
        with_runs: false passes over the sub-folders of runs, which hold no data; see `holds_runs`.

    Raises:
        DataError: a folder that cannot be opened.
    """
    if folder.is_dir():
        yield from _walk(folder, frozenset({_identity(folder)}), with_runs)


def holds_runs(folder: Path) -> bool:
    """Whether a folder is a run of this program, its folds or its ablation, by the files that these begin with."""
    if (folder / "ablation.json").is_file():
        return True
    is_run = (folder / "config.yaml").is_file() and any((folder / name).is_file() for name in RUN)
    return is_run or any(map(holds_runs, folder.glob("fold-*")))


def below(folder: Path) -> Iterator[Path]:
    """The files of a folder and its sub-folders, as `walk` finds them; a `DataError` for a link to nothing."""
    for path in walk(folder):
        if path.is_file():
            yield path
        else:
            refuse_broken_link(path)


def refuse_broken_link(path: Path) -> None:
    """Raise a `DataError` where a path is a link to what is not there."""
    broken = False
    with suppress(OSError):  # a name that is too long, a link to itself
        broken = path.is_symlink()
        broken = broken and not path.exists()
    if broken:
        raise DataError(f"{path}: a link to {path.readlink()}, which is not there; {FETCH}")


def stays_inside(folder: Path, name: str) -> bool:
    """Whether a name that a file gives leads to somewhere in its folder, by the name alone where it climbs nowhere."""
    path = Path(name)
    if not path.is_absolute() and ".." not in path.parts:
        return True  # links on the way were laid by the folder's owner, not by the file
    return (folder / path).resolve().is_relative_to(folder.resolve())


def _walk(folder: Path, above: frozenset[tuple[int, int]], with_runs: bool) -> Iterator[Path]:
    for name in _names(folder):
        path = folder / name
        is_folder = path.is_dir()
        if is_folder and not with_runs and holds_runs(path):
            continue
        yield path
        if not is_folder:
            continue
        here = _identity(path)
        if here in above:
            note = Note("link(s) to a folder that they lie in themselves are passed over", str(path), "remove them")
            warnings.warn(note, stacklevel=2)
        else:
            yield from _walk(path, above | {here}, with_runs)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208
    except OSError as error:
        raise DataError(f"{folder}: cannot be opened ({error.strerror or error}); check its permissions") from error


def _identity(folder: Path) -> tuple[int, int]:
    """The same for a folder and for links to it."""
    stat = folder.stat()
    return stat.st_dev, stat.st_ino
