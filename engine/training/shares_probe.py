"""A few training samples on which the classes' shares of loss and gradient are measured again and again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from scipy import sparse
from torch import Tensor

import datasets

from ..configuration.build import Loss
from .shares import class_sums, shares
from .targets import Targets

PROBED = 8
"""Samples: enough to hold rare classes, few enough to cost little."""
PIXELS = 2**22
"""The most that go through the network at once: training may have seen crops of these images only."""


class SharesProbe:
    """A few samples of the training part, as they are, always the same: `representative` of what they hold.

    Looking at them changes nothing: the network is in evaluation mode and every random generator is left as it was.

    Args:
        samples: of the training part.
        batch_size: the most that go through the network at once.
        fabric: the device and the precision.
        targets: what the loss is called with, from the labels of a batch.
        window: the height and width of what is looked at: the centre of larger images; None for all of them.
    """

    def __init__(
        self,
        samples: datasets.Samples,
        batch_size: int,
        fabric: Fabric,
        targets: Targets,
        window: tuple[int, int] | None = None,
    ) -> None:
        self.samples, self.batch_size, self.fabric, self.window = samples, batch_size, fabric, window
        self.targets = targets
        self.indices = representative(samples.counts()[0], PROBED)

    def shares(self, model: Any, loss: Loss) -> dict[str, list[float] | None]:
        """The shares of the classes in pixels, loss and gradient at the logits; see `engine.training.shares`.

        The batches are weighed as the micro-batches of one step are.

        Args:
            model: the network, set up by Fabric; its mode is put back.
            loss: in its current state.
        """
        was_training, device = model.training, self.fabric.device
        batches = [(images, masks, self.targets(masks, cases)) for images, masks, cases in self._batches()]
        denominator = torch.stack([loss.denominator(**given) for _, _, given in batches]).sum(0)
        found = []
        generators = [device] if device.type == "cuda" else []
        model.eval()
        with torch.random.fork_rng(generators):
            for images, masks, given in batches:
                with torch.no_grad():
                    logits = model(images)
                found.append(class_sums(logits, masks, given, loss, denominator, self.targets.regions))
        model.train(was_training)
        return shares(found)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Images and masks of one size, on the device, and the numbers of their cases."""
        samples = [self.samples[index] for index in self.indices]
        probed = [(*datasets.centre(one, self.window), torch.tensor(one["case"])) for one in samples]
        for shape, equal in groupby(probed, key=lambda one: one[0].shape[1:]):
            run, most = list(equal), max(1, min(self.batch_size, PIXELS // shape.numel()))
            for start in range(0, len(run), most):
                images, masks, cases = map(torch.stack, zip(*run[start : start + most], strict=True))
                channels_last = self.fabric.to_device(images).contiguous(memory_format=torch.channels_last)
                yield channels_last, self.fabric.to_device(masks), cases


def representative(pixels: sparse.csr_array, most: int) -> list[int]:
    """Up to `most` samples, ascending: evenly spaced in the order of how much they hold of rare classes.

    So the sample that holds most is among them, and one that holds least. Evenly spaced in the order of the files, all
    might be the first slices of volumes.

    Args:
        pixels: `(samples, C)` pixels of each class in each sample, sparse.
        most: samples wanted.
    """
    held = pixels @ (1 / pixels.sum(0).clip(1))
    return sorted(np.argsort(held, kind="stable")[datasets.evenly_spaced(len(held), most)].tolist())
