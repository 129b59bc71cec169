"""Decoded cases in the memory of the device that computes, and batches gathered there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..cached import CachedCase
from ..case import ignored_label, label_dtype
from ..errors import DataError
from ..samples import PADDING, Draw, PackedSample, Samples, TrainingBatches, packed_image
from ..slices import neighbours
from .augment import BatchAugmentation, Plan

MASKS = {"uint8": torch.uint8, "int16": torch.int16}
"""By the type of a case's labels."""
TRIED = 64
"""Samples whose sizes are looked at first."""


def why_not_resident(cases: Collection[CachedCase]) -> str | None:
    """Why the slices of some cases cannot lie in one tensor; None where they can."""
    sizes = sorted({case.shape[1:] for case in cases})
    if len(sizes) > 1:
        shown = ", ".join(f"{width}x{height}" for height, width in sizes[:3])
        return f"its images have different sizes ({shown}), and data.size is null"
    return None


def resident_bytes(cases: Collection[CachedCase]) -> int:
    """What the slices of some cases take on the device, the first of which stands for the type of all."""
    if not cases:
        return 0
    first = next(iter(cases)).image(0)
    pixels = sum(int(np.prod(case.shape)) for case in cases)
    return int(pixels * (first.shape[-1] * first.dtype.itemsize + 1))


class ResidentSamples:
    """The slices of some cases on a device: uint8 as decoded, or float32 in [0, 1].

    Args:
        samples: of one size.
        device: that computes.

    Raises:
        DataError: they have several sizes; the device's memory is too small; a case cannot be read.
    """

    def __init__(self, samples: Samples, device: torch.device) -> None:
        cases = samples.cases
        if (reason := why_not_resident(cases)) is not None:
            raise DataError(f"data.resident: {reason}; set data.size, or data.resident: false")
        self.samples, self.device = samples, device
        starts = np.cumsum([0, *(case.shape[0] for case in cases)]).tolist()
        kinds = {case.image(0).dtype.name for case in cases}
        first, labels = cases[0].image(0), cases[0].mask(0)
        classes = len(cases[0].pixels)
        self.ignored = ignored_label(classes)
        dtype = torch.uint8 if kinds == {"uint8"} else torch.float32
        try:
            self.images = torch.empty(starts[-1], first.shape[-1], *first.shape[:2], dtype=dtype, device=device)
            self.masks = torch.empty(starts[-1], *labels.shape, dtype=MASKS[label_dtype(classes).name], device=device)
        except torch.OutOfMemoryError as error:
            size = resident_bytes(cases) / 2**30
            raise DataError(f"data.resident: {size:.1f} GiB do not fit on the device; set it to false") from error
        factors, shifts = [], []
        for case, start in zip(cases, starts, strict=False):
            stop = start + case.shape[0]
            slices = [packed_image(case.image(index), case.mean, case.deviation) for index in range(case.shape[0])]
            planes = torch.stack([plane for plane, _, _ in slices])
            scaled = planes.dtype == torch.uint8 and dtype != torch.uint8
            self.images[start:stop] = planes.float() / 255 if scaled else planes
            self.masks[start:stop] = torch.from_numpy(case.masks() if labels.size > 1 else case.mask(0)[None])
            _, factor, shift = slices[0]
            factors.append(factor * 255 if scaled else factor)
            shifts.append(shift)
        around = [neighbours(index, cases[number].shape[0], samples.context) for number, index in samples.slices]
        firsts = torch.tensor([starts[number] for number, _ in samples.slices])
        numbers = torch.tensor([number for number, _ in samples.slices])
        self.planes = (firsts[:, None] + torch.tensor(around)).to(device)
        repeats = 2 * samples.context + 1
        self.factors = torch.stack(factors)[numbers].repeat(1, repeats).to(device)
        self.shifts = torch.stack(shifts)[numbers].repeat(1, repeats).to(device)
        self.middle = samples.context

    def batch(self, chosen: Sequence[int], rows: Tensor, plan: tuple[Plan, slice] | None = None) -> PackedSample:
        """Some samples, as a loader ships them.

        Args:
            chosen: their numbers.
            rows: the same on the device.
            plan: how they are augmented, and which samples of its epoch they are; None for as they are.
        """
        planes = self.planes[rows]
        images = self.images[planes].flatten(1, 2)
        masks, factors = self.masks[planes[:, self.middle]], self.factors[rows]
        if plan is not None:
            if images.dtype == torch.uint8:
                images, factors = images.float() / 255, factors * 255
            images, masks = plan[0].apply(plan[1], images, masks)
        of = [self.samples.slices[index] for index in chosen]
        return {
            "image": images,
            "factor": factors,
            "shift": self.shifts[rows],
            "mask": masks,
            "index": torch.tensor(chosen),  # type: ignore[typeddict-item]
            "case": torch.tensor([number for number, _ in of]),  # type: ignore[typeddict-item]
            "slice": torch.tensor([index for _, index in of]),  # type: ignore[typeddict-item]
        }

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.images.shape[2], self.images.shape[3]


class ResidentLoader:
    """Batches of resident samples; what `training_loader` and `evaluation_loader` give, without processes.

    Args:
        resident: the samples.
        batches: lists of draws, which are augmented, or of sample numbers, which are not; iterated anew for each epoch.
        augmentation: of draws; None for none.

    Raises:
        DataError: images of several sizes come out; a crop is larger than an image.
    """

    def __init__(
        self,
        resident: ResidentSamples,
        batches: TrainingBatches | Sequence[Sequence[int]],
        augmentation: BatchAugmentation | None = None,
    ) -> None:
        self.resident, self.batches, self.augmentation = resident, batches, augmentation
        if augmentation is not None:  # said now, not when a run has begun
            augmentation.plan(0, 0, range(TRIED), resident.size, torch.device("cpu"))

    def __len__(self) -> int:
        """The batches of a whole epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[PackedSample]:
        resident, device = self.resident, self.resident.device
        batches: list[list[Any]] = [list(batch) for batch in self.batches]
        keys = [key for batch in batches for key in batch]
        chosen = [key.sample if isinstance(key, Draw) else key for key in keys]
        rows, plan = torch.tensor(chosen).to(device), None
        if self.augmentation is not None and keys and isinstance(keys[0], Draw):
            first, positions = keys[0], [key.position for key in keys]
            plan = self.augmentation.plan(first.seed, first.epoch, positions, resident.size, device)
        start = 0
        for batch in batches:
            part = slice(start, start + len(batch))
            start = part.stop
            found: Any = resident.batch(chosen[part], rows[part], None if plan is None else (plan, part))
            if isinstance(batch[0], Draw) and batch[0].padding:
                found["mask"] = torch.full_like(found["mask"], resident.ignored)
                found["index"] = torch.full_like(found["index"], PADDING)
            yield found
