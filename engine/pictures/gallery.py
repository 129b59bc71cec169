"""Pictures side by side, each under a line of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

from .montage import shortened

COLUMNS = 10
WIDTH, SIDE, TEXT = 1.45, 1.35, 0.5
"""Inches: of a column, of the longer side of a picture, and of the height of the text over it."""
WIDEST = 18
"""Characters of a line over a picture."""


def gallery(
    images: Sequence[NDArray[Any]], titles: Sequence[Sequence[str]], title: str, most_columns: int = COLUMNS
) -> Figure:
    """Pictures in rows.

    Args:
        images: `(rows, columns, channels)` each, uint8 or in [0, 1]; the first channel of those that have not three.
        titles: of each its lines.
        title: of all.
        most_columns: pictures in a row.
    """
    columns = min(most_columns, max(len(images), 1))
    rows = max(1, -(-len(images) // columns))
    height = TEXT + SIDE * max((min(1.0, image.shape[0] / image.shape[1]) for image in images), default=1.0)
    figure = Figure(figsize=(WIDTH * columns + 0.2, height * rows + 0.5), layout="constrained")
    axis = figure.subplots()  # one for all: a hundred take ten seconds to lay out
    for place, (image, lines) in enumerate(zip(images, titles, strict=True)):
        most = 255 if image.dtype.kind == "u" else 1
        shown = image if image.shape[-1] == 3 else image[..., 0]
        down, across = (SIDE * side / max(image.shape[:2]) for side in image.shape[:2])
        middle, bottom = WIDTH * (place % columns + 0.5), height * (place // columns + 1)
        extent = (middle - across / 2, middle + across / 2, bottom, bottom - down)
        axis.imshow(shown, cmap="gray", vmin=0, vmax=most, interpolation="nearest", extent=extent)
        text = "\n".join(shortened(line, WIDEST) for line in lines)
        axis.text(middle, bottom - down - 0.03, text, fontsize=7, ha="center", va="bottom")
    axis.set(xlim=(0, WIDTH * columns), ylim=(height * rows, 0), aspect="equal")
    axis.set_axis_off()
    figure.suptitle(title, fontsize=10)
    return figure
