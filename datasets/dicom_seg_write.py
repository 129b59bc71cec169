"""Masks written as DICOM SEG, by highdicom, with references to the series that they were drawn on."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from .dicom_file import BROKEN, load
from .dicom_index import MAKER
from .dicom_series import Series
from .errors import DataError
from .files import write_atomically

IDENTITY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)
"""Of the patient and the visit, as the standard wants them in every file of a study; empty is allowed."""
WHEN = ("StudyDate", "StudyTime")
NEEDED = ("SOPClassUID", "SOPInstanceUID", "Modality", "SpecificCharacterSet", *WHEN)
"""Of the elements that identify (group 8), what a reference and a study cannot do without."""
IMAGE_GROUPS = (0x0018, 0x0020, 0x0028, 0x5200)
"""Of the acquisition, of places, of pixels and of frames."""
CATEGORIES = {
    "cid7192": codes.SCT.AnatomicalStructure,
    "cid7191": codes.SCT.Tissue,
    "cid7159": codes.SCT.MorphologicallyAbnormalStructure,
    "cid7193": codes.SCT.PhysicalObject,
    "cid7197": codes.SCT.BodySubstance,
}
"""The standard's lists of what a segment may be, and the category of what stands in them."""
LESIONS = ("cancer", "carcinoma", "lesion", "metastasis", "neoplasm", "tumor", "tumour")


def write_seg(
    labels: NDArray[Any],
    series: Series,
    segments: Mapping[int, str],
    path: Path,
    anonymous: bool = False,
    is_reference: bool = False,
) -> None:
    """Write a SEG: binary, or a label map where segment numbers do not count from 1.

    Every slice is in it, also empty ones, so that its grid is the scan's.

    Args:
        labels: `(slices, rows, columns)` segment numbers on the grid of the series; others are background.
        series: what was segmented; patient and study are copied from its files, empty where they do not say.
        segments: the name of each number; SNOMED CT has a code for many organs, others are coded as tissue.
        path: the file to write.
        anonymous: leave the name, ID, birth date and sex of the patient and the numbers of the visit empty, and the
            rest of patient and visit out but for the date.
        is_reference: no prediction; the file says which of the two it is.

    Raises:
        DataError: a series that no SEG can refer to, such as a plain multi-frame without geometry; the disk is full.
    """
    import highdicom  # takes time to import, and is for writing alone

    if not series.placed:
        raise DataError(
            f"{series.frames[0].path}: no geometry for a DICOM SEG to refer to; write masks with --format nii.gz"
        )
    if 1 < len(series.files) < len(series.frames):
        raise DataError(
            f"{series.frames[0].path}: a series of several multi-frame files, to which highdicom writes no SEG; "
            "write the masks with --format nii.gz"
        )
    binary = sorted(segments) == list(range(1, len(segments) + 1))
    kinds = highdicom.seg.SegmentationTypeValues
    known = np.where(np.isin(labels, [*segments]), labels, 0)
    content = BytesIO()
    try:
        made = highdicom.seg.Segmentation(
            source_images=[_source(load(file, pixels=False).dataset, series, anonymous) for file in series.files],
            pixel_array=known.astype(np.uint8 if max(segments) < 256 else np.uint16),
            segmentation_type=kinds.BINARY if binary else kinds.LABELMAP,
            segment_descriptions=[
                _description(number, name, is_reference) for number, name in sorted(segments.items())
            ],
            series_instance_uid=highdicom.UID(),
            series_number=100,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=version(MAKER),
            device_serial_number="0",
            content_label="SEGMENTATION",
            omit_empty_frames=False,
        )
        made.SeriesDescription = "Segmentation"
        if len(series.files) == 1:
            _refer_to_frames(made, series)
        made.save_as(content, enforce_file_format=True)
    except DataError:
        raise
    except (*BROKEN, MemoryError) as error:
        detail = " ".join(str(error).split())[:200]
        raise DataError(
            f"{series.frames[0].path}: highdicom writes no SEG for it ({detail}); write the masks with --format nii.gz"
        ) from error
    write_atomically(path, content.getvalue())


