"""Two methods of any programs, made comparable: classes by name, patients by whichever of them knows who they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from segloss.document import Header, Primary, Row, ScoresDocument

from ..errors import UsageError
from .comparison import Method, listed

NAMES = "classes are matched by name: labels={NAME: VALUE} names those of masks and of nnU-Net, a CSV file its own"


def matched(a: Method, b: Method) -> tuple[Method, Method, list[str]]:
    """Two methods as they can be compared, and what was left out or taken over, a line for each.

    Classes that only one of them scores are left out. Where one does not know which patients its cases belong to, the
    other says it. Where one has scores without counts, both are compared by case, in DSC unless the other's primary
    metric is an IoU, and a class counts in the cases where both have a score of it.

    Raises:
        UsageError: no class in common, or a class that is the background of one and scored in the other.
    """
    lines: list[str] = []
    a, b = _same_classes(a, b, lines)
    a, b = _same_groups(a, b, lines), _same_groups(b, a, lines)
    if a.has_counts and b.has_counts:
        return a, b, lines
    known = next((one for one in (b, a) if one.has_counts), b).header
    primary = Primary("case", known.primary.metric)
    alone = next(one for one in (a, b) if not one.has_counts)
    lines.append(f"{alone.name} has scores without counts: compared by case; misses and inventions are not known")

    def as_scores(header: Header) -> Header:
        return replace(header, primary=primary, kind=known.kind)

    left_out = _scored_alone(a, b, lines)

    def of_both(row: Row) -> Row:
        if (row.case, row.label) not in left_out:
            return row
        nothing = replace(row, scores=dict.fromkeys(row.scores))
        return nothing if row.tp is None else replace(nothing, tp=0, fp=0, fn=0)

    return _changed(a, as_scores, of_both), _changed(b, as_scores, of_both), lines


def _scored_alone(a: Method, b: Method, lines: list[str]) -> set[tuple[str, str]]:
    """Case and class where one method alone has a score, in a case that both have; a line for each class."""
    every = [{(row.case, row.label): True for seed in one.documents for _, row in one.rows(seed)} for one in (a, b)]
    for method, scored in zip((a, b), every, strict=True):
        for row in (row for seed in method.documents for _, row in method.rows(seed)):
            scored[row.case, row.label] &= row.scores["DSC"] is not None
    ours_too, theirs_too = ({case for case, _ in scored} for scored in every)
    common, left_out = ours_too & theirs_too, set()
    for method, ours, theirs in zip((a, b), every, reversed(every), strict=True):
        by_class: dict[str, list[str]] = {}
        for case, label in sorted(key for key, known in ours.items() if known and not theirs.get(key)):
            if label != method.header.background and case in common:
                by_class.setdefault(label, []).append(case)
        for label, of_class in by_class.items():
            lines.append(f"only {method.name} has a score of {label} in {listed(of_class)}: left out, of means too")
            left_out |= {(case, label) for case in of_class}
    return left_out


def _same_classes(a: Method, b: Method, lines: list[str]) -> tuple[Method, Method]:
    if (a.header.classes, a.header.background) == (b.header.classes, b.header.background):
        return a, b
    for mine, other in ((a, b), (b, a)):
        if mine.header.background in other.header.counted:
            raise UsageError(
                f"{a.name} and {b.name} are not scored alike: background {a.header.background} there, "
                f"{b.header.background} here; scores.background, and background=CLASS or background=false for masks, "
                "set it"
            )
    common = [name for name in b.header.counted if name in a.header.counted]
    if not common:
        ours, theirs = (", ".join(one.header.counted) for one in (a, b))
        raise UsageError(f"{a.name} and {b.name} have no class in common: {ours} there, {theirs} here; {NAMES}")
    for one in (a, b):
        if alone := [name for name in one.header.counted if name not in common]:
            lines.append(f"only {one.name} has {', '.join(alone)}: left out, of means too; {NAMES}")
    background = b.header.background or a.header.background
    classes = [*([background] if background else []), *common]

    def renamed(method: Method) -> Method:
        own = method.header.background

        def of_row(row: Row) -> Row | None:
            label = background if row.label == own else row.label
            return replace(row, label=label) if label is not None and label in classes else None

        return _changed(method, lambda header: replace(header, classes=classes, background=background), of_row)

    return renamed(a), renamed(b)


def _same_groups(method: Method, other: Method, lines: list[str]) -> Method:
    """The method with the other's patients, where it has none of its own."""
    ours, theirs = _groups(method), _groups(other)
    if any(case != group for case, group in ours.items()):
        return method
    taken = {case: group for case, group in theirs.items() if case in ours and case != group}
    if not taken:
        return method
    lines.append(f"{len(taken)} cases of {method.name} belong to {len({*taken.values()})} groups, by {other.name}")
    return _changed(method, lambda header: header, lambda row: replace(row, group=taken.get(row.case, row.group)))


def _groups(method: Method) -> Mapping[str, str]:
    return {row.case: row.group for seed in method.documents for _, row in method.rows(seed)}


def _changed(
    method: Method, header: Callable[[Header], Header], of_row: Callable[[Row], Row | None] = lambda row: row
) -> Method:
    """A method with other headers and rows; rows that become None are left out."""

    def changed(document: ScoresDocument) -> ScoresDocument:
        rows = [row for row in map(of_row, document.rows) if row is not None]
        return replace(document, header=header(document.header), rows=rows)

    documents = {seed: [changed(one) for one in of_seed] for seed, of_seed in method.documents.items()}
    return Method(method.name, documents, method.tuned, method.read_as)
