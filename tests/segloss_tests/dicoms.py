"""DICOM files for tests, written by pydicom element by element."""

import struct

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

AXIAL, CORONAL, SAGITTAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)
MR, CT, US = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.3.1"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
US_VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"


def pixels(shape=(4, 6, 8), dtype=np.int16):
    return (np.arange(np.prod(shape)) * 37 % 251).reshape(shape).astype(dtype)


def dataset(plane, syntax=pydicom.uid.ExplicitVRLittleEndian, instance="1.2.3.4.1", series="1.2.3.4", **elements):
    """A file with some pixels, colours last; big endian where the syntax is."""
    plane = np.asarray(plane)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = syntax, instance
    big = syntax == pydicom.uid.ExplicitVRBigEndian
    data = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    data.set_original_encoding(syntax == pydicom.uid.ImplicitVRLittleEndian, not big)
    data.SOPClassUID, data.Modality = elements.pop("SOPClassUID", MR), "MR"
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.SOPInstanceUID, data.SeriesInstanceUID, data.StudyInstanceUID = instance, series, "1.2.3"
    data.FrameOfReferenceUID, data.SeriesDescription = "1.2.3.9", "t2 tra"
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "Doe^Jane", "4711", "19450607", "F"
    data.StudyDate, data.StudyTime, data.AccessionNumber, data.StudyID = "20200101", "120000", "A99", "S7"
    data.ReferringPhysicianName, data.SeriesNumber, data.InstanceNumber = "House^Greg", 3, 1
    data.SamplesPerPixel = 3 if plane.shape[-1] == 3 and plane.ndim > 2 else 1
    colours = data.SamplesPerPixel == 3
    data.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    if colours:
        data.PlanarConfiguration = 0
    data.Rows, data.Columns = plane.shape[-3:-1] if colours else plane.shape[-2:]
    if plane.ndim == 3 + colours:
        data.NumberOfFrames = len(plane)
    data.BitsAllocated = data.BitsStored = 8 * plane.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(plane.dtype.kind == "i")
    stored = plane.astype(plane.dtype.newbyteorder(">" if big else "<")).tobytes()
    if plane.dtype.kind == "f":
        for key in ("BitsStored", "HighBit", "PixelRepresentation"):
            delattr(data, key)
        setattr(data, "FloatPixelData" if plane.itemsize == 4 else "DoubleFloatPixelData", stored)
    else:
        data.PixelData = stored + b"\0" * (len(stored) % 2)
        data["PixelData"].VR = "OB" if plane.itemsize == 1 else "OW"
    for key, value in elements.items():
        setattr(data, key, value)
    return data


