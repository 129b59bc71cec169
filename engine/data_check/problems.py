"""Problems of one kind as one line: those whose messages differ in nothing but names and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

SHOWN = 3
"""Names of a kind that its line has."""
_VARIES = re.compile(r"\((?:train|val|test)\)|\S*/\S*|\S*\.[A-Za-z]\w*\S*|\S*\d\S*")
"""In a message: parts of a case, paths and names of files, whatever holds a digit."""
_QUOTED = re.compile(r"(?<!\w)'([^']*)'")


@dataclass(frozen=True)
class Kind:
    """Problems that say the same of different files.

    Attributes:
        messages: of each problem, in the order that they were found in.
    """

    messages: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """What the problems are about: files, or the cases that a message quotes."""
        return list(map(_name, self.messages))

    @property
    def line(self) -> str:
        """The first message; of several problems their number and further names too."""
        first, *others = self.messages
        if not others:
            return first
        more = ", …" if len(self.messages) > SHOWN else ""
        return f"{len(self.messages)} of a kind: {first} (also {', '.join(self.names[1:SHOWN])}{more})"


def kinds_of(problems: Iterable[str]) -> list[Kind]:
    """The kinds of some problems, in the order of their first ones; equal messages are one problem."""
    found: dict[str, list[str]] = {}
    for message in dict.fromkeys(problems):
        found.setdefault(_VARIES.sub("…", _QUOTED.sub("…", _said(message))), []).append(message)
    return [Kind(tuple(messages)) for messages in found.values()]


def _said(message: str) -> str:
    """A message without the name in front of it."""
    name, colon, said = message.partition(": ")
    return said if colon and name == _name(message) else message


def _name(message: str) -> str:
    """The file in front of a message; else the cases that it quotes; else all of it."""
    name, colon, _ = message.partition(": ")
    if colon and ("/" in name or "." in name) and ";" not in name:
        return name
    return " and ".join(_QUOTED.findall(message.split(";")[0])) or message
