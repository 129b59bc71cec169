"""What may be chosen about the reading of DICOM."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from .errors import DataError
from .notes import Note

Colour = Literal["grey", "rgb"]
"""One channel, of colours their brightness, or three."""
Spacing = Sequence[float | None]
"""Millimetres between slices, rows and columns, for images that do not say."""


@dataclass(frozen=True)
class SegRule:
    """What to make of a SEG or of contours that are more than one label a voxel.

    Attributes:
        threshold: of a fractional SEG: the least share of its largest value that counts, in (0, 1].
        order: where segments overlap, the one that stands later wins; None: overlaps are refused.
        structures: the patterns on the names of segments or structures that have a value; None: their numbers are the
            values.

    Raises:
        ValueError: a threshold out of range.
    """

    threshold: float = 0.5
    order: Sequence[int] | None = None
    structures: Mapping[int, Sequence[str]] | None = None

    def values(self, names: Mapping[int, str], path: Path) -> dict[int, int]:
        """The value of each segment or structure by its number: the number, or that of the class that fits its name.

        Those that no class names are left out and noted.

        Args:
            names: by number.
            path: their file, for errors.

        Raises:
            DataError: a name that fits several classes, none that fits any.
        """
        if self.structures is None:
            return {number: number for number in names}
        found: dict[int, int] = {}
        for number, name in names.items():
            fit = [
                value
                for value, patterns in self.structures.items()
                if any(fnmatch(name.casefold(), pattern.casefold()) for pattern in patterns)
            ]
            if len(fit) > 1:
                raise DataError(f"{path}: the structure {name!r} fits several classes; narrow data.structures")
            if fit:
                found[number] = fit[0]
            else:
                remedy = "data.structures names those that are read"
                warnings.warn(Note("structures that no class names, so background", f"{name!r}", remedy), stacklevel=2)
        if not found:
            listed = ", ".join(map(repr, names.values()))
            raise DataError(f"{path}: no structure that data.structures names among {listed or 'none'}")
        return found

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")


WHOLE = SegRule()
"""Half of the largest value counts, overlaps are refused."""
