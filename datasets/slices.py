"""Which slices of a volume are trained on, and which neighbours a slice is seen with."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .case import IGNORE

SliceRule = Literal["all", "foreground"] | int
"""Every slice, those that hold foreground, or those and a margin of slices on both sides."""


def kept_slices(masks: NDArray[np.uint8], rule: SliceRule, background: int | None) -> list[int]:
    """The slices of a case that are trained on, in order.

    Args:
        masks: `(slices, rows, columns)` class indices.
        rule: which.
        background: the class that is no foreground; None where every class is.
    """
    if rule == "all":
        return list(range(len(masks)))
    margin = 0 if rule == "foreground" else rule
    holds = np.flatnonzero(((masks != IGNORE) & (masks != (-1 if background is None else background))).any(axis=(1, 2)))
    near = np.zeros(len(masks), dtype=bool)
    for index in holds:
        near[max(0, index - margin) : index + margin + 1] = True
    return np.flatnonzero(near).tolist()


def neighbours(index: int, slices: int, context: int) -> list[int]:
    """A slice with `context` slices before and after it; beyond the ends the last one is repeated."""
    return [min(max(index + step, 0), slices - 1) for step in range(-context, context + 1)]
