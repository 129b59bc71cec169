"""Which slices of a volume are trained on, and which neighbours a slice is seen with."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

SliceRule = Literal["all", "foreground"] | int
"""Every slice, those that hold foreground, or those and a margin of slices on both sides."""


def kept_slices(pixels: NDArray[np.int64], rule: SliceRule, background: int | None) -> list[int]:
    """The slices of a case that are trained on, in order.

    Args:
        pixels: of each class in each slice, `(slices, classes)`.
        rule: which.
        background: the class that is no foreground; None where every class is.
    """
    if rule == "all":
        return list(range(len(pixels)))
    margin = 0 if rule == "foreground" else rule
    foreground = pixels if background is None else np.delete(pixels, background, axis=1)
    near = np.zeros(len(pixels), dtype=bool)
    for index in np.flatnonzero(foreground.any(axis=1)):
        near[max(0, index - margin) : index + margin + 1] = True
    return np.flatnonzero(near).tolist()


def neighbours(index: int, slices: int, context: int) -> list[int]:
    """A slice with `context` slices before and after it; beyond the ends the last one is repeated."""
    return [min(max(index + step, 0), slices - 1) for step in range(-context, context + 1)]


def evenly_spaced(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers 0 … count − 1, evenly spaced, the first and the last among them."""
    places: list[int] = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()
    return places
