"""The headers of DICOM files, each read once: what listing, choosing a series and finding its SEG ask of them.

What was read can be kept in a file, for the next command: a line a header, only ever appended, of which the last of a
path counts. A line that a kill has cut is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import starmap
from pathlib import Path
from typing import Any

from pydicom import uid

from .dicom_file import HEADLESS, Elements, load
from .dicom_frames import Frame, frames_of
from .dicom_plain import Plain
from .errors import DataError
from .formats import DICOM, MARK, MARK_AT, is_dicom
from .walk import below

SEGMENTATIONS = (uid.SegmentationStorage, uid.UID("1.2.840.10008.5.1.4.1.1.66.7"))
"""Segmentation Storage and Label Map Segmentation Storage."""
MAKER = "segloss"
"""The manufacturer of the SEG that this program writes."""
MOST_FRAMES = 20_000
"""That an index remembers, of whatever files."""
KEPT = "dicom-headers-1.jsonl"
"""The file that headers are kept in; its number is raised when what is kept of one changes, such as `Frame.marks`."""
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


@dataclass(frozen=True)
class Header:
    """What is kept of the header of a file.

    Attributes:
        path: the file.
        is_segmentation: whether it is a SEG.
        is_prediction: whether it is a SEG that this program has predicted.
        is_structures: whether it holds contours (RTSTRUCT).
        is_image: whether it is an image: no segmentation, report, plan or directory.
        count: the frames of an image by its NumberOfFrames.
        refers: the SeriesInstanceUIDs that a SEG or contours refer to.
        space: its FrameOfReferenceUID, of contours that of their series; "" where it has none.
        said: the texts of elements that were asked for, of an enhanced object as its first frame has them.
        found: the frames of an image, or why they cannot be read.
    """

    path: Path
    is_segmentation: bool
    is_prediction: bool
    is_structures: bool
    is_image: bool
    count: int
    refers: frozenset[str]
    space: str
    said: Mapping[str, str]
    found: tuple[Frame, ...] | DataError

    @classmethod
    def of(cls, elements: Elements, keywords: Sequence[str] = ()) -> Header:
        """Of a data set without its pixels; a `DataError` where it does not say what it is."""
        is_segmentation = elements.text("SOPClassUID") in SEGMENTATIONS
        is_prediction = is_segmentation and elements.text("Manufacturer") == MAKER
        if is_prediction:
            kinds = {item.text("SegmentAlgorithmType") for item in elements.items("SegmentSequence")}
            is_prediction = "AUTOMATIC" in kinds
        is_structures = elements.text("SOPClassUID") == uid.RTStructureSetStorage
        is_image = not is_segmentation and elements.value("Rows") is not None
        spaces = elements.items("ReferencedFrameOfReferenceSequence") if is_structures else []
        referred = elements.items("ReferencedSeriesSequence") if is_segmentation else []
        for study in [study for space in spaces for study in space.items("RTReferencedStudySequence")]:
            referred += study.items("RTReferencedSeriesSequence")
        refers = frozenset({item.text("SeriesInstanceUID") for item in referred} - {""})
        count = (elements.whole("NumberOfFrames", 1) or 1) if is_image else 1
        try:
            frames: tuple[Frame, ...] | DataError = tuple(frames_of(elements)) if is_image else ()
        except DataError as error:
            frames = error  # to be raised by who needs them, not by a listing
        space = elements.text("FrameOfReferenceUID") or (spaces[0].text("FrameOfReferenceUID") if spaces else "")
        said = {keyword: _said(elements, keyword) for keyword in keywords}
        flags = is_segmentation, is_prediction, is_structures, is_image
        return cls(elements.path, *flags, count, refers, space, said, frames)

    @classmethod
    def restored(cls, path: Path, kept: Mapping[str, Any]) -> Header:
        """From what `kept` gave; raises what foreign values raise."""
        error, columns, count = kept["error"], kept["frames"], kept["listed"]
        found: tuple[Frame, ...] | DataError = DataError(error) if error is not None else ()
        if error is None and count:
            plain = None if kept["plain"] is None else Plain(*map(_tuples, kept["plain"]))
            own = {"path": [path] * count, "plain": [plain] * count}
            every = [own.get(field.name) or _repeated(columns[field.name], count) for field in fields(Frame)]
            found = tuple(starmap(Frame, zip(*every, strict=True)))
        flags = kept["is_segmentation"], kept["is_prediction"], kept["is_structures"], kept["is_image"]
        return cls(path, *flags, kept["count"], frozenset(kept["refers"]), kept["space"], kept["said"], found)

    @property
    def kept(self) -> dict[str, Any]:
        """What JSON holds of it: of the frames a column an attribute, of one entry where all have the same."""
        frames = () if isinstance(self.found, DataError) else self.found
        columns = {
            field.name: _once([getattr(frame, field.name) for frame in frames])
            for field in fields(Frame)
            if field.name not in _OWN
        }
        return {
            "is_segmentation": self.is_segmentation,
            "is_prediction": self.is_prediction,
            "is_structures": self.is_structures,
            "is_image": self.is_image,
            "count": self.count,
            "refers": sorted(self.refers),
            "space": self.space,
            "said": dict(self.said),
            "error": str(self.found) if isinstance(self.found, DataError) else None,
            "listed": len(frames),
            "frames": columns,
            "plain": frames[0].plain if frames else None,
        }

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames of an image; a `DataError` where they cannot be read."""
        if isinstance(self.found, DataError):
            raise DataError(str(self.found))
        return self.found


