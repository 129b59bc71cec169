"""Phantoms as DICOM: an Enhanced US Volume or a series of MR slices a patient, each with its mask as SEG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence

from .dicom_seg_write import write_seg
from .dicom_series import find_series

US_VOLUME = uid.UID("1.2.840.10008.5.1.4.1.1.6.2")
AXES = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
"""Columns to the patient's left, rows to the back."""
DATE, TIME = "20200101", "120000"


def write_us_volume(array: NDArray[np.uint8], mask: NDArray[Any], spacing: tuple[float, ...], folder: Path) -> None:
    """Write `volume.dcm`, an Enhanced US Volume, and `mask.dcm`, its SEG, into a folder that is named as the patient.

    Array and mask are `(slices, rows, columns)`, the mask 1 in the prostate; the spacing is of columns, rows, slices.
    """
    data = _study(folder.name, US_VOLUME, "US", "3D TRUS")
    data.VolumeFrameOfReferenceUID = _uid(folder.name, "volume")
    data.PatientFrameOfReferenceSource, data.UltrasoundAcquisitionGeometry = "TABLE", "APEX"
    data.AcquisitionDateTime, data.AcquisitionDuration = DATE + TIME, 1.0
    data.ImageType, data.VolumetricProperties = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "VOLUME"
    data.PositionMeasuringDeviceUsed, data.DimensionOrganizationType = "RIGID", "3D"
    organization = Dataset()
    organization.DimensionOrganizationUID = _uid(folder.name, "dimensions")
    data.DimensionOrganizationSequence = Sequence([organization])
    index = Dataset()
    index.DimensionOrganizationUID = organization.DimensionOrganizationUID
    index.DimensionIndexPointer, index.FunctionalGroupPointer = 0x00209301, 0x0020930E
    data.DimensionIndexSequence = Sequence([index])
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [spacing[1], spacing[0]], spacing[2]
    measures.SpacingBetweenSlices = spacing[2]
    orientation.ImageOrientationVolume = AXES
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationVolumeSequence = Sequence([measures]), Sequence([orientation])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for at in range(len(array)):
        content, position, frame = Dataset(), Dataset(), Dataset()
        content.DimensionIndexValues, content.StackID, content.InStackPositionNumber = [at + 1], "1", at + 1
        content.TemporalPositionIndex = 1
        position.ImagePositionVolume = [0.0, 0.0, at * spacing[2]]
        frame.FrameContentSequence, frame.PlanePositionVolumeSequence = Sequence([content]), Sequence([position])
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    _write(data, array, folder / "volume.dcm")
    series = find_series(folder / "volume.dcm", None, None, None)
    write_seg(mask, series, {1: "prostate"}, folder / "mask.dcm", is_reference=True)


def write_mr_series(array: NDArray[np.int16], mask: NDArray[Any], spacing: tuple[float, ...], folder: Path) -> None:
    """Write a series of MR slices, a file each, and `mask.dcm`, its SEG; arguments as `write_us_volume`.

    The files are numbered out of order and have no suffix, as scanners leave them.
    """
    order = np.random.default_rng(len(array)).permutation(len(array))
    for at, plane in enumerate(array):
        data = _study(folder.name, uid.MRImageStorage, "MR", "t2_tse_tra", f"{at}")
        data.ImageType, data.ScanningSequence, data.SequenceVariant = ["ORIGINAL", "PRIMARY"], "SE", "SK"
        data.ScanOptions, data.MRAcquisitionType, data.EchoTime, data.EchoTrainLength = "", "2D", 100.0, 15
        data.RepetitionTime = 4000.0
        data.ImagePositionPatient, data.ImageOrientationPatient = [0.0, 0.0, at * spacing[2]], AXES
        data.PixelSpacing, data.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        data.InstanceNumber = at + 1
        _write(data, plane, folder / f"IM{order[at]:04d}")
    series = find_series(folder, None, None, None)
    write_seg(mask, series, {1: "prostate"}, folder / "mask.dcm", is_reference=True)


def _study(patient: str, kind: uid.UID, modality: str, described: str, instance: str = "") -> FileDataset:
    """What every file of a patient says."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = uid.ExplicitVRLittleEndian, kind
    meta.MediaStorageSOPInstanceUID = _uid(patient, modality, "instance", instance)
    data = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = _uid(patient, "study"), _uid(patient, modality)
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = _uid(patient, modality, "space"), ""
    data.PatientName, data.PatientID = f"Phantom^{patient}", patient
    data.PatientBirthDate, data.PatientSex, data.PatientPosition = "19500101", "M", "HFS"
    data.StudyDate, data.StudyTime, data.SeriesDate, data.SeriesTime = DATE, TIME, DATE, TIME
    data.ContentDate, data.ContentTime = DATE, TIME
    data.AccessionNumber, data.ReferringPhysicianName, data.StudyID = "", "", "1"
    data.Modality, data.SeriesDescription, data.SeriesNumber, data.InstanceNumber = modality, described, 1, 1
    data.Manufacturer, data.ManufacturerModelName = "segloss", "phantom"
    data.DeviceSerialNumber, data.SoftwareVersions = "0", "1"
    return data


def _write(data: FileDataset, array: NDArray[Any], path: Path) -> None:
    data.set_pixel_data(array, "MONOCHROME2", 8 * array.itemsize, generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)


def _uid(*words: str) -> uid.UID:
    """The same for the same words."""
    return uid.generate_uid(entropy_srcs=[" ".join(words)])
