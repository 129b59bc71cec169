"""Sections as Markdown and as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from .sections import Section

BAR = r"\|"
LATEX = str.maketrans(
    {character: "\\" + character for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "<": "$<$"}
    | {"−": "$-$", "∞": r"$\infty$"}
)


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


def latex(sections: Sequence[Section]) -> str:
    """The tables of sections for LaTeX, with booktabs."""
    parts = ["% needs \\usepackage{booktabs}"]
    for section in sections:
        if not section.columns:
            continue
        head, *body = [
            " & ".join(cell.translate(LATEX) for cell in line) + r" \\" for line in (section.columns, *section.rows)
        ]
        rules = [r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
        tabular = [rf"\begin{{tabular}}{{l{'r' * (len(section.columns) - 1)}}}", *rules, r"\end{tabular}"]
        parts.append("\n".join([f"% {section.title}", *tabular]))
    return "\n\n".join(parts) + "\n"