def save(data, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def place(at, axes=AXIAL, step=3.0, tilt=0.0, spacing=(0.7, 0.5)):
    """The elements that say where slice `at` lies: along the normal, shifted sideways by `tilt` each."""
    right, down = np.array(axes[:3], float), np.array(axes[3:], float)
    where = np.array([10.0, -20.0, 30.0]) + at * (step * np.cross(right, down) + tilt * down)
    return {
        "ImagePositionPatient": [float(f"{value:.6g}") for value in where],
        "ImageOrientationPatient": [*map(float, axes)],
        "PixelSpacing": [*spacing],
        "SliceThickness": abs(step),
    }


def write_series(folder, array=None, names=None, positions=None, series="1.2.3.4", number=None, **given):
    """A file a slice; `names` and `positions` say what each is called and where it lies."""
    array = pixels() if array is None else array
    tilted = {key: given.pop(key) for key in ("axes", "step", "tilt", "spacing") if key in given}
    for at, plane in enumerate(array):
        where = place(at if positions is None else positions[at], **tilted)
        name = f"{at:03d}.dcm" if names is None else names[at]
        data = dataset(plane, instance=f"{series}.{at + 1}", series=series, InstanceNumber=at + 1, **{**where, **given})
        save(data, folder / name)
    return array


def item(**elements):
    found = Dataset()
    for key, value in elements.items():
        setattr(found, key, value)
    return found


def enhanced(array, positions=None, stacks=None, axes=None, space="Patient", slopes=None, **elements):
    """An enhanced multi-frame object with shared and per-frame functional groups."""
    count = len(array)
    positions = range(count) if positions is None else positions
    data = dataset(array, SOPClassUID=US_VOLUME if space == "Volume" else ENHANCED_MR, **elements)
    shared = item(PixelMeasuresSequence=[item(PixelSpacing=[0.7, 0.5], SliceThickness=3.0)])
    middle = "Volume" if space == "Volume" else ""
    frames = []
    for at in range(count):
        where = place(positions[at], AXIAL if axes is None else axes[at])
        frame = item(FrameContentSequence=[item(StackID=stacks[at] if stacks else "1", InStackPositionNumber=at + 1)])
        position = item(**{f"ImagePosition{space}": where["ImagePositionPatient"]})
        turned = item(**{f"ImageOrientation{space}": where["ImageOrientationPatient"]})
        setattr(frame, f"PlanePosition{middle}Sequence", [position])
        setattr(frame if axes else shared, f"PlaneOrientation{middle}Sequence", [turned])
        if slopes:
            transform = item(RescaleSlope=slopes[at], RescaleIntercept=at, RescaleType="US")
            frame.PixelValueTransformationSequence = [transform]
        frames.append(frame)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], frames
    return data


def structures(rois, axes=AXIAL, series="1.2.3.4", space="1.2.3.9", kind="CLOSED_PLANAR"):
    """An RTSTRUCT of `{(number, name): [(slice, [(column, row), …]), …]}` on a series as `write_series` places it."""
    data = dataset(
        np.zeros((1, 1), np.uint8), instance="1.2.77", SOPClassUID=pydicom.uid.RTStructureSetStorage, series="1.2.78"
    )
    for key in ("PixelData", "Rows", "Columns", "BitsAllocated", "PhotometricInterpretation", "FrameOfReferenceUID"):
        delattr(data, key)
    data.Modality = "RTSTRUCT"
    study = item(RTReferencedSeriesSequence=[item(SeriesInstanceUID=series)])
    data.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=space, RTReferencedStudySequence=[study])]
    data.StructureSetROISequence = [item(ROINumber=number, ROIName=name) for number, name in rois]
    right, down = np.array(axes[:3], float), np.array(axes[3:], float)
    drawn = []
    for (number, _), contours in rois.items():
        made = []
        for at, corners in contours:
            first = np.array(place(at, axes)["ImagePositionPatient"])
            lps = [first + column * 0.5 * right + row * 0.7 * down for column, row in corners]
            numbers = [f"{value:.6g}" for value in np.ravel(lps)]
            made.append(item(ContourGeometricType=kind, NumberOfContourPoints=len(corners), ContourData=numbers))
        drawn.append(item(ReferencedROINumber=number, ContourSequence=made))
    data.ROIContourSequence = drawn
    return data


TILE, SPACING, STEP = (4, 6), (0.7, 0.5), 3.0
"""Of a MOSAIC: the size of a slice, the millimetres between rows and columns, and between slices."""


def mosaic(array, axes, backwards, **elements):
    """A MOSAIC of 5 slices in 3 x 3 tiles, which lie as `write_series` places them; `backwards` with the last first."""
    picture = np.zeros((3 * TILE[0], 3 * TILE[1]), array.dtype)
    for tile, plane in enumerate(array[::-1] if backwards else array):
        row, column = divmod(tile, 3)
        picture[row * TILE[0] : (row + 1) * TILE[0], column * TILE[1] : (column + 1) * TILE[1]] = plane
    right, down = np.array(axes[:3], float), np.array(axes[3:], float)
    first = np.array(place(len(array) - 1 if backwards else 0, axes, STEP)["ImagePositionPatient"])
    middle = first + right * SPACING[1] * TILE[1] / 2 + down * SPACING[0] * TILE[0] / 2
    corner = middle - right * SPACING[1] * picture.shape[1] / 2 - down * SPACING[0] * picture.shape[0] / 2
    data = dataset(
        picture,
        ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"],
        Manufacturer="SIEMENS",
        ImagePositionPatient=[float(f"{value:.9g}") for value in corner],
        ImageOrientationPatient=[*map(float, axes)],
        PixelSpacing=[*SPACING],
        SpacingBetweenSlices=STEP,
    )
    for key, value in elements.items():
        setattr(data, key, value)
    return data


