"""A report as data, shown on the console or as one self-contained page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Viewer:
    """What the viewer of a page shows.

    Attributes:
        data: for the page's script.
        thumbs: of each case its name, its note and by arm a picture (data URI) with its score: the mistakes in the
            slice that has most.
        lines: how cases were chosen, and what was left out.
    """

    data: Mapping[str, Any]
    thumbs: Sequence[Mapping[str, Any]]
    lines: Sequence[str] = field(default_factory=list)


@dataclass(frozen=True)
class Dot:
    """A group, such as a patient, in a comparison.

    Attributes:
        name: of the group.
        cases: the ids of its cases.
        baseline: its score by the baseline.
        arm: its score by the arm.
    """

    name: str
    cases: Sequence[str]
    baseline: float
    arm: float


@dataclass(frozen=True)
class PairedDots:
    """An arm and the baseline group by group.

    Attributes:
        arm: its name.
        baseline: its name.
        score: what the scores are, such as `prostate DSC`.
        smallest: the difference that would matter.
        difference: the mean of the differences, or that of pooled scores.
        low: the lower end of its 95 % interval; None where nothing is tested or it is infinite.
        high: its upper end.
        dots: the groups.
    """

    arm: str
    baseline: str
    score: str
    smallest: float
    difference: float
    low: float | None
    high: float | None
    dots: Sequence[Dot]


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: its heading.
        lines: sentences.
        columns: of its table; the first one names a row.
        rows: of its table, as text.
        picture: a PNG file.
        bad: the lines are problems.
        charts: by caption, SVG or PNG files; on a page alone.
        dots: arms and the baseline group by group; on a page alone.
        viewer: the cases to look at; on a page alone.
        folded: closed on a page until it is clicked.
        bold: row and column of the cells that stand out, in LaTeX.
        caption: of the table in LaTeX; empty for the title.
    """

    title: str
    lines: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)
    picture: Path | None = None
    bad: bool = False
    charts: Mapping[str, Path] = field(default_factory=dict)
    dots: Sequence[PairedDots] = ()
    viewer: Viewer | None = None
    folded: bool = False
    bold: Collection[tuple[int, int]] = ()
    caption: str = ""


@dataclass(frozen=True)
class Subject:
    """What a page, or a part of one, is about: a data set, a run, an ablation.

    Attributes:
        title: its name.
        sections: in the order of the page.
    """

    title: str
    sections: Sequence[Section]
