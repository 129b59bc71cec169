"""DICOM read: encodings, colours, series in order, and everything that is refused by name."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.pixels import convert_color_space

from datasets import DataError, read_volume
from datasets.dicom_pixels import codestream_size
from segloss_tests.dicoms import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    US,
    dataset,
    enhanced,
    item,
    pixels,
    place,
    save,
    write_series,
)

SPACING = (2.0, 0.5, 0.5)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def shipped(name, **options):
    return read_volume(get_testdata_file(name, download=False), **options).array


def one(tmp_path, plane, **elements):
    save(dataset(plane, **{**place(0), **elements}), tmp_path / "one.dcm")
    return read_volume(tmp_path / "one.dcm").array[0]


# Encodings


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE", "MR_small_bigendian", "MR_small_implicit", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless",
     "MR_small_padded", "MR_small_expb"],
)  # fmt: skip
def test_one_slice_in_every_lossless_encoding(name):
    found = shipped(f"{name}.dcm")
    assert np.array_equal(found[0], pydicom.dcmread(get_testdata_file("MR_small.dcm")).pixel_array)
    assert found.dtype == np.int16


@pytest.mark.parametrize(
    "syntax",
    [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
     uid.DeflatedExplicitVRLittleEndian],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_native_numbers(tmp_path, syntax, dtype):
    array = pixels((2, 5, 7), dtype)
    array = array - 100 if array.dtype.kind in "if" and array.itemsize > 1 else array
    save(enhanced(array, syntax=syntax), tmp_path / "a")
    found = read_volume(tmp_path / "a").array
    assert np.array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_lossless_compression_of_several_frames(tmp_path, syntax, dtype):
    array = pixels((3, 40, 33), dtype)
    data = enhanced(array)
    data.compress(syntax, generate_instance_uid=False)
    save(data, tmp_path / "a.dcm")
    assert np.array_equal(read_volume(tmp_path / "a.dcm").array, array)


@pytest.mark.parametrize(
    ("name", "most"),
    [("JPEGLSNearLossless_08", 0), ("JPEGLSNearLossless_16", 0), ("JPEG2000", 0), ("image_dfl", 0), ("693_J2KI", 0)],
)
def test_shipped_files_as_pydicom_decodes_them(name, most):
    data = pydicom.dcmread(get_testdata_file(f"{name}.dcm"))
    expected = data.pixel_array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
    assert np.abs(shipped(f"{name}.dcm", spacing=SPACING)[0] - expected).max() <= most


def test_jpeg_lossless_without_its_plugin_names_the_extra():
    if "pylibjpeg" in uid_plugins(uid.JPEGLosslessSV1):
        pytest.skip("pylibjpeg-libjpeg is installed")
    for name in ("SC_rgb_jpeg_gdcm.dcm", "JPGExtended.dcm"):
        with pytest.raises(DataError, match=rf"{name}: compressed as JPEG .*segloss\[jpeg-lossless\].*GPLv3"):
            shipped(name, spacing=SPACING)


def uid_plugins(syntax):
    return pydicom.pixels.get_decoder(syntax).available_plugins


def test_gdcm_is_never_asked(monkeypatch):
    """Even where it is installed, as pydicom would then use it."""
    monkeypatch.setitem(sys.modules, "gdcm", None)
    for name in ("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm"):
        assert shipped(name).shape == (1, 64, 64)
    from datasets.dicom_pixels import PLUGINS

    assert all("gdcm" not in plugins for plugins in PLUGINS.values())


def test_video_is_refused(tmp_path):
    data = dataset(pixels((2, 8, 8), np.uint8))
    data.file_meta.TransferSyntaxUID, data.PixelData = uid.MPEG2MPML, pydicom.encaps.encapsulate([b"\0\0\1\xb3" * 9])
    save(data, tmp_path / "v.dcm")
    with pytest.raises(DataError, match=r"v\.dcm: transfer syntax MPEG2 .* is not read; convert"):
        read_volume(tmp_path / "v.dcm", spacing=SPACING)


# What numbers and colours mean


def test_12_bits_with_rubbish_above_them(tmp_path):
    values = np.array([[0, 1, 2047], [2048, 4095, 7]], np.uint16)
    rubbish = values | np.uint16(0xA000)
    twelve = {"BitsStored": 12, "HighBit": 11}
    assert np.array_equal(one(tmp_path, rubbish, **twelve), values)
    signed = one(tmp_path, rubbish.view(np.int16), **twelve)
    assert np.array_equal(signed, [[0, 1, 2047], [-2048, -1, 7]])
    with pytest.raises(DataError, match="BitsStored = 12, HighBit = 15"):
        one(tmp_path, values, BitsStored=12, HighBit=15)


def test_monochrome1_is_inverted_over_its_bits(tmp_path):
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    assert one(tmp_path, np.array([[0, 255, 3]], np.uint8), **inverted).tolist() == [[255, 0, 252]]
    twelve = {"BitsStored": 12, "HighBit": 11}
    assert one(tmp_path, np.array([[0, 4095, 3]], np.uint16), **inverted, **twelve).tolist() == [[4095, 0, 4092]]
    assert one(tmp_path, np.array([[-2048, 2047, 3]], np.int16), **inverted, **twelve).tolist() == [[2047, -2048, -4]]
    assert one(tmp_path, np.array([[0.5, -2]], np.float32), **inverted).tolist() == [[-0.5, 2]]
    in_units = one(tmp_path, np.array([[0, 1000]], np.uint16), **inverted, RescaleSlope="1", RescaleIntercept="-1024")
    assert in_units.tolist() == [[-1024, -24]]


def test_slope_and_intercept_of_a_file_and_of_each_frame(tmp_path):
    scaled = one(tmp_path, np.array([[0, 1000]], np.uint16), RescaleSlope="0.5", RescaleIntercept="-1024")
    assert (scaled.tolist(), scaled.dtype) == ([[-1024, -524]], np.float32)
    plain = one(tmp_path, np.array([[0, 1000]], np.uint16), RescaleSlope="1", RescaleIntercept="0")
    assert plain.dtype == np.uint16
    array = pixels((3, 4, 5), np.uint16)
    save(enhanced(array, slopes=[1.0, 2.0, 0.5]), tmp_path / "e.dcm")
    expected = np.stack([array[0], array[1] * 2.0 + 1, array[2] * 0.5 + 2])
    assert np.array_equal(read_volume(tmp_path / "e.dcm").array, expected)


def test_a_modality_lut(tmp_path):
    table = item(LUTDescriptor=[4, 2, 16], LUTData=[10, 200, 3000, 40000], ModalityLUTType="US")
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    found = one(tmp_path, np.array([[0, 2, 3, 4, 5, 9]], np.uint8), ModalityLUTSequence=[table])
    assert found.tolist() == [[10, 10, 200, 3000, 40000, 40000]]


def test_colours(tmp_path):
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8)
    assert one(tmp_path, colours).tolist() == [[76, 150, 29, 9]]
    rgb = read_volume(tmp_path / "one.dcm", colour="rgb").array
    assert np.array_equal(rgb[0], colours)
    by_plane = dataset(np.moveaxis(colours, -1, 0), **place(0))
    by_plane.SamplesPerPixel, by_plane.PhotometricInterpretation, by_plane.PlanarConfiguration = 3, "RGB", 1
    by_plane.Rows, by_plane.Columns = 1, 4
    del by_plane.NumberOfFrames
    save(by_plane, tmp_path / "planes.dcm")
    assert np.array_equal(read_volume(tmp_path / "planes.dcm", colour="rgb").array[0], colours)
    grey = one(tmp_path, np.array([[1, 2]], np.uint8))
    assert read_volume(tmp_path / "one.dcm", colour="rgb").array[0].tolist() == [[[1] * 3, [2] * 3]]
    assert grey.tolist() == [[1, 2]]


def test_ybr_comes_back_as_rgb(tmp_path):
    rgb = np.random.default_rng(0).integers(40, 200, (6, 8, 3)).astype(np.uint8)
    full = convert_color_space(rgb, "RGB", "YBR_FULL")
    save(dataset(full, **place(0), PhotometricInterpretation="YBR_FULL"), tmp_path / "full.dcm")
    found = read_volume(tmp_path / "full.dcm", colour="rgb").array[0]
    assert np.abs(found.astype(int) - rgb).max() <= 2
    halved = shipped("SC_ybr_full_422_uncompressed.dcm", colour="rgb", spacing=SPACING)[0]
    expected = shipped("SC_rgb_dcmtk_+eb+cr.dcm", colour="rgb", spacing=SPACING)[0]
    assert np.abs(halved[5:95:10, 5:95].astype(int) - expected[5:95:10, 5:95]).mean() < 3


@pytest.mark.parametrize(
    "name",
    ["SC_rgb_dcmtk_+eb+cy+np", "SC_rgb_dcmtk_+eb+cy+n1", "SC_rgb_dcmtk_+eb+cy+s2", "SC_rgb_jpeg_dcmtk", "SC_rgb_rle",
     "SC_rgb_jls_lossy_line", "SC_rgb_jls_lossy_sample", "SC_rgb_gdcm_KY", "SC_rgb_jpeg_lossy_gdcm"],
)  # fmt: skip
def test_one_picture_in_every_colour_encoding(name):
    """The test picture of stripes: red at the top, by all encodings, lossy ones within some grey levels."""
    found = shipped(f"{name}.dcm", colour="rgb", spacing=SPACING)[0]
    for row, colour in ((5, (255, 0, 0)), (25, (0, 255, 0)), (45, (0, 0, 255)), (75, (64, 64, 64))):
        assert np.abs(found[row, 50].astype(int) - colour).max() <= 12, (row, found[row, 50])


def test_ultrasound_that_pydicom_ships():
    frames = shipped("examples_ybr_color.dcm", colour="rgb", spacing=(1.0, None, None))
    assert frames.shape == (30, 240, 320, 3)
    assert np.array_equal(frames[3], pydicom.dcmread(get_testdata_file("examples_ybr_color.dcm")).pixel_array[3]) or (
        np.abs(frames[3].astype(int) - ybr_frame(3)).max() <= 2
    )
    assert shipped("examples_jpeg2k.dcm", colour="rgb", spacing=SPACING).shape == (1, 480, 640, 3)
    data = pydicom.dcmread(get_testdata_file("examples_palette.dcm"))
    expected = pydicom.pixels.apply_color_lut(data.pixel_array, data)
    assert np.array_equal(shipped("examples_palette.dcm", colour="rgb", spacing=SPACING)[0], expected)
    assert shipped("ExplVR_BigEnd.dcm", colour="rgb", spacing=SPACING).shape == (1, 60, 80, 3)


def ybr_frame(index):
    data = pydicom.dcmread(get_testdata_file("examples_ybr_color.dcm"))
    return pydicom.pixels.pixel_array(data, index=index).astype(int)


# Geometry and order


@pytest.mark.parametrize("axes", [AXIAL, CORONAL, SAGITTAL, (0.6, 0.8, 0, -0.8, 0.6, 0)])
def test_a_series_lies_where_its_positions_say(tmp_path, axes):
    array = write_series(tmp_path / "s", names=["c", "x.dcm", "a", "b.IMA"], axes=axes)
    volume = read_volume(tmp_path / "s")
    assert np.array_equal(volume.array, array)
    right, down = np.array(axes[:3]), np.array(axes[3:])
    for column, row, at in ((0, 0, 0), (7, 5, 3), (2, 1, 2)):
        lps = np.array([10, -20, 30]) + column * 0.5 * right + row * 0.7 * down + at * 3 * np.cross(right, down)
        ras = (volume.affine @ [column, row, at, 1])[:3]
        np.testing.assert_allclose(ras, lps * [-1, -1, 1], atol=1e-3)  # rows are 0.7 mm apart, columns 0.5


def test_shuffled_reversed_and_wrongly_numbered_files(tmp_path):
    array = write_series(tmp_path / "s", positions=[3, 2, 1, 0], names=["d", "b", "a", "c"], SliceThickness=99)
    volume = read_volume(tmp_path / "s")
    assert np.array_equal(volume.array, array[::-1])
    np.testing.assert_allclose(volume.geometry.spacing, (3, 0.7, 0.5))


def test_other_files_are_passed_over(tmp_path):
    array = write_series(tmp_path / "s")
    (tmp_path / "s/notes.txt").write_text("hello")
    (tmp_path / "s/.DS_Store").write_bytes(b"\0" * 200)
    (tmp_path / "s/LICENSE").write_text("")
    shutil.copy(get_testdata_file("DICOMDIR"), tmp_path / "s/DICOMDIR")
    shutil.copy(get_testdata_file("reportsi.dcm"), tmp_path / "s/report.dcm")
    shutil.copy(get_testdata_file("liver_1frame.dcm"), tmp_path / "s/seg.dcm")
    assert np.array_equal(read_volume(tmp_path / "s").array, array)
    (tmp_path / "s/004.dcm").write_bytes(b"")
    with pytest.raises(DataError, match=r"004\.dcm: no mark of DICOM"):
        read_volume(tmp_path / "s")


def test_links_are_followed_but_no_file_leads_out_of_its_folder(tmp_path):
    write_series(tmp_path / "s")
    write_series(tmp_path / "elsewhere", pixels()[:1], positions=[4])
    (tmp_path / "s/004.dcm").symlink_to(tmp_path / "elsewhere/000.dcm")
    assert len(read_volume(tmp_path / "s").array) == 5
    (tmp_path / "s/004.dcm").unlink()
    (tmp_path / "s/more").symlink_to(tmp_path / "elsewhere")
    assert len(read_volume(tmp_path / "s").array) == 5
    (tmp_path / "s/more").unlink()
    (tmp_path / "s/004.dcm").symlink_to(tmp_path / "annex/gone.dcm")
    with pytest.raises(DataError, match=r"004\.dcm: a link to .*annex/gone\.dcm, which is not there; fetch"):
        read_volume(tmp_path / "s")
    shutil.copy(get_testdata_file("DICOMDIR"), tmp_path / "DICOMDIR")  # names files in other folders
    with pytest.raises(DataError, match="DICOMDIR: no DICOM image"):
        read_volume(tmp_path / "DICOMDIR")


def refused(path, says, **options):
    with pytest.raises(DataError, match=says) as caught:
        read_volume(path, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_doubled_and_uneven_slices(tmp_path):
    write_series(tmp_path / "gap", positions=[0, 1, 3, 4])
    refused(tmp_path / "gap", r"1 slices missing: 6 mm between 001\.dcm and 002\.dcm, where slices are 3 mm apart")
    write_series(tmp_path / "gaps", pixels((4, 3, 3)), positions=[0, 2, 4, 5])
    refused(tmp_path / "gaps", r"2 slices missing: 6 mm between")
    write_series(tmp_path / "twice", positions=[0, 1, 1, 2])
    refused(tmp_path / "twice", r"1 of 4 slices lie where another one lies \(doubled\): 001\.dcm and 002\.dcm at 33 mm")
    write_series(tmp_path / "copied")
    shutil.copy(tmp_path / "copied/001.dcm", tmp_path / "copied/a copy.dcm")
    refused(tmp_path / "copied", r"doubled\): 001\.dcm and a copy\.dcm")
    write_series(tmp_path / "uneven", positions=[0, 1, 2.3, 3.3])
    refused(tmp_path / "uneven", r"unevenly apart: 3 to 3\.9 mm, as 3\.9 mm between 001\.dcm and 002\.dcm")
    write_series(tmp_path / "rounded", positions=[0, 1.001, 1.999, 3])
    assert read_volume(tmp_path / "rounded").geometry.spacing[0] == pytest.approx(3)


def test_gantry_tilt_is_refused_with_its_angle(tmp_path):
    write_series(tmp_path / "s", tilt=3 * np.tan(np.radians(15)))
    refused(tmp_path / "s", r"gantry tilt: .* 15° off their normal, 2\.4\d* mm")
    write_series(tmp_path / "drift", names=["a", "b", "c", "d"])
    data = pydicom.dcmread(tmp_path / "drift/b")
    data.ImagePositionPatient[0] += 2
    data.save_as(tmp_path / "drift/b")
    refused(tmp_path / "drift", r"do not lie on one line, 2 mm off")


def test_several_series_are_listed_and_chosen(tmp_path):
    first = write_series(tmp_path / "p/a")
    second = write_series(tmp_path / "p/b", pixels((3, 5, 5)), series="1.2.9", SeriesDescription="ADC map")
    refused(tmp_path / "p", r"2 series; .*1\.2\.3\.4: MR 't2 tra', 4 frames of 8x6; 1\.2\.9: MR 'ADC map', 3 frames")
    assert np.array_equal(read_volume(tmp_path / "p", series="1.2.9").array, second)
    assert np.array_equal(read_volume(tmp_path / "p", series="^MR 't2").array, first)
    assert np.array_equal(read_volume(tmp_path / "p", series="adc").array, second)
    refused(tmp_path / "p", "no series 'dwi' among 2", series="dwi")
    refused(tmp_path / "p", "2 series", series="MR")


def test_orientations_stacks_echoes_and_sizes_in_one_series(tmp_path):
    first = write_series(tmp_path / "s/a")
    second = write_series(tmp_path / "s/b", pixels()[::-1] + 1, axes=SAGITTAL)
    refused(
        tmp_path / "s", r"2 stacks or orientations .*choose one with stack: 'axial' \(4 frames of 8x6\), 'sagittal'"
    )
    assert np.array_equal(read_volume(tmp_path / "s", stack="axial").array, first)
    assert np.array_equal(read_volume(tmp_path / "s", stack="sagittal").array, second)
    refused(tmp_path / "s", "no stack 'coronal'", stack="coronal")
    for echo in (30, 80):
        write_series(tmp_path / f"e/{echo}", pixels() + echo, EchoTime=echo, AcquisitionNumber=1)
    refused(tmp_path / "e", "'axial EchoTime 30.0' .*'axial EchoTime 80.0'")
    assert np.array_equal(read_volume(tmp_path / "e", stack="axial EchoTime 80.0").array, pixels() + 80)
    array = pixels((6, 4, 5))
    save(enhanced(array, positions=[2, 1, 0, 0, 1, 2], stacks=["A"] * 3 + ["B"] * 3), tmp_path / "m.dcm")
    refused(tmp_path / "m.dcm", r"'A' \(3 frames of 5x4\), 'B' \(3 frames")
    assert np.array_equal(read_volume(tmp_path / "m.dcm", stack="A").array, array[2::-1])
    assert np.array_equal(read_volume(tmp_path / "m.dcm", stack="B").array, array[3:])


@pytest.mark.parametrize("space", ["Patient", "Volume"])
def test_enhanced_objects(tmp_path, space):
    array = pixels((4, 6, 8), np.uint8)
    save(enhanced(array, positions=[3, 1, 0, 2], space=space), tmp_path / "e")
    volume = read_volume(tmp_path / "e")
    assert np.array_equal(volume.array, array[[2, 1, 3, 0]])
    np.testing.assert_allclose(volume.affine, LPS @ [[0.5, 0, 0, 10], [0, 0.7, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]])
    data = enhanced(array, space=space)
    data.NumberOfFrames = 3
    save(data, tmp_path / "e")
    refused(tmp_path / "e", "4 functional groups for 3 frames")


def test_a_plain_multi_frame_asks_for_spacing(tmp_path):
    array = pixels((3, 4, 5), np.uint8)
    data = dataset(array, SOPClassUID=US)
    save(data, tmp_path / "us.dcm")
    refused(tmp_path / "us.dcm", r"no geometry: .*slices and rows and columns .*data\.spacing: \[slice, row, column\]")
    refused(tmp_path / "us.dcm", "how far apart its slices are", spacing=(None, 0.2, 0.3))
    volume = read_volume(tmp_path / "us.dcm", spacing=(1.5, 0.2, 0.3))
    assert np.array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, LPS @ np.diag([0.3, 0.2, 1.5, 1]))
    region = item(PhysicalUnitsXDirection=3, PhysicalUnitsYDirection=3, PhysicalDeltaX=0.03, PhysicalDeltaY=-0.02)
    data.SequenceOfUltrasoundRegions = [region]
    save(data, tmp_path / "us.dcm")
    refused(tmp_path / "us.dcm", "how far apart its slices are")
    np.testing.assert_allclose(read_volume(tmp_path / "us.dcm", spacing=(1.5, 9, 9)).geometry.spacing, (1.5, 0.2, 0.3))


def test_stills_without_positions_follow_their_numbers(tmp_path):
    for at, number in enumerate((3, 1, 2)):
        plane = np.full((2, 2), number, np.uint8)
        save(dataset(plane, SOPClassUID=US, instance=f"1.2.{at}", InstanceNumber=number), tmp_path / f"s/{at}")
    refused(tmp_path / "s", "data.spacing")
    assert read_volume(tmp_path / "s", spacing=SPACING).array[:, 0, 0].tolist() == [1, 2, 3]
    (tmp_path / "s/2").unlink()
    refused(tmp_path / "s", "2 files without positions, numbered 1 to 3 with gaps", spacing=SPACING)


# Damaged files


def test_truncated_or_absent_pixels(tmp_path):
    refused(Path(get_testdata_file("MR_truncated.dcm")), "8192 bytes of pixels by its header, but it holds 8130")
    data = dataset(pixels()[0], **place(0))
    del data.PixelData
    save(data, tmp_path / "none.dcm")
    refused(tmp_path / "none.dcm", "no pixel data")
    save(dataset(pixels()[0], **place(0), Rows=60000, Columns=60000), tmp_path / "big.dcm")
    refused(tmp_path / "big.dcm", "7200000000 bytes of pixels by its header, but it holds 96")
    save(dataset(pixels(), **place(0), NumberOfFrames=2**31 - 1), tmp_path / "long.dcm")
    refused(tmp_path / "long.dcm", "NumberOfFrames = 2147483647, more than fit into its 1150 bytes")
    data = enhanced(pixels((3, 40, 33), np.uint8))
    data.compress(uid.RLELossless, generate_instance_uid=False)
    data.PixelData = pydicom.encaps.encapsulate(
        list(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=3))[:2]
    )
    save(data, tmp_path / "frames.dcm")
    refused(tmp_path / "frames.dcm", "2 compressed frames, but NumberOfFrames = 3|cannot be read")
    refused(
        Path(get_testdata_file("JPEG2000-embedded-sequence-delimiter.dcm")), "frame 1 is compressed as", spacing=SPACING
    )
    content = (tmp_path / "frames.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[:300])
    refused(tmp_path / "cut.dcm", "no DICOM image|cannot be read")


def test_a_frame_of_another_size_is_refused_before_it_is_decoded(tmp_path):
    data = dataset(pixels((64, 64), np.uint8)[:, :], **place(0))
    data.compress(uid.JPEG2000Lossless, generate_instance_uid=False)
    assert codestream_size(next(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1))) == (64, 64)
    data.Rows = 32
    save(data, tmp_path / "a.dcm")
    refused(tmp_path / "a.dcm", "frame 1 is compressed as 64x64 pixels, but its header says 64x32")


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "expected two unit vectors at right angles"),
        ({"PixelSpacing": [0, 1]}, "PixelSpacing = .*expected millimetres"),
        ({"BitsAllocated": 12}, "BitsAllocated = 12; expected"),
        ({"SamplesPerPixel": 2}, "SamplesPerPixel = 2"),
        ({"PhotometricInterpretation": "CMYK"}, "'CMYK'"),
    ],
)
def test_headers_that_cannot_be(tmp_path, elements, says):
    save(dataset(pixels()[0], **{**place(0), **elements}), tmp_path / "a.dcm")
    refused(tmp_path / "a.dcm", says)


# Silent misreadings


def test_a_slice_without_position_or_scale_among_others_is_refused(tmp_path):
    write_series(tmp_path / "p", axes=SAGITTAL)
    data = pydicom.dcmread(tmp_path / "p/002.dcm")
    del data.ImagePositionPatient
    save(data, tmp_path / "p/002.dcm")
    for spacing in (None, (5, 1, 1)):
        refused(tmp_path / "p", r"1 of 4 slices without ImagePosition, such as 002\.dcm", spacing=spacing)
    write_series(tmp_path / "ct", RescaleSlope=1, RescaleIntercept=-1024)
    data = pydicom.dcmread(tmp_path / "ct/002.dcm")
    del data.RescaleIntercept
    save(data, tmp_path / "ct/002.dcm")
    refused(tmp_path / "ct", r"1 of 4 slices without RescaleIntercept, such as 002\.dcm")
    data.RescaleIntercept = -1024
    del data.RescaleSlope  # which 1 of the others does not differ from
    save(data, tmp_path / "ct/002.dcm")
    assert read_volume(tmp_path / "ct").array.min() == -1024


def test_the_thickness_of_slices_without_positions_is_no_distance(tmp_path):
    write_series(tmp_path / "s", SliceThickness=9.0)
    for path in (tmp_path / "s").iterdir():
        data = pydicom.dcmread(path)
        del data.ImagePositionPatient
        save(data, path)
    refused(tmp_path / "s", r"how far apart its slices are .*data\.spacing")
    assert read_volume(tmp_path / "s", spacing=(3.5, 1, 1)).geometry.spacing == pytest.approx((3.5, 0.7, 0.5))


@pytest.mark.parametrize(
    ("plane", "changed"),
    [
        (pixels((5, 8, 8), np.uint8), {"NumberOfFrames": 1}),
        (pixels((8, 8, 3), np.uint8), {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}),
        (pixels((8, 8), np.uint16), {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
    ],
)
def test_pixels_that_the_header_does_not_tell_of(tmp_path, plane, changed):
    save(dataset(plane, **{**place(0), **changed}), tmp_path / "a.dcm")
    refused(tmp_path / "a.dcm", "64 bytes of pixels by its header, but it holds (320|192|128); are NumberOfFrames, ")


def test_a_slice_that_cannot_be_opened_or_lost_its_mark_is_not_left_out(tmp_path, monkeypatch):
    write_series(tmp_path / "s", names=["a", "b", "c", "d"])
    opened = Path.open

    def closed(path, *given, **options):
        if path.name == "d":
            raise PermissionError(13, "Permission denied")
        return opened(path, *given, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", closed)
        refused(tmp_path / "s", r"s/d: cannot be opened \(Permission denied\)")
    (tmp_path / "s/d").write_bytes((tmp_path / "s/d").read_bytes()[132:])
    refused(tmp_path / "s", r"s/d: no mark of DICOM")
    refused(tmp_path / "none", "none: no such file or folder")


def test_positions_with_two_decimals(tmp_path):
    for at in range(20):
        where = {**place(0), "ImagePositionPatient": [0.0, 0.0, round(at / 3, 2)]}
        save(dataset(pixels()[0] + at, instance=f"1.2.{at}", **where), tmp_path / f"s/{at}")
    volume = read_volume(tmp_path / "s")
    assert np.array_equal(volume.array[:, 0, 0], np.arange(20))
    assert volume.geometry.spacing[0] == pytest.approx(1 / 3, abs=1e-3)


def test_names_of_stacks_do_not_hang_on_names_of_files(tmp_path):
    for folder, names in (("a", "xy"), ("b", "yx")):
        for name, rows, number in zip(names, (6, 7), (1, 9), strict=True):
            for at in range(4):
                given = {"instance": f"1.2.{number + at}", "InstanceNumber": number + at, **place(at)}
                save(dataset(pixels((rows, 8)), **given), tmp_path / folder / f"{name}{at}")
        assert read_volume(tmp_path / folder, stack="axial").array.shape == (4, 6, 8)
        assert read_volume(tmp_path / folder, stack="axial 2").array.shape == (4, 7, 8)


def test_frames_that_differ_in_two_ways_are_told_apart(tmp_path):
    count = 0
    for echo in (10.0, 20.0):
        for time in (1, 2):
            for at, plane in enumerate(pixels()):
                count += 1
                given = {"EchoTime": echo, "TemporalPositionIdentifier": time, "InstanceNumber": count, **place(at)}
                save(dataset(plane + count - at, instance=f"1.2.{count}", **given), tmp_path / f"s/{count}")
    stack = "axial TemporalPositionIdentifier 2 EchoTime 10.0"
    refused(tmp_path / "s", f"4 stacks .*'{stack}'")
    assert np.array_equal(read_volume(tmp_path / "s", stack=stack).array, pixels() + 5)


def test_frames_and_deflated_bytes_are_not_counted_on_trust(tmp_path, monkeypatch):
    save(dataset(np.zeros((256, 256), np.int16), **place(0), NumberOfFrames=10**6), tmp_path / "frames.dcm")
    monkeypatch.setattr("datasets.dicom_frames._Place", None)  # not one is listed
    refused(tmp_path / "frames.dcm", "NumberOfFrames = 1000000, more than fit into its")
    monkeypatch.undo()
    data = dataset(pixels()[0], syntax=uid.DeflatedExplicitVRLittleEndian, **place(0))
    data.PixelData += b"\0" * 5000
    save(data, tmp_path / "bomb.dcm")
    monkeypatch.setattr("datasets.dicom_file._HEAD", 2000)
    refused(tmp_path / "bomb.dcm", "inflates to far more than its 96 bytes of pixels")


@pytest.mark.parametrize("syntax", ["1.3.6.1.4.1.9999.1.1", "1.2.840.10008.1.2.99", "none.such"])
def test_a_transfer_syntax_that_nobody_knows_is_named(tmp_path, syntax):
    """Private ones, newer ones, and none at all: written over the UID of a good file, at its length."""
    path = save(dataset(pixels((6, 8)), **place(0)), tmp_path / "a.dcm")
    known = b"1.2.840.10008.1.2.1\0"
    path.write_bytes(path.read_bytes().replace(known, syntax.encode().ljust(len(known), b"\0"), 1))
    with pytest.raises(DataError, match=rf"a\.dcm: TransferSyntaxUID '{re.escape(syntax)}' is no transfer syntax that"):
        read_volume(path)


@pytest.mark.parametrize("share", [0.9, 0.6, 0.3, 0.1, 0.02])
@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "CT_small.dcm"])
def test_a_stream_that_is_cut_is_one_line_about_the_file(tmp_path, name, share):
    content = Path(get_testdata_file(name)).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"cut\.dcm: [^\n]+$") as error:
        read_volume(tmp_path / "cut.dcm")
    assert "PosixPath" not in str(error.value)
