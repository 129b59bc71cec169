"""Parts of a data set: training, validation and test, made of whole groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .case import PARTS, Case
from .division import (
    Fold,
    Split,
    Splitter,
    amount,
    check_amount,
    check_fold,
    check_seed,
    one_fold,
    spread,
    stratified_order,
    with_drawn_validation,
    with_validation,
)
from .errors import DataError
from .split_file import FromFile


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
        check_amount("val", val or 0, least=0)
        check_seed(seed)
        self.val, self.seed = val, seed

    def divisions(self) -> int:
        """One."""
        return 1

    def __call__(self, cases: Sequence[Case], strata: Mapping[str, float]) -> Split:
        """See `Splitter`."""
        unplaced = [case.id for case in cases if case.part is None]
        if unplaced:
            raise DataError(f"split: no official part for {unplaced[0]}; use kind: holdout, kfold or file")
        split: Split = {part: [case.id for case in cases if case.part == part] for part in PARTS}
        if split["val"] and self.val is not None:
            raise DataError("split: the data set has a validation part of its own; remove data.split.val")
        if split["val"] or self.val == 0 or not split["train"]:
            return split
        groups = {case.group for case in cases if case.part == "train"}
        if len(groups) < 2:
            raise DataError(
                f"split: all training cases are of the group {groups.pop()!r}, so none can validate; set "
                "data.split.val: 0 to keep the last epoch, or see data.group"
            )
        return with_drawn_validation(split, cases, strata, 0.1 if self.val is None else self.val, (self.seed, 1))


class Holdout:
    """Some groups drawn for the test, the same for every seed of the training.

    Args:
        test: groups of the test part: a number ≥ 1, or a share below 1.
        val: validation groups taken from the rest: a number ≥ 1, a share below 1, or 0 for none.
        repeats: how many different draws there are.
        fold: which of the draws, from 0; `all` trains with each of them.
        seed: of the draws; not of the training.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(
        self, test: float | int = 0.2, val: float | int = 0.1, repeats: int = 1, fold: Fold = 0, seed: int = 0
    ) -> None:
        check_amount("test", test, least=1)
        check_amount("val", val, least=0)
        check_fold("repeats", repeats, fold, least=1)
        check_seed(seed)
        self.test, self.val, self.repeats, self.fold, self.seed = test, val, repeats, fold, seed

    def divisions(self) -> int:
        """How many draws there are."""
        return self.repeats

    def __call__(self, cases: Sequence[Case], strata: Mapping[str, float]) -> Split:
        """See `Splitter`."""
        fold = one_fold(self.fold)
        order = stratified_order(cases, strata, [self.seed, fold])
        rng = np.random.default_rng([self.seed, fold])
        test = spread(order, amount(self.test, len(order)), rng)
        return with_validation(cases, order, test, self.val, rng)


class KFold:
    """k folds of groups with about the same foreground, or the same rare classes, each; one is the test.

    Args:
        folds: how many, ≥ 2.
        fold: which one is the test, from 0; `all` trains with each of them.
        val: validation groups taken from the rest: a number ≥ 1, a share below 1, or 0 for none.
        seed: of the division; not of the training.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, folds: int = 5, fold: Fold = 0, val: float | int = 0.1, seed: int = 0) -> None:
        check_fold("folds", folds, fold, least=2)
        check_amount("val", val, least=0)
        check_seed(seed)
        self.folds, self.fold, self.val, self.seed = folds, fold, val, seed

    def divisions(self) -> int:
        """How many folds there are."""
        return self.folds

    def __call__(self, cases: Sequence[Case], strata: Mapping[str, float]) -> Split:
        """See `Splitter`."""
        chosen = one_fold(self.fold)
        order = stratified_order(cases, strata, [self.seed])
        if len(order) < self.folds:
            raise DataError(f"split: {len(order)} groups cannot make {self.folds} folds; lower data.split.folds")
        rng = np.random.default_rng([self.seed, 1])
        tests: list[list[str]] = [[] for _ in range(self.folds)]
        for start in range(0, len(order), self.folds):  # each run of k neighbours, dealt to the k folds
            dealt = rng.permutation(self.folds) if start + self.folds <= len(order) else range(self.folds)
            for group, fold in zip(order[start : start + self.folds], dealt, strict=False):
                tests[fold].append(group)
        return with_validation(cases, order, tests[chosen], self.val, np.random.default_rng([self.seed, 2, chosen]))


SPLITS: dict[str, type[Splitter]] = {"official": Official, "holdout": Holdout, "kfold": KFold, "file": FromFile}
