"""Pictures side by side, each under a line of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

from .montage import shortened

COLUMNS = 10
WIDEST = 18
"""Characters of a line over a picture."""


def gallery(images: Sequence[NDArray[Any]], titles: Sequence[Sequence[str]], title: str) -> Figure:
    """Pictures in rows of ten.

    Args:
        images: `(rows, columns, channels)` each, uint8 or in [0, 1]; the first channel of those that have not three.
        titles: of each its lines.
        title: of all.
    """
    columns = min(COLUMNS, max(len(images), 1))
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(1.45 * columns + 0.2, 1.85 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, lines in zip(axes, images, titles, strict=False):
        most = 255 if image.dtype.kind == "u" else 1
        shown = image if image.shape[-1] == 3 else image[..., 0]
        axis.imshow(shown, cmap="gray", vmin=0, vmax=most, interpolation="nearest")
        axis.set_title("\n".join(shortened(line, WIDEST) for line in lines), fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure
