"""A table of pictures: a CSV file with a line for each, its file and its label."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import NamedTuple, cast

from .case import PARTS, Part
from .errors import DataError
from .files import is_file
from .formats import STILLS
from .walk import below, stays_inside

DELIMITERS = ",;\t"
NEEDED, OPTIONAL = ("file", "label"), ("part", "group")


class Line(NamedTuple):
    """A line of a table.

    Attributes:
        at: file and number of the line, for messages.
        path: the picture.
        label: the name of its class.
        part: the part that the table puts it in, or None.
        group: what must not be split, or None.
    """

    at: str
    path: Path
    label: str
    part: Part | None
    group: str | None


def read_table(root: Path, name: str, columns: Mapping[str, str]) -> list[Line]:
    """The lines of a table of UTF-8, with commas, semicolons or tabs between its columns.

    A file may be named without its suffix, and by its name alone where no other picture below the root is called so.

    Args:
        root: the folder that the table and its files are below.
        name: of the table.
        columns: what the columns `file`, `label`, `part` and `group` are called, where not so.

    Raises:
        DataError: a file that is missing or outside of the root, a column that is missing, a cell that is empty, a
            picture that stands there twice.
    """
    path = _below(root, name, "data.table")
    names, rows = read_rows(path, "data.table")
    places = _places(path, names, columns)
    elsewhere = _Named(root)
    lines: list[Line] = []
    seen: dict[Path, str] = {}
    for at, row in rows:
        cells = {key: row[place] for key, place in places.items()}
        if empty := [key for key, cell in cells.items() if not cell and key != "group"]:
            raise DataError(f"{at}: no {empty[0]} (column {names[places[empty[0]]]!r}); fill it in, or remove the line")
        if cells.get("part", PARTS[0]) not in PARTS:
            raise DataError(f"{at}: the part {cells['part']!r} is none of {', '.join(PARTS)}")
        picture = _existing(_below(root, cells["file"], at), at, elsewhere)
        if (first := seen.setdefault(picture, at)) != at:
            raise DataError(f"{at}: {picture} stands in {first} already; keep one of the lines")
        part = cast("Part | None", cells.get("part"))
        lines.append(Line(at, picture, cells["label"], part, cells.get("group") or None))
    return lines


def read_rows(path: Path, key: str) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The names of the columns of a CSV file, and its rows, each with file and number of the line, but for empty ones.

    Args:
        path: a file of UTF-8, with commas, semicolons or tabs between its columns.
        key: of the YAML, that names the file.

    Raises:
        DataError: a file that is missing or no table, a row of another length than the first.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file ({key})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table in UTF-8 ({error}); save it as CSV in UTF-8") from error
    try:
        rows = list(csv_rows(text))
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file ({error})") from error
    names = rows[0][1] if rows else []
    found = []
    for number, row in rows[1:]:
        at = f"{path}:{number}"
        if len(row) != len(names):
            raise DataError(f"{at}: {len(row)} cells; expected {len(names)}, as there are columns")
        found.append((at, row))
    return names, found


def csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV text with the numbers of their lines, but for empty ones, cells without blanks around them.

    Columns are divided by commas, semicolons or tabs: by what the first line that is not empty has most of.

    Raises:
        csv.Error: no CSV.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(StringIO(text), delimiter=max(DELIMITERS, key=first.count), strict=True)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield reader.line_num, cells


def _places(path: Path, names: list[str], columns: Mapping[str, str]) -> dict[str, int]:
    """The column of each of file, label, part and group that there is."""
    places = {}
    for key in (*NEEDED, *OPTIONAL):
        name = columns.get(key, key)
        if names.count(name) == 1:
            places[key] = names.index(name)
        elif key in NEEDED or key in columns:
            found = "twice" if name in names else "missing"
            raise DataError(
                f"{path}: the column {name!r} is {found}; the columns are {', '.join(map(repr, names)) or 'none'}; say "
                f"which is which with data.columns: {{{key}: NAME}}"
            )
    return places


def _below(root: Path, name: str, at: str) -> Path:
    """A path below the root; a `DataError` where it leads elsewhere."""
    name = name.replace("\\", "/")
    if not stays_inside(root, name):
        raise DataError(f"{at}: {name} lies outside of {root}; name files below data.root")
    return root / name


class _Named:
    """The pictures below a folder by their names, with and without suffix; looked for when first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def found(self) -> dict[str, list[Path]]:
        """The pictures of each name."""
        found: dict[str, list[Path]] = {}
        for path in below(self.root):
            if path.suffix.lower() in STILLS:
                for name in (path.name, path.stem):
                    found.setdefault(name, []).append(path)
        return found

    def of(self, path: Path) -> list[Path]:
        """The pictures that are called as a path, which is none itself, where that names no folder."""
        return self.found.get(path.name, []) if path.parent == self.root else []


def _existing(path: Path, at: str, elsewhere: _Named) -> Path:
    """A picture's file, whose suffix and folder may be left out; a `DataError` where there is none, or several."""
    whole = path.suffix.lower() in STILLS
    if whole and is_file(path):
        return path
    found = [one for suffix in STILLS for one in [path.with_name(path.name + suffix)] if is_file(one)]
    found = found or elsewhere.of(path)
    if whole and not found:
        raise DataError(f"{at}: {path!s:.200}: no such file")
    if len(found) > 1:
        listed = ", ".join(str(one.relative_to(elsewhere.root)) for one in found[:3])
        raise DataError(f"{at}: {path!s:.200}: several images of this name: {listed}; name its folder and suffix")
    if len(found) != 1:
        raise DataError(f"{at}: {path!s:.200}: no image of this name; expected one of {', '.join(STILLS)}")
    return found[0]
