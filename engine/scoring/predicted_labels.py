"""The classes of pictures that no data set knows: a run's network on files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

import datasets
from datasets.cache import scaled_image
from datasets.grid import network_shape, resize_image
from datasets.samples import packed_image
from segloss.aggregation import TOP
from segloss.base import Activation

from ..configuration import build
from ..configuration.config import Config
from .inference import Infer

NAME = "predictions.csv"


@torch.no_grad()
def predict_label(
    path: Path, infer: Infer, adapter: datasets.Adapter, config: Config, fabric: Fabric, activation: Activation
) -> list[tuple[str, float | None]]:
    """The five most probable classes of an image file with their probabilities, the first one first.

    Args:
        path: a still.
        infer: from what the network sees to its logits.
        adapter: reads the file as it reads the images of its data set.
        config: of the run: the network's grid and the normalisation.
        fabric: the device.
        activation: what makes probabilities of the logits; None for them where nothing does.

    Raises:
        DataError: the file is unreadable.
    """
    image = adapter.read_image(path).array
    scaled = scaled_image(build.build_normalisation(config.data.normalise, adapter), image, path)
    slices, rows, columns = image.shape[:3]
    seen = resize_image(scaled.image, network_shape((slices, rows, columns), None, config.data.size, None))
    packed = packed_image(seen[0], scaled.mean, scaled.deviation)
    logits = infer(*(fabric.to_device(tensor.unsqueeze(0)) for tensor in packed)).flatten()
    shares = logits.sigmoid() if activation == "sigmoid" else logits.softmax(0)
    top = torch.sort(logits, descending=True, stable=True).indices[:TOP].tolist()
    return [(adapter.classes[index], None if activation == "none" else float(shares[index])) for index in top]


def row(name: str, found: Sequence[tuple[str, float | None]]) -> dict[str, Any]:
    """A line of predictions.csv: the file, its class with the probability, then the second to the fifth."""
    line: dict[str, Any] = {"file": name}
    for place, (label, share) in enumerate(found, start=1):
        end = "" if place == 1 else f"_{place}"
        line |= {f"class{end}": label, f"probability{end}": None if share is None else round(share, 6)}
    return line
