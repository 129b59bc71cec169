"""A case: one scan or one still image, before and after decoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .geometry import Geometry

if TYPE_CHECKING:
    from .dicom_rule import Choice
    from .dicom_series import Series
    from .listing import Listing

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
Kind = Literal["volume", "still", "label"]
"""What a case is: a volume of slices, a picture with a mask, or a picture with one label."""
IGNORE = 255
"""The label of pixels that do not count, in every decoded mask."""
MOST_CLASSES = 2**15
"""Of pictures with one label; masks have 255 at most."""


def ignored_label(classes: int) -> int:
    """The label that does not count, of so many classes: `IGNORE`, or −1 where 255 is one of them."""
    return IGNORE if classes <= IGNORE else -1


def label_dtype(classes: int) -> np.dtype[Any]:
    """What holds the labels of so many classes, and the one that does not count."""
    return np.dtype(np.uint8 if classes <= IGNORE else np.int16)


class Drawn(NamedTuple):
    """A file of a mask.

    Attributes:
        path: the file, or a folder with a file a slice.
        label: the class that its foreground is; None where its values say.
    """

    path: Path
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Where a case lies and what it belongs to.

    Attributes:
        id: its name, unique in the data set.
        group: what must not be split over training and test: a patient, a video sequence, a city.
        image: the file or folder of the image.
        mask: the file or folder of the mask, the first where there are several.
        part: the part the data set's own split puts it in, if it has one.
        drawn: the files of the mask where there are several, or one for each class; otherwise empty.
        valid: the file that is not 0 where pixels count, if there is one.
        label: the index of its class, where a picture has one label in place of a mask; `mask` is then `image`.
        labelled: the names of the classes that it was labelled for, where those are not all: others are part of what
            its mask leaves as background.
    """

    id: str
    group: str
    image: Path
    mask: Path
    part: Part | None = None
    drawn: tuple[Drawn, ...] = ()
    valid: Path | None = None
    label: int | None = None
    labelled: frozenset[str] | None = None

    @property
    def masks(self) -> tuple[Drawn, ...]:
        """Every file of the mask."""
        return self.drawn or (Drawn(self.mask),)

    @property
    def references(self) -> list[Path]:
        """What says what is right: every file of the mask, and the one that says where pixels count."""
        return [*(drawn.path for drawn in self.masks), *([] if self.valid is None else [self.valid])]


@dataclass(frozen=True)
class Pixels:
    """The pixels of an image, a volume in the orientation that its adapter cuts slices in.

    Attributes:
        array: `(slices, rows, columns, channels)`, uint8, uint16 or float32; a still has one slice.
        geometry: where the voxels of a volume lie; None for a still.
        source: the grid of the file that a volume comes from; None for a still.
        series: the frames of the DICOM files that a volume comes from, of several channels the first's; None for other
            files.
        choices: what a rule has chosen among series of DICOM, one a channel; empty where there was no choice.
    """

    array: NDArray[Any]
    geometry: Geometry | None = None
    source: Geometry | None = None
    series: Series | None = None
    choices: tuple[Choice, ...] = ()


class Remark(NamedTuple):
    """Something that one should know of a case, though it is no error.

    Attributes:
        what: it is, in words that are the same for all cases of its kind, as "image(s) lose all of lesion".
        remedy: what changes it, such as a key.
    """

    what: str
    remedy: str


@dataclass(frozen=True)
class Decoded:
    """An image with its mask, both on the image's own grid, or with its one label.

    Attributes:
        image: the image.
        mask: `(slices, rows, columns)` uint8 class indices, 255 where ignored; `(1, 1, 1)` of a picture with one label.
        remarks: what the files say that one should know.
        palette: the colour of each value of the mask, `#rrggbb`, where its file has a palette of colours.
    """

    image: Pixels
    mask: NDArray[np.uint8]
    remarks: tuple[Remark, ...] = ()
    palette: Mapping[int, str] = field(default_factory=dict)

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Millimetres between slices, rows and columns of a volume; None for a still."""
        return None if self.image.geometry is None else self.image.geometry.spacing

    @property
    def voxel_ml(self) -> float | None:
        """Millilitres of a voxel, on a sheared grid less than the product of its sides; None for a still."""
        return None if self.image.geometry is None else self.image.geometry.voxel_ml


class Labelling(Protocol):
    """From class indices back to what a mask file holds."""

    def values_of(self, indices: NDArray[Any]) -> NDArray[Any]:
        """The first mask value, or RGB colour, of each class."""


class Adapter(Protocol):
    """What a data set is to the rest of the package. Its constructor touches no file.

    Attributes:
        kind: whether a case is a volume (scored by case), a still (scored by data set) or a picture with one label.
        normalise: the name of its default normalisation, a key of `datasets.normalise.NORMALISATIONS`.
        reads: the files that its images are, in words, for messages.
    """

    kind: Kind
    normalise: str
    reads: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their indices; a `DataError` where a file cannot say."""

    @property
    def background(self) -> str | None:
        """The class that is usually left out of means, or None."""

    @property
    def channels(self) -> int:
        """The channels of an image; a `DataError` where a file cannot say."""

    @property
    def labels(self) -> Labelling:
        """What the values of a mask mean."""

    def resolved(self) -> dict[str, Any]:
        """What a file of the data set, such as a `dataset.json`, says in place of the configuration; empty for most.

        Keys of the YAML section `data`, and values that YAML can hold. An adapter that is built with them set has the
        same classes and channels without that file: write them into the configuration of a run when it begins, and the
        run can be used wherever its images are.

        Raises:
            DataError: the file is missing, damaged or does not say it.
        """

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the cases in a fixed order.

        Args:
            listing: which of them, and what becomes of problems; None for all, the first problem being raised.

        Raises:
            DataError: files are missing or do not belong together.
        """

    def sources(self, case: Case) -> list[Path]:
        """The files that a case's pixels come from; a `DataError` where one is missing."""

    def patient(self, case: Case) -> str | None:
        """What is equal for cases of one patient and tells nothing about him; None where no file says whose it is."""

    def is_image(self, path: Path) -> bool:
        """Whether a path is an image of this kind of data: no mask, and no further channel of another.

        Files by their name; DICOM by what it holds, of which a folder may be one image.
        """

    def is_foreign_image(self, path: Path) -> bool:
        """Whether a path is an image in another format that `read_image` takes too.

        Asked where none of the data set's own format is found.
        """

    def output_name(self, image: Path, relative: str) -> tuple[str, str]:
        """What the files made of an image are called, without suffix, and the suffix of the image's format.

        Args:
            image: the image, as `is_image` takes it.
            relative: its path below the folder that was looked through, or its name; the name keeps its sub-folders.
        """

    def read_image(self, path: Path) -> Pixels:
        """Decode an image alone, with its further channels; a `DataError` where it is unreadable."""

    def read(self, case: Case) -> Decoded:
        """Decode a case; a `DataError` for an unreadable file, sizes that differ, a foreign label."""
