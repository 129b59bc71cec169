"""Pictures with one label mixed in pairs, and their labels in the same shares: mixup and CutMix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .samples import PADDING, PackedSample, unpacked


class Mixing:
    """Mixes each picture of a batch with the one before it; how much of it, once a batch, follows from the seed.

    Args:
        kind: `mixup` for the weighted mean of the two (Zhang 2018), `cutmix` for a box of the other (Yun 2019).
        alpha: > 0, of Beta(alpha, alpha), from which the share of the picture itself is drawn; of a box that share is
            one minus its area, which the edge of the picture may cut.
        classes: C.
        to_device: brings a tensor to the device that mixes.
    """

    def __init__(
        self, kind: Literal["mixup", "cutmix"], alpha: float, classes: int, to_device: Callable[[Tensor], Tensor]
    ) -> None:
        from torchvision.transforms.v2 import CutMix, MixUp  # takes a second to import

        transform = {"mixup": MixUp, "cutmix": CutMix}[kind]
        self.transform = transform(alpha=alpha, num_classes=classes)
        self.to_device = to_device

    def batches(self, loaded: Iterable[PackedSample], seed: int, epoch: int, start: int = 0) -> Iterator[PackedSample]:
        """Batches of an epoch, mixed on the device.

        Args:
            loaded: as a loader ships them.
            seed: of the run.
            epoch: from 0.
            start: the number of the first batch in the epoch.
        """
        for number, batch in enumerate(loaded, start):
            drawn = np.random.SeedSequence([seed, epoch, number], spawn_key=(1,)).generate_state(1)[0]
            yield self(batch, int(drawn))

    def __call__(self, packed: PackedSample, seed: int) -> PackedSample:
        """A batch mixed: `image` float32 and normalised, `mask` float32 `(N, C, 1, 1)`; of padding as it is."""
        if PADDING in torch.as_tensor(packed["index"]):
            return packed
        batch = unpacked(packed, self.to_device)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # of the CPU alone, which draws the share
            image, target = self.transform(batch["image"], batch["mask"].flatten())
        factor = torch.ones_like(image[:, :, 0, 0])
        return {
            **packed,
            "image": image,
            "factor": factor,
            "shift": torch.zeros_like(factor),
            "mask": target[..., None, None],
        }
