"""The mistakes in a predicted case, counted slice by slice, and described in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pictures.mistakes import mistake_masks

MOST = 0.8
"""Of the pixels of a kind: slices that hold so many of them hold most."""
PAIRS = 3


@dataclass(frozen=True)
class Mistakes:
    """The wrong pixels of a case, in each of its slices.

    Attributes:
        missed: see `engine.pictures.mistakes.mistake_masks`, as the next two.
        invented: as `missed`.
        confused: those of the wrong class.
        pairs: the most frequent (class of the reference, predicted class, pixels).
    """

    missed: list[int]
    invented: list[int]
    confused: list[int]
    pairs: list[tuple[int, int, int]]

    @classmethod
    def of(cls, reference: NDArray[Any], labels: NDArray[Any], classes: int, background: int | None) -> Mistakes:
        """Count them.

        Args:
            reference: `(slices, rows, columns)` class indices, 255 where ignored.
            labels: the predicted ones.
            classes: how many there are.
            background: the class that is no foreground, or None.
        """
        kinds = mistake_masks(reference, labels, background)
        wrong = np.logical_or.reduce([*kinds.values()])
        missed, invented, confused = (kind.sum((1, 2)).tolist() for kind in kinds.values())
        pairs = np.bincount(reference[wrong].astype(np.int64) * classes + labels[wrong], minlength=classes**2)
        frequent = [int(index) for index in np.argsort(-pairs, kind="stable")[:PAIRS] if pairs[index]]
        return cls(missed, invented, confused, [(*divmod(index, classes), int(pairs[index])) for index in frequent])

    @property
    def each(self) -> list[int]:
        """The wrong pixels of each slice."""
        return [sum(kinds) for kinds in zip(self.missed, self.invented, self.confused, strict=True)]

    def describe(self, classes: Sequence[str], background: int | None) -> str:
        """The kinds of mistakes by their share, and where most of the first kind is."""
        total = sum(self.each)
        if not total:
            return "no pixel is wrong"
        if background is None:
            pairs = [f"{_share(n, total)} {classes[was]} taken for {classes[now]}" for was, now, n in self.pairs]
            return f"of the wrong pixels, {', '.join(pairs)}"
        kinds = {"missed": self.missed, "invented": self.invented, "of the wrong class": self.confused}
        ranked = sorted((name for name in kinds if any(kinds[name])), key=lambda name: -sum(kinds[name]))
        shares = ", ".join(f"{_share(sum(kinds[name]), total)} {name}" for name in ranked)
        text = f"of the wrong pixels, {shares}"
        if len(classes) > 2:
            was, now, count = self.pairs[0]
            text += f"; most often {classes[was]} taken for {classes[now]} ({_share(count, total)})"
        first, last = span(kinds[ranked[0]])
        if len(self.missed) > 1 and last - first + 1 <= 0.7 * len(self.missed):
            where = f"slice {first}" if first == last else f"slices {first} to {last}"
            held = _share(sum(kinds[ranked[0]][first : last + 1]), sum(kinds[ranked[0]]))
            text += f"; {held} of those {ranked[0]} in {where} (of 0 to {len(self.missed) - 1})"
        return text


def span(counts: Sequence[int]) -> tuple[int, int]:
    """The first and the last of the fewest neighbouring slices that hold `MOST` of what is counted."""
    sums = np.concatenate([[0], np.cumsum(counts)])
    found = []
    for first in range(len(counts)):
        last = int(np.searchsorted(sums, sums[first] + MOST * sums[-1])) - 1
        if last < len(counts):
            found.append((max(last, first) - first, first))
    length, first = min(found)
    return first, first + length


def _share(count: int, total: int) -> str:
    share = 100 * count / total
    return f"{share:.0f} %" if share >= 1 else "less than 1 %"
