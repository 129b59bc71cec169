"""Values of JSON that others wrote, each read as what it must be.

Every function takes the value and `at`, where it stands, such as `cases.3.tp`; a value that is something else is a
`ValueError` that begins with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def needed(found: Mapping[str, Any], key: str, at: str) -> Any:
    """The value of a key."""
    if key not in found:
        raise ValueError(f"{at}{key}: missing")
    return found[key]


def mapping(value: object, at: str) -> Mapping[str, Any]:
    """A mapping."""
    if not isinstance(value, dict):
        raise ValueError(f"{at}: a mapping is needed, got {shown(value)}")
    return value


def filled_list(value: object, at: str) -> list[Any]:
    """A list of one or more."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"{at}: a list of one or more is needed, got {shown(value)}")
    return value


def text(value: object, at: str) -> str:
    """Text."""
    if not isinstance(value, str):
        raise ValueError(f"{at}: text is needed, got {shown(value)}")
    return value


def number(value: object, at: str) -> float:
    """A number, or the text of one."""
    if isinstance(value, (int, float, str)):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise ValueError(f"{at}: a number is needed, got {shown(value)}")


def whole(value: object, at: str) -> int:
    """A whole number, or the text of one."""
    if isinstance(value, int):
        return int(value)
    found = number(value, at)
    if not found.is_integer():
        raise ValueError(f"{at}: a whole number is needed, got {shown(value)}")
    return int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() else int(found)


def count(value: object, at: str) -> int:
    """A whole number, 0 or more."""
    found = whole(value, at)
    _refuse_negative(found, value, at)
    return found


def measured(value: object, at: str) -> float | None:
    """A number; None where it is undefined, which other programs write as NaN or Infinity."""
    found = math.nan if value is None else number(value, at)
    return found if math.isfinite(found) else None


def amount(value: object, at: str) -> float | None:
    """A number, 0 or more, or None; see `measured`."""
    found = measured(value, at)
    _refuse_negative(found, value, at)
    return found


def fraction(value: object, at: str) -> float | None:
    """A fraction of 1, or None; see `measured`."""
    found = measured(value, at)
    if found is not None and not 0 <= found <= 1:
        raise ValueError(f"{at}: a fraction of 1 is needed, got {shown(value)}")
    return found


def truth(value: object, at: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{at}: true or false is needed, got {shown(value)}")
    return value


def whole_numbers(value: object, at: str) -> list[int]:
    """A list of whole numbers."""
    return [whole(side, at) for side in filled_list(value, at)]


def numbers(value: object, at: str) -> list[float]:
    """A list of numbers."""
    return [number(one, f"{at}.{index}") for index, one in enumerate(filled_list(value, at))]


def _refuse_negative(found: float | None, value: object, at: str) -> None:
    if found is not None and found < 0:
        raise ValueError(f"{at}: a number, 0 or more, is needed, got {shown(value)}")


def shown(value: object) -> str:
    """A value in at most 60 letters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
