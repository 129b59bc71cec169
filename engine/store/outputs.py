"""What a command may write: new files, and those that an earlier call of it has written; never those of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from datasets.files import NAME_BYTES, first_of
from datasets.written import note, read_list

from ..errors import UsageError


class Outputs:
    """The files of a command in a folder.

    Args:
        folder: where they go; it need not exist.
        command: what a list in the folder names them by.
        remedy: what to do where files of others are in the way.
    """

    def __init__(self, folder: Path, command: str, remedy: str = "choose another --out") -> None:
        self.folder, self.command, self.remedy = folder, command, remedy

    def claim(self, names: Sequence[str], adopt: bool = False) -> list[str]:
        """Refuse to overwrite; nothing is written.

        Args:
            names: of the files that will be written, as paths below the folder.
            adopt: the folder is the command's own, so a file that no list knows is its own too.

        Returns:
            What an earlier call has written, and this one will not.

        Raises:
            UsageError: a name that is too long; of these files, some were not written by this command, or have been
                changed since.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{self.folder}: a file; give a folder to write into")
        for name in names:
            if any(len(part.encode()) > NAME_BYTES for part in Path(name).parts):
                raise UsageError(
                    f"{self.folder / name}: longer than the {NAME_BYTES} bytes of a name; rename the input"
                )
        known = {name: one for name, one in read_list(self.folder).items() if one.command == self.command}
        foreign = []
        for name in names:
            path, written = self.folder / name, known.get(name)
            if path.exists() and not (adopt if written is None else path.is_file() and written.holds(path)):
                foreign.append(name)
        if foreign:
            raise UsageError(
                f"{self.folder}: holds {count_of(foreign, 'file')} that {self.command} would overwrite, and did not "
                f"write or that has been changed since: {first_of(foreign)}; {self.remedy}, or move what is there away"
            )
        return [name for name in known if name not in set(names) and (self.folder / name).is_file()]

    @contextmanager
    def writing(self, *names: str) -> Iterator[None]:
        """Around the writing of some of the files: they are the command's from now on, also after a kill."""
        note(self.folder, self.command, names, finished=False)
        yield
        note(self.folder, self.command, names, finished=True)


def left_over(names: Sequence[str], folder: Path, command: str) -> str:
    """What is said of files that an earlier call has written, and this one has not."""
    return (
        f"note: {folder} holds {count_of(names, 'file')} of an earlier {command} too, not written anew: "
        f"{first_of(names)}"
    )


def refuse_foreign(folder: Path, marks: Sequence[str]) -> None:
    """Raise a `UsageError` where a folder holds something, and nothing that makes it one of this program.

    Args:
        folder: it need not exist.
        marks: patterns of files below it, one of which is there in a folder of this program.
    """
    if not folder.exists():
        return
    held = not folder.is_dir() or any(not path.name.startswith(".") for path in folder.iterdir())
    if held and not any(any(folder.glob(mark)) for mark in marks):
        raise UsageError(f"{folder}: not empty and not of this program; choose another name or output")


def count_of(names: Sequence[str], what: str) -> str:
    """How many there are: `1 file`, `3 files`."""
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''}"
