"""A report as data, shown on the console or as one self-contained page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

STYLE = """\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #8884; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.problems li { color: #b3261e; } @media (prefers-color-scheme: dark) { .problems li { color: #ff8a80; } }
img { max-width: 100%; background: white; }
"""


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
    """

    title: str
    lines: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)
    picture: Path | None = None
    bad: bool = False


def page(title: str, sections: Sequence[Section]) -> str:
    """The report as HTML that needs nothing else, its pictures within."""
    body = "\n".join(_html(section) for section in sections)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n"
        "</body>\n</html>\n"
    )


def _html(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.lines and section.bad:
        parts.append(f'<ul class="problems">{"".join(f"<li>{escape(line)}</li>" for line in section.lines)}</ul>')
    else:
        parts += [f"<p>{escape(line)}</p>" for line in section.lines]
    if section.columns:
        head = "".join(f"<th>{escape(column)}</th>" for column in section.columns)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in section.rows)
        parts.append(f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>')
    if section.picture is not None:
        data = base64.b64encode(section.picture.read_bytes()).decode()
        parts.append(f'<img alt="{escape(section.title)}" src="data:image/png;base64,{data}">')
    return "\n".join(parts)
