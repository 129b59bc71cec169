"""Parts of a data set that a file gives: to share a split, or to go on with one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from .case import PARTS, Case, Part
from .division import Fold, Split, check_amount, check_seed, one_fold, with_drawn_validation
from .errors import DataError
from .files import read_json, same_name
from .formats import without_suffix
from .listing import Exclude, fitting


class FromFile:
    """Case ids from a JSON file: `{"train": […], "val": […], "test": […]}`, or a list of such, one a fold.

    Where no entry has a `test`, as in nnU-Net's `splits_final.json`, its `val` is the held-out part and becomes the
    test.

    Args:
        path: the file.
        fold: which entry of a list, from 0; `all` trains with each of them.
        val: validation groups taken from the training part where the file has no validation of its own: a number ≥ 1, a
            share below 1, or 0 for none.
        seed: of the draw of validation groups; not of the training.
        exclude: cases that are left out of the data set, so that the file may name them.

    Raises:
        ValueError: a negative fold, a number out of its range.
    """

    def __init__(
        self, path: str, fold: Fold = 0, val: float | int = 0, seed: int = 0, *, exclude: Exclude | None = None
    ) -> None:
        if fold != "all" and fold < 0:
            raise ValueError(f"fold must be ≥ 0, got {fold}")
        check_amount("val", val, least=0)
        check_seed(seed)
        self.path, self.fold, self.val, self.seed, self.exclude = Path(path), fold, val, seed, exclude or {}

    def divisions(self) -> int:
        """How many entries the file has."""
        content = self._content()
        return len(content) if isinstance(content, list) else 1

    def refuse_other(self, recorded: Split, source: str, is_cut: bool = False) -> None:
        """Raise a `DataError` where the file does not hold out, or train with, the cases of a recorded split.

        Args:
            recorded: its case ids.
            source: where it is recorded, for the error.
            is_cut: its training part was cut by an `Imbalance`, so it has some of the file's cases alone.
        """
        ids = {name for names in recorded.values() for name in names}
        entry = self._kept(self._entry())
        content = {part: [_without_ending(name, ids) for name in names] for part, names in entry.items()}
        held = set(content.get("test", content.get("val", [])))
        if "test" in content and not self.val:
            rest, kept = set(content.get("train", [])), set(recorded["train"])
        else:  # whose validation part may be drawn
            rest, kept = set(content.get("train", [])), {*recorded["train"], *recorded["val"]}
        other = (held ^ {*recorded["test"]}) | (kept - rest if is_cut else rest ^ kept)
        if other:
            raise DataError(
                f"{self.path}: {len(other)} cases, such as {min(other)!r}, are not in the parts that {source} has them "
                "in, with which this run began; restore the file, or train under another name"
            )

    def __call__(self, cases: Sequence[Case], strata: Mapping[str, float]) -> Split:
        """See `Splitter`."""
        content, fold = self._kept(self._entry()), one_fold(self.fold)
        split = checked_split(content, cases, str(self.path))
        if "test" not in content:
            split = {"train": split["train"], "val": [], "test": split["val"]}
        if not self.val or not split["train"]:
            return split
        if split["val"]:
            raise DataError(f"{self.path}: has a validation part of its own; remove data.split.val")
        return with_drawn_validation(split, cases, strata, self.val, (self.seed, fold))

    def _kept(self, entry: Any) -> dict[str, list[str]]:
        """The case ids of each part, without those that are left out."""
        parts = _checked(entry, str(self.path)).items()
        return {part: [name for name in names if not self._leaves_out(name)] for part, names in parts}

    def _leaves_out(self, name: str) -> bool:
        stem = without_suffix(name.replace("\\", "/"))[0]
        return any(fitting(one, self.exclude) is not None for one in (name, stem))

    def _entry(self) -> Any:
        """The content for the fold."""
        content, fold = self._content(), one_fold(self.fold)
        if isinstance(content, list):
            if fold >= len(content):
                raise DataError(f"{self.path}: {len(content)} folds, counted from 0; data.split.fold is {fold}")
            return content[fold]
        return content

    def _content(self) -> Any:
        try:
            return read_json(self.path)
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: no such file (data.split.path)") from error


class Recorded:
    """The split that a run was trained with, whatever has been added to the data set since.

    Args:
        split: its case ids.
        source: the file it comes from, for errors.
        parts: those that are wanted; the others come out empty.

    Raises:
        DataError: `split` is none.
    """

    def __init__(self, split: Any, source: str, parts: Collection[Part] = PARTS) -> None:
        checked = _checked(split, source)
        self.split: Split = {part: checked.get(part, []) if part in parts else [] for part in PARTS}
        self.source, self.parts = source, parts

    @property
    def ids(self) -> set[str]:
        """The cases of these parts."""
        return {name for names in self.split.values() for name in names}

    def divisions(self) -> int:
        """One."""
        return 1

    def __call__(self, cases: Sequence[Case], strata: Mapping[str, float]) -> Split:  # noqa: ARG002
        """See `Splitter`."""
        return checked_split(self.split, cases, self.source)


def checked_split(content: Any, cases: Sequence[Case], source: str) -> Split:
    """A split read from a file; a `DataError` naming the file where it is none, or does not fit the cases."""
    checked = _checked(content, source)
    known = {case.id for case in cases}
    seen: dict[str, str] = {}
    split: Split = {part: [] for part in PARTS}
    for part in PARTS:
        for listed in checked.get(part, []):
            name = _without_ending(listed, known)
            if name not in known:
                raise DataError(f"{source}: {part} names the case {name!r}, which the data set does not have")
            if name in seen:
                raise DataError(f"{source}: the case {name!r} is in {seen[name]} and in {part}")
            seen[name] = part
            split[part].append(name)
    return split


def _checked(content: Any, source: str) -> dict[str, list[str]]:
    """Lists of names by part, some of which may be missing; a `DataError` naming the file where it holds none."""
    if not isinstance(content, dict) or not set(content) <= set(PARTS):
        raise DataError(f'{source}: expected {{"train": [case ids], "val": […], "test": […]}}')
    for part, names in content.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{source}: {part} must be a list of case ids")
    return {part: list(map(same_name, names)) for part, names in content.items()}


def _without_ending(name: str, known: Collection[str]) -> str:
    """A case's id, of a list that may name files: without their ending where no case has it."""
    name = name.replace("\\", "/") if name not in known else name
    stem = without_suffix(name)[0]
    return stem if name not in known and stem in known else name
