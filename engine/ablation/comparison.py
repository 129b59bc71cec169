"""From scores documents to a comparison: which numbers of two methods belong together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segloss import compare
from segloss.document import DISTANCES, Header, Row, ScoresDocument

from ..errors import NothingInCommonError, UsageError

Group = str
FoldRow = tuple[int | None, Row]
Score = Literal["DSC", "IoU", "HD95", "ASSD"]


class Measure(NamedTuple):
    """A score that methods are compared in.

    Attributes:
        aggregation: `case`: the mean over a group's cases, `dataset`: of pooled counts.
        score: `DSC`, `IoU`, `HD95` or `ASSD`.
        name: a class, or None for the mean over classes.
    """

    aggregation: Literal["case", "dataset"]
    score: Score
    name: str | None = None

    @property
    def title(self) -> str:
        """As tables call it."""
        return f"m{self.score}" if self.name is None else f"{self.name} {self.score}"

    @property
    def lower(self) -> bool:
        """Whether less is better."""
        return self.score in DISTANCES


@dataclass(frozen=True)
class Method:
    """The scores of one method, or arm.

    Attributes:
        name: it is called.
        documents: by seed, the scores document of each fold; the key is None where the seed is not known.
    """

    name: str
    documents: dict[int | None, list[ScoresDocument]]

    @property
    def header(self) -> Header:
        """What all of its documents have in common."""
        return next(iter(self.documents.values()))[0].header

    def rows(self, seed: int | None) -> Iterator[FoldRow]:
        """The rows of all held-out cases of a seed, each after its fold."""
        for document in self.documents[seed]:
            for row in document.rows:
                yield (document.header.fold if row.fold is None else row.fold), row

    def holds(self, score: str, label: str) -> bool:
        """Whether a row of a class has a score."""
        documents = (document for of_seed in self.documents.values() for document in of_seed)
        return any(
            row.scores.get(score) is not None for document in documents for row in document.rows if row.label == label
        )


def measures(method: Method) -> list[Measure]:
    """What methods are compared in: the primary metric, the score of each class by itself, HD95 of volumes.

    A document has no rows of the slices of volumes, so where their primary metric is by image they are compared by
    case; a still is its own image.
    """
    primary, classes = method.header.primary, method.header.counted
    by: Literal["case", "dataset"] = "dataset" if primary.aggregation == "dataset" else "case"
    overall = [Measure(by, primary.score)] if len(classes) > 1 else []
    surfaces = [name for name in classes if method.header.kind == "volume" and method.holds("HD95", name)]
    return [
        *overall,
        *(Measure(by, primary.score, name) for name in classes),
        *(Measure("case", "HD95", name) for name in surfaces),
    ]


def compared(a: Method, b: Method, measure: Measure) -> compare.Comparison:
    """Compare two methods in one score, group by group; seeds that both have are pairs.

    Where they have none in common the networks of each are averaged, and the comparison is of these networks alone.

    Raises:
        UsageError: other classes.
        NothingInCommonError: no group that both have scored.
    """
    refuse_different(a, b)
    seeds = [seed for seed in a.documents if seed in b.documents]
    tables = [_Table.of(method, seeds or list(method.documents), measure) for method in (a, b)]
    groups = [group for group in tables[0].scored() if group in tables[1].scored()]
    if not groups:
        raise NothingInCommonError(
            f"{a.name} and {b.name} have no patient or group in common for {measure.title}; the column `group` of "
            "`cases` says who is who"
        )
    first, second = (table.values(groups, merged=not seeds) for table in tables)
    folds = tables[0].folds_of(groups)
    if measure.aggregation == "case":
        return compare.paired(first, second, folds)
    wanted = a.header.counted if measure.name is None else [measure.name]
    left_out = [index for index, name in enumerate(a.header.classes) if name not in wanted]
    kept = [index for index in range(len(a.header.classes)) if index not in left_out]
    if not all(counts[:, :, kept].any((0, 2, 3)).all() for counts in (first, second)):
        raise NothingInCommonError(f"{a.name} and {b.name}: {measure.title} is not defined, no group of one holds it")
    return compare.pooled(first, second, "DSC" if measure.score == "DSC" else "IoU", left_out, folds)


def not_paired(a: Method, b: Method) -> list[str]:
    """What a comparison of two methods leaves out, or should not compare; a line for each."""
    lines = []
    if a.header.primary != b.header.primary:
        lines.append(
            f"primary metric of {a.name}: {a.header.primary}; of {b.name}: {b.header.primary}; compared in the latter"
        )
    seeds = [sorted(map(str, one.documents)) for one in (a, b)]
    if seeds[0] != seeds[1]:
        common = [seed for seed in a.documents if seed in b.documents]
        used = f"compared are the pairs of {_listed(map(str, common))}" if common else "each method's are averaged"
        lines.append(f"seeds of {a.name}: {_listed(seeds[0])}; of {b.name}: {_listed(seeds[1])}; {used}")
    for one in (a, b):
        folds = {seed: len(documents) for seed, documents in one.documents.items()}
        most = max(folds.values())
        short = {seed: count for seed, count in folds.items() if count < most}
        lines += [
            f"seed {seed} of {one.name} has {count} of {most} folds: only what these hold out is compared"
            for seed, count in short.items()
        ]
    references = [_references(one) for one in (a, b)]
    for index, (mine, other) in enumerate(((a, b), (b, a))):
        alone = sorted({case for case, _ in references[index]} - {case for case, _ in references[1 - index]})
        if alone:
            lines.append(
                f"only {mine.name} has {_listed(alone)}: left out, or its group is of other cases in {other.name}"
            )
    for key in sorted(references[0].keys() & references[1].keys()):
        if references[0][key] != references[1][key]:
            pixels = [one[key] for one in references]
            lines.append(
                f"{key[0]}: the reference has {pixels[0]} pixels of {key[1]} in {a.name}, {pixels[1]} in {b.name}: not "
                "scored on the same masks, or not on one grid"
            )
            break
    return lines


def refuse_different(a: Method, b: Method) -> None:
    """A `UsageError` where two methods are not scored alike."""
    for key in ("classes", "background", "grid"):
        mine, theirs = getattr(a.header, key), getattr(b.header, key)
        if mine != theirs and not (key == "grid" and None in (mine, theirs)):
            raise UsageError(f"{a.name} and {b.name} are not scored alike: {key} {mine} there, {theirs} here")


def _references(method: Method) -> dict[tuple[str, str], int]:
    """The pixels of the reference by case and class, where there are any."""
    rows = (row for seed in method.documents for _, row in method.rows(seed))
    return {(row.case, row.label): row.tp + row.fn for row in rows if row.tp + row.fn}


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


@dataclass(frozen=True)
class _Table:
    """What a method has for each seed and group: scores of its cases, or counts of each class."""

    found: list[dict[Group, NDArray[np.float64]]]
    folds: dict[Group, set[int | None]]

    @classmethod
    def of(cls, method: Method, seeds: Sequence[int | None], measure: Measure) -> _Table:
        folds: dict[Group, set[int | None]] = defaultdict(set)
        found = []
        for seed in seeds:
            rows = list(method.rows(seed))
            for fold, row in rows:
                folds[row.group].add(fold)
            of_seed = _by_case if measure.aggregation == "case" else _counts
            found.append(of_seed(rows, method.header, measure))
        return cls(found, folds)

    def scored(self) -> list[Group]:
        """The groups that have a score for every seed, in order."""
        return sorted(group for group in self.found[0] if all(group in one for one in self.found))

    def values(self, groups: Sequence[Group], merged: bool) -> NDArray[np.float64]:
        """`(G, S, …)`, or `(G, 1, …)` averaged over the seeds."""
        stacked = np.stack([np.stack([one[group] for one in self.found]) for group in groups])
        return stacked.mean(1, keepdims=True) if merged else stacked

    def folds_of(self, groups: Sequence[Group]) -> list[int] | None:
        """The fold of each group; None where one is held out in several."""
        if any(len(self.folds[group]) > 1 for group in groups):
            return None
        known = sorted({str(*self.folds[group]) for group in groups})
        return [known.index(str(*self.folds[group])) for group in groups]


def _by_case(rows: Sequence[FoldRow], header: Header, measure: Measure) -> dict[Group, NDArray[np.float64]]:
    """The mean over a group's cases; of each case over its classes where no class is named."""
    wanted = {*header.counted} if measure.name is None else {measure.name}
    cases: dict[tuple[Group, str, int | None], list[float]] = defaultdict(list)
    for fold, row in rows:
        value = row.scores.get(measure.score)
        if row.label in wanted and value is not None:
            cases[row.group, row.case, fold].append(value)
    groups: dict[Group, list[float]] = defaultdict(list)
    for (group, _, _), values in cases.items():
        groups[group].append(float(np.mean(values)))
    return {group: np.asarray(np.mean(values)) for group, values in groups.items()}


def _counts(rows: Sequence[FoldRow], header: Header, _: Measure) -> dict[Group, NDArray[np.float64]]:
    """`(C, 3)` true positives, false positives and false negatives of each group."""
    places = {name: index for index, name in enumerate(header.classes)}
    found: dict[Group, NDArray[np.float64]] = defaultdict(lambda: np.zeros((len(places), 3)))
    for _fold, row in rows:
        found[row.group][places[row.label]] += (row.tp, row.fp, row.fn)
    return found
