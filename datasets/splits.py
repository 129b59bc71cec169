"""Parts of a data set: training, validation and test, made of whole groups."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .case import PARTS, Case, Part
from .errors import DataError

Split = dict[Part, list[str]]
"""The case ids of each part."""


class Splitter(Protocol):
    """Divides cases into parts; its constructor checks ranges, touching no file."""

    def __call__(self, cases: Sequence[Case], foreground: Mapping[str, float]) -> Split:
        """The parts.

        Args:
            cases: all cases.
            foreground: the share of foreground of each case, by its id.

        Raises:
            DataError: the cases cannot be divided so.
        """


class Official:
    """The data set's own parts.

    Where it has no validation part of its own, as Cityscapes has none beside the one that papers report, groups of the
    training part validate.

    Args:
        val: validation groups taken from the training part: a number ≥ 1, a share below 1, or 0 for none; null for the
            data set's own validation part, or a share of 0.1 where it has none.
        seed: of the draw of validation groups; not of the training.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, val: float | int | None = None, seed: int = 0) -> None:
        _check_amount("val", val or 0, least=0)
        self.val, self.seed = val, seed

    def __call__(self, cases: Sequence[Case], foreground: Mapping[str, float]) -> Split:
        """See `Splitter`."""
        homeless = [case.id for case in cases if case.part is None]
        if homeless:
            raise DataError(f"split: no official part for {homeless[0]}; use kind: holdout, kfold or file")
        split: Split = {part: [case.id for case in cases if case.part == part] for part in PARTS}
        if split["val"] and self.val is not None:
            raise DataError("split: the data set has a validation part of its own; remove data.split.val")
        if split["val"] or self.val == 0 or not split["train"]:
            return split
        training = [case for case in cases if case.part == "train"]
        if len({case.group for case in training}) < 2:
            raise DataError(
                f"split: all training cases are of the group {training[0].group!r}, so none can validate; set "
                "data.split.val: 0 to keep the last epoch, or see data.group"
            )
        order = stratified_order(training, foreground, [self.seed])
        rng = np.random.default_rng([self.seed, 1])
        share = 0.1 if self.val is None else self.val
        return {**_with_validation(training, order, [], share, rng), "test": split["test"]}


class Holdout:
    """Some groups drawn for the test, the same for every seed of the training.

    Args:
        test: groups of the test part: a number ≥ 1, or a share below 1.
        val: validation groups taken from the rest: a number ≥ 1, a share below 1, or 0 for none.
        repeats: how many different draws there are.
        fold: which of the draws, from 0.
        seed: of the draws; not of the training.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(
        self, test: float | int = 0.2, val: float | int = 0.1, repeats: int = 1, fold: int = 0, seed: int = 0
    ) -> None:
        _check_amount("test", test, least=1)
        _check_amount("val", val, least=0)
        _check_fold("repeats", repeats, fold, least=1)
        self.test, self.val, self.fold, self.seed = test, val, fold, seed

    def __call__(self, cases: Sequence[Case], foreground: Mapping[str, float]) -> Split:
        """See `Splitter`."""
        order = stratified_order(cases, foreground, [self.seed, self.fold])
        rng = np.random.default_rng([self.seed, self.fold])
        test = _spread(order, _amount(self.test, len(order)), rng)
        return _with_validation(cases, order, test, self.val, rng)


class KFold:
    """k folds of groups with about the same foreground each; one is the test.

    Args:
        folds: how many, ≥ 2.
        fold: which one is the test, from 0.
        val: validation groups taken from the rest: a number ≥ 1, a share below 1, or 0 for none.
        seed: of the division; not of the training.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, folds: int = 5, fold: int = 0, val: float | int = 0.1, seed: int = 0) -> None:
        _check_fold("folds", folds, fold, least=2)
        _check_amount("val", val, least=0)
        self.folds, self.fold, self.val, self.seed = folds, fold, val, seed

    def __call__(self, cases: Sequence[Case], foreground: Mapping[str, float]) -> Split:
        """See `Splitter`."""
        order = stratified_order(cases, foreground, [self.seed])
        if len(order) < self.folds:
            raise DataError(f"split: {len(order)} groups cannot make {self.folds} folds; lower data.split.folds")
        rng = np.random.default_rng([self.seed, 1])
        tests: list[list[str]] = [[] for _ in range(self.folds)]
        for start in range(0, len(order), self.folds):  # each run of k neighbours in foreground, dealt to the k folds
            dealt = rng.permutation(self.folds) if start + self.folds <= len(order) else range(self.folds)
            for group, fold in zip(order[start : start + self.folds], dealt, strict=False):
                tests[fold].append(group)
        return _with_validation(
            cases, order, tests[self.fold], self.val, np.random.default_rng([self.seed, 2, self.fold])
        )


