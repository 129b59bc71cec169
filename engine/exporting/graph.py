"""What is exported of a trained network: one graph from images to logits and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from datasets.normalise import Normalisation
from datasets.samples import normalised, packed_image
from segloss.base import Activation

from ..configuration.config import ScoresSection
from ..scoring.inference import Ensemble, infer

EXAMPLE = (101, 87)
"""Rows and columns of an image that a graph for images of any size is traced with: a multiple of nothing."""


class Deployed(nn.Module):
    """Images `(N, channels, H, W)` to logits, and to probabilities where the loss has trained some.

    Args:
        network: maps normalised images to logits, in evaluation mode.
        scores: how to infer, without windows.
        activation: what makes probabilities of logits.
        scale: what images are multiplied by, and what is subtracted then, `(channels,)` each; None for images that are
            normalised already.
    """

    factor: Tensor | None
    shift: Tensor | None

    def __init__(
        self, network: nn.Module, scores: ScoresSection, activation: Activation, scale: tuple[Tensor, Tensor] | None
    ) -> None:
        super().__init__()
        self.network, self.scores, self.activation = network, scores, activation
        factor, shift = scale or (None, None)
        self.register_buffer("factor", factor)
        self.register_buffer("shift", shift)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits, and probabilities where there are some, `(N, C, H, W)` float32 each; (N, C, 1, 1) of whole images."""
        if self.factor is not None and self.shift is not None:
            image = normalised(image, self.factor, self.shift)
        logits = infer(self.network, image, self.scores)
        if self.activation == "none":
            return (logits,)
        return logits, logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(1)


def scale_of(normalisation: Normalisation, channels: int, stacked: int) -> tuple[Tensor, Tensor]:
    """Factor and shift of each channel, `(stacked,)` each, of a normalisation that is the same for all 8-bit images.

    Args:
        normalisation: of the data.
        channels: of a slice.
        stacked: of a slice with its neighbours.
    """
    scaled = normalisation(np.zeros((1, 1, 1, channels), np.uint8))
    _, factor, shift = packed_image(np.zeros((1, 1, stacked), np.uint8), scaled.mean, scaled.deviation)
    return factor, shift


def bare(network: Any) -> nn.Module:
    """A network without what Fabric has set up around it."""
    if not isinstance(network, Ensemble):
        module: nn.Module = network.module
        return module
    found = Ensemble(map(bare, network.networks))
    found.adjustment = network.adjustment
    return found


def trace(deployed: Deployed, channels: int, size: tuple[int, int] | None) -> ExportedProgram:
    """The graph, for any number of images.

    Args:
        deployed: in evaluation mode, on the CPU.
        channels: of an image.
        size: rows and columns that every image has; None for images of any size.

    Raises:
        ValueError: a network that cannot be written down for images of any size.
    """
    axes: dict[int, Any] = {0: Dim.DYNAMIC} | ({2: Dim.DYNAMIC, 3: Dim.DYNAMIC} if size is None else {})
    example = torch.rand(2, channels, *(size or EXAMPLE))
    with torch.no_grad():
        try:
            return torch.export.export(deployed, (example,), dynamic_shapes=(axes,), strict=False)
        except (RuntimeError, ValueError) as error:  # torch's own errors of tracing are of these two
            raise ValueError(" ".join(str(error).split())[:300]) from error
