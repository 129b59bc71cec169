"""The frames of a DICOM file, and what its header says of each: where it lies, what its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
from pydicom import uid

from .dicom_file import SIZES, Elements, transfer_syntax
from .dicom_plain import Plain
from .dicom_vendor import Mosaic, b_value, is_mosaic, mosaic
from .errors import DataError
from .pixels import MOST_OUT_OF_A_BYTE

Numbers = tuple[float, ...]
CENTIMETRES = 3
"""Of PhysicalUnitsXDirection of a region of ultrasound."""
MARKS = {
    "TemporalPositionIndex": "FrameContentSequence",
    "TemporalPositionIdentifier": "",
    "EffectiveEchoTime": "MREchoSequence",
    "EchoTime": "",
    "InversionTime": "",
    "DiffusionBValue": "MRDiffusionSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
    "TriggerTime": "",
    "FrameType": "MRImageFrameTypeSequence",
    "SequenceName": "",
    "AcquisitionNumber": "",
    "AcquisitionTime": "",
    "ImageType": "",
    "DiffusionDirectionality": "MRDiffusionSequence",
    "ComplexImageComponent": "MRImageFrameTypeSequence",
}
"""By what frames at one position may differ on purpose, and the functional group that says it."""
WEIGHT = "DiffusionBValue"
"""The mark that some makers write into elements of their own."""


@dataclass(frozen=True)
class Frame:
    """A frame of an image, or of a segmentation.

    Attributes:
        path: its file.
        index: in its file, from 0.
        instance: the file's SOPInstanceUID.
        series: its SeriesInstanceUID.
        described: modality and series description.
        space: its FrameOfReferenceUID, or that of its volume; "" where it has none.
        size: (rows, columns).
        position: the centre of its first pixel in LPS millimetres, None where the file does not say.
        axes: the directions in which columns and rows increase, 3 cosines each.
        pixel: millimetres between rows and between columns.
        apart: millimetres between slices as the header has it, the thickness of one that has a position; of use where
            positions do not tell.
        stack: its StackID.
        number: the file's InstanceNumber.
        marks: what tells it from others at its position.
        slope: of intensities over stored numbers, None where the file does not say.
        intercept: of the same line.
        segment: the segment of a SEG that it belongs to, 0 elsewhere.
        plain: where its file keeps pixels that need no decoder, None for others.
    """

    path: Path
    index: int
    instance: str
    series: str
    described: str
    space: str
    size: tuple[int, int]
    position: Numbers | None
    axes: Numbers | None
    pixel: Numbers | None
    apart: float | None
    stack: str
    number: int
    marks: tuple[str, ...]
    slope: float | None
    intercept: float | None
    segment: int
    plain: Plain | None = None

    @property
    def named(self) -> str:
        """The file, and the frame where it may be one of several."""
        return f"{self.path.name}" if self.index == 0 else f"frame {self.index + 1} of {self.path.name}"


def frames_of(elements: Elements) -> list[Frame]:
    """The frames of a file in its order.

    Raises:
        DataError: elements that cannot be read, fewer functional groups than frames.
    """
    count = elements.whole("NumberOfFrames", 1) or 1
    shared = elements.first("SharedFunctionalGroupsSequence")
    groups = elements.items("PerFrameFunctionalGroupsSequence")
    if groups and len(groups) != count:
        raise DataError(
            f"{elements.path}: {len(groups)} functional groups for {count} frames; cut short, so export it again"
        )
    _refuse_many(elements, count)
    plain, common = Plain.of(elements), _Common(elements, shared)
    if not groups:
        one = replace(_Place(common, None).frame(0), plain=plain)
        if is_mosaic(elements):
            return _tiles(one, mosaic(elements))
        return [one, *(replace(one, index=index) for index in range(1, count))]
    return [replace(_Place(common, own).frame(index), plain=plain) for index, own in enumerate(groups)]


def _tiles(picture: Frame, tiles: Mosaic) -> list[Frame]:
    """The slices of a MOSAIC as frames of its file."""
    apart = float(np.linalg.norm(tiles.step))
    places = [tuple((tiles.position + at * tiles.step).tolist()) for at in range(tiles.slices)]
    return [
        replace(picture, index=at, size=tiles.size, position=place, apart=apart, plain=None)
        for at, place in enumerate(places)
    ]


def _refuse_many(elements: Elements, count: int) -> None:
    """Raise a `DataError` for more frames than the file has room for: each would be listed before a pixel is read."""
    syntax = transfer_syntax(elements)
    bits = 64  # of the item around a compressed frame
    if not syntax.is_encapsulated:
        bits = max(1, prod(elements.whole(key, 1) for key in SIZES))
        bits = bits * 2 // 3 if elements.text("PhotometricInterpretation") == "YBR_FULL_422" else bits
    held = elements.path.stat().st_size
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        held *= MOST_OUT_OF_A_BYTE
    if count > 1 and count * bits > 8 * held:
        raise DataError(
            f"{elements.path}: NumberOfFrames = {count}, more than fit into its {held} bytes; cut short or damaged, so "
            "replace the file"
        )


class _Common:
    """What the shared functional groups say, or the file itself, looked up once for all frames."""

    def __init__(self, whole: Elements, shared: Elements) -> None:
        self.whole, self.shared = whole, shared
        self.size = whole.whole("Rows", 0), whole.whole("Columns", 0)
        self.single = whole.whole("NumberOfFrames", 1) <= 1
        self._groups: dict[str, Elements] = {}
        weight = b_value(whole)
        self.weight = "" if weight is None else str(weight)

    def group(self, sequence: str) -> Elements:
        """The shared functional group, or the file itself, whose elements have the same names."""
        if sequence not in self._groups:
            items = self.shared.items(sequence)
            self._groups[sequence] = items[0] if items else self.whole
        return self._groups[sequence]


class _Place:
    """What holds for a frame: said in its own functional groups, in the shared ones, or of the whole file."""

    def __init__(self, common: _Common, own: Elements | None) -> None:
        self.common, self.whole, self.own = common, common.whole, own

    def frame(self, index: int) -> Frame:
        whole = self.whole
        measures = self.group("PixelMeasuresSequence")
        values = self.group("PixelValueTransformationSequence")
        position = self.geometric("PlanePosition", "ImagePosition", 3)
        apart = measures.number("SpacingBetweenSlices")
        if not apart and self.common.single and position is not None:
            apart = measures.number("SliceThickness")
        return Frame(
            path=whole.path,
            index=index,
            instance=whole.text("SOPInstanceUID"),
            series=whole.text("SeriesInstanceUID"),
            described=f"{whole.text('Modality')} {whole.text('SeriesDescription')!r}",
            space=whole.text("FrameOfReferenceUID") or whole.text("VolumeFrameOfReferenceUID"),
            size=self.common.size,
            position=position,
            axes=self.geometric("PlaneOrientation", "ImageOrientation", 6),
            pixel=measures.numbers("PixelSpacing", 2) or self.ultrasound(),
            apart=abs(apart) if apart else None,
            stack=self.group("FrameContentSequence").text("StackID"),
            number=whole.whole("InstanceNumber", 0, least=-(2**31)),
            marks=tuple(self.mark(key, sequence) for key, sequence in MARKS.items()),
            slope=values.number("RescaleSlope"),
            intercept=values.number("RescaleIntercept"),
            segment=self.group("SegmentIdentificationSequence").whole("ReferencedSegmentNumber", 0),
        )

    def group(self, sequence: str) -> Elements:
        """The functional group: the frame's, the shared one, or the file itself, whose elements have the same names."""
        items = [] if self.own is None else self.own.items(sequence)
        return items[0] if items else self.common.group(sequence)

    def geometric(self, sequence: str, key: str, count: int) -> Numbers | None:
        """A position or orientation: in the patient's space, else in that of the volume that a probe sweeps."""
        for kind in ("Patient", "Volume"):
            found = self.group(f"{sequence}{'VolumeSequence' if kind == 'Volume' else 'Sequence'}")
            if found is self.whole and not self.common.single:
                continue
            numbers = found.numbers(f"{key}{kind}", count)
            if numbers is not None:
                return numbers
        return None

    def ultrasound(self) -> Numbers | None:
        """Millimetres between rows and columns by the regions of an ultrasound image, where they agree."""
        found = {
            (abs(down) * 10, abs(right) * 10)
            for region in self.whole.items("SequenceOfUltrasoundRegions")
            if region.whole("PhysicalUnitsXDirection", 0) == region.whole("PhysicalUnitsYDirection", 0) == CENTIMETRES
            if (down := region.number("PhysicalDeltaY")) and (right := region.number("PhysicalDeltaX"))
        }
        return found.pop() if len(found) == 1 else None

    def mark(self, key: str, sequence: str) -> str:
        holder = self.group(sequence) if sequence else self.whole
        text = holder.text(key)
        return f"{key} {self.common.weight if key == WEIGHT and not text else text}"
