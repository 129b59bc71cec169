"""Pictures of a run: learning curves and overlays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

import datasets

from .mistakes import MISTAKES, mistake_masks, mistakes_rgba
from .montage import shortened, steepness
from .palette import OKABE_ITO, coloured, palette


def curves(history: Sequence[dict[str, Any]], primary: str) -> Figure:
    """Loss and primary metric over the epochs; `engine.pictures.class_curves` has the curves of the classes.

    Of pictures with one label the accuracy on the training part beside it, where the log holds that.
    """
    epochs = [entry["epoch"] for entry in history]
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    axes[0].plot(epochs, [entry["loss"] for entry in history], color=OKABE_ITO[5], marker=".")
    axes[0].set(title="training loss", xlabel="epoch")
    scored = [(entry["epoch"], entry["score"]) for entry in history if entry["score"] is not None]
    if scored:
        axes[1].plot(*zip(*scored, strict=True), color=OKABE_ITO[6], marker=".", label=f"validation {primary}")
        best = max(scored, key=lambda pair: pair[1])
        axes[1].annotate(f"{best[1]:.3f}", best, textcoords="offset points", xytext=(0, 6), ha="center")
    axes[1].set(title=f"validation {primary}", xlabel="epoch", ylim=(0, 1.05))
    seen = [(entry["epoch"], one) for entry in history if (one := entry.get("train_accuracy")) is not None]
    if seen:
        label = "accuracy on the training part, while it trains"
        axes[1].plot(*zip(*seen, strict=True), color=OKABE_ITO[5], marker=".", linestyle="--", label=label)
        validated = [
            (entry["epoch"], entry["validation"]["dataset"]["accuracy"]) for entry in history if "validation" in entry
        ]
        if validated and primary != "accuracy":
            axes[1].plot(*zip(*validated, strict=True), color=OKABE_ITO[2], marker=".", label="validation accuracy")
        axes[1].set(title="training and validation" if scored else "training")
        axes[1].legend(fontsize=8, frameon=False)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
    return figure


def overlay(
    image: NDArray[np.floating[Any]],
    reference: NDArray[np.integer[Any]],
    labels: NDArray[np.integer[Any]],
    classes: Sequence[str],
    background: int | None,
    title: str,
) -> Figure:
    """Image, reference, prediction and mistakes side by side, and what the colours in them mean.

    Args:
        image: `(rows, columns, channels)` in [0, 1].
        reference: `(rows, columns)` class indices, 255 where ignored.
        labels: the predicted ones.
        classes: the names of the classes.
        background: the class left transparent, or None.
        title: what is shown.
    """
    grey = image[..., 0] if image.shape[-1] != 3 else None
    colours = palette(len(classes))
    shown = sorted({*np.unique(reference), *np.unique(labels)} - {datasets.IGNORE, background})
    figure = Figure(figsize=(13, 13 / 4 * steepness(*reference.shape) + 0.9), layout="constrained")
    axes = figure.subplots(1, 4)
    rows, columns = reference.shape
    for axis, name in zip(axes, ("image", "reference", "prediction", "errors"), strict=True):
        axis.imshow(image if grey is None else grey, cmap="gray", vmin=0, vmax=1, extent=(0, columns, rows, 0))
        axis.set_title(name, fontsize=10)
        axis.set_axis_off()
    for axis, mask in zip(axes[1:3], (reference, labels), strict=True):
        axis.imshow(coloured(mask, colours, background), extent=(0, columns, rows, 0), interpolation="nearest")
    axes[3].imshow(mistakes_rgba(reference, labels, background), extent=(0, columns, rows, 0), interpolation="nearest")
    names = [Patch(color=colours[index], label=classes[index]) for index in shown]
    kinds = mistake_masks(reference, labels, background)
    names += [Patch(color=MISTAKES[kind], label=kind) for kind, pixels in kinds.items() if pixels.any()]
    figure.legend(handles=names, loc="outside lower center", ncols=min(len(names), 8), fontsize=8, frameon=False)
    figure.suptitle(shortened(title), fontsize=10)
    return figure
