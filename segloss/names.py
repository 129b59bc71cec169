"""Choosing by name, with errors that help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Unpack, get_args, get_origin, get_type_hints

MOST = 40
"""More names than this are not listed."""


def plain_name(name: object) -> str:
    """A name by its letters and digits alone, in lower case: `BCEWithLogits` is `bcewithlogits`."""
    return "".join(filter(str.isalnum, str(name).lower()))


def unknown(
    kind: str,
    name: object,
    allowed: Iterable[str],
    elsewhere: Mapping[str, str] | None = None,
    cutoff: float = 0.5,
) -> str:
    """The message for a name that is none of the allowed: the nearest one and the whole list.

    Args:
        kind: what is named.
        name: the name.
        allowed: the names there are.
        elsewhere: what goes by another name here, from its `plain_name`.
        cutoff: in [0, 1], how near a name must be to be suggested.

    >>> unknown("loss", "focl", ["ce", "focal"])
    "unknown loss 'focl'; did you mean 'focal'? allowed: ce, focal"
    """
    names = sorted(allowed)
    near = get_close_matches(str(name), names, n=5, cutoff=cutoff)
    known = (elsewhere or {}).get(plain_name(name))
    hint = f" here that is {known};" if known else f" did you mean {near[0]!r}?" if near else ""
    if len(names) > MOST:
        return f"unknown {kind} {name!r};{hint} allowed are {len(names)}, such as {', '.join(near or names[:5])}"
    return f"unknown {kind} {name!r};{hint} allowed: {', '.join(names)}"


def check_choice(name: str, value: object, allowed: Collection[str]) -> None:
    """Raise a `ValueError` naming the parameter where its value is none of the allowed."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def check_range(name: str, value: object, allowed: str, holds: Callable[[Any], object]) -> None:
    """Raise a `ValueError` that names a parameter, what is allowed and what was given, unless the value `holds`.

    A value of a type that cannot even be compared is out of range too.
    """
    try:
        fits = bool(holds(value))
    except (TypeError, ValueError, RuntimeError):
        fits = False
    if not fits:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


Range = tuple[str, Callable[[Any], object]]
"""What `check_range` takes: the range in words, and whether a value lies in it."""
NOT_NEGATIVE: Range = ("≥ 0", lambda value: 0 <= value < float("inf"))
POSITIVE: Range = ("> 0", lambda value: 0 < value < float("inf"))
SHARE: Range = ("in [0, 1]", lambda value: 0 <= value <= 1)


def parameters_of(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What a class or a function takes by name, with types as they are.

    `**options: Unpack[…]` of a class stands for the parameters of its bases that are named there.
    """
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    own = inspect.signature(factory).parameters.values()
    found = {p.name: p.replace(annotation=hints.get(p.name)) for p in own if p.kind is not p.VAR_KEYWORD}
    for hint in hints.values():
        passed_on = get_type_hints(get_args(hint)[0]) if get_origin(hint) is Unpack else {}
        bases: tuple[Any, ...] = inspect.getmro(factory)[1:] if passed_on and inspect.isclass(factory) else ()
        for base in bases:
            for name, parameter in inspect.signature(base.__init__).parameters.items():
                if name in passed_on and name not in found:
                    found[name] = parameter.replace(annotation=passed_on[name])
    return found
