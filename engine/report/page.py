"""A report as one HTML file that needs nothing else: no network, no server, nothing beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..console.sections import Subject
from ..pictures.chart import inlined
from .dots import dots_svg

FOLDER = Path(__file__).resolve().parent / "templates"


def page(title: str, subjects: Sequence[Subject], summary: Subject | None = None, note: str = "") -> str:
    """The page of one or several subjects; all text that comes from data is escaped.

    Args:
        title: of the page.
        subjects: what it tells, one after the other.
        summary: what is said of all of them, first.
        note: on the page itself, under its title.
    """
    script, style = (_part(f"page.{kind}") for kind in ("js", "css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    template = _environment().get_template("page.html.jinja")
    every = [*([summary] if summary else []), *subjects]
    return template.render(
        title=title, note=note, subjects=every, policy=policy, script=Markup(script), style=Markup(style)
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"chart": _chart, "data": _data, "png": _png, "dots": dots_svg}
    return environment


@cache
def _part(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _chart(path: Path, prefix: str, label: str) -> Markup:
    return Markup(inlined(path, prefix, label))


def _png(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _data(content: object) -> Markup:
    """JSON that no text in it can end or turn into markup."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))
