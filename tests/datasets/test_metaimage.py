"""MetaImage: SimpleITK is the oracle for what is valid; what it reads wrong or not at all is worked by hand."""

import numpy as np
import pytest
import SimpleITK

from datasets import DataError, Volume, read_volume, volume_files, write_volume

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5) * 7 - 50
FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "TransformMatrix": "0 1 0 -1 0 0 0 0 1",
    "Offset": "1 2.5 -3",
    "ElementSpacing": "0.5 0.7 3",
    "DimSize": "5 4 3",
    "ElementType": "MET_SHORT",
}
LPS = np.array([[0, -0.7, 0, 1], [0.5, 0, 0, 2.5], [0, 0, 3, -3], [0, 0, 0, 1]])


def write(folder, data="v.raw", body=None, name="v.mhd", **fields):
    """A header of FIELDS with others, and a data file."""
    both = {**FIELDS, **fields, "ElementDataFile": data}
    (folder / name).write_text("".join(f"{key} = {value}\n" for key, value in both.items() if value is not None))
    (folder / "v.raw").write_bytes(ARRAY.tobytes() if body is None else body)
    return folder / name


def agrees_with_simpleitk(path):
    found, image = read_volume(path), SimpleITK.ReadImage(str(path), imageIO="MetaImageIO")
    assert np.array_equal(found.array, SimpleITK.GetArrayFromImage(image))
    assert found.array.dtype == SimpleITK.GetArrayViewFromImage(image).dtype
    corner = [size - 1 for size in image.GetSize()]
    for index in ([0, 0, 0], corner):
        left, posterior, superior = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((found.affine @ [*index, 1])[:3], [-left, -posterior, superior], atol=1e-9)
    return found


def slices(folder):
    for index, plane in enumerate(ARRAY):
        (folder / f"s{2 * index + 1:03d}.raw").write_bytes(b"head" + plane.tobytes())


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"BinaryData": None, "BinaryDataByteOrderMSB": None},
        {"BinaryDataByteOrderMSB": "True", "body": ARRAY.astype(">i2").tobytes()},
        {"BinaryDataByteOrderMSB": None, "ElementByteOrderMSB": "True", "body": ARRAY.astype(">i2").tobytes()},
        {"HeaderSize": "7", "body": b"7 bytes" + ARRAY.tobytes()},
        {"HeaderSize": "-1", "body": b"a header" + ARRAY.tobytes()},
        {"Offset": None, "Position": "9 8 7", "TransformMatrix": None, "Rotation": "0 0 1 0 1 0 1 0 0"},
        {"Offset": None, "Origin": "9 8 7", "TransformMatrix": None, "Orientation": "0 0 -1 0 1 0 1 0 0"},
        {"Offset": None, "TransformMatrix": None, "ElementSpacing": None},
        {"ElementSpacing": None, "ElementSize": "2 3 4"},
        {"ElementSize": "2 3 4"},
        {"ElementSpacing": "-0.5 0.7 3"},
        {"ElementType": "MET_LONG", "body": ARRAY.astype("<i4").tobytes()},
        {"ElementType": "MET_ULONG", "body": ARRAY.astype("<u4").tobytes()},
        {"ElementType": "MET_DOUBLE", "body": ARRAY.astype("<f8").tobytes()},
        {"ElementType": "MET_CHAR", "body": ARRAY.astype("i1").tobytes()},
        {"ElementNumberOfChannels": "2", "body": np.stack([ARRAY, ARRAY + 1], -1).tobytes()},
        {"AnatomicalOrientation": "RAI", "CenterOfRotation": "5 5 5", "Comment": "a = b: c"},
        {"body": ARRAY.tobytes() + b"more than is needed"},
        {"HeaderSize": "4", "data": "LIST\ns001.raw\ns003.raw\ns005.raw"},
        {"HeaderSize": "4", "data": "LIST 2\ns005.raw\ns003.raw\ns001.raw"},
        {"HeaderSize": "-1", "data": "s%03d.raw 1 5 2"},
    ],
    ids=lambda case: "-".join(case) or "plain",
)
def test_valid_headers_are_read_as_simpleitk_reads_them(tmp_path, case):
    slices(tmp_path)
    agrees_with_simpleitk(write(tmp_path, **case))