def _source(source: Dataset, series: Series, anonymous: bool) -> Dataset:
    """A header as highdicom wants it: in UTF-8, with all that a SEG needs, of the frames of the series alone."""
    source.decode()
    source.SpecificCharacterSet = "ISO_IR 192"
    if anonymous:
        for element in list(source):
            if element.tag.group not in IMAGE_GROUPS and element.keyword not in NEEDED:
                del source[element.tag]
    for key in (*IDENTITY, *WHEN):
        if key not in source or (anonymous and key in IDENTITY):
            setattr(source, key, "")
    if "PerFrameFunctionalGroupsSequence" in source:
        groups = list(source.PerFrameFunctionalGroupsSequence)
        source.PerFrameFunctionalGroupsSequence = [groups[frame.index] for frame in series.frames]
        source.NumberOfFrames = len(series.frames)
    elif not source.get("SliceThickness"):
        source.SliceThickness = series.geometry.spacing[0]
    return _in_space(source, series)


def _in_space(source: Dataset, series: Series) -> Dataset:
    """A header with the places of an ultrasound volume as those of a patient, and what frames share said once for all.

    A SEG has no others; scanners say it of each frame too.
    """
    groups = source.get("PerFrameFunctionalGroupsSequence") or []
    if "FrameOfReferenceUID" not in source and series.frames[0].space:
        source.FrameOfReferenceUID = series.frames[0].space
    shared = source.get("SharedFunctionalGroupsSequence") or [Dataset()]
    if groups:
        orientation = Dataset()
        orientation.ImageOrientationPatient = list(series.frames[0].axes or ())
        shared[0].PlaneOrientationSequence = [orientation]
        if "PixelMeasuresSequence" in groups[0]:
            shared[0].PixelMeasuresSequence = groups[0].PixelMeasuresSequence
        source.SharedFunctionalGroupsSequence = [shared[0]]
    for group, frame in zip(groups, series.frames, strict=bool(groups)):
        if not any("PlanePositionSequence" in item for item in (group, shared[0])):
            position = Dataset()
            position.ImagePositionPatient = list(frame.position or ())
            group.PlanePositionSequence = [position]
    return source


def _refer_to_frames(made: Dataset, series: Series) -> None:
    """Name the frames by their numbers in the file; highdicom saw those of the series alone."""
    groups = made.PerFrameFunctionalGroupsSequence
    derived = [item for group in groups for item in group.get("DerivationImageSequence") or []]
    sources = {id(source): source for item in derived for source in item.get("SourceImageSequence") or []}
    for source in sources.values():  # segments share them
        if "ReferencedFrameNumber" in source:
            source.ReferencedFrameNumber = series.frames[int(source.ReferencedFrameNumber) - 1].index + 1


def _description(number: int, name: str, is_reference: bool) -> Any:
    import highdicom

    category, kind = codes_of(name)
    types = highdicom.seg.SegmentAlgorithmTypeValues
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=MAKER, family=codes.DCM.ArtificialIntelligence, version=version(MAKER)
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name.replace("\\", "/")[:64],
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=types.MANUAL if is_reference else types.AUTOMATIC,
        algorithm_identification=None if is_reference else algorithm,
    )


def codes_of(name: str) -> tuple[Code, Code]:
    """Category and type of a class by SNOMED CT: what the standard lists by this name, a neoplasm, or tissue."""
    words = name.replace("_", " ").replace("-", " ").split()
    if any(word.lower() in LESIONS for word in words):
        return codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Neoplasm
    keyword = "".join(word.capitalize() for word in words)
    for listed, category in CATEGORIES.items():
        kind = getattr(getattr(codes, listed), keyword, None) if keyword else None
        if kind is not None:
            return category, kind
    return codes.SCT.Tissue, codes.SCT.Tissue