def protocol(array, axes):
    """The part of Siemens' protocol that places the centres of slices; an axis that is 0 is left out."""
    lines = [f"sSliceArray.lSize = {len(array)}"]
    for at in range(len(array)):
        right, down = np.array(axes[:3], float), np.array(axes[3:], float)
        centre = np.array(place(at, axes, STEP)["ImagePositionPatient"])
        centre = centre + right * SPACING[1] * TILE[1] / 2 + down * SPACING[0] * TILE[0] / 2
        for axis, value in zip(("Sag", "Cor", "Tra"), centre, strict=True):
            lines += [f"sSliceArray.asSlice[{at}].sPosition.d{axis}\t = \t{value:.9g}"] if abs(value) > 1e-9 else []
    return "\n".join(["### ASCCONV BEGIN ###", *lines, "### ASCCONV END ###"]).encode()


def image_header(**tags):
    """Siemens' image header, CSA2, with some tags of text."""
    content = b"SV10\4\3\2\1" + struct.pack("<2I", len(tags), 77)
    for name, values in tags.items():
        items = [f"{value:.8f}".encode() + b"\0" for value in values]
        content += struct.pack("<64si4s3i", name.encode(), len(items), b"FD", 0, len(items), 77)
        for text in items:
            content += struct.pack("<4i", len(text), len(text), 77, 0) + text + b"\0" * (-len(text) % 4)
    return content


def fuzzed(kind):
    """A file that a reader must withstand: native, deflated, compressed, with a table, a SEG, a MOSAIC, contours."""
    array = pixels((3, 40, 36), np.uint8)
    if kind == "native":
        return enhanced(array.astype(np.int16), slopes=[1.0, 2.0, 3.0])
    if kind == "big":
        return enhanced(array.astype(np.uint16), syntax=pydicom.uid.ExplicitVRBigEndian)
    if kind == "implicit":
        return dataset(array[0], syntax=pydicom.uid.ImplicitVRLittleEndian, **place(0))
    if kind == "deflated":
        return enhanced(array, syntax=pydicom.uid.DeflatedExplicitVRLittleEndian, space="Volume")
    if kind == "jpeg":
        return pydicom.dcmread(get_testdata_file("SC_rgb_small_odd_jpeg.dcm"))
    if kind == "lut":
        table = item(LUTDescriptor=[256, 0, 16], LUTData=[*range(256)], ModalityLUTType="US")
        table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
        return dataset(array[0], ModalityLUTSequence=[table], **place(0))
    if kind == "seg":
        data = enhanced(array // 200, SegmentationType="LABELMAP")
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"
        return data
    if kind == "mosaic":
        data = mosaic(pixels((5, *TILE)), AXIAL, True)
        block = data.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x10, "OB", image_header(SliceNormalVector=[0, 0, -1], NumberOfImagesInMosaic=[5]))
        block.add_new(0x20, "OB", protocol(pixels((5, *TILE)), AXIAL))
        return data
    if kind == "contours":
        return structures(
            {(1, "gland"): [(1, [(2, 3), (8, 3), (8, 9)])], (2, "lesion"): [(2, [(1, 1), (5, 1), (3, 9)])]}
        )
    data = enhanced(array)
    syntax = {"rle": "RLELossless", "jls": "JPEGLSLossless", "j2k": "JPEG2000Lossless"}[kind]
    data.compress(getattr(pydicom.uid, syntax), generate_instance_uid=False)
    return data
