"""From scores documents to a comparison: which numbers of two methods belong together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segloss import compare
from segloss.aggregation import LABEL_METRICS
from segloss.document import DISTANCES, TITLES, Header, Primary, ScoresDocument

from ..configuration.config import FRACTIONS
from ..errors import NothingInCommonError, UsageError
from ..scoring.leading import leading_class
from ..scoring.pooling import refuse_other_background
from .grouped import FoldRow, GroupScores

Score = Literal["DSC", "IoU", "accuracy", "balanced_accuracy", "f1", "recall", "HD95", "ASSD", "missed", "invented"]
DETECTION: tuple[Score, ...] = ("missed", "invented")
"""Whether a group has a class in vain, or gets one that it has not: less is better."""


SMALLEST = {**dict.fromkeys(FRACTIONS, 0.01), "HD95": 1.0, "ASSD": 1.0}
"""By score the difference that would matter, where nothing else is said; distances in mm."""


POOLED: dict[str, compare.Score] = {"DSC": "DSC", "IoU": "IoU", "f1": "DSC", "balanced_accuracy": "recall"}
"""By score, what it is of pooled counts: F1 is the DSC of pictures."""


class Measure(NamedTuple):
    """A score that methods are compared in.

    Attributes:
        aggregation: `case`: the mean over a group's cases, `dataset`: of pooled counts.
        score: `DSC`, `IoU`, `HD95`, `ASSD`, `missed` or `invented`; of pictures with one label `accuracy`,
            `balanced_accuracy` or `f1`, of a class `recall`.
        name: a class, or None for the mean over classes.
    """

    aggregation: Literal["case", "dataset"]
    score: Score
    name: str | None = None

    @property
    def title(self) -> str:
        """As tables call it."""
        if self.score in LABEL_METRICS:
            return self.words
        return f"m{self.score}" if self.name is None else f"{self.name} {self.score}"

    @property
    def words(self) -> str:
        """The score without its class."""
        return TITLES.get(self.score, self.score) if self.score in LABEL_METRICS else self.score

    @property
    def unit(self) -> str:
        """Of its values; empty for fractions of 1."""
        return "mm" if self.score in DISTANCES else ""

    @property
    def lower(self) -> bool:
        """Whether less is better."""
        return self.score in (*DISTANCES, *DETECTION)


@dataclass(frozen=True)
class Method:
    """The scores of one method, or arm.

    Attributes:
        name: it is called.
        documents: by seed, the scores document of each fold; the key is None where the seed is not known.
        tuned: each fold has chosen values of its own for it.
        read_as: how files of other programs were read, in words.
    """

    name: str
    documents: dict[int | None, list[ScoresDocument]]
    tuned: bool = False
    read_as: Sequence[str] = ()
    _scores: dict[int | None, GroupScores] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse documents of which some count the background in their means and some do not."""
        refuse_other_background([one for documents in self.documents.values() for one in documents], self.name)

    @property
    def header(self) -> Header:
        """What all of its documents have in common."""
        return next(iter(self.documents.values()))[0].header

    def rows(self, seed: int | None) -> Iterator[FoldRow]:
        """The rows of all held-out cases of a seed, each after its fold."""
        for document in self.documents[seed]:
            for row in document.rows:
                yield (document.header.fold if row.fold is None else row.fold), row

    def scores(self, seed: int | None) -> GroupScores:
        """The scores of the groups of a seed, read once."""
        if seed not in self._scores:
            self._scores[seed] = GroupScores.of(self.rows(seed), self.header)
        return self._scores[seed]

    @property
    def leading_class(self) -> str | None:
        """See `leading_class`."""
        return leading_class(self.header, (row for seed in self.documents for _, row in self.rows(seed)))

    @property
    def has_counts(self) -> bool:
        """Whether the pixels of the classes are known, and not their scores alone."""
        return all(row.tp is not None for seed in self.documents for _, row in self.rows(seed))

    def holds(self, score: str, label: str) -> bool:
        """Whether a row of a class has a score."""
        documents = (document for of_seed in self.documents.values() for document in of_seed)
        return any(
            row.scores.get(score) is not None for document in documents for row in document.rows if row.label == label
        )


def measures(method: Method) -> list[Measure]:
    """What methods are compared in: the primary metric; of each class its score, HD95 of volumes, misses, inventions.

    Of two classes of which none is background the rarer one's score comes before the mean; see `leading_class`.

    A document has no rows of the slices of volumes, so where their primary metric is by image they are compared by
    case; a still is its own image. See `matched` for methods of which only scores are known.
    """
    primary, classes = method.header.primary, method.header.counted
    if method.header.kind == "label":
        return _of_labels(primary, classes)
    by: Literal["case", "dataset"] = "dataset" if primary.aggregation == "dataset" else "case"
    names = [*([None] if len(classes) > 1 else []), *classes]
    overlaps = [Measure(by, primary.score, name) for name in names]
    rarer = method.leading_class
    overlaps.sort(key=lambda measure: rarer is not None and measure.name != rarer)
    surfaces = [name for name in classes if method.header.kind == "volume" and method.holds("HD95", name)]
    return [
        *overlaps,
        *(Measure("case", "HD95", name) for name in surfaces),
        *(Measure("case", score, name) for name in classes for score in DETECTION),
    ]


