"""Scores by case and class from a CSV file: MONAI's `…_raw.csv`, a `cases.csv` of ours, or any other, long or wide."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from datasets.table import csv_rows
from segloss.document import COUNTS, MEASURED, ScoresDocument

from ..errors import UsageError
from .mask_options import Options, background_name, case_of, matched

CASE, CLASS = ("case", "filename"), ("class", "label")
SCORES = {"dsc": "DSC", "dice": "DSC", "iou": "IoU", "jaccard": "IoU"}
"""What a column of scores may be called, in lower case."""
BESIDE = ("group", "fold", "seed")
MEAN = "mean"
"""The last column of MONAI's files."""
IOU = re.compile(r"iou|jaccard", re.IGNORECASE)
OTHER = re.compile(r"hausdorff|hd95|surface|assd|asd|volume", re.IGNORECASE)
"""In the name of a wide file: its numbers are those scores."""
UNDEFINED = ("", "-", "nan", "none", "null", "na", "n/a")
NEEDED = (
    "needed is a line for each case and class with the columns case, class and DSC, or a line for each case with a "
    "column for each class"
)


def read_score_csv(path: Path, options: Options) -> tuple[list[ScoresDocument], str]:
    """Read a CSV file of scores; what they are, in words, comes second.

    Long: a line for each case and class, with the columns `case` (or `filename`), `class` and `DSC` (or `Dice`, `IoU`),
    or with `tp`, `fp` and `fn`. Wide: a line for each case, whose first column names it, and a column for each class,
    as MONAI writes it. Either may have `group`, `fold` and `seed`, a long one distances such as `HD95`.

    Args:
        path: the file; commas, semicolons or tabs separate.
        options: of them `name`, `group` and `background`.

    Raises:
        UsageError: no such columns, a value that is no fraction of 1, two lines of one case and class.
    """
    table = _Table.read(path)
    rows = list(table.rows())
    if not rows:
        raise UsageError(f"{path}: no scores in it; {NEEDED}")
    for row in rows:
        row["case"] = case_of(row["case"], options.name)
        row["group"] = row.get("group") or matched(options.group, row["case"])
    classes = list(dict.fromkeys(row["class"] for row in rows))
    header: dict[str, Any] = {"kind": "volume", "primary": {"aggregation": "case", "metric": "mDSC"}}
    background = background_name(options.background, classes, datasets.background_of(classes))
    header |= {"classes": classes, "background": background}
    by_seed: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        by_seed.setdefault(row.pop("seed", None), []).append(row)
    try:
        documents = [
            ScoresDocument.from_json({"header": header | {"seed": seed}, "cases": of_seed})
            for seed, of_seed in by_seed.items()
        ]
    except ValueError as error:
        raise UsageError(f"{path}: {error}; name= says what of a case's name counts") from error
    left_out = f"; left out: {', '.join(table.left_out)}" if table.left_out else ""
    cases = len({row["case"] for row in rows})
    return documents, f"{table.score} of {', '.join(classes)} in {cases} cases{left_out}"


@dataclass(frozen=True)
class _Table:
    """A file: its columns, and of each line the number and the texts by column."""

    path: Path
    columns: Sequence[str]
    lines: Sequence[tuple[int, Mapping[str, str]]]

    @classmethod
    def read(cls, path: Path) -> _Table:
        try:
            (_, columns), *rows = list(csv_rows(path.read_text(encoding="utf-8-sig"))) or [(1, [])]
        except (OSError, ValueError, csv.Error) as error:
            raise UsageError(f"{path}: cannot be read ({error}); {NEEDED}") from error
        lines = []
        for number, row in rows:
            if len(row) != len(columns):
                raise UsageError(f"{path}: line {number}: {len(row)} values, {len(columns)} columns; mend it")
            lines.append((number, dict(zip(columns, row, strict=True))))
        if len(columns) < 2 or len({*columns}) < len(columns):
            raise UsageError(f"{path}: its first line is {', '.join(columns) or 'empty'}; {NEEDED}, each named once")
        return cls(path, columns, lines)

    @property
    def long(self) -> bool:
        """Whether there is a line for each case and class."""
        return self._column(CLASS) is not None

    @property
    def case(self) -> str:
        """The column of the cases."""
        return self._column(CASE) or self.columns[0]

    @property
    def classes(self) -> list[str]:
        """Of a wide file the columns that are classes."""
        kept = [name for name in self.columns if name != self.case and name.lower() not in BESIDE]
        return kept[:-1] if len(kept) > 1 and kept[-1] == MEAN else kept

    @property
    def left_out(self) -> list[str]:
        """The columns that are not read."""
        if not self.long:
            return [name for name in self.columns if name == MEAN and name not in self.classes]
        known = {self.case, self._column(CLASS), self._scored, *self._measured}
        return [name for name in self.columns if name not in known and name.lower() not in (*BESIDE, *COUNTS)]

    @property
    def score(self) -> str:
        """What the numbers are."""
        if self.long:
            return "tp, fp and fn" if self._counts else SCORES[str(self._scored).lower()]
        if OTHER.search(self.path.stem):
            raise UsageError(f"{self.path}: by its name of another score; give a file of DSC or IoU, or rename it")
        return "IoU" if IOU.search(self.path.stem) else "DSC"

    def rows(self) -> Iterator[dict[str, Any]]:
        """One a case and class, as a scores document has them, and `seed`."""
        score = self.score
        for number, line in self.lines:
            beside = {name.lower(): line[name] for name in self.columns if name.lower() in BESIDE and line[name]}
            begin = {"case": line[self.case], **beside}
            if not self.long:
                for name in self.classes:
                    yield {**begin, "class": name, "DSC": self._fraction(number, name, line[name], score)}
                continue
            row: dict[str, Any] = begin | {"class": line[str(self._column(CLASS))]}
            row |= {key: line[name] for key, name in self._counts.items()}
            if not self._counts:
                row["DSC"] = self._fraction(number, str(self._scored), line[str(self._scored)], score)
            yield row | {name: self._number(number, name, line[name]) for name in self._measured}

    @property
    def _scored(self) -> str | None:
        found = self._column(tuple(SCORES))
        if found is None and self.long and not self._counts:
            raise UsageError(f"{self.path}: no column DSC among {', '.join(self.columns)}; {NEEDED}")
        return found

    @property
    def _counts(self) -> dict[str, str]:
        """The columns of the counts, where all of them are there."""
        found = {key: name for key in COUNTS for name in self.columns if name.lower() == key}
        return found if len(found) == len(COUNTS) else {}

    @property
    def _measured(self) -> list[str]:
        return [name for name in self.columns if name in MEASURED]

    def _column(self, names: Sequence[str]) -> str | None:
        """The column that has one of these names, whatever its case; the first name first."""
        return next((column for name in names for column in self.columns if column.lower() == name), None)

    def _fraction(self, number: int, column: str, text: str, score: str) -> float | None:
        value = self._number(number, column, text)
        if value is not None and not 0 <= value <= 1:
            raise UsageError(
                f"{self.path}: line {number}: {column}: a {score} is a fraction of 1, got {text!r}; divide percentages "
                "by 100, and remove columns that are no class"
            )
        return 2 * value / (1 + value) if value is not None and score == "IoU" else value

    def _number(self, number: int, column: str, text: str) -> float | None:
        if text.lower() in UNDEFINED:
            return None
        try:
            value = float(text)
        except ValueError as error:
            raise UsageError(
                f"{self.path}: line {number}: {column}: a number is needed, got {text!r}; leave what is undefined empty"
            ) from error
        return value if math.isfinite(value) else None
