"""The slices of a volume side by side: the reference as an area, the prediction as a contour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

import datasets

from .palette import coloured, palette

COLUMNS = 6
STEEPEST = 4.0
"""Of a slice's sides, the longer over the shorter: one that is narrower is drawn in a wider frame."""


def montage(
    image: NDArray[np.floating[Any]],
    masks: Mapping[str, NDArray[Any]],
    classes: Sequence[str],
    background: int | None,
    title: str,
    sides: tuple[float, float],
    most: int = 24,
) -> Figure:
    """Up to `most` slices, spread over those that hold foreground and one more on each side.

    Args:
        image: `(slices, rows, columns, channels)` in [0, 1]; the first channel is shown.
        masks: class indices `(slices, rows, columns)` of `reference`, `prediction` or both; their rows and columns may
            be more or fewer than the image's.
        classes: the names of the classes.
        background: the class without contour, or None.
        title: what is shown.
        sides: millimetres between the rows and between the columns of the masks: slices are drawn in proportion.
        most: slices in the picture.
    """
    holds = np.zeros(len(image), dtype=bool)
    for mask in masks.values():
        holds |= ((mask != background) & (mask != datasets.IGNORE)).any(axis=(1, 2))
    found = np.flatnonzero(holds) if holds.any() else np.arange(len(image))
    span = np.arange(max(0, found[0] - 1), min(len(image), found[-1] + 2))
    shown = span[datasets.evenly_spaced(len(span), most)].tolist()
    lines = -(-len(shown) // COLUMNS)
    rows, columns = next(iter(masks.values())).shape[1:]
    height = steepness(rows * sides[0], columns * sides[1])
    figure = Figure(figsize=(2.2 * COLUMNS, 2.2 * lines * height + 0.9), layout="constrained")
    axes = np.asarray(figure.subplots(lines, COLUMNS, squeeze=False)).ravel()
    colours = palette(len(classes))
    present: set[int] = set()
    for axis in axes:
        axis.set_axis_off()
    for axis, index in zip(axes, shown, strict=False):
        axis.imshow(image[index, ..., 0], cmap="gray", vmin=0, vmax=1, extent=(0, columns, rows, 0))
        axis.set_title(f"slice {index}", fontsize=7, pad=2)
        for name, mask in masks.items():
            labels = set(np.unique(mask[index]).tolist()) - {background, datasets.IGNORE}
            present |= labels
            if name == "reference":
                area = coloured(mask[index], colours, background, 0.45)
                axis.imshow(area, extent=(0, columns, rows, 0), interpolation="nearest")
                continue
            for label in labels:
                inside = np.pad(mask[index] == label, 1)  # what reaches the edge has its contour along it
                centres = np.arange(columns + 2) - 0.5, np.arange(rows + 2) - 0.5
                axis.contour(*centres, inside, levels=[0.5], colors=[_bright(colours[label])], linewidths=1.2)
        axis.set(xlim=(0, columns), ylim=(rows, 0), aspect=sides[0] / sides[1])
    names: list[Artist] = []
    for label in sorted(present):
        colour = _bright(colours[label])
        if "reference" in masks:
            names.append(Patch(color=colour, alpha=0.45, label=f"{classes[label]}, reference"))
        if "prediction" in masks:
            names.append(Line2D([], [], color=colour, label=f"{classes[label]}, predicted"))
    figure.legend(handles=names, loc="outside lower center", ncols=min(len(names), 8), fontsize=8, frameon=False)
    figure.suptitle(shortened(title), fontsize=10)
    return figure


def shortened(title: str, most: int = 120) -> str:
    """A title with a gap in its middle where it is too long for a figure."""
    return title if len(title) <= most else f"{title[: most // 2]} … {title[-most // 2 :]}"


def steepness(height: float, width: float) -> float:
    """The height of a slice's frame over its width, within `STEEPEST`: a figure must be possible of any slice."""
    return float(np.clip(height / width, 1 / STEEPEST, STEEPEST))


def _bright(colour: NDArray[np.float64]) -> str:
    """The colour, but not black, that of the first class: it would not be seen on a scan."""
    return to_hex(tuple(colour.tolist())) if colour.any() else "#ffffff"
