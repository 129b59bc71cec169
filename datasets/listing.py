"""Which cases of a data set are listed, and what becomes of those that cannot be."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from .errors import DataError
from .files import same_name
from .notes import Note

Exclude = Mapping[str, str | None]
"""Cases that are left out, by id or by a pattern with `*`, `?` and `[…]`; each with the reason, or None."""
Labelled = Mapping[str, Sequence[str]]
"""The classes that some cases were labelled for, by id or by a pattern; other cases were labelled for all."""


class Listing:
    """What is wanted of the cases of a data set, and what was met on the way.

    Args:
        wanted: the ids of those that are listed, None for all; the files of others need not be there.
        exclude: those that are left out.
        keeps_problems: what is wrong with a case is kept in `problems`, and the other cases are listed; otherwise the
            first problem is raised.
        labelled: the cases that were labelled for some classes alone.

    Attributes:
        problems: what was wrong.
        known: the ids of the cases that are listed, and of those that were wrong.
    """

    def __init__(
        self,
        wanted: Collection[str] | None = None,
        exclude: Exclude | None = None,
        keeps_problems: bool = False,
        labelled: Labelled | None = None,
    ) -> None:
        self.wanted, self.keeps_problems = wanted, keeps_problems
        self.labelled = {same_name(entry): frozenset(classes) for entry, classes in (labelled or {}).items()}
        self.exclude = {same_name(entry): reason for entry, reason in (exclude or {}).items()}
        self.problems: list[DataError] = []
        self._left_out: dict[str, dict[str, None]] = {entry: {} for entry in self.exclude}
        self.known: dict[str, None] = {}

    def takes(self, case: str) -> bool:
        """Whether a case is listed."""
        if self.wanted is not None and case not in self.wanted:
            return False
        entry = fitting(case, self.exclude)
        (self.known if entry is None else self._left_out[entry])[case] = None
        return entry is None

    def labelled_for(self, case: str) -> frozenset[str] | None:
        """The classes that a case was labelled for; None for all."""
        entry = fitting(case, self.labelled)
        return None if entry is None else self.labelled[entry]

    def refuse(self, error: DataError) -> None:
        """Raise what is wrong with a case, or keep it."""
        if not self.keeps_problems:
            raise error
        self.problems.append(error)

    def close(self) -> None:
        """Note what was left out; refuse entries that fit no case of the whole data set."""
        if self.wanted is not None:
            return
        for entry, cases in self._left_out.items():
            reason = self.exclude[entry]
            for case in cases:
                remedy = f"data.exclude: {entry}" + (f" ({reason})" if reason else "")
                warnings.warn(Note("case(s) left out", case, remedy), stacklevel=2)
            if not cases:
                self._refuse_entry("data.exclude", entry)
        every = {**self.known, **{case: None for cases in self._left_out.values() for case in cases}}
        for entry in self.labelled:
            if entry not in every and not any(fnmatchcase(case, entry) for case in every):
                self._refuse_entry("data.labelled", entry)

    def _refuse_entry(self, key: str, entry: str) -> None:
        near = get_close_matches(entry, self.known, 1)
        meant = f"; did you mean {near[0]!r}?" if near else "; it is an id, or a pattern with * such as 'p01_*'"
        self.refuse(DataError(f"{key}: {entry!r} fits no case{meant}"))


def fitting(case: str, entries: Collection[str]) -> str | None:
    """The entry that fits a case: its id, or the first pattern that does; None where none does."""
    if case in entries:
        return case
    return next((entry for entry in entries if fnmatchcase(case, entry)), None)
