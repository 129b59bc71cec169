"""Dividing groups into parts: what the splits share."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np

from .case import PARTS, Case, Part
from .errors import DataError

Split = dict[Part, list[str]]
"""The case ids of each part."""
Fold = int | Literal["all"]
"""Which division of several, counted from 0; `all` trains every one of them, one after the other."""


class Splitter(Protocol):
    """Divides cases into parts; its constructor checks ranges, touching no file."""

    def divisions(self) -> int:
        """How many there are to choose from by `fold`; a `DataError` where a file cannot say."""

    def __call__(self, cases: Sequence[Case], strata: Mapping[str, float]) -> Split:
        """The parts.

        Args:
            cases: all cases.
            strata: a number a case, by its id: groups are sorted by its mean, and neighbours are spread over the parts.
                The share of foreground; without a background how rare the rarest class is that the group holds.

        Raises:
            DataError: the cases cannot be divided so.
        """


def stratified_order(cases: Sequence[Case], strata: Mapping[str, float], seed: list[int]) -> list[str]:
    """The groups sorted by the mean of their strata, ties in random order."""
    shares: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        shares[case.group].append(strata[case.id])
    groups = sorted(shares)
    shuffled = [groups[index] for index in np.random.default_rng(seed).permutation(len(groups))]
    if len(groups) < 2:
        raise DataError(
            f"split: {len(groups)} group(s) cannot be divided into training and test; add cases, or see data.group"
        )
    means = {group: float(np.mean(own)) if len(own) > 1 else own[0] for group, own in shares.items()}
    return sorted(shuffled, key=means.__getitem__)


def spread(order: Sequence[str], amount: int, rng: np.random.Generator) -> list[str]:
    """`amount` groups, one drawn from each of as many equal stretches of the order: stratified."""
    return [stretch[rng.integers(len(stretch))] for stretch in np.array_split(np.array(order), amount) if len(stretch)]


def with_validation(
    cases: Sequence[Case], order: Sequence[str], test: Sequence[str], val: float, rng: np.random.Generator
) -> Split:
    """The parts by their test groups; validation groups are spread over the order of the rest."""
    held_out = {*test}
    rest = [group for group in order if group not in held_out]
    validation = spread(rest, amount(val, len(rest)), rng) if val else []
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


def with_drawn_validation(
    split: Split, cases: Sequence[Case], strata: Mapping[str, float], val: float, seeds: tuple[int, int]
) -> Split:
    """A split with validation groups drawn from its training part: a seed for the order, both for the draw."""
    names = {*split["train"]}
    training = [case for case in cases if case.id in names]
    order = stratified_order(training, strata, [seeds[0]])
    drawn = with_validation(training, order, [], val, np.random.default_rng(seeds))
    return {**drawn, "test": split["test"]}


def amount(value: float, total: int) -> int:
    """A number of groups from a number ≥ 1 or a share of all."""
    return round(value) if value >= 1 else max(1, round(value * total))


def check_amount(name: str, value: float, least: int) -> None:
    """Raise a `ValueError` that begins with the name where a value is neither a number of groups nor a share."""
    if not math.isfinite(value) or (value >= 1 and value != int(value)) or value < 0 or (least and value == 0):
        allowed = "a number of groups ≥ 1 or a share in (0, 1)" + ("" if least else ", or 0")
        raise ValueError(f"{name} must be {allowed}, got {value}")


def check_seed(seed: int) -> None:
    """Raise a `ValueError` where a number cannot seed a draw."""
    if seed < 0:
        raise ValueError(f"seed must be ≥ 0, got {seed}")


def one_fold(fold: Fold) -> int:
    """A single fold; a `DataError` for `all`."""
    if fold == "all":
        raise DataError("data.split.fold: all stands for every fold, which train, check and predict go through")
    return fold


def check_fold(name: str, count: int, fold: Fold, least: int) -> None:
    """Raise a `ValueError` where there are too few divisions, or the fold is none of them."""
    if count < least:
        raise ValueError(f"{name} must be ≥ {least}, got {count}")
    if fold != "all" and not 0 <= fold < count:
        raise ValueError(f"fold must be in 0..{count - 1} ({name} is {count}), got {fold}")
