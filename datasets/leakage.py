"""The guard against test data in training: no group and no image may stand in two parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from .case import Case, Part
from .errors import DataError


class Known(Protocol):
    """A case whose pixels have been read."""

    @property
    def case(self) -> Case:
        """Where it lies."""

    @property
    def digest(self) -> str:
        """Equal for equal pixels."""

    @property
    def pixels(self) -> Sequence[int]:
        """Of each class, on the case's own grid."""


def leaks(parts: Mapping[Part, Sequence[Known]]) -> Iterator[str]:
    """One line for each group, and each pair of cases with equal pixels, that are in different parts."""
    groups: dict[str, Part] = {}
    images: dict[str, tuple[str, Part]] = {}
    named: set[tuple[str, Part]] = set()
    for part, cases in parts.items():
        for cached in cases:
            case = cached.case
            first = groups.setdefault(case.group, part)
            if first != part and (case.group, part) not in named:
                named.add((case.group, part))
                yield f"the group {case.group!r} is in {first} and in {part}"
            twin, other = images.setdefault(cached.digest, (case.id, part))
            if other != part:
                yield f"the cases {twin!r} ({other}) and {case.id!r} ({part}) have equal pixels"


def refuse(found: Sequence[str]) -> None:
    """Raise a `DataError` with the first of some leaks, and the remedy; nothing where there are none."""
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise DataError(
            f"split: {'; '.join(found[:3])}{more}; put each group and each image into one part "
            "(data.group: case says that the cases of a group are independent)"
        )
