"""The headers of DICOM files, each read once: what listing, choosing a series and finding its SEG ask of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import uid

from .dicom_file import HEADLESS, Elements, load
from .dicom_frames import Frame, frames_of
from .errors import DataError
from .formats import DICOM, MARK, MARK_AT, is_dicom
from .walk import below

SEGMENTATIONS = (uid.SegmentationStorage, uid.UID("1.2.840.10008.5.1.4.1.1.66.7"))
"""Segmentation Storage and Label Map Segmentation Storage."""
MAKER = "segloss"
"""The manufacturer of the SEG that this program writes."""
MOST_FRAMES = 20_000
"""That an index remembers, of whatever files."""


@dataclass(frozen=True)
class Header:
    """What is kept of the header of a file.

    Attributes:
        path: the file.
        is_segmentation: whether it is a SEG.
        is_prediction: whether it is a SEG that this program has predicted.
        is_image: whether it is an image: no segmentation, report, plan or directory.
        count: the frames of an image by its NumberOfFrames.
        refers: the SeriesInstanceUIDs that a SEG refers to.
        space: its FrameOfReferenceUID, "" where it has none.
        found: the frames of an image, or why they cannot be read.
    """

    path: Path
    is_segmentation: bool
    is_prediction: bool
    is_image: bool
    count: int
    refers: frozenset[str]
    space: str
    found: tuple[Frame, ...] | DataError

    @classmethod
    def of(cls, elements: Elements) -> Header:
        """Of a data set without its pixels; a `DataError` where it does not say what it is."""
        is_segmentation = elements.text("SOPClassUID") in SEGMENTATIONS
        is_prediction = is_segmentation and elements.text("Manufacturer") == MAKER
        if is_prediction:
            kinds = {item.text("SegmentAlgorithmType") for item in elements.items("SegmentSequence")}
            is_prediction = "AUTOMATIC" in kinds
        is_image = not is_segmentation and elements.value("Rows") is not None
        referred = elements.items("ReferencedSeriesSequence") if is_segmentation else []
        refers = frozenset({item.text("SeriesInstanceUID") for item in referred} - {""})
        count = (elements.whole("NumberOfFrames", 1) or 1) if is_image else 1
        try:
            frames: tuple[Frame, ...] | DataError = tuple(frames_of(elements)) if is_image else ()
        except DataError as error:
            frames = error  # to be raised by who needs them, not by a listing
        space = elements.text("FrameOfReferenceUID")
        return cls(elements.path, is_segmentation, is_prediction, is_image, count, refers, space, frames)

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames of an image; a `DataError` where they cannot be read."""
        if isinstance(self.found, DataError):
            raise DataError(str(self.found))
        return self.found


class Index:
    """Reads the header of a file when it is first asked for, and again where the file has changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], Header] = {}
        self._frames = 0

    def header(self, path: Path) -> Header:
        """The header of a DICOM file; a `DataError` where it cannot be read."""
        try:
            stat = path.stat()
        except OSError as error:
            raise DataError(f"{path}: cannot be opened ({error.strerror or error})") from error
        key = path, stat.st_size, stat.st_mtime_ns
        known = self._known.get(key)
        if known is None:
            known = Header.of(load(path, pixels=False))
            if self._frames > MOST_FRAMES:
                self._known.clear()
                self._frames = 0
            self._known[key] = known
            self._frames += known.count
        return known

    def headers(self, path: Path) -> Iterator[Header]:
        """The headers of the DICOM files of a file or folder.

        What is no DICOM is passed over, if it does not say that it is.

        Raises:
            DataError: a damaged file, a link to nothing.
        """
        if not path.is_dir():
            yield self.header(path)
            return
        for file in below(path):
            try:
                with file.open("rb") as opened:
                    begins = opened.read(MARK_AT + len(MARK))
            except OSError as error:
                raise DataError(f"{file}: cannot be opened ({error.strerror or error}); is a slice lost?") from error
            if begins[MARK_AT:] == MARK:
                yield self.header(file)
            elif file.suffix.lower() in DICOM or begins.startswith(HEADLESS):
                raise DataError(
                    f"{file}: no mark of DICOM in it; cut short or of another kind, so replace or remove it"
                )

    def is_image(self, path: Path) -> bool:
        """Whether a file is a DICOM image; a `DataError` where it is DICOM and damaged."""
        return not path.name.startswith(".") and is_dicom(path) and self.header(path).is_image

    def is_segmentation(self, path: Path) -> bool:
        """Whether a file is a DICOM segmentation; a `DataError` where it is DICOM and damaged."""
        return is_dicom(path) and self.header(path).is_segmentation

    def is_prediction(self, path: Path) -> bool:
        """Whether a file is a SEG that this program has predicted; a `DataError` where it is DICOM and damaged."""
        return is_dicom(path) and self.header(path).is_prediction