class FromFile:
    """Case ids from a JSON file: `{"train": […], "val": […], "test": […]}`, or a list of such, one a fold.

    Args:
        path: the file.
        fold: which entry of a list.

    Raises:
        ValueError: a negative fold.
    """

    def __init__(self, path: str, fold: int = 0) -> None:
        if fold < 0:
            raise ValueError(f"fold must be ≥ 0, got {fold}")
        self.path, self.fold = Path(path), fold

    def __call__(self, cases: Sequence[Case], foreground: Mapping[str, float]) -> Split:  # noqa: ARG002
        """See `Splitter`."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: no such file (data.split.path)") from error
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{self.path}: not a JSON file ({error})") from error
        if isinstance(content, list):
            if self.fold >= len(content):
                raise DataError(f"{self.path}: {len(content)} folds, counted from 0; data.split.fold is {self.fold}")
            content = content[self.fold]
        return checked_split(content, cases, str(self.path))


class Recorded:
    """The split that a run was trained with, whatever has been added to the data set since.

    Args:
        split: its case ids.
        source: the file it comes from, for errors.
    """

    def __init__(self, split: Any, source: str) -> None:
        self.split, self.source = split, source

    def __call__(self, cases: Sequence[Case], foreground: Mapping[str, float]) -> Split:  # noqa: ARG002
        """See `Splitter`."""
        return checked_split(self.split, cases, self.source)


def checked_split(content: Any, cases: Sequence[Case], source: str) -> Split:
    """A split read from a file; a `DataError` naming the file where it is none, or does not fit the cases."""
    if not isinstance(content, dict) or not set(content) <= set(PARTS):
        raise DataError(f'{source}: expected {{"train": [case ids], "val": […], "test": […]}}')
    known = {case.id for case in cases}
    seen: dict[str, str] = {}
    split: Split = {part: [] for part in PARTS}
    for part in PARTS:
        names = content.get(part, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{source}: {part} must be a list of case ids")
        for name in names:
            if name not in known:
                raise DataError(f"{source}: {part} names the case {name!r}, which the data set does not have")
            if name in seen:
                raise DataError(f"{source}: the case {name!r} is in {seen[name]} and in {part}")
            seen[name] = part
            split[part].append(name)
    return split


SPLITS: dict[str, type[Splitter]] = {"official": Official, "holdout": Holdout, "kfold": KFold, "file": FromFile}


def stratified_order(cases: Sequence[Case], foreground: Mapping[str, float], seed: list[int]) -> list[str]:
    """The groups sorted by their mean foreground, ties in random order."""
    shares: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        shares[case.group].append(foreground[case.id])
    groups = sorted(shares)
    shuffled = [groups[index] for index in np.random.default_rng(seed).permutation(len(groups))]
    if len(groups) < 2:
        raise DataError(f"split: {len(groups)} group(s) cannot be divided into training and test; see data.group")
    return sorted(shuffled, key=lambda group: float(np.mean(shares[group])))


def _spread(order: Sequence[str], amount: int, rng: np.random.Generator) -> list[str]:
    """`amount` groups, one drawn from each of as many equal stretches of the order: stratified."""
    return [stretch[rng.integers(len(stretch))] for stretch in np.array_split(np.array(order), amount) if len(stretch)]


def _with_validation(
    cases: Sequence[Case], order: Sequence[str], test: Sequence[str], val: float, rng: np.random.Generator
) -> Split:
    rest = [group for group in order if group not in test]
    validation = _spread(rest, _amount(val, len(rest)), rng) if val else []
    if len(validation) >= len(rest):
        raise DataError(
            f"split: of {len(order)} groups {len(test)} are for the test and {len(validation)} for validation, none "
            "are left for training; lower data.split.test or data.split.val"
        )
    where: dict[str, Part] = {**dict.fromkeys(test, PARTS[2]), **dict.fromkeys(validation, PARTS[1])}
    split: Split = {part: [] for part in PARTS}
    for case in cases:
        split[where.get(case.group, "train")].append(case.id)
    return split


def _amount(value: float, total: int) -> int:
    return round(value) if value >= 1 else max(1, round(value * total))


def _check_amount(name: str, value: float, least: int) -> None:
    if (value >= 1 and value != int(value)) or value < 0 or (least and value == 0):
        allowed = "a number of groups ≥ 1 or a share in (0, 1)" + ("" if least else ", or 0")
        raise ValueError(f"{name} must be {allowed}, got {value}")


def _check_fold(name: str, count: int, fold: int, least: int) -> None:
    if count < least:
        raise ValueError(f"{name} must be ≥ {least}, got {count}")
    if not 0 <= fold < count:
        raise ValueError(f"fold must be in 0..{count - 1} ({name} is {count}), got {fold}")
