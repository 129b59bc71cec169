"""Sections as Markdown and as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .sections import Section

BAR = r"\|"
LATEX = str.maketrans(
    {character: "\\" + character for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "<": "$<$"}
    | {"−": "$-$", "∞": r"$\infty$", "τ": r"$\tau$", "²": "$^2$", "Δ": r"$\Delta$", "…": r"\dots{}", "×": r"$\times$"}
)

WIDE = 7
"""Columns beyond which a table takes both columns of a page."""


def markdown(sections: Sequence[Section]) -> str:
    """Sections as Markdown."""
    parts = []
    for section in sections:
        parts.append(f"## {section.title}")
        parts += [f"- {line}" for line in section.lines]
        if section.columns:
            lines = [section.columns, ["---", *["---:"] * (len(section.columns) - 1)], *section.rows]
            parts.append("\n".join(f"| {' | '.join(cell.replace('|', BAR) for cell in line)} |" for line in lines))
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def latex(sections: Sequence[Section], name: str) -> str:
    """The tables of sections for LaTeX, with booktabs, captions and labels.

    Args:
        sections: those without a table are left out.
        name: what the labels begin with: `tab:NAME-scores-of-the-arms`.
    """
    parts = ["% needs \\usepackage{booktabs}"]
    for section in sections:
        if not section.columns:
            continue
        head = [cell.translate(LATEX) for cell in section.columns]
        body = [
            [
                rf"\textbf{{{cell.translate(LATEX)}}}" if (row, column) in section.bold else cell.translate(LATEX)
                for column, cell in enumerate(line)
            ]
            for row, line in enumerate(section.rows)
        ]
        lines = [" & ".join(cells) + r" \\" for cells in (head, *body)]
        rules = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
        wide = len(section.columns) > WIDE
        caption = (section.caption or section.title).translate(LATEX)
        parts.append(
            "\n".join(
                [
                    rf"\begin{{table{'*' * wide}}}[tb]",
                    r"\centering" + (r"\footnotesize" if wide else ""),
                    rf"\caption{{{caption[:1].upper()}{caption[1:]}}}",
                    rf"\label{{tab:{_slug(f'{name} {section.title}')}}}",
                    rf"\begin{{tabular}}{{l{'r' * (len(section.columns) - 1)}}}",
                    *rules,
                    r"\end{tabular}",
                    rf"\end{{table{'*' * wide}}}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def _slug(text: str) -> str:
    """Letters and digits joined by `-`, of the part before a comma or semicolon."""
    return re.sub(r"[^a-z0-9]+", "-", re.split(r"[,;]", text.lower())[0]).strip("-")
