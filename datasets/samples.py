"""Samples and batches whose content follows from (seed, epoch, position) alone.

The same batches come out for 0, 1 or 8 workers, however they are started, and for a run that is resumed in the middle
of an epoch: nothing depends on which process draws a random number, or on how many were drawn before.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from .cached import CachedCase
from .case import IGNORE
from .errors import DataError
from .samplers import Order

if TYPE_CHECKING:
    from .augment import Augmentation

GRACE_SECONDS = 10.0
"""How long a loader process outlives a SIGTERM."""
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

    `image` float32 `(C, H, W)`, `mask` int64 `(H, W)` with 255 where ignored, `index` the sample's number
    or `PADDING`, `case` the case's number, `slice` the slice in its case.
    """

    image: Tensor
    mask: Tensor
    index: int
    case: int
    slice: int


class Samples(Dataset[Sample]):
    """The slices of some cases, in order: load, augment, normalise.

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
        kept = keep or (lambda case: range(case.shape[0]))
        self.slices = [(number, index) for number, case in enumerate(cases) for index in kept(case)]

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, key: Draw | int) -> Sample:
        index = key.sample if isinstance(key, Draw) else key
        number, slice_index = self.slices[index]
        case = self.cases[number]
        image, mask = case.image(slice_index, self.context), case.mask(slice_index)
        if isinstance(key, Draw) and self.augmentation is not None:
            image, mask = self.augmentation(image, mask, _seed(key))
        if isinstance(key, Draw) and key.padding:
            mask = np.full_like(mask, IGNORE)
        return {
            "image": torch.from_numpy(normalised(image, case.mean, case.deviation)),
            "mask": torch.from_numpy(mask.astype(np.int64)),
            "index": PADDING if isinstance(key, Draw) and key.padding else index,
            "case": number,
            "slice": slice_index,
        }

    def counts(self) -> NDArray[np.int64]:
        """The pixels and components of each class in each sample, `(2, samples, classes)`, not augmented."""
        if not self.slices:
            return np.zeros((2, 0, 0), dtype=np.int64)
        return np.array([[self.cases[number].counts[kind][index] for number, index in self.slices] for kind in (0, 1)])


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


def training_loader(samples: Samples, batches: TrainingBatches, workers: int, start_method: str | None = None) -> Any:
    """A loader of the batches.

    Args:
        samples: what to load.
        batches: in which order.
        workers: processes that load; 0 loads in this one.
        start_method: `fork`, `spawn` or `forkserver`; None for the platform's.
    """
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context=start_method if workers else None,
        worker_init_fn=_start,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each epoch would draw from the generator that dropout draws from
    )


def evaluation_loader(samples: Samples, batch_size: int, workers: int, cases: Sequence[int] | None = None) -> Any:
    """A loader of every sample once, in order, not augmented; a batch holds images of one size.

    The batches are the same whichever cases are wanted, so that their results are the same bit for bit; those that hold
    none of these cases are left out.

    Args:
        samples: what to load.
        batch_size: the largest batch.
        workers: processes that load; 0 loads in this one.
        cases: the numbers of the cases wanted, ascending, None for all.
    """
    batches: list[list[int]] = []
    for _, run in groupby(range(len(samples)), key=lambda index: samples.cases[samples.slices[index][0]].shape[1:]):
        equal = list(run)
        batches += [equal[start : start + batch_size] for start in range(0, len(equal), batch_size)]
    if cases is not None:
        wanted = set(cases)
        batches = [batch for batch in batches if any(samples.slices[index][0] in wanted for index in batch)]
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        worker_init_fn=_start,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def end_workers(loader: Any) -> None:
    """End the processes of a training loader at once, in the middle of an epoch too; its next epoch starts new ones.

    Python would end them otherwise when it comes across the loader, or waits for them when it exits.
    """
    epoch, loader._iterator = loader._iterator, None
    if epoch is not None:  # no public name for it: torch ends them when the last reference goes
        epoch._shutdown_workers()


def unwrap_worker_errors(loader: Iterable[Sample]) -> Iterator[Sample]:
    """The batches of a loader; what a loader process has to say of the data comes as its one line.

    Raises:
        DataError: a sample cannot be read; a loader process was killed.
    """
    try:
        yield from loader
    except DataError as error:
        raise DataError(str(error).rstrip().rpartition("DataError: ")[2]) from error
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(
            f"{reason}: out of memory, or of shared memory (/dev/shm)? Lower data.workers; run the same command to "
            "resume from the last checkpoint"
        ) from error


def _start(worker: int) -> None:  # noqa: ARG001
    """One thread a process; SIGTERM to the whole job is for the training process to answer, which needs its loaders."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGTERM, lambda *_: _leave_in(GRACE_SECONDS))


def _leave_in(seconds: float) -> None:
    """End this process later: a SIGTERM may also be the last word of a training process that waits for its end."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()


def _seed(draw: Draw) -> int:
    return int(np.random.SeedSequence([draw.seed, draw.epoch, draw.position]).generate_state(1)[0])


def normalised(image: NDArray[Any], mean: Sequence[float], deviation: Sequence[float]) -> NDArray[np.float32]:
    """`(H, W, C)` to float32 `(C, H, W)`, shifted by the mean and divided by the deviation, one number a channel.

    Several slices stacked in C share the numbers of their channels.
    """
    scale = 1 / 255 if image.dtype == np.uint8 else 1.0
    planes = np.moveaxis(image.reshape(*image.shape[:2], -1), -1, 0)
    repeats = len(planes) // len(mean)
    divisor = np.tile(np.asarray(deviation, dtype=np.float32), repeats)
    factor, shift = np.float32(scale) / divisor, np.tile(np.asarray(mean, dtype=np.float32), repeats) / divisor
    return np.ascontiguousarray(planes * factor[:, None, None] - shift[:, None, None], dtype=np.float32)


def centre(sample: Sample, window: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """Image `(C, h, w)` and mask `(h, w)` of a sample: the centre, not larger than the window; None for all of it."""
    image, mask = sample["image"], sample["mask"]
    for axis, most in zip((-2, -1), window or mask.shape, strict=True):
        size = min(most, mask.shape[axis])
        start = (mask.shape[axis] - size) // 2
        image, mask = image.narrow(axis, start, size), mask.narrow(axis, start, size)
    return image, mask
