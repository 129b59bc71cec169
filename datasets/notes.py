"""What is passed over, dropped or guessed while a data set is read: said once, with count and names."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from .files import first_of


class Note(UserWarning):
    """That something was done with a file which its owner should know of, though it is no error.

    Args:
        what: was done with how many files, as "SEG are passed over"; equal for all of its kind.
        name: of the file.
        remedy: what changes it, such as a key.
    """

    def __init__(self, what: str, name: str, remedy: str) -> None:
        super().__init__(f"{name}: {what}; {remedy}")
        self.what, self.name, self.remedy = what, name, remedy


@contextmanager
def noted() -> Iterator[list[str]]:
    """Collect notes; afterwards the list holds a line for each kind. Other warnings go on as they would."""
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Note)
        yield lines
    kinds: dict[tuple[str, str], dict[str, None]] = {}
    for warning in caught:
        if isinstance(warning.message, Note):
            kinds.setdefault((warning.message.what, warning.message.remedy), {})[warning.message.name] = None
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    for (what, remedy), names in kinds.items():
        lines.append(f"{len(names)} {what}: {first_of(names)}; {remedy}")
