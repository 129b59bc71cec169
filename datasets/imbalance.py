"""A training part cut to a long tail or a step, as papers on class imbalance do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .case import Case
from .errors import DataError

SLACK = 1e-9
"""Relative: 500 · 100^(−1) must not come out below 5."""


@dataclass(frozen=True)
class Imbalance:
    """How many pictures of each class are trained on; of pictures with one label.

    Of C classes class i, from the largest, keeps ⌊n·factor^(−i/(C−1))⌋ pictures in a `long_tail` (Cui 2019), and in a
    `step` the first half of the classes n, the others ⌊n/factor⌋ (Cao 2019; of an odd number the middle class n).

    Attributes:
        kind: `long_tail` or `step`.
        classes: the names of the C classes.
        factor: the largest class over the smallest, ≥ 1.
        rarest: whether the last class is the rarest, or the first.
        largest: n, pictures of the largest class; None for those of the class that has most.
        seed: of the draw; a class keeps more of the same pictures for a smaller factor.
    """

    kind: Literal["long_tail", "step"]
    classes: Sequence[str]
    factor: float
    rarest: Literal["last", "first"] = "last"
    largest: int | None = None
    seed: int = 0

    def sizes(self, largest: int) -> list[int]:
        """The pictures of each class, in the order of the classes, where the largest has so many."""
        count = len(self.classes)
        if self.kind == "long_tail":
            shares = [self.factor ** (-index / max(count - 1, 1)) for index in range(count)]
        else:
            shares = [1.0 if index < (count + 1) // 2 else 1 / self.factor for index in range(count)]
        sizes = [int(largest * share * (1 + SLACK)) for share in shares]
        return sizes if self.rarest == "last" else sizes[::-1]

    def keep(self, training: Sequence[Case]) -> list[str]:
        """The ids of the training cases that are kept, in their order.

        Raises:
            DataError: a class has fewer pictures than it is to keep, or would keep none.
        """
        of_class: list[list[str]] = [[] for _ in self.classes]
        for case in training:
            if case.label is None:
                raise DataError(f"data.imbalance: {case.image} has no single label")
            of_class[case.label].append(case.id)
        largest = max(map(len, of_class)) if self.largest is None else self.largest
        kept: set[str] = set()
        for index, (ids, size) in enumerate(zip(of_class, self.sizes(largest), strict=True)):
            if len(ids) < size or not size:
                found = f"{self.classes[index]} has {len(ids)} training pictures, and {size} are to be kept"
                fits = next((n for n in range(largest - 1, 0, -1) if self._fit(of_class, n)), None)
                remedy = (
                    "data.imbalance.factor lower" if fits is None else f"data.imbalance.largest: {fits}, which fits"
                )
                raise DataError(f"data.imbalance: {found} of it; set {remedy}")
            drawn = np.random.default_rng([self.seed, index]).permutation(len(ids))[:size]
            kept.update(np.array(sorted(ids), dtype=object)[drawn])
        return [case.id for case in training if case.id in kept]

    def _fit(self, of_class: Sequence[Sequence[str]], largest: int) -> bool:
        """Whether each class has as many pictures as it is to keep, and keeps one."""
        return all(0 < size <= len(ids) for ids, size in zip(of_class, self.sizes(largest), strict=True))
