"""Choosing by name, with an error that helps."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(kind: str, name: object, allowed: Iterable[str]) -> str:
    """The message for a name that is none of the allowed: the nearest one and the whole list.

    >>> unknown("loss", "focl", ["ce", "focal"])
    "unknown loss 'focl'; did you mean 'focal'? allowed: ce, focal"
    """
    names = sorted(allowed)
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r};{hint} allowed: {', '.join(names)}"
