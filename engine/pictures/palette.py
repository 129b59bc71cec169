"""The colours of classes."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

import datasets

OKABE_ITO = ["#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"]
"""Eight colours that colour-blind readers can tell apart."""

MOST_NAMED = 150
"""Classes that a figure has room to name; of more it shows the curves, or the shares, alone."""


def palette(classes: int) -> NDArray[np.float64]:
    """One RGB colour a class, `(classes, 3)` in [0, 1]."""
    if classes <= len(OKABE_ITO):
        colours = [to_rgb(colour) for colour in OKABE_ITO]
    else:
        colours = [matplotlib.colormaps["tab20"](index % 20)[:3] for index in range(classes)]
    return np.asarray(colours[:classes])


def coloured(
    mask: NDArray[np.integer[Any]], colours: NDArray[np.float64], background: int | None, opacity: float = 0.65
) -> NDArray[np.float64]:
    """Class indices as RGBA of an opacity; background and ignored pixels are clear."""
    clear = mask == datasets.IGNORE
    if background is not None:
        clear |= mask == background
    rgba = np.zeros((*mask.shape, 4))
    rgba[..., :3] = colours[np.where(clear, 0, mask)]
    rgba[..., 3] = np.where(clear, 0.0, opacity)
    return rgba
