"""The kinds of mistakes of a segmentation, told apart, and the colour of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import to_rgba
from numpy.typing import NDArray

import datasets

from .palette import OKABE_ITO

MISTAKES = {"missed": OKABE_ITO[2], "invented": OKABE_ITO[6], "wrong class": OKABE_ITO[4]}
"""The colour of each kind; they differ in lightness too, and a page draws them filled, striped and dotted."""


def mistake_masks(
    reference: NDArray[Any], labels: NDArray[Any], background: int | None
) -> dict[str, NDArray[np.bool_]]:
    """The wrong pixels of each kind in `MISTAKES`.

    Args:
        reference: class indices of any shape, 255 where ignored.
        labels: the predicted ones.
        background: the class that is no foreground; None: every mistake is of the wrong class.

    Returns:
        missed: foreground of the reference that is predicted as background; invented: background of the reference that
        is predicted as foreground; wrong class: of one class and predicted as another, neither of them background.
    """
    wrong = (reference != labels) & (reference != datasets.IGNORE)
    ground = -1 if background is None else background
    missed, invented = wrong & (labels == ground), wrong & (reference == ground)
    return {"missed": missed, "invented": invented, "wrong class": wrong & ~missed & ~invented}


def mistakes_rgba(reference: NDArray[Any], labels: NDArray[Any], background: int | None) -> NDArray[np.float64]:
    """The mistakes in their colours, RGBA; clear where nothing is wrong."""
    rgba = np.zeros((*reference.shape, 4))
    for kind, pixels in mistake_masks(reference, labels, background).items():
        rgba[pixels] = to_rgba(MISTAKES[kind])
    return rgba