def _of_labels(primary: Primary, classes: Sequence[str]) -> list[Measure]:
    """Of pictures with one label the primary metric, and the recall of each class."""
    first: dict[str, Measure] = {
        "accuracy": Measure("case", "accuracy"),
        "balanced_accuracy": Measure("dataset", "balanced_accuracy"),
        "f1": Measure("dataset", "f1"),
    }
    return [first[primary.metric], *(Measure("case", "recall", name) for name in classes)]


def compared(
    a: Method, b: Method, measure: Measure, groups: Sequence[str] | None = None, tested: bool = True
) -> compare.Comparison:
    """Compare two methods in one score, group by group; seeds that both have are pairs.

    Where they have none in common the networks of each are averaged, and the comparison is of these networks alone.

    Args:
        a: a method.
        b: the other.
        measure: the score.
        groups: those of both that are compared; None for all that both have.
        tested: False leaves the test to `compare.together`.

    Raises:
        UsageError: other classes.
        NothingInCommonError: no group that both have scored.
    """
    refuse_different(a, b)
    groups = common_groups([a, b], measure) if groups is None else groups
    if not groups:
        shared = {name for seed in a.documents for name in a.scores(seed).names}
        if shared & {name for seed in b.documents for name in b.scores(seed).names}:
            raise NothingInCommonError(
                f"{a.name} and {b.name}: {measure.title} is not defined: none of the {a.header.units} that both have "
                "is scored in it by both"
            )
        raise NothingInCommonError(
            f"{a.name} and {b.name} have no patient or group in common for {measure.title}; the column `group` of "
            "`cases` says who is who"
        )
    first, second = _both(a, b, measure, groups)
    folds = a.scores(next(iter(_seeds(a, b) or a.documents))).folds_of(groups)
    tuned = a.tuned or b.tuned
    if measure.aggregation == "case":
        limit = np.inf if measure.unit else 1.0
        return compare.paired(first, second, folds, groups, tested, tuned, limit)
    wanted = _wanted(a.header, measure)
    left_out = [index for index in range(len(a.header.classes)) if index not in wanted]
    try:
        return compare.pooled(first, second, POOLED[measure.score], left_out, folds, groups, tested, tuned)
    except ValueError as error:
        raise NothingInCommonError(f"{a.name} and {b.name}: {measure.title} is not defined, {error}") from error


