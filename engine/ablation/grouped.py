"""The rows of a scores document as arrays, and the scores of its groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from sys import intern

import numpy as np
from numpy.typing import NDArray

from segloss.document import DISTANCES, Header, Row

FoldRow = tuple[int | None, Row]
Floats = NDArray[np.float64]
MEASURED = ("DSC", "IoU", *DISTANCES, "volume_ml")


@dataclass(frozen=True)
class GroupScores:
    """What the networks of one seed score on the N cases of G groups, over C classes.

    Attributes:
        names: of the groups, in order.
        folds: the folds that held out each group.
        group: `(N,)` of each case.
        counts: `(N, C, 3)` true positives, false positives, false negatives; 0 where a document has no row. NaN where
            only scores are known: whether a reference or a prediction holds a class is then known by its score alone.
        scored: `(N, C)` whether a document has a row; there is none of a class that a case was not labelled for.
        measured: by score `(N, C)` DSC and IoU, and distances in mm and volumes in ml; NaN where undefined.
        counted: the indices of the classes that count in means.
        classes: by name, their indices.
    """

    names: list[str]
    folds: list[set[int | None]]
    group: NDArray[np.int64]
    counts: Floats
    scored: NDArray[np.bool_]
    measured: dict[str, Floats]
    counted: list[int]
    classes: dict[str, int]
    _overlaps: dict[tuple[str, str | None], Floats] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, rows: Iterable[FoldRow], header: Header) -> GroupScores:
        """Read rows, each after its fold."""
        every = list(rows)
        classes = {name: index for index, name in enumerate(header.classes)}
        names = sorted({intern(row.group) for _, row in every})  # those of two documents are compared in no time
        groups = {name: index for index, name in enumerate(names)}
        folds: list[set[int | None]] = [set() for _ in names]
        cases: dict[tuple[str, str, int | None], int] = {}
        places = np.empty((len(every), 2), dtype=np.int64)
        for index, (fold, row) in enumerate(every):
            places[index] = cases.setdefault((row.group, row.case, fold), len(cases)), classes[row.label]
            folds[groups[row.group]].add(fold)
        case, label = places.T
        given = np.array([(row.tp, row.fp, row.fn) for _, row in every], dtype=np.float64)  # None is NaN
        counts = np.full((len(cases), len(classes), 3), np.nan if np.isnan(given).any() else 0.0)
        counts[case, label] = given
        scored = np.zeros(counts.shape[:2], dtype=np.bool_)
        scored[case, label] = True
        measured = {}
        for key in MEASURED:
            measured[key] = np.broadcast_to(np.nan, counts.shape[:2])
            if any(key in row.scores for _, row in every):
                measured[key] = np.full(counts.shape[:2], np.nan)
                measured[key][case, label] = [np.nan if (v := row.scores.get(key)) is None else v for _, row in every]
        group = np.array([groups[name] for name, _, _ in cases], dtype=np.int64)
        return cls(names, folds, group, counts, scored, measured, [classes[name] for name in header.counted], classes)

    @cached_property
    def has_counts(self) -> bool:
        """Whether the counts are known."""
        return not np.isnan(self.counts).any()

    @cached_property
    def held(self) -> NDArray[np.bool_]:
        """`(N, C)` whether the reference holds a class; by scores alone, whether its DSC is defined."""
        if not self.has_counts:
            return ~np.isnan(self.measured["DSC"])
        return np.asarray(self.counts[..., 0] + self.counts[..., 2] > 0)

    @cached_property
    def predicted(self) -> NDArray[np.bool_]:
        """`(N, C)` whether the prediction holds a class; by scores alone, whether its DSC is above 0."""
        if not self.has_counts:
            return self.measured["DSC"] > 0
        return np.asarray(self.counts[..., 0] + self.counts[..., 1] > 0)

    def overlap(self, score: str, name: str | None) -> Floats:
        """`(G,)` the mean DSC or IoU over the cases of a group whose reference holds the class, NaN where none does.

        Of pictures with one label it is the share of them that is right.

        Without a name the mean over classes, over the cases whose reference holds one; a class that is invented there
        scores 0, one that neither has is left out.
        """
        if (score, name) not in self._overlaps:
            self._overlaps[score, name] = self._overlap(score, name)
        return self._overlaps[score, name]

    def _overlap(self, score: str, name: str | None) -> Floats:
        scores = self.measured["IoU" if score == "IoU" else "DSC"]
        if name is not None:
            index = self.classes[name]
            return self._mean(np.where(self.held[:, index], scores[:, index], np.nan))
        there, known = self.held[:, self.counted].any(1), ~np.isnan(scores[:, self.counted])
        mean = np.nansum(scores[:, self.counted], 1) / np.maximum(known.sum(1), 1)
        return self._mean(np.where(there, mean, np.nan))

    def distance(self, score: str, name: str) -> Floats:
        """`(G,)` the mean over the cases in which reference and prediction hold the class, NaN where none does."""
        index = self.classes[name]
        both = self.held[:, index] & self.predicted[:, index]
        return self._mean(np.where(both, self.measured[score][:, index], np.nan))

    def missed(self, name: str) -> Floats:
        """`(G,)` 1 where a case's reference holds the class and no pixel of it is found, NaN where none holds it.

        NaN everywhere where only scores are known, as in the next two.
        """
        index = self.classes[name]
        held = self.held[:, index]
        known = (self._any(held) > 0) & self.has_counts
        return self._any(held & (self.counts[:, index, 0] == 0), known)

    def invented(self, name: str) -> Floats:
        """`(G,)` 1 where a case is predicted to hold the class, NaN where the reference of one holds it."""
        index = self.classes[name]
        return self._any(self.predicted[:, index], self._absent(index))

    def invented_ml(self, name: str) -> Floats:
        """`(G,)` the predicted volume of the class where no reference of a group holds it; NaN elsewhere."""
        index = self.classes[name]
        of_cases = np.where(self.predicted[:, index], self.measured["volume_ml"][:, index], 0)
        volume = np.bincount(self.group, of_cases, len(self.names))
        return np.where(self._absent(index), volume, np.nan)

    def _absent(self, index: int) -> NDArray[np.bool_]:
        """`(G,)` whether references are known to hold nothing of a class."""
        scored, held = self._any(self.scored[:, index]) > 0, self._any(self.held[:, index]) > 0
        return scored & ~held & self.has_counts

    def folds_of(self, groups: Sequence[str]) -> NDArray[np.int64] | None:
        """`(G,)` a number for the fold that held out each of some groups; None where one is held out in several."""
        numbers = self._fold_numbers if groups == self.names else self._fold_numbers[[self.places[g] for g in groups]]
        return None if (numbers < 0).any() else numbers

    @cached_property
    def _fold_numbers(self) -> NDArray[np.int64]:
        """`(G,)` of each group its fold by its number, −1 where it is held out in several."""
        known = sorted({str(*folds) for folds in self.folds if len(folds) == 1})
        numbers = {fold: number for number, fold in enumerate(known)}
        return np.array([numbers[str(*folds)] if len(folds) == 1 else -1 for folds in self.folds], dtype=np.int64)

    @cached_property
    def places(self) -> dict[str, int]:
        """By name, the index of each group."""
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def pooled(self) -> Floats:
        """`(G, C, 3)` the counts of each group."""
        order = np.argsort(self.group, kind="stable")
        if len(order) == len(self.names):  # a case a group
            return self.counts[order]
        first = np.flatnonzero(np.diff(self.group[order], prepend=-1))  # every group has a case
        return np.asarray(np.add.reduceat(self.counts[order], first))

    def _mean(self, of_cases: Floats) -> Floats:
        """`(G,)` the mean over the cases of each group that are not NaN."""
        known = ~np.isnan(of_cases)
        number = np.bincount(self.group[known], minlength=len(self.names))
        total = np.bincount(self.group[known], of_cases[known], len(self.names))
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)

    def _any(self, of_cases: NDArray[np.bool_], where: NDArray[np.bool_] | None = None) -> Floats:
        """`(G,)` 1 where a case of a group is true, else 0; NaN outside of `where`."""
        found = (np.bincount(self.group, of_cases, len(self.names)) > 0).astype(np.float64)
        return found if where is None else np.where(where, found, np.nan)
