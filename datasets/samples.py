"""Samples and batches whose content follows from (seed, epoch, position) alone.

The same batches come out for 0, 1 or 8 workers, however they are started, and for a run that is resumed in the middle
of an epoch: nothing depends on which process draws a random number, or on how many were drawn before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from .cached import CachedCase, Files
from .case import ignored_label, label_dtype
from .errors import DataError
from .samplers import Order

if TYPE_CHECKING:
    from .augment import Augmentation

PADDING = -1
"""In place of the number of a sample that only gives a process something to do."""


class Draw(NamedTuple):
    """Which sample, and when: what its random choices are seeded with."""

    seed: int
    epoch: int
    position: int
    sample: int
    padding: bool = False
    """It is there so that a process has something to do: none of its pixels counts."""


class Sample(TypedDict):
    """One 2D slice, or with a batch dimension in front, a batch of them.

    `image` float32 `(C, H, W)`, `mask` int64 `(H, W)` with 255 where ignored, or `(1, 1)` of a picture with one
    label, or float32 `(classes, 1, 1)` of mixed ones; `index` the sample's number or `PADDING`, `case` the case's
    number, `slice` the slice in its case.
    """

    image: Tensor
    mask: Tensor
    index: int
    case: int
    slice: int


class PackedSample(Sample):
    """A sample, or a batch, as loaders ship it; `unpacked` casts and normalises it, on the device that computes.

    `image` uint8 as decoded, or float32, `mask` uint8, or int16 of more than 255 classes, or as mixed; `factor` and
    `shift` float32 `(C,)`, of the case: what the network sees is image · factor − shift.
    """

    factor: Tensor
    shift: Tensor


class Samples(Dataset[Sample]):
    """The slices of some cases, in order: load, augment, normalise.

    By its key a sample comes whole; a loader fetches the samples of a batch packed.

    Args:
        cases: the decoded cases; resized already.
        augmentation: applied when a sample is drawn with a `Draw`; a plain index gives the sample as it is.
        context: neighbouring slices on each side that are stacked as channels.
        keep: which slices of a case are samples; None for all.
    """

    def __init__(
        self,
        cases: Sequence[CachedCase],
        augmentation: Augmentation | None = None,
        context: int = 0,
        keep: Callable[[CachedCase], Sequence[int]] | None = None,
    ) -> None:
        self.cases, self.augmentation, self.context = list(cases), augmentation, context
        self.files: Files | None = None
        kept = keep or (lambda case: range(case.shape[0]))
        self.slices = [(number, index) for number, case in enumerate(cases) for index in kept(case)]

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, key: Draw | int) -> Sample:
        return unpacked(self.packed(key))

    def __getitems__(self, keys: Sequence[Draw | int]) -> list[PackedSample]:
        """The samples of a batch, their images of one dtype."""
        found = [self.packed(key) for key in keys]
        if len({sample["image"].dtype for sample in found}) > 1:
            for sample in found:
                sample["image"] = sample["image"].float()
        return found

    def hold_files(self) -> None:
        """Keep the files of the cases open from now on: for a loader process, which reads them again every epoch."""
        self.files = {}

    def packed(self, key: Draw | int) -> PackedSample:
        """A sample as loaders ship it."""
        index = key.sample if isinstance(key, Draw) else key
        number, slice_index = self.slices[index]
        case = self.cases[number]
        classes = len(case.pixels)
        image, mask = case.image(slice_index, self.context, self.files), case.mask(slice_index, self.files)
        if isinstance(key, Draw) and self.augmentation is not None:
            image, mask = self.augmentation(image, mask, _seed(key))
        if isinstance(key, Draw) and key.padding:
            mask = np.full_like(mask, ignored_label(classes))
        planes, factor, shift = packed_image(image, case.mean, case.deviation)
        return {
            "image": planes,
            "factor": factor,
            "shift": shift,
            "mask": torch.from_numpy(np.ascontiguousarray(mask, dtype=label_dtype(classes))),
            "index": PADDING if isinstance(key, Draw) and key.padding else index,
            "case": number,
            "slice": slice_index,
        }

    def counts(self) -> tuple[sparse.csr_array, sparse.csr_array]:
        """The pixels and components of each class in each sample, each `(samples, classes)` int64, not augmented.

        They are sparse: of pictures with one label they take a few numbers a picture, whatever the number of classes.
        """
        classes = len(self.cases[0].pixels) if self.cases else 0
        labels = [self.cases[number].case.label for number, _ in self.slices]
        if labels and labels[0] is not None:
            ends = np.arange(len(labels) + 1)
            own = sparse.csr_array((np.ones(len(labels), np.int64), labels, ends), shape=(len(labels), classes))
            return own, own
        dense = [[self.cases[number].counts[kind][index] for number, index in self.slices] for kind in (0, 1)]
        pixels, components = (sparse.csr_array(np.array(one, np.int64).reshape(-1, classes)) for one in dense)
        return pixels, components


class TrainingBatches(Sampler[list[Draw]]):
    """The batches of an epoch: an order by (seed, epoch), cut in pieces; it can start in the middle.

    A last batch of one sample is dropped, since batch normalisation cannot train on it; unless batches are of one.
    Of n processes each takes every nth sample of a batch, so the batches are the same for any number of them. Where the
    last batch has fewer samples than there are processes, its first is repeated as padding for the rest, all of its
    pixels ignored.

    Args:
        length: the number of samples.
        batch_size: samples a batch.
        seed: the seed of the run.
        order: `length` sample numbers by a generator; None for every sample once, in random order.
        share: the number of this process, from 0, and how many there are.

    Raises:
        DataError: too few samples for one batch.
    """

    def __init__(
        self, length: int, batch_size: int, seed: int, order: Order | None = None, share: tuple[int, int] = (0, 1)
    ) -> None:
        self.length, self.batch_size, self.seed, self.share = length, batch_size, seed, share
        self.order = order or (lambda rng: rng.permutation(length))
        self.epoch = self.start = 0
        if not len(self):
            raise DataError(f"{length} training image(s) are too few for batches of {batch_size}; see data.split")

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch, and the batch it starts with."""
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        """The batches of a whole epoch."""
        full, rest = divmod(self.length, self.batch_size)
        return full + (rest > 1)

    def size(self, batch: int) -> int:
        """The samples of a batch, those of all processes."""
        return min(self.batch_size, self.length - batch * self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        order = self.order(np.random.default_rng([self.seed, self.epoch])).tolist()
        number, processes = self.share
        draws = [Draw(self.seed, self.epoch, position, index) for position, index in enumerate(order)]
        for batch in range(self.start, len(self)):
            whole = draws[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield whole[number::processes] or [whole[0]._replace(padding=True)]


def _seed(draw: Draw) -> int:
    return int(np.random.SeedSequence([draw.seed, draw.epoch, draw.position]).generate_state(1)[0])


def packed_image(
    image: NDArray[Any], mean: Sequence[float], deviation: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """What `normalised` takes: `(C, H, W)` uint8 or float32 of `(H, W, C)`, and two numbers a channel.

    Args:
        image: uint8, or floating in [0, 1]; of several slices stacked in C each has the channels of the case.
        mean: one number a channel of the case, to be subtracted from the image scaled to [0, 1].
        deviation: one number a channel of the case, to divide by.
    """
    scale = 1 / 255 if image.dtype == np.uint8 else 1.0
    planes = np.moveaxis(image.reshape(*image.shape[:2], -1), -1, 0)
    repeats = len(planes) // len(mean)
    divisor = np.tile(np.asarray(deviation, dtype=np.float32), repeats)
    factor, shift = np.float32(scale) / divisor, np.tile(np.asarray(mean, dtype=np.float32), repeats) / divisor
    kept = np.ascontiguousarray(planes, dtype=np.uint8 if image.dtype == np.uint8 else np.float32)
    return torch.from_numpy(kept), torch.from_numpy(factor), torch.from_numpy(shift)


def normalised(image: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """Image · factor − shift, float32 `(…, C, H, W)`, on the device of the arguments; see `packed_image`."""
    return (image * factor[..., None, None]).sub_(shift[..., None, None])


def unpacked(packed: PackedSample, to_device: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> Sample:
    """A sample or a batch, cast and normalised where `to_device` brings it."""
    image, factor, shift = (to_device(tensor) for tensor in (packed["image"], packed["factor"], packed["shift"]))
    mask = to_device(packed["mask"])
    return {
        "image": normalised(image, factor, shift),
        "mask": mask if mask.is_floating_point() else mask.long(),
        "index": packed["index"],
        "case": packed["case"],
        "slice": packed["slice"],
    }


def centre(sample: Sample, window: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """Image `(C, h, w)` and mask `(h, w)` of a sample: the centre, not larger than the window; None for all of it."""
    image, mask = sample["image"], sample["mask"]
    for axis, most in zip((-2, -1), window or (), strict=window is not None):
        size = min(most, mask.shape[axis])
        start = (mask.shape[axis] - size) // 2
        image, mask = image.narrow(axis, start, size), mask.narrow(axis, start, size)
    return image, mask
