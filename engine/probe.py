"""A few training samples that show, again and again, whom the loss speaks for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

import datasets

from .build import Loss
from .shares import class_sums, shares

PROBED = 8
"""Samples: enough to hold rare classes, few enough to cost little."""


class Probe:
    """Evenly spaced samples of the training part, as they are, always the same.

    Looking at them changes nothing: the network is in evaluation mode and every random generator is left as it was.

    Args:
        samples: of the training part.
        batch_size: the most that go through the network at once.
        fabric: the device and the precision.
    """

    def __init__(self, samples: datasets.Samples, batch_size: int, fabric: Fabric) -> None:
        self.samples, self.batch_size, self.fabric = samples, batch_size, fabric
        self.indices = spaced(len(samples), PROBED)

    def shares(self, model: Any, loss: Loss) -> dict[str, list[float] | None]:
        """The shares of the classes in pixels, loss and gradient at the logits; see `engine.shares`.

        The batches are weighed as the micro-batches of one step are.

        Args:
            model: the network, set up by Fabric; its mode is put back.
            loss: in its current state.
        """
        was_training, device = model.training, self.fabric.device
        batches = list(self._batches())
        denominator = torch.stack([loss.denominator(masks) for _, masks in batches]).sum(0)
        found = []
        generators = [device] if device.type == "cuda" else []
        model.eval()
        with torch.random.fork_rng(generators):
            for images, masks in batches:
                with torch.no_grad():
                    logits = model(images)
                found.append(class_sums(logits, masks, loss, denominator))
        model.train(was_training)
        return shares(found)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and masks of one size, on the device."""
        probed = [self.samples[index] for index in self.indices]
        for _, equal in groupby(probed, key=lambda sample: sample["image"].shape):
            run = list(equal)
            for start in range(0, len(run), self.batch_size):
                some = run[start : start + self.batch_size]
                images, masks = (torch.stack([sample[key] for sample in some]) for key in ("image", "mask"))
                channels_last = self.fabric.to_device(images).contiguous(memory_format=torch.channels_last)
                yield channels_last, self.fabric.to_device(masks)


def spaced(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers 0 … count − 1, evenly spaced, the first and the last among them."""
    places: list[int] = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()
    return places
