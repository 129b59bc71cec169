"""Pictures with one label each: in a folder for each class, or listed in a table."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .case import MOST_CLASSES, PARTS, Case, Decoded, Kind, Part, Pixels, Remark, label_dtype
from .errors import DataError
from .files import first_of, same_name
from .formats import STILLS, is_still, without_suffix
from .labels import LabelMap
from .listing import Listing
from .notes import Note
from .still import NOT_UPRIGHT, read_image
from .still_file import orientation
from .table import Line, read_table
from .walk import below

OTHER = "file(s) that are no image are passed over"
MARKS = ("folder(s) that are no part and no class are passed over", "expected train/, val/ or test/")
EMPTY = ("folder(s) without an image are no classes", "see data.root")
LOOSE = ("image(s) beside the folders of the classes are passed over", "move each into the folder of its class")
PART_WORDS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
"""What folders of parts are often called, in lower case; two of them are no classes."""


class Labelled:
    """What an `Adapter` of pictures with one label says and reads.

    Args:
        channels: 1 for grey images, 3 for RGB; grey ones are repeated.
    """

    kind: Kind = "label"
    reads = "images (.png, .jpg, .tif, .bmp)"
    background: str | None = None

    def __init__(self, channels: Literal[1, 3] = 3) -> None:
        self.channels: int = channels
        self.normalise = "imagenet" if channels == 3 else "percentile"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their indices."""
        raise NotImplementedError

    @property
    def labels(self) -> LabelMap:
        """The index of each class stands for itself."""
        return LabelMap({name: [index] for index, name in enumerate(self.classes)}, refuse_binary=False)

    def resolved(self) -> dict[str, Any]:
        """Nothing: no file says anything in place of the configuration."""
        return {}

    def sources(self, case: Case) -> list[Path]:
        """The image."""
        return [case.image]

    def patient(self, case: Case) -> str | None:  # noqa: ARG002
        """None: a column `group`, or names alone, say whose a picture is."""
        return None

    def is_image(self, path: Path) -> bool:
        """Whether a file is an image by its name."""
        return is_still(path)

    def is_foreign_image(self, path: Path) -> bool:  # noqa: ARG002
        """No image in another format is read."""
        return False

    def output_name(self, image: Path, relative: str) -> tuple[str, str]:  # noqa: ARG002
        """Its own name."""
        return without_suffix(relative)

    def read_image(self, path: Path) -> Pixels:
        """Decode an image."""
        return Pixels(read_image(path, self.channels))

    def read(self, case: Case) -> Decoded:
        """Decode an image; its label is that of the case."""
        return labelled(self.read_image(case.image), case, len(self.classes))


def labelled(image: Pixels, case: Case, classes: int) -> Decoded:
    """An image with the label of its case, of C classes."""
    return Decoded(image, np.full((1, 1, 1), case.label, label_dtype(classes)))


def checked_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """The names of classes; a `ValueError` that begins with `classes` where they cannot be told apart."""
    if len(classes) < 2:
        raise ValueError(f"classes: {len(classes)} are nothing to tell apart; name two or more")
    if len(classes) > MOST_CLASSES:
        raise ValueError(f"classes: {len(classes)}; at most {MOST_CLASSES} are held in 16 bits")
    if twice := sorted(name for name, times in Counter(classes).items() if times > 1):
        raise ValueError(f"classes: {twice[0]!r} stands there twice")
    return tuple(classes)


