"""Pictures of a run: learning curves and overlays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import nn

import datasets

from .evaluation import Prediction, predict
from .experiment import Experiment

matplotlib.use("Agg")

OKABE_ITO = ["#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"]
"""Eight colours that colour-blind readers can tell apart."""
ERROR = {"missed": "#0072b2", "invented": "#d55e00"}


def palette(classes: int) -> NDArray[np.float64]:
    """One RGB colour a class, `(classes, 3)` in [0, 1]."""
    if classes <= len(OKABE_ITO):
        colours = [to_rgb(colour) for colour in OKABE_ITO]
    else:
        colours = [matplotlib.colormaps["tab20"](index % 20)[:3] for index in range(classes)]
    return np.asarray(colours[:classes])


def curves(history: Sequence[dict[str, Any]], headline: str, classes: Sequence[str]) -> Figure:
    """Loss, headline score and, with ACW, the class weights over the epochs."""
    epochs = [entry["epoch"] for entry in history]
    weighted = bool(history) and history[0]["acw"] is not None
    figure = Figure(figsize=(5 * (2 + weighted), 3.6), layout="constrained")
    axes = figure.subplots(1, 2 + weighted)
    axes[0].plot(epochs, [entry["loss"] for entry in history], color=OKABE_ITO[5], marker=".")
    axes[0].set(title="training loss", xlabel="epoch")
    scored = [(entry["epoch"], entry["score"]) for entry in history if entry["score"] is not None]
    if scored:
        axes[1].plot(*zip(*scored, strict=True), color=OKABE_ITO[6], marker=".")
        best = max(scored, key=lambda pair: pair[1])
        axes[1].annotate(f"{best[1]:.3f}", best, textcoords="offset points", xytext=(0, 6), ha="center")
    axes[1].set(title=f"validation {headline}", xlabel="epoch", ylim=(0, 1.05))
    if weighted:
        colours = palette(len(classes))
        for index, name in enumerate(classes):
            weights = [entry["acw"][index] for entry in history]
            axes[2].plot(epochs, weights, color=colours[index], label=name, marker=".")
        axes[2].set(title="adaptive class weights", xlabel="epoch")
        axes[2].legend(fontsize=7, ncols=1 + len(classes) // 8)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
    return figure


def overlay(
    image: NDArray[np.floating[Any]], found: Prediction, classes: Sequence[str], background: int | None, title: str
) -> Figure:
    """Image, reference, prediction and error map side by side, and what the colours mean.

    Args:
        image: `(rows, columns, channels)` in [0, 1].
        found: reference and prediction.
        classes: the names of the classes.
        background: the class left transparent, or None.
        title: what is shown.
    """
    reference, labels = found.reference.cpu().numpy(), found.labels.cpu().numpy()
    grey = image[..., 0] if image.shape[-1] != 3 else None
    colours = palette(len(classes))
    shown = sorted({*np.unique(reference), *np.unique(labels)} - {datasets.IGNORE, background})
    figure = Figure(figsize=(13, 13 / 4 * reference.shape[0] / reference.shape[1] + 0.9), layout="constrained")
    axes = figure.subplots(1, 4)
    rows, columns = reference.shape
    for axis, name in zip(axes, ("image", "reference", "prediction", "errors"), strict=True):
        axis.imshow(image if grey is None else grey, cmap="gray", vmin=0, vmax=1, extent=(0, columns, rows, 0))
        axis.set_title(name, fontsize=10)
        axis.set_axis_off()
    for axis, mask in zip(axes[1:3], (reference, labels), strict=True):
        axis.imshow(_coloured(mask, colours, background), extent=(0, columns, rows, 0), interpolation="nearest")
    axes[3].imshow(_errors(reference, labels, background), extent=(0, columns, rows, 0), interpolation="nearest")
    names = [Patch(color=colours[index], label=classes[index]) for index in shown]
    if background is None:
        names += [Patch(color=ERROR["invented"], label="wrong class")]
    else:
        names += [Patch(color=ERROR["missed"], label="missed"), Patch(color=ERROR["invented"], label="invented")]
    figure.legend(handles=names, loc="outside lower center", ncols=min(len(names), 8), fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def save_overlays(
    model: nn.Module, experiment: Experiment, part: datasets.Part, fabric: Any, folder: Path, most: int = 5
) -> list[Path]:
    """Overlays of a part: of scans the slice with most foreground of the first ones, of stills some spread evenly."""
    samples = experiment.samples(part)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for found in predict(model, samples, experiment, fabric, only=_chosen(samples, experiment, most)):
        case = samples.cases[found.case]
        slice_index = samples.slices[found.sample][1]
        image = case.image(slice_index)
        image = image.astype(np.float32) / (255 if image.dtype == np.uint8 else 1)
        name = f"{case.case.id}, slice {slice_index}" if experiment.adapter.volumetric else case.case.id
        figure = overlay(image, found, experiment.adapter.classes, experiment.background, name)
        path = folder / f"{name.replace(', slice ', '_').replace('/', '_')}.png"
        figure.savefig(path, dpi=110)
        written.append(path)
    return written


def _chosen(samples: datasets.Samples, experiment: Experiment, most: int) -> list[int]:
    if not experiment.adapter.volumetric:
        return sorted({round(float(at)) for at in np.linspace(0, len(samples) - 1, most)})
    background = experiment.background or 0
    chosen, first = [], 0
    for case in samples.cases[:most]:
        masks = case.masks()
        foreground = ((masks != background) & (masks != datasets.IGNORE)).sum((1, 2))
        chosen.append(first + int(foreground.argmax()))
        first += case.shape[0]
    return chosen


def _coloured(
    mask: NDArray[np.integer[Any]], colours: NDArray[np.float64], background: int | None
) -> NDArray[np.float64]:
    """Class indices as half-transparent RGBA; background and ignored pixels are clear."""
    clear = mask == datasets.IGNORE
    if background is not None:
        clear |= mask == background
    rgba = np.zeros((*mask.shape, 4))
    rgba[..., :3] = colours[np.where(clear, 0, mask)]
    rgba[..., 3] = np.where(clear, 0.0, 0.65)
    return rgba


def _errors(
    reference: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], background: int | None
) -> NDArray[np.float64]:
    """RGBA: where foreground is missed, and where it is invented or of the wrong class; clear elsewhere."""
    wrong = (reference != labels) & (reference != datasets.IGNORE)
    missed = wrong & (labels == background) if background is not None else np.zeros_like(wrong)
    rgba = np.zeros((*wrong.shape, 4))
    rgba[wrong] = to_rgba(ERROR["invented"])
    rgba[missed] = to_rgba(ERROR["missed"])
    return rgba
