"""Time and memory over classes and pixels, as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import torch

from .losses import Bench, Entry, entries_of
from .peers import BASE

LOSSES = ("focal", "dfl", "dice")
CLASSES = (2, 5, 11, 19, 35)
SIDES = (64, 128, 256, 512, 1024)
COLOURS = {"ce": "black", "focal": "tab:blue", "dfl": "tab:red", "dice": "tab:green"}
STYLES = {"eager": "-", "compiled": "--", "MONAI": ":"}


def draw(path: Path, device: torch.device, repeats: int) -> None:
    """Measure and draw: four panels, time and memory over the number of classes and of pixels."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    over_classes = {classes: _measure((1, classes, 512, 512), device, repeats) for classes in CLASSES}
    over_pixels = {side * side: _measure((1, 19, side, side), device, repeats) for side in SIDES}
    for column, (label, found) in enumerate(
        [("classes (512 × 512 pixels)", over_classes), ("pixels (19 classes)", over_pixels)]
    ):
        for index, first in enumerate(next(iter(found.values()))):
            line = {"color": COLOURS[first.name], "linestyle": STYLES.get(first.how, "-"), "marker": "."}
            name = f"{first.name} {'torch' if first.how == BASE else first.how}"
            axes[0, column].plot(list(found), [1e3 * run[index].median for run in found.values()], label=name, **line)
            axes[1, column].plot(list(found), [run[index].memory for run in found.values()], label=name, **line)
        axes[0, column].set(ylabel="ms, forward and backward", xscale="log", yscale="log")
        axes[1, column].set(xlabel=label, ylabel="extra memory / logits", xscale="log", ylim=(0, 6))
    for panel in axes[:, 0]:
        panel.set_xticks(CLASSES, labels=[str(count) for count in CLASSES], minor=False)
        panel.minorticks_off()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def _measure(shape: tuple[int, ...], device: torch.device, repeats: int) -> list[Entry]:
    torch.compiler.reset()
    entries = [e for e in entries_of(LOSSES, shape[1], compiled=True, peers=True) if e.how in (BASE, *STYLES)]
    Bench(shape, device).run(entries, repeats)
    return entries