def test_what_simpleitk_writes(tmp_path):
    rng = np.random.default_rng(0)
    for dtype in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"):
        image = SimpleITK.GetImageFromArray(rng.integers(0, 100, (3, 4, 5, 2)).astype(dtype), isVector=True)
        for name in ("v.mha", "v.mhd", "V.MHA"):
            SimpleITK.WriteImage(image, str(tmp_path / name.lower()), useCompression=name == "v.mhd")
            (tmp_path / name.lower()).replace(tmp_path / name)
            agrees_with_simpleitk(tmp_path / name)


def test_one_more_dimension_of_one(tmp_path):
    four = {"NDims": "4", "DimSize": "5 4 3 1", "ElementSpacing": "0.5 0.7 3 1", "Offset": "1 2.5 -3 0"}
    four["TransformMatrix"] = "0 1 0 0 -1 0 0 0 0 0 1 0 0 0 0 1"
    found = read_volume(write(tmp_path, **four))
    assert np.array_equal(found.array, ARRAY)
    np.testing.assert_allclose(found.affine, np.diag([-1, -1, 1, 1]) @ LPS)


def test_units_slope_and_offset_that_simpleitk_leaves_out(tmp_path):
    for unit, millimetres in (("um", 0.001), ("mm", 1), ("cm", 10), ("?", 1)):
        affine = np.diag([-millimetres, -millimetres, millimetres, 1]) @ LPS
        np.testing.assert_allclose(read_volume(write(tmp_path, DistanceUnits=unit)).affine, affine)
    line = {"ElementToIntensityFunctionSlope": "0.5", "ElementToIntensityFunctionOffset": "-3"}
    found = read_volume(write(tmp_path, **line)).array
    assert found.dtype == np.float32
    assert np.array_equal(found, ARRAY * 0.5 - 3)
    assert read_volume(write(tmp_path, ElementToIntensityFunctionSlope="1")).array.dtype == np.int16


def test_list_of_one_file_and_pattern_without_step(tmp_path):
    """SimpleITK returns uninitialised memory for the one and dies of the other."""
    assert np.array_equal(read_volume(write(tmp_path, "LIST 3\nv.raw")).array, ARRAY)
    slices(tmp_path)
    for index in (1, 3, 5):
        (tmp_path / f"s{index:03d}.raw").rename(tmp_path / f"t{(index + 1) // 2}.raw")
    path = write(tmp_path, "t%d.raw 1 3", HeaderSize="4")
    assert np.array_equal(read_volume(path).array, ARRAY)
    assert [file.name for file in volume_files(path)] == ["t1.raw", "t2.raw", "t3.raw", "v.mhd"]