_OWN = ("path", "plain")
"""Of a frame, what its file says of all."""


def _said(elements: Elements, keyword: str) -> str:
    """The texts of an element of the file, or of the first functional group that has it."""
    found = elements.texts(keyword)
    for group in [] if found else [elements.first(key) for key in GROUPS]:
        for sequence in group.sequences():
            found = found or group.first(sequence).texts(keyword)
    return found


def _once(column: list[Any]) -> list[Any]:
    return column[:1] if all(value == column[0] for value in column) else column


def _repeated(column: list[Any], count: int) -> list[Any]:
    values = [_tuples(value) for value in column]
    return values * count if len(values) == 1 else values


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


class Index:
    """Reads the header of a file when it is first asked for, and again where the file has changed.

    Args:
        keywords: the elements whose texts are asked for; see `Header.said`.
        folder: where headers are kept for other indices; None to keep none. It is made when the first is.
    """

    def __init__(self, keywords: Sequence[str] = (), folder: Path | None = None) -> None:
        self.keywords, self.folder = tuple(keywords), folder
        self._known: dict[tuple[Path, int, int], Header] = {}
        self._frames = 0
        self._lines: dict[str, tuple[int, int, bytes]] | None = None

    def header(self, path: Path) -> Header:
        """The header of a DICOM file; a `DataError` where it cannot be read."""
        key = _stamped(path)
        return self._recalled(key) or self._parsed(key)

    def _recalled(self, key: tuple[Path, int, int]) -> Header | None:
        """The header of a file as it is, if it has been read before."""
        found = self._known.get(key)
        if found is None and self.folder is not None:
            path, size, time = key
            *stamp, content = self._kept().get(str(path.absolute()), (0, 0, b""))
            if stamp == [size, time]:
                with suppress(ValueError, TypeError, LookupError):  # a damaged line
                    kept = Header.restored(path, json.loads(content))
                    if {*self.keywords} <= kept.said.keys():
                        found = kept
                        self._remember(key, found)
        return found

    def _parsed(self, key: tuple[Path, int, int]) -> Header:
        path, size, time = key
        found = Header.of(load(path, pixels=False), self.keywords)
        self._remember(key, found)
        if self.folder is not None:
            entry = json.dumps([str(path.absolute()), size, time]), json.dumps(found.kept)
            with suppress(OSError):  # of a folder that cannot be written: they are read again next time
                self.folder.mkdir(parents=True, exist_ok=True)
                with (self.folder / KEPT).open("ab") as file:
                    file.write(f"\n{entry[0]}\t{entry[1]}".encode())  # in front: a line that was cut stays alone
        return found

    def _remember(self, key: tuple[Path, int, int], header: Header) -> None:
        if self._frames > MOST_FRAMES:
            self._known.clear()
            self._frames = 0
        self._known[key] = header
        self._frames += header.count

    def _kept(self) -> Mapping[str, tuple[int, int, bytes]]:
        """Size, time and line of the headers that are kept, by path."""
        if self._lines is None:
            lines: dict[str, tuple[int, int, bytes]] = {}
            with suppress(OSError):
                assert self.folder is not None
                for line in (self.folder / KEPT).read_bytes().split(b"\n"):
                    entry, _, content = line.partition(b"\t")
                    with suppress(ValueError, TypeError):
                        path, size, time = json.loads(entry)
                        lines[str(path)] = size, time, content
            self._lines = lines
        return self._lines

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
            key = _stamped(file)
            if (known := self._recalled(key)) is not None:
                yield known
                continue
            try:
                with file.open("rb") as opened:
                    begins = opened.read(MARK_AT + len(MARK))
            except OSError as error:
                raise DataError(f"{file}: cannot be opened ({error.strerror or error}); is a slice lost?") from error
            if begins[MARK_AT:] == MARK:
                yield self._parsed(key)
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

    def is_structures(self, path: Path) -> bool:
        """Whether a file is a structure set (RTSTRUCT); a `DataError` where it is DICOM and damaged."""
        return is_dicom(path) and self.header(path).is_structures

    def is_prediction(self, path: Path) -> bool:
        """Whether a file is a SEG that this program has predicted; a `DataError` where it is DICOM and damaged."""
        return is_dicom(path) and self.header(path).is_prediction


def _stamped(path: Path) -> tuple[Path, int, int]:
    """A path, its size and its modification time."""
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror or error})") from error
    return path, stat.st_size, stat.st_mtime_ns
