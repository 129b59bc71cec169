"""What a device form of a transform is: albumentations' parameters, numbers for an epoch, tensors for a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..case import IGNORE

Numbers = NDArray[Any]

DRAWN_FIRST: Mapping[str, Any] = {
    "interpolation": 1,
    "mask_interpolation": 0,
    "border_mode": 0,
    "fill": 0,
    "fill_mask": IGNORE,
}
"""What a geometric form can do: images linearly, masks by the nearest pixel, black and ignored outside."""


class Form:
    """A transform of albumentations for whole batches.

    Args:
        transform: albumentations' object, whose parameters are checked and complete.

    Raises:
        ValueError: it has a parameter, at a value, that there is no form of; the message begins with the parameter.

    Attributes:
        draws: numbers in [0, 1) that it takes a sample, beside the one that says whether it is applied.
        only: parameters that must have one value.
    """

    draws: ClassVar[int] = 0
    only: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, transform: Any) -> None:
        self.transform = transform
        for key, value in self.only.items():
            if (given := getattr(transform, key, value)) != value:
                raise ValueError(f"{key}: {given!r} has no device form, {value!r} has")

    def applied(self, numbers: Numbers) -> NDArray[np.bool_]:
        """For which samples it is applied, `(N,)`, by their numbers in [0, 1)."""
        return np.asarray(numbers < self.transform.p)


class Placed(NamedTuple):
    """Where the pixels of the images that come out lie in those that go in.

    Attributes:
        image: `(N, 3, 3)` from column, row and 1 of a pixel that comes out to those of the place it is sampled at.
        mask: the same for masks, moved off the middle between two pixels where many places lie there.
        sizes: `(N, 2)` rows and columns that come out.
    """

    image: Numbers
    mask: Numbers
    sizes: NDArray[np.int64]


class Geometric(Form):
    """A form that moves pixels.

    Attributes:
        blends: at the border an image is mixed with what lies outside, as OpenCV warps; else its border is repeated up
            to half a pixel, as OpenCV resizes.
    """

    only = DRAWN_FIRST
    blends: ClassVar[bool] = False

    def placed(self, numbers: Numbers, sizes: NDArray[np.int64]) -> Placed:
        """For all samples of an epoch.

        Args:
            numbers: `(N, draws)` in [0, 1).
            sizes: `(N, 2)` rows and columns that go in.

        Raises:
            ValueError: it cannot be done at these sizes.
        """
        raise NotImplementedError


class Photometric(Form):
    """A form that changes values."""

    def parameters(self, numbers: Numbers, applied: NDArray[np.bool_]) -> Numbers:
        """`(N, P)` of all samples of an epoch; of those that it is not applied to such that nothing changes.

        Args:
            numbers: `(N, draws)` in [0, 1).
            applied: `(N,)`.
        """
        raise NotImplementedError

    def apply(self, images: Tensor, parameters: Tensor, normals: Callable[[int], Tensor]) -> Tensor:
        """A batch, changed.

        Args:
            images: `(n, C, H, W)` float32 in [0, 1].
            parameters: `(n, P)` of its samples.
            normals: gives so many numbers of the standard normal distribution for each of them, `(n, count)`.
        """
        raise NotImplementedError


def between(numbers: Numbers, limits: Sequence[float]) -> Numbers:
    """Numbers in [0, 1) on an interval."""
    return limits[0] + numbers * (limits[1] - limits[0])


def whole(numbers: Numbers, low: NDArray[np.int64] | int, high: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Numbers in [0, 1) as whole numbers from `low` to `high`, both included."""
    return low + np.floor(numbers * (high - low + 1)).astype(np.int64)


def matrices(**entries: Numbers | float) -> Numbers:
    """`(N, 3, 3)`: `ac` stands in row a and column c, x, y, 1 in order; what is not given is that of the identity.

    >>> matrices(x1=np.array([5.0]))[0, 0].tolist()
    [1.0, 0.0, 5.0]
    """
    count = max((np.size(entry) for entry in entries.values()), default=1)
    found = np.tile(np.eye(3), (count, 1, 1))
    for name, entry in entries.items():
        found[:, "xy1".index(name[0]), "xy1".index(name[1])] = entry
    return found