def test_data_in_a_folder_below_and_names_with_spaces(tmp_path):
    (tmp_path / "größe 1").mkdir()
    (tmp_path / "größe 1" / "p 2.raw").write_bytes(ARRAY.tobytes())
    assert np.array_equal(read_volume(write(tmp_path, "größe 1/p 2.raw", body=b"")).array, ARRAY)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ({"data": "/etc/passwd"}, "lies outside its folder"),
        ({"data": "../v.raw"}, "lies outside its folder"),
        ({"data": "link.raw"}, "cut short"),
        ({"data": "loop.raw"}, "a link to loop.raw, which is not there"),
        ({"data": "gone.raw"}, "'gone.raw' is missing"),
        ({"data": "x" * 300}, "is missing"),
        ({"data": "."}, "is missing"),
        ({"data": None}, "no ElementDataFile"),
        ({"data": "LIST\ns001.raw\ns003.raw"}, "lists 2 files; expected 3"),
        ({"data": "LIST\ns001.raw\ns003.raw\n../s005.raw"}, "lies outside its folder"),
        ({"data": "LIST 1\ns001.raw"}, "LIST 1; expected LIST, LIST 2"),
        ({"data": "LIST\ns001.raw\ns003.raw\nv.raw", "body": b"short"}, r"v\.raw: 40 bytes of pixels.*holds 5"),
        ({"data": "s%03d.raw 1 20 1"}, "numbers for 3 slices"),
        ({"data": "s%03d.raw 1 3 1"}, r"'s002\.raw' is missing"),
        ({"data": "s%s.raw 1 5 2"}, "expected a pattern such as"),
        ({"data": "s%03d.raw 1 5 0"}, "numbers for 3 slices"),
        ({"data": "../%03d.raw 1 5 2"}, "lies outside its folder"),
        ({"DimSize": "5 4 300"}, "12000 bytes of pixels by its header, but it holds 120; damaged"),
        ({"DimSize": "99999 99999 99999"}, "volumes of at most 8589934592 are read"),
        ({"DimSize": "5 x 3"}, "DimSize = 5 x 3; expected three numbers ≥ 1"),
        ({"DimSize": "5 4"}, "expected three numbers"),
        ({"DimSize": "5 -4 3"}, "expected three numbers"),
        ({"DimSize": "5 4 0"}, "expected three numbers"),
        ({"DimSize": None}, "no DimSize in its header"),
        ({"NDims": "1", "DimSize": "5"}, "NDims = 1 .*expected a volume with 3 dimensions"),
        ({"NDims": "4", "DimSize": "5 4 3 2"}, "NDims = 4 .*expected a volume with 3 dimensions"),
        ({"NDims": "1000000000000"}, "DimSize = 5 4 3; expected"),
        ({"ElementType": "MET_OTHER"}, "ElementType = MET_OTHER; expected one of MET_CHAR"),
        ({"ElementType": "MET_SHORT_ARRAY"}, "expected one of"),
        ({"ElementNumberOfChannels": "0"}, "expected a whole number ≥ 1"),
        ({"ElementNumberOfChannels": "99"}, "11880 bytes of pixels"),
        ({"BinaryData": "False"}, "pixels as text"),
        ({"BinaryData": "maybe"}, "expected True or False"),
        ({"HeaderSize": "-2"}, "HeaderSize = -2; expected a whole number"),
        ({"HeaderSize": "9999"}, "holds 0"),
        ({"HeaderSize": "5", "data": "LOCAL"}, "expected 0 where the pixels follow"),
        ({"HeaderSize": "-1", "CompressedData": "True"}, "expected 0 or more"),
        ({"CompressedData": "True"}, "compressed data are damaged"),
        ({"CompressedData": "True", "CompressedDataSize": "999"}, "999 compressed bytes by its header, but 120"),
        ({"CompressedData": "True", "data": "LIST\ns001.raw\ns003.raw\ns005.raw"}, "CompressedData of 3 files"),
        ({"DistanceUnits": "inch"}, r"expected one of \?, mm"),
        ({"ElementSpacing": "0.5,0.7,3"}, "expected 3 finite numbers"),
        ({"ElementSpacing": "0.5 nan 3"}, "expected 3 finite numbers"),
        ({"ElementSpacing": "0.5 0 3"}, "must place voxels in space"),
        ({"ElementSpacing": "1e999 1 1"}, "expected 3 finite numbers"),
        ({"ElementSpacing": "1e300 1e300 1e300", "TransformMatrix": "1e9 0 0 0 1 0 0 0 1"}, "finite"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 0"}, "must place voxels in space"),
        ({"TransformMatrix": "1 0 0 0 1 0 1 1 0"}, "must place voxels in space"),
        ({"TransformMatrix": "1 0 0 0 1 0"}, "expected 9 finite numbers"),
        ({"Offset": "1 2"}, "expected 3 finite numbers"),
        ({"Position": "4 5 6"}, "Position = 4 5 6; expected the same as Offset"),
        ({"ElementToIntensityFunctionSlope": "inf"}, "expected a finite number"),
        ({"Comment": "x\nElementDataFile: ../secret.raw = y"}, "lies outside its folder"),
        ({"Comment": "x\nElementDataFile = ../secret.raw"}, "lies outside its folder"),
        ({"Comment": "x\nDimSize = 1 1 1"}, "given twice"),
        ({"Comment": "x\nno field"}, "is no field"),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items())[:60] if isinstance(value, dict) else "",
)
def test_bad_headers_are_refused(tmp_path, case, says):
    slices(tmp_path)
    (tmp_path / "link.raw").symlink_to("/etc/hostname")  # laid by the folder's owner, so followed; too short
    (tmp_path / "loop.raw").symlink_to("loop.raw")
    path = write(tmp_path, **case)
    with pytest.raises(DataError, match=says) as error:
        read_volume(path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".mhd", ".mha"])
def test_damaged_and_short_streams_are_refused(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (9, 30, 40)).astype(np.uint8)
    write_volume(Volume(noise, np.eye(4)), tmp_path / f"v{suffix}")
    data = tmp_path / ("v.zraw" if suffix == ".mhd" else "v.mha")
    whole = data.read_bytes()
    for changed in (whole[:-1], whole[:-3000], whole[:-2] + b"xx", whole[:5000] + b"\0" + whole[5001:]):
        data.write_bytes(changed)
        with pytest.raises(DataError, match=r"damaged|cut short"):
            read_volume(tmp_path / f"v{suffix}")
