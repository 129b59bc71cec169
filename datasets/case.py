"""A case: one scan or one still image, before and after decoding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
IGNORE = 255
"""The label of pixels that do not count, in every decoded mask."""


@dataclass(frozen=True)
class Case:
    """Where a case lies and what it belongs to.

    Attributes:
        id: its name, unique in the data set.
        group: what must not be split over training and test: a patient, a video sequence, a city.
        image: the file or folder of the image.
        mask: the file or folder of the mask.
        part: the part the data set's own split puts it in, if it has one.
    """

    id: str
    group: str
    image: Path
    mask: Path
    part: Part | None = None


@dataclass(frozen=True)
class Decoded:
    """The pixels of a case, on its own grid.

    Attributes:
        image: `(slices, rows, columns, channels)`, uint8 or float32; a still has one slice.
        mask: `(slices, rows, columns)` uint8 class indices, 255 where ignored.
    """

    image: NDArray[Any]
    mask: NDArray[np.uint8]


class Labelling(Protocol):
    """From class indices back to what a mask file holds."""

    def values_of(self, indices: NDArray[Any]) -> NDArray[Any]:
        """The first mask value, or RGB colour, of each class."""


class Adapter(Protocol):
    """What a data set is to the rest of the package. Its constructor touches no file.

    Attributes:
        classes: the names of the classes, in the order of their indices.
        background: the class that is usually left out of means, or None.
        channels: the channels of an image.
        volumetric: whether a case is a volume (scored by case) or a still (scored by data set).
        normalise: the name of its default normalisation, a key of `datasets.normalise.NORMALISATIONS`.
    """

    classes: tuple[str, ...]
    background: str | None
    channels: int
    volumetric: bool
    normalise: str

    @property
    def labels(self) -> Labelling:
        """What the values of a mask mean."""

    def cases(self) -> list[Case]:
        """List the cases in a fixed order; a `DataError` where files are missing or do not belong together."""

    def sources(self, case: Case) -> list[Path]:
        """The files that a case's pixels come from; a `DataError` where one is missing."""

    def read_image(self, path: Path) -> NDArray[Any]:
        """Decode an image alone, `(slices, rows, columns, channels)`; a `DataError` where it is unreadable."""

    def read(self, case: Case) -> Decoded:
        """Decode a case; a `DataError` for an unreadable file, sizes that differ, a foreign label."""