def group_scores(
    a: Method, b: Method, measure: Measure, groups: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`(G,)` the scores of some groups by each of two methods, the mean over the seeds that are compared.

    Where counts are pooled, a group's own score; NaN where it holds none of the classes.
    """
    first, second = _both(a, b, measure, groups)
    if measure.aggregation == "dataset":
        wanted = _wanted(a.header, measure)
        first, second = (compare.mean_score(one[:, :, wanted], POOLED[measure.score]) for one in (first, second))
    return first.mean(1), second.mean(1)


def _both(
    a: Method, b: Method, measure: Measure, groups: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values of two methods, `(G, S)` of seeds that both have, else `(G, 1)`; counts `(G, S, C, 3)`."""
    seeds = _seeds(a, b)
    found = [[one.scores(seed) for seed in seeds or one.documents] for one in (a, b)]
    first, second = (np.stack([_values(one, measure, groups) for one in of], axis=1) for of in found)
    return (first, second) if seeds else (first.mean(1, keepdims=True), second.mean(1, keepdims=True))


def _seeds(a: Method, b: Method) -> list[int | None]:
    """Those that both have."""
    return [seed for seed in a.documents if seed in b.documents]


def _wanted(header: Header, measure: Measure) -> list[int]:
    """The indices of the classes of a measure."""
    names = header.counted if measure.name is None else [measure.name]
    return [index for index, name in enumerate(header.classes) if name in names]


def common_groups(methods: Sequence[Method], measure: Measure) -> list[str]:
    """The groups that the seeds of all methods have a score for: by their reference, so it is the same for all.

    A distance needs a prediction too: it is compared in the groups where all of them found the class. Seeds that no
    other method has are not compared, and do not count, unless there are no others.
    """
    names: list[str] | None = None
    kept = np.empty(0, dtype=bool)
    for method in methods:
        others = {seed for other in methods if other is not method for seed in other.documents}
        for seed in [seed for seed in method.documents if seed in others] or method.documents:
            one = method.scores(seed)
            values = _values(one, measure).reshape(len(one.names), -1)
            known = np.asarray(~np.isnan(values).any(axis=1))
            if names is None:
                names, kept = one.names, known
            elif one.names == names:
                kept = kept & known
            else:
                kept = kept & [name in one.places and known[one.places[name]] for name in names]
    return [(names or [])[index] for index in np.flatnonzero(kept)]


def _values(found: GroupScores, measure: Measure, groups: Sequence[str] | None = None) -> NDArray[np.float64]:
    """`(G,)` of some groups or of all, or their counts `(G, C, 3)`."""
    if measure.aggregation == "dataset":
        values = found.pooled
    elif measure.score in DISTANCES:
        values = found.distance(measure.score, str(measure.name))
    elif measure.score in DETECTION:
        values = (found.missed if measure.score == "missed" else found.invented)(str(measure.name))
    else:
        values = found.overlap(measure.score, measure.name)
    if groups is None or groups == found.names:
        return values
    return np.asarray(values[[found.places[name] for name in groups]])


def not_paired(a: Method, b: Method) -> list[str]:
    """What a comparison of two methods leaves out; a line for each.

    Raises:
        UsageError: a case has another reference in one than in the other.
    """
    lines = []
    if a.header.primary != b.header.primary:
        lines.append(
            f"primary metric of {a.name}: {a.header.primary}; of {b.name}: {b.header.primary}; compared in the latter"
        )
    seeds = [sorted("not known" if seed is None else str(seed) for seed in one.documents) for one in (a, b)]
    if seeds[0] != seeds[1]:
        common = [seed for seed in a.documents if seed in b.documents]
        used = f"compared are the pairs of {listed(map(str, common))}" if common else "each method's are averaged"
        lines.append(f"seeds of {a.name}: {listed(seeds[0])}; of {b.name}: {listed(seeds[1])}; {used}")
    for one in (a, b):
        folds = {seed: len(documents) for seed, documents in one.documents.items()}
        most = max(folds.values())
        short = {seed: count for seed, count in folds.items() if count < most}
        lines += [
            f"seed {seed} of {one.name} has {count} of {most} folds: only what these hold out is compared"
            for seed, count in short.items()
        ]
    references = [_references(one) for one in (a, b)]
    if a.has_counts and b.has_counts:
        _refuse_other_references(a, b, *references)
    for index, (mine, other) in enumerate(((a, b), (b, a))):
        cases = [{case for case, _ in of_one} for of_one in (references[index], references[1 - index])]
        if alone := sorted(cases[0] - cases[1]):
            lines.append(
                f"only {mine.name} has {listed(alone)}: left out, or its group is of other cases in {other.name}"
            )
    return lines


def refuse_different(a: Method, b: Method) -> None:
    """A `UsageError` where two methods are not scored alike."""
    if (a.header.kind == "label") != (b.header.kind == "label"):
        raise UsageError(f"{a.name} is of kind {a.header.kind}, {b.name} of kind {b.header.kind}: nothing in common")
    for key in ("classes", "background", "grid"):
        mine, theirs = getattr(a.header, key), getattr(b.header, key)
        if mine != theirs and not (key == "grid" and None in (mine, theirs)):
            hint = "; scores.background, and background=CLASS or background=false for masks, set it"
            raise UsageError(
                f"{a.name} and {b.name} are not scored alike: {key} {mine} there, {theirs} here"
                + (hint if key == "background" else "")
            )


def _refuse_other_references(
    a: Method, b: Method, ours: Mapping[tuple[str, str], int], theirs: Mapping[tuple[str, str], int]
) -> None:
    """A `UsageError` where a class has other pixels in the reference of a case: the scores do not belong together."""
    if a.header.kind == "label":
        _refuse_other_labels(a, b, *({case: name for (case, name), n in one.items() if n} for one in (ours, theirs)))
    other = [key for key in sorted(ours.keys() & theirs.keys()) if ours[key] != theirs[key]]
    if other:
        case, label = other[0]
        number = len({case for case, _ in other})
        raise UsageError(
            f"{case}: the reference has {ours[other[0]]} pixels of {label} in {a.name}, {theirs[other[0]]} in {b.name} "
            f"({number} {'case differs' if number == 1 else 'cases differ'}): not scored on the same masks, "
            "or not on one grid; score both against the same references, with scores.grid: original"
        )


def _refuse_other_labels(a: Method, b: Method, ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """A `UsageError` where a picture has another label in one than in the other."""
    other = [case for case in sorted(ours.keys() & theirs.keys()) if ours[case] != theirs[case]]
    if other:
        case = other[0]
        raise UsageError(
            f"{case}: its label is {ours[case]} in {a.name}, {theirs[case]} in {b.name} ({len(other)} images differ): "
            "not scored against the same labels; score both against one set of them"
        )


def _references(method: Method) -> dict[tuple[str, str], int]:
    """The pixels of the reference by case and class; by scores alone 1 where there is one, else 0."""
    rows = (row for seed in method.documents for _, row in method.rows(seed))
    return {
        (row.case, row.label): (row.scores["DSC"] is not None) if row.tp is None or row.fn is None else row.tp + row.fn
        for row in rows
    }


def listed(names: Iterable[str]) -> str:
    """The first five of some names, and how many more there are."""
    found = list(names)
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
