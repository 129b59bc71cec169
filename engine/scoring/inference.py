"""From images to logits and labels at test time: windows, mirror images, the way back to a case's own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import datasets
from datasets.components import largest_component
from datasets.grid import between_slices
from datasets.samples import normalised
from segloss.adjustment import LogitAdjustment

from ..configuration.config import ScoresSection

WINDOWS_AT_ONCE = 4
PIXELS = 2**21
"""Of images that are worked on at once, where they are more than those of one image."""

Infer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From images `(N, channels, H, W)` with two numbers a channel, as `datasets.samples.packed_image` makes them, to
logits `(N, C, H, W)` float32."""


class Ensemble(nn.Module):
    """Several networks as one: the mean of their logits.

    Args:
        networks: of the same classes.

    Attributes:
        adjustment: what is done to the mean; None for nothing.
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.adjustment: LogitAdjustment | None = None

    def forward(self, images: Tensor) -> Tensor:
        """`(N, channels, H, W)` to `(N, C, H, W)` float32."""
        logits = torch.stack([network(images).float() for network in self.networks]).mean(0)
        return logits if self.adjustment is None else self.adjustment(logits)


def infer(model: Any, images: Tensor, scores: ScoresSection) -> Tensor:
    """Logits `(N, C, H, W)` in float32 of images `(N, channels, H, W)`.

    Args:
        model: maps images to logits, in evaluation mode.
        images: on the model's device.
        scores: `window` and `overlap` of the windows, `flip` for the mean with the mirrored image's logits.
    """
    logits = _logits(model, images, scores)
    if scores.flip:
        logits = (logits + _logits(model, images.flip(-1), scores).flip(-1)) / 2
    return logits


def inferring(model: Any, scores: ScoresSection) -> Infer:
    """How a network infers; see `infer`."""
    return lambda image, factor, shift: infer(model, normalised(image, factor, shift), scores)


def describe(scores: ScoresSection) -> str:
    """How labels come about, in words."""
    words = "whole image"
    if scores.window is not None:
        words = f"windows of {scores.window[0]}x{scores.window[1]}, overlap {scores.overlap:g}"
    words += ", mean of the networks of all seeds" if scores.ensemble else ""
    words += ", with its mirror image" if scores.flip else ""
    words += f", logits adjusted ({scores.adjust.kind})" if scores.adjust is not None else ""
    return words + (", largest component of each class" if scores.largest_component else "")


def resized(logits: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Logits `(N, C, h, w)` on another grid, `(n, C, rows, columns)` at a time: no more than `PIXELS` pixels at once.

    Args:
        logits: of images of one size.
        size: rows and columns; both grids cover the same field of view.
    """
    for some in logits.split(max(1, PIXELS // prod(size))):
        yield F.interpolate(some, size, mode="bilinear", align_corners=False)


def between(chunks: Iterable[Tensor], count: int, slices: int) -> Iterator[Tensor]:
    """The logits of the slices of a case, from those of the slices of the network's grid, linearly between them.

    Args:
        chunks: `count` slices in order, `(n, C, rows, columns)` each.
        count: the slices on the network's grid.
        slices: of the case's own grid; both cover the same field of view.

    Yields:
        `(n, C, rows, columns)`: the chunks as they are where the slices are the same, else one slice at a time, for
        which no more than two slices beside the chunk are held.
    """
    if slices == count:
        yield from chunks
        return
    held: dict[int, Tensor] = {}
    arriving = enumerate(plane for chunk in chunks for plane in chunk)
    for low, high, part in between_slices(count, slices):
        while high not in held:
            number, plane = next(arriving)
            held[number] = plane
        held = {number: plane for number, plane in held.items() if number >= low}
        yield torch.lerp(held[low], held[high], part)[None]


def labels_of(
    logits: Iterable[Tensor], scores: ScoresSection, background: int | None, regions: datasets.Regions | None = None
) -> Tensor:
    """The labels `(slices, rows, columns)` int64 of a case, on the device of its logits `(n, C, rows, columns)` each.

    Those of regions become the labels of classes; see `datasets.Regions.labels`.

    With `scores.largest_component` every class but the background keeps its largest connected part (26 neighbours, 8
    in a still); the rest becomes background.
    """
    labels = torch.cat([chunk.argmax(1) if regions is None else regions.labels(chunk) for chunk in logits])
    if not scores.largest_component:
        return labels
    kept = labels.cpu().numpy().copy()
    for index in set(kept.ravel().tolist()) - {background}:
        here = kept == index
        kept[here & ~largest_component(here)] = background
    return torch.from_numpy(kept).to(labels.device)


def _logits(model: Any, images: Tensor, scores: ScoresSection) -> Tensor:
    images = images.contiguous(memory_format=torch.channels_last)
    if scores.window is None:
        whole: Tensor = model(images).float()
        return whole
    from monai.inferers.utils import sliding_window_inference

    blended: Tensor = sliding_window_inference(  # weighted by a Gaussian around the centre of each window
        images, scores.window, WINDOWS_AT_ONCE, lambda window: model(window).float(), scores.overlap, mode="gaussian"
    )
    return blended
