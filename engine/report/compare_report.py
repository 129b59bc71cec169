"""The page of two methods, whoever trained them: the answer, the numbers, the groups one by one, the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..ablation.answer import in_words
from ..ablation.comparison import Method
from ..ablation.paired_dots import paired_dots
from ..ablation.verdict_sections import verdict_sections
from ..ablation.verdicts import Verdicts
from ..console.sections import Section, Subject
from .compared_cases import Pictures, compared_cases

NO_PICTURES = (
    "No pictures of cases: masks with --ref, or runs that have kept some, give those that lie on one grid and have one "
    "reference."
)


def compare_subject(
    methods: Mapping[str, Method],
    baseline: str,
    verdicts: Sequence[Verdicts],
    beginning: Sequence[Section],
    pictures: Mapping[str, Pictures],
    most_bytes: int,
) -> Subject:
    """The page of two methods.

    Args:
        methods: by name.
        baseline: that which the other is compared with.
        verdicts: in all measures.
        beginning: how files were read, and what is not paired.
        pictures: of those that have pictures of cases, where they come from.
        most_bytes: of the pictures.

    Raises:
        UsageError, DataError: a file is missing or damaged.
    """
    *tables, analysis, how = verdict_sections(verdicts, methods)
    tables[0] = replace(tables[0], lines=())  # they stand at the top
    shown = compared_cases(pictures, methods, baseline, most_bytes)
    cases = [] if shown is None else [Section("cases", viewer=shown)]
    if shown is None and verdicts[0].header.kind != "label":
        cases = [Section("cases", [NO_PICTURES])]
    sections = [
        Section("verdict", in_words(verdicts[0])),
        *tables,
        paired_dots(verdicts[0], methods, pictured=shown is not None),
        *cases,
        *beginning,
        analysis,
        how,
    ]
    return Subject(" and ".join(methods), sections)
