"""Samplers: which training images an epoch shows, and in which order.

An epoch shows as many images as there are, whatever the sampler. Its order follows from the generator it is given,
which is seeded with (seed, epoch). What an image holds is taken from its mask on the network's grid, before
augmentation; class counts and weights are not changed by a sampler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

if TYPE_CHECKING:
    from scipy import sparse

Order = Callable[[np.random.Generator], NDArray[np.int64]]
"""The sample numbers of an epoch, in order, by a generator."""


class Sampler(Protocol):
    """Makes the order of an epoch; its constructor checks ranges.

    Attributes:
        needs_background: whether the data set must have a class named background.
    """

    needs_background: bool

    def __call__(
        self, rng: np.random.Generator, pixels: sparse.csr_array, background: int | None, batch_size: int, /
    ) -> NDArray[np.int64]:
        """Sample numbers, as many as there are samples.

        Args:
            rng: the generator of the epoch.
            pixels: `(samples, classes)`, the pixels of each class in each sample, sparse.
            background: the index of the background, if there is one.
            batch_size: samples a batch.
        """


class Uniform:
    """Every image once an epoch, in random order."""

    needs_background = False

    def __call__(self, rng: np.random.Generator, pixels: sparse.csr_array, *_: Any) -> NDArray[np.int64]:
        """See `Sampler`."""
        return rng.permutation(pixels.shape[0])


class Foreground:
    """A share of each batch is drawn from the images that hold foreground, the rest from all images.

    Both are dealt like decks of cards: all of a deck is shown before it is shuffled again. The share is rounded up to
    whole images, so with batches of one every image holds foreground. A crop that comes later can still miss it.

    Args:
        share: of each batch, in (0, 1].

    Raises:
        ValueError: a share out of its range.
    """

    needs_background = True

    def __init__(self, share: float = 0.5) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], got {share}")
        self.share = share

    def __call__(
        self, rng: np.random.Generator, pixels: sparse.csr_array, background: int | None, batch_size: int
    ) -> NDArray[np.int64]:
        """See `Sampler`; a `DataError` where no sample holds foreground."""
        if background is None:
            raise DataError("data.sampler: foreground needs a class named background; use rare")
        count, classes = pixels.shape
        holds = (pixels > 0) @ (np.arange(classes) != background)
        if not holds.any():
            raise DataError("data.sampler: foreground, but no training image holds any; check the masks and data.split")
        with_foreground, all_of_them = _deck(rng, np.flatnonzero(holds)), _deck(rng, np.arange(count))
        order = []
        for start in range(0, count, batch_size):
            size = min(batch_size, count - start)
            forced = int(np.ceil(self.share * size - 1e-9))
            order += [next(with_foreground) for _ in range(forced)]
            order += [next(all_of_them) for _ in range(size - forced)]
        return np.array(order, dtype=np.int64)


class Rare:
    """Images are drawn by their rarest class: a weight of (samples / samples that hold the class) to a power.

    An image of weight w is shown n·w/Σw times an epoch of n images, rounded up or down at random so that the mean is
    exact (systematic resampling): images of common classes only are left out of some epochs.

    Args:
        power: 0 is uniform, 1 shows each image in proportion to the rarity of its rarest class, 0.5 in between.

    Raises:
        ValueError: a power that is negative or not finite.
    """

    needs_background = False

    def __init__(self, power: float = 1.0) -> None:
        if not 0 <= power < math.inf:
            raise ValueError(f"power must be ≥ 0, got {power}")
        self.power = power

    def weights(self, pixels: sparse.csr_array) -> NDArray[np.float64]:
        """One weight ≥ 1 a sample, `(samples,)`; 1 for a sample without any class."""
        holds = pixels > 0
        rarity = pixels.shape[0] / np.maximum(holds.sum(axis=0), 1)
        rarest = np.maximum(holds.multiply(rarity).max(axis=1).toarray(), 1.0)
        return np.asarray(rarest**self.power, dtype=np.float64)

    def __call__(self, rng: np.random.Generator, pixels: sparse.csr_array, *_: Any) -> NDArray[np.int64]:
        """See `Sampler`."""
        count = pixels.shape[0]
        samples = rng.permutation(count)
        weights = self.weights(pixels)[samples]
        edges = np.cumsum(weights) / weights.sum() * count
        edges[-1] = count
        drawn = samples[np.searchsorted(edges, np.arange(count) + rng.random(), side="right")]
        return rng.permutation(drawn)


SAMPLERS: dict[str, type[Sampler]] = {"uniform": Uniform, "foreground": Foreground, "rare": Rare}


def _deck(rng: np.random.Generator, cards: NDArray[np.int64]) -> Iterator[int]:
    """The cards in random order, shuffled again whenever all have been dealt."""
    while True:
        yield from rng.permutation(cards).tolist()