class Pictures(Labelled):
    """Pictures in a folder for each class, or in a table of files and labels.

    Folders are `{part}/{class}/` where `train` holds folders, with the parts `train`, `val` and `test` as official
    split, else `{class}/`; a picture may lie in any sub-folder of its class, and a folder without any is no class. A
    case is a picture and its own group, unless the table names groups; `data.group` groups them by a pattern on the id,
    the path without suffix.

    Args:
        root: the folder that holds the classes, or that the files of a table are in.
        classes: the names of the folders, or the labels of the table, in the order of the class indices; null for those
            that are there, by name.
        table: a CSV file below root with a line a picture.
        columns: what its columns are called, by `file`, `label`, `part` and `group`; null for these names. Part and
            group may be missing.
        channels: 1 for grey images, 3 for RGB; grey ones are repeated.
        exif: turn images as the EXIF orientation in their files says, as viewers show them; otherwise pixels are read
            as they are stored.

    Raises:
        ValueError: see `checked_classes`; columns of other keys, or without a table.
    """

    def __init__(
        self,
        root: str,
        classes: list[str] | None = None,
        table: str | None = None,
        columns: dict[str, str] | None = None,
        channels: Literal[1, 3] = 3,
        exif: bool = False,
    ) -> None:
        super().__init__(channels)
        self.exif = exif
        self.root, self.given = Path(root), None if classes is None else checked_classes(classes)
        self.table, self.columns = table, columns or {}
        if columns is not None and table is None:
            raise ValueError("columns: are those of data.table, which is not given")
        if foreign := self.columns.keys() - {"file", "label", "part", "group"}:
            raise ValueError(f"columns: {min(foreign)!r} is none of file, label, part, group")
        self._found: tuple[str, ...] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; a `DataError` where they are not given and cannot be found."""
        if self.given is not None:
            return self.given
        if self._found is None:
            names = {line.label for line in self._lines()} if self.table else self._named()
            try:
                self._found = checked_classes(sorted(names, key=_numbers_first))
            except ValueError as error:
                raise DataError(f"{self.root}: {error}; see data.root, data.table and data.classes") from error
        return self._found

    def resolved(self) -> dict[str, Any]:
        """The classes, where the configuration leaves them to the folders or to the table."""
        return {} if self.given is not None else {"classes": list(self.classes)}

    def read_image(self, path: Path) -> Pixels:
        """Decode an image."""
        return Pixels(read_image(path, self.channels, turned=self.exif))

    def read(self, case: Case) -> Decoded:
        """Decode an image; its label is that of the case."""
        found = super().read(case)
        if self.exif or orientation(case.image) == 1:
            return found
        return replace(found, remarks=(Remark(NOT_UPRIGHT, "data.exif: true turns them upright"),))

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the pictures: in the order of the table, or part by part, class by class, by name.

        Args:
            listing: see `Adapter`.

        Raises:
            DataError: a missing folder or file, a class that is not listed, no picture.
        """
        listing = listing or Listing()
        cases = list(self._of_table() if self.table else self._of_folders())
        if not cases:
            raise self._nothing()
        return [case for case in cases if listing.takes(case.id)]

    def _of_folders(self) -> Iterator[Case]:
        indices = {name: index for index, name in enumerate(self.classes)}
        for parent in dict.fromkeys((self.root, *(folder for _, folder in self._parents()))):
            for path in sorted(parent.iterdir()):
                if is_still(path) and path.is_file():
                    warnings.warn(Note(LOOSE[0], str(path), LOOSE[1]), stacklevel=2)
        for part, name, folder in self._folders():
            pictures = list(_stills(folder))
            if name not in indices:
                if pictures:
                    known = first_of(self.classes)
                    raise DataError(f"{folder}: {name} is none of data.classes: {known}; add it, or move it away")
                warnings.warn(Note(EMPTY[0], str(folder), EMPTY[1]), stacklevel=2)
            for path in pictures:
                id_ = same_name(without_suffix(path.relative_to(self.root).as_posix())[0])
                yield Case(id_, id_, path, path, part, label=indices[name])

    def _named(self) -> set[str]:
        """The names of the folders that hold pictures; a `DataError` where none does, or they are called like parts."""
        names = {name for _, name, folder in self._folders() if any(map(is_still, below(folder)))}
        if not names:
            raise self._nothing()
        parts = sorted(name for name in names if name.lower() in PART_WORDS)
        if len(parts) > 1:
            raise DataError(
                f"{self.root}: {', '.join(parts)} are called like parts, not like classes; call them train, val and "
                "test, with a folder for each class in each, or name the classes in data.classes"
            )
        return names

    def _nothing(self) -> DataError:
        return DataError(f"{self.root}: no picture here; expected {self.reads} in a folder for each class")

    def _folders(self) -> Iterator[tuple[Part | None, str, Path]]:
        """The folder of each class, with its part and its name; a `DataError` where there is none."""
        for part, parent in self._parents():
            yield from ((part, same_name(folder.name), folder) for folder in _inner(parent))

    def _parents(self) -> Iterator[tuple[Part | None, Path]]:
        """The folders that hold those of the classes: of each part, or the root."""
        own = _inner(self.root)
        first = self.root / PARTS[0]
        if first not in own or not _inner(first):
            yield None, self.root
            return
        for folder in own:
            if folder.name not in PARTS:
                warnings.warn(Note(MARKS[0], str(folder), MARKS[1]), stacklevel=2)
        yield from ((part, self.root / part) for part in PARTS if self.root / part in own)

    def _lines(self) -> list[Line]:
        return read_table(self.root, str(self.table), self.columns)

    def _of_table(self) -> Iterator[Case]:
        indices = {name: index for index, name in enumerate(self.classes)}
        for line in self._lines():
            if line.label not in indices:
                known = first_of(self.classes)
                raise DataError(f"{line.at}: the label {line.label!r} is none of data.classes: {known}")
            id_ = same_name(without_suffix(line.path.relative_to(self.root).as_posix())[0])
            yield Case(id_, line.group or id_, line.path, line.path, line.part, label=indices[line.label])


def _numbers_first(name: str) -> tuple[bool, int, str]:
    """A key to sort names by: numbers by their value, before all others."""
    return (False, int(name), name) if name.isascii() and name.isdigit() else (True, 0, name)


def _inner(folder: Path) -> list[Path]:
    """The folders in a folder, by name, without hidden ones; a `DataError` where there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; set data.root to the folder that holds the classes")
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _stills(folder: Path) -> Iterator[Path]:
    """The images of a folder and its sub-folders, in order; other files are noted."""
    for path in below(folder):
        if path.name.lower().endswith(STILLS):
            yield path
        else:
            warnings.warn(Note(OTHER, str(path), "see data.root"), stacklevel=2)
