"""A recipe as YAML: every key with the reason for its value beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from .rules import Choice

WIDTH = 120


def document(head: Sequence[str], choices: Iterable[Choice], questions: Sequence[str]) -> str:
    """The text of a YAML file.

    Args:
        head: lines of the comment at the top.
        choices: by dotted key, those of a section one after the other.
        questions: what the user has to decide, each with the keys.
    """
    lines = [line for text in head for line in _comment(text, "")]
    if questions:
        lines += _comment("Not decided by the files:", "")
        lines += [line for text in questions for line in _comment(f"- {text}", "")]
    section = ""
    for choice in choices:
        above, _, key = choice.key.rpartition(".")
        if above != section and above:
            lines.append(f"{above}:")
        section = above
        lines += _line(key, choice, "  " if above else "")
    return "\n".join(lines) + "\n"


def _line(key: str, choice: Choice, indent: str) -> Iterator[str]:
    """A key with its value, its reason behind it where both fit, else above."""
    value = choice.value
    steps = value if isinstance(value, list) and any(isinstance(one, dict) for one in value) else None
    text = f"{indent}{key}:" if steps else f"{indent}{key}: {flow(value)}"
    if choice.reason and len(text) + len(choice.reason) + 4 <= WIDTH:
        yield f"{text}  # {choice.reason}"
    else:
        yield from _comment(choice.reason, indent) if choice.reason else ()
        yield text
    yield from (f"{indent}  - {flow(step)}" for step in steps or ())


def flow(value: Any) -> str:
    """A value on one line, as YAML has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """A text, a number or null; text with what YAML would take for something else is quoted."""
    out = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.width, yaml.default_flow_style = 2**16, True
    yaml.dump([value], out)
    return out.getvalue().strip()[1:-1]


def _comment(text: str, indent: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ", break_on_hyphens=False
    )
