"""The guard against test data in training: no group, no patient and no image may stand in two parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

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


class Leak(NamedTuple):
    """What stands in two parts.

    Attributes:
        about: the group, or the two cases; the same whichever parts they are in.
        said: what is in which parts.
        remedy: what keeps it in one.
    """

    about: frozenset[str]
    said: str
    remedy: str

    @property
    def line(self) -> str:
        """All of it."""
        return f"{self.said}; {self.remedy}"


GROUPED = "put each group into one part (data.group: case says that the cases of a group are independent)"


def leaks(parts: Mapping[Part, Sequence[Known]], patients: Mapping[str, str] | None = None) -> Iterator[Leak]:
    """Each group, and each pair of cases of one patient or with equal pixels, that are in different parts.

    Args:
        parts: the cases of each part.
        patients: by case what is equal for scans of one patient, where it is known.
    """
    groups: dict[str, Part] = {}
    scanned: dict[str, tuple[str, Part]] = {}
    images: dict[str, tuple[str, Part]] = {}
    named: set[tuple[str, Part]] = set()
    for part, cases in parts.items():
        for cached in cases:
            case = cached.case
            first = groups.setdefault(case.group, part)
            if first != part and (case.group, part) not in named:
                named.add((case.group, part))
                yield Leak(frozenset({case.group}), f"the group {case.group!r} is in {first} and in {part}", GROUPED)
            if (patient := (patients or {}).get(case.id)) is not None:
                twin, other = scanned.setdefault(patient, (case.id, part))
                if other != part:
                    yield Leak(
                        frozenset({twin, case.id}),
                        f"the cases {twin!r} ({other}) and {case.id!r} ({part}) have one PatientID",
                        "give them one group by data.group, a pattern on what their names share, such as '^[^_]+' "
                        "(data.group: case says that cases are independent)",
                    )
            twin, other = images.setdefault(cached.digest, (case.id, part))
            if other != part:
                yield Leak(
                    frozenset({twin, case.id}),
                    f"the cases {twin!r} ({other}) and {case.id!r} ({part}) have equal pixels",
                    f"leave one out, data.exclude: [{case.id!r}]",
                )


def refuse(found: Sequence[Leak]) -> None:
    """Raise a `DataError` with the first of some leaks, and the remedies; nothing where there are none."""
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        said, remedies = "; ".join(leak.said for leak in found[:3]), dict.fromkeys(leak.remedy for leak in found[:3])
        raise DataError(f"split: {said}{more}; {'; '.join(remedies)}")
