"""What may be chosen about the reading of DICOM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

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
        structures: of contours: the patterns on the names of structures that have a value; None: their numbers are
            the values.

    Raises:
        ValueError: a threshold out of range.
    """

    threshold: float = 0.5
    order: Sequence[int] | None = None
    structures: Mapping[int, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")


WHOLE = SegRule()
"""Half of the largest value counts, overlaps are refused."""
