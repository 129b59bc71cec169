"""Whether an exported network gives what its run gives."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

import datasets
from datasets.slices import evenly_spaced

from ..configuration import build
from ..console.display import Display
from ..errors import UsageError
from ..scoring.inference import Infer
from ..scoring.predicted_labels import predict_label
from ..scoring.prediction import predict_file
from ..scoring.trained import Trained
from .description import Form

IMAGES = 3
"""Of the data set, at most, that are predicted both ways; one scan."""
LEAST_EQUAL = 0.9999
"""The share of their pixels whose labels have to be equal."""
MOST_DIFFERENT = 1e-3
"""Between logits of noise, relative to the largest."""
SIZES = ((96, 128), (131, 75))
"""Rows and columns of noise for a graph that takes any: multiples of every stride, and of none."""


@torch.no_grad()
def check_noise(exported: Infer, own: Infer, form: Form, scale: tuple[Tensor, Tensor] | None) -> None:
    """Compare the logits of noise; a `UsageError` where they differ.

    Args:
        exported: the graph.
        own: the network of the run.
        form: of the graph.
        scale: factor and shift of each channel, `(channels,)` each; None for numbers like those of normalised images.
    """
    factor, shift = scale or (torch.full((form.channels,), 1 / 64), torch.full((form.channels,), 2.0))
    draws = torch.Generator().manual_seed(0)
    for count, (rows, columns) in enumerate([form.size] if form.size else SIZES, start=1):
        image = torch.randint(0, 256, (count, form.channels, rows, columns), generator=draws, dtype=torch.uint8)
        packed = image, factor.expand(count, -1), shift.expand(count, -1)
        wanted = own(*packed)
        with suppress(RuntimeError, ValueError, AssertionError):  # the graph refuses images of this size
            found = exported(*packed)
            if found.shape == wanted.shape and (found - wanted).abs().max() <= MOST_DIFFERENT * wanted.abs().max():
                continue
        remedy = "" if form.size else "; for images of one size it may be: give scores.window=[H, W]"
        raise UsageError(
            f"export: images of {rows}x{columns} get other logits than those of the run; this network cannot be "
            f"exported as one graph{remedy}"
        )


def check_images(exported: Infer, own: Infer, trained: Trained, fabric: Fabric, display: Display) -> dict[str, Any]:
    """Compare the labels of some images of the data set, on their own grid.

    Returns:
        How many there were, and the share of equal pixels; of pictures with one label, of equal pictures.

    Raises:
        UsageError: fewer than `LEAST_EQUAL` are equal.
    """
    config, adapter = trained.config, trained.adapter
    left_out, most = build.exclude(config.data), 1 if adapter.kind == "volume" else IMAGES
    try:
        cases = [one for one in adapter.cases() if one.id not in left_out and adapter.is_image(one.image)]
        wanted = [cases[place].image for place in evenly_spaced(len(cases), most)] if cases else []
        equal = pixels = 0
        for path in display.track("comparing")(wanted, len(wanted)):
            if adapter.kind == "label":
                activation = build.activation(config.loss, len(adapter.classes))
                first, second = (
                    predict_label(path, infer, adapter, config, fabric, activation)[0][0] for infer in (exported, own)
                )
                equal, pixels = equal + int(first == second), pixels + 1
            else:
                found, right = (predict_file(path, infer, adapter, config, fabric).labels for infer in (exported, own))
                equal, pixels = equal + int((found == right).sum()), pixels + right.size
    except datasets.DataError as error:
        display.line(f"compared on noise alone, since images of the data set cannot be read: {error}")
        return {"images": 0, "equal": None}
    if not wanted:
        display.line("compared on noise alone, since the data set has no files of single images")
    if pixels and equal / pixels < LEAST_EQUAL:
        raise UsageError(
            f"{trained.path}: of {len(wanted)} images {equal / pixels:.3%} of the labels are equal to the run's, less "
            f"than {LEAST_EQUAL:.2%}: not exported"
        )
    return {"images": len(wanted), "equal": equal / pixels if pixels else None}
