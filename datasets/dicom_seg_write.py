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
MAKER = "segloss"
LESIONS = ("cancer", "carcinoma", "lesion", "metastasis", "neoplasm", "tumor", "tumour")


def write_seg(
    labels: NDArray[Any], series: Series, segments: Mapping[int, str], path: Path, anonymous: bool = False
) -> None:
    """Write a SEG: binary, or a label map where segment numbers do not count from 1.

    Every slice is in it, also empty ones, so that its grid is the scan's.

    Args:
        labels: `(slices, rows, columns)` segment numbers on the grid of the series, 0 where there is none.
        series: what was segmented; patient and study are copied from its files.
        segments: the name of each number; SNOMED CT has a code for many organs, others are coded as tissue.
        path: the file to write.
        anonymous: leave the name, ID, birth date and sex of the patient, the names of physicians and the numbers of
            the visit empty.

    Raises:
        DataError: a series that no SEG can refer to, such as a plain multi-frame without geometry; the disk is full.
    """
    import highdicom  # takes time to import, and is for writing alone

    if not series.placed:
        raise DataError(
            f"{series.frames[0].path}: no geometry for a DICOM SEG to refer to; write masks with --format nii.gz"
        )
    sources = [_in_space(load(file, pixels=False).dataset, series) for file in series.files]
    binary = sorted(segments) == list(range(1, len(segments) + 1))
    kinds = highdicom.seg.SegmentationTypeValues
    whole, complete = _in_file_order(labels, series, sources)
    try:
        made = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=whole.astype(np.uint8 if max(segments) < 256 else np.uint16),
            segmentation_type=kinds.BINARY if binary else kinds.LABELMAP,
            segment_descriptions=[_description(number, name) for number, name in sorted(segments.items())],
            series_instance_uid=highdicom.UID(),
            series_number=100,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=version(MAKER),
            device_serial_number="0",
            content_label="SEGMENTATION",
            omit_empty_frames=not complete,
        )
    except (*BROKEN, MemoryError) as error:
        told = " ".join(str(error).split())[:200]
        raise DataError(
            f"{series.frames[0].path}: highdicom writes no SEG for it ({told}); write the masks with --format nii.gz"
        ) from error
    made.SeriesDescription = "Segmentation"
    if anonymous:
        for key in IDENTITY:
            setattr(made, key, "")
    content = BytesIO()
    made.save_as(content, enforce_file_format=True)
    write_atomically(path, content.getvalue())


def _in_space(source: Dataset, series: Series) -> Dataset:
    """A header with the positions of an ultrasound volume as those of a patient: a SEG has no others."""
    groups = source.get("PerFrameFunctionalGroupsSequence") or []
    if "FrameOfReferenceUID" not in source and series.frames[0].space:
        source.FrameOfReferenceUID = series.frames[0].space
    shared = source.get("SharedFunctionalGroupsSequence") or [Dataset()]
    if groups and not any("PlaneOrientationSequence" in item for item in (groups[0], shared[0])):
        orientation = Dataset()
        orientation.ImageOrientationPatient = list(series.frames[0].axes or ())
        shared[0].PlaneOrientationSequence = [orientation]
    for frame in series.frames:
        if groups and not any("PlanePositionSequence" in item for item in (groups[frame.index], shared[0])):
            position = Dataset()
            position.ImagePositionPatient = list(frame.position or ())
            groups[frame.index].PlanePositionSequence = [position]
    return source


def _in_file_order(labels: NDArray[Any], series: Series, sources: list[Dataset]) -> tuple[NDArray[Any], bool]:
    """The labels as highdicom wants them, a frame for each of the sources' frames; and whether all have labels."""
    if len(sources) > 1:
        if len(sources) < len(series.frames):
            raise DataError(
                f"{series.frames[0].path}: a series of several multi-frame files, to which highdicom writes no SEG; "
                "write the masks with --format nii.gz"
            )
        return labels, True
    count = int(sources[0].get("NumberOfFrames", 1) or 1)
    whole = np.zeros((count, *labels.shape[1:]), labels.dtype)
    whole[[frame.index for frame in series.frames]] = labels
    return whole, count == len(series.frames)


def _description(number: int, name: str) -> Any:
    import highdicom

    category, kind = codes_of(name)
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=MAKER, family=codes.DCM.ArtificialIntelligence, version=version(MAKER)
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
    )


def codes_of(name: str) -> tuple[Code, Code]:
    """Category and type of a class by SNOMED CT: an anatomical structure of this name, a neoplasm, or tissue."""
    words = name.replace("_", " ").replace("-", " ").split()
    if any(word.lower() in LESIONS for word in words):
        return codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Neoplasm
    keyword = "".join(word.capitalize() for word in words)
    kind = getattr(codes.SCT, keyword, None) if keyword else None
    return (codes.SCT.AnatomicalStructure, kind) if kind is not None else (codes.SCT.Tissue, codes.SCT.Tissue)
