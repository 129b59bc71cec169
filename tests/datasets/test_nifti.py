"""NIfTI: nibabel, reading the whole file its own way, is the oracle for what is valid."""

import gzip
import struct
import zlib

import nibabel
import numpy as np
import pytest

from datasets import DataError, Volume, read_volume, volume_files, write_volume

ARRAY = (np.arange(60, dtype=np.int16) * 7 - 50).reshape(5, 4, 3)
"""By column, row and slice, as nibabel has it."""
TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
AFFINE = np.eye(4)
AFFINE[:3, :3], AFFINE[:3, 3] = TURN * [0.5, 0.7, 3.0], [10, -20, 30]
# byte offsets in the header of NIfTI-1
DIM, DATATYPE, PIXDIM, OFFSET, SLOPE, INTER, UNITS, QFORM, SFORM, QUATERN, SROW = (
    40, 70, 76, 108, 112, 116, 123, 252, 254, 256, 280,
)  # fmt: skip


def plain(folder, name="v.nii", array=ARRAY, kind=nibabel.Nifti1Image, **header):
    image = kind(array, AFFINE, dtype=array.dtype)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, folder / name)
    return folder / name


def edited(path, at, form, *values):
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, at, *values)
    path.write_bytes(content)
    return path


def agrees_with_nibabel(path):
    found, image = read_volume(path), nibabel.load(path)
    expected = np.asanyarray(image.dataobj)
    expected = expected.reshape([s for i, s in enumerate(expected.shape) if s > 1 or i < 3])
    assert np.array_equal(np.moveaxis(found.array, (0, 2), (2, 0)), expected)
    assert found.array.dtype == expected.dtype.newbyteorder("=")
    assert found.array.flags.c_contiguous
    np.testing.assert_allclose(found.affine, image.affine, atol=1e-12)
    return found


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
def test_single_files(tmp_path, kind, suffix):
    plain(tmp_path, "v" + suffix.lower(), kind=kind).replace(tmp_path / f"v{suffix}")
    agrees_with_nibabel(tmp_path / f"v{suffix}")


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
@pytest.mark.parametrize("gz", ["", ".gz"])
def test_pairs_are_found_by_either_file(tmp_path, kind, gz):
    nibabel.save(kind(ARRAY, AFFINE), tmp_path / f"v.img{gz}")
    for name in (f"v.hdr{gz}", f"v.img{gz}"):
        agrees_with_nibabel(tmp_path / name)
        assert [path.name for path in volume_files(tmp_path / name)] == [f"v.hdr{gz}", f"v.img{gz}"]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_numbers_of_every_type_and_byte_order(tmp_path, dtype, order):
    array = ARRAY.astype(dtype)
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE, header), tmp_path / "v.nii")
    assert (tmp_path / "v.nii").read_bytes()[:2] == (b"\x5c\x01" if order == "<" else b"\0\0")
    agrees_with_nibabel(tmp_path / "v.nii")


def test_scaled_intensities(tmp_path):
    plain(tmp_path)
    edited(tmp_path / "v.nii", SLOPE, "<ff", 0.25, -7)
    found = read_volume(tmp_path / "v.nii").array
    assert found.dtype == np.float32
    assert np.array_equal(found.T, nibabel.load(tmp_path / "v.nii").get_fdata())
    for slope in (0, float("nan"), float("inf")):  # mean: not scaled
        edited(tmp_path / "v.nii", SLOPE, "<ff", slope, 3)
        agrees_with_nibabel(tmp_path / "v.nii")


@pytest.mark.parametrize(("code", "millimetres"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (8 + 3, 0.001)])
def test_units_of_length(tmp_path, code, millimetres):
    edited(plain(tmp_path), UNITS, "<B", code)
    expected = np.diag([millimetres] * 3 + [1]) @ nibabel.load(tmp_path / "v.nii").affine
    np.testing.assert_allclose(read_volume(tmp_path / "v.nii").affine, expected, atol=1e-9)


def test_sform_before_qform_before_sizes_alone(tmp_path):
    path = plain(tmp_path)
    other = np.diag([2.0, 3.0, 4.0, 1.0])
    image = nibabel.load(path)
    image.set_sform(other, 1)
    image.set_qform(AFFINE, 1)
    nibabel.save(image, tmp_path / "both.nii")
    assert np.array_equal(agrees_with_nibabel(tmp_path / "both.nii").affine, other)
    edited(tmp_path / "both.nii", SFORM, "<h", 0)
    np.testing.assert_allclose(agrees_with_nibabel(tmp_path / "both.nii").affine, AFFINE, atol=1e-5)
    edited(tmp_path / "both.nii", PIXDIM, "<f", 0)  # a qfac of 0 means 1
    agrees_with_nibabel(tmp_path / "both.nii")
    edited(tmp_path / "both.nii", QFORM, "<h", 0)
    agrees_with_nibabel(tmp_path / "both.nii")


@pytest.mark.parametrize(
    "shape", [(5, 4, 3, 1), (5, 4, 3, 2), (5, 4, 3, 1, 2), (5, 4, 3, 1, 1, 1, 2), (5, 4, 1), (1, 1, 1)]
)
def test_further_dimensions_are_channels(tmp_path, shape):
    found = agrees_with_nibabel(plain(tmp_path, array=np.arange(np.prod(shape), dtype=np.int16).reshape(shape)))
    assert found.array.shape == (*shape[2::-1], *(side for side in shape[3:] if side > 1))


@pytest.mark.parametrize(("names", "code"), [("RGB", 128), ("RGBA", 2304)])
def test_colours_are_channels(tmp_path, names, code):
    dtype = np.dtype([(name, "u1") for name in names])
    array = np.frombuffer(np.random.default_rng(0).bytes(60 * len(names)), dtype).reshape(5, 4, 3)
    found = read_volume(plain(tmp_path, array=array)).array
    assert found.shape == (3, 4, 5, len(names))
    for channel, name in enumerate(names):
        assert np.array_equal(found[..., channel].T, array[name])


def test_extensions_gaps_and_several_gzip_members(tmp_path):
    image = nibabel.Nifti1Image(ARRAY, AFFINE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"who was here" * 50))
    nibabel.save(image, tmp_path / "v.nii")
    agrees_with_nibabel(tmp_path / "v.nii")
    content = (tmp_path / "v.nii").read_bytes()
    for cuts in ([10], [352, 400], range(1, len(content), 7)):
        pieces = np.split(np.frombuffer(content, np.uint8), cuts)
        (tmp_path / "v.nii.gz").write_bytes(b"".join(gzip.compress(piece.tobytes()) for piece in pieces))
        agrees_with_nibabel(tmp_path / "v.nii.gz")
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(content) + b"more after it")
    assert np.array_equal(read_volume(tmp_path / "v.nii.gz").array.T, ARRAY)


@pytest.mark.parametrize("offset", [0, -8, 348, 352])
def test_less_than_352_means_352(tmp_path, offset):
    path = edited(plain(tmp_path), OFFSET, "<f", offset)
    assert np.array_equal(read_volume(path).array.T, ARRAY)


def test_longer_sides_than_nifti_1_stores(tmp_path):
    volume = Volume(np.arange(40000, dtype=np.int32).reshape(1, 1, -1), np.diag([0.5, 1, 1, 1]))
    write_volume(volume, tmp_path / "v.nii")
    assert isinstance(nibabel.load(tmp_path / "v.nii"), nibabel.Nifti2Image)
    assert np.array_equal(agrees_with_nibabel(tmp_path / "v.nii").array, volume.array)


def test_what_is_written_says_where_it_lies_twice(tmp_path):
    write_volume(Volume(ARRAY.T, AFFINE), tmp_path / "v.nii.gz")
    header = nibabel.load(tmp_path / "v.nii.gz").header
    for form in (header.get_qform(coded=True), header.get_sform(coded=True)):
        assert form[1] == 1
        np.testing.assert_allclose(form[0], AFFINE, atol=1e-5)
    assert header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize(
    ("at", "form", "values", "says"),
    [
        (0, "<i", [347], "does not begin with 348 or 540"),
        (344, "4s", [b"\0"], r"Analyze 7\.5, which does not say left from right"),
        (344, "4s", [b"ni1"], "correct the file's name"),
        (344, "4s", [b"n+9"], r"expected b'n\+1'"),
        (DIM, "<h", [1], "dim = 1 5 4 3 .*expected a volume"),
        (DIM, "<h", [-3], "expected a volume"),
        (DIM, "<h", [99], "expected a volume"),
        (DIM, "<4h", [3, 5, -4, 3], "each ≥ 1"),
        (DIM, "<4h", [3, 5, 0, 3], "each ≥ 1"),
        (DIM, "<6h", [5, 5, 4, 3, 2, 2], "divide the file"),
        (DIM, "<6h", [5, 5, 4, 3, 2, 1], "240 bytes of pixels by its header, but it holds 120"),
        (DIM, "<4h", [3, 32767, 32767, 32767], "volumes of at most 8589934592 are read"),
        (DIM, "<4h", [3, 1000, 1000, 1000], "2000000000 bytes of pixels by its header, but it holds 120"),
        (DATATYPE, "<h", [32], r"datatype 32 \(complex64\)"),
        (DATATYPE, "<h", [1], "expected integers or floats"),
        (DATATYPE, "<h", [777], r"datatype 777 \(unknown\)"),
        (DATATYPE, "<h", [1536], "datatype 1536"),
        (OFFSET, "<f", [np.nan], "vox_offset = nan"),
        (OFFSET, "<f", [352.5], r"vox_offset = 352\.5"),
        (OFFSET, "<f", [1e9], "it holds 0; damaged"),
        (OFFSET, "<f", [1e30], "vox_offset = 1"),
        (SLOPE, "<ff", [2, np.nan], r"scl_inter = nan beside scl_slope = 2\.0"),
        (SROW, "<4f", [0, 0, 0, 5], "must place voxels in space"),
        (SROW, "<4f", [np.nan, 0, 0, 5], "finite 4×4 matrix"),
        (SROW, "<4f", [1, 0, 0, np.inf], "finite 4×4 matrix"),
        (SFORM, "<2h3f", [0, 1, 5, 5, 5], "must place|finite|sform or qform"),
    ],
)
def test_bad_headers_are_refused(tmp_path, at, form, values, says):
    path = plain(tmp_path)
    if at == SFORM:  # the quaternion counts
        edited(path, QFORM, "<h", 1)
        edited(path, SFORM, "<h", 0)
        edited(path, QUATERN, "<3f", *values[2:])
    else:
        edited(path, at, form, *values)
    for name in ("v.nii", "v.nii.gz"):
        content = path.read_bytes()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        with pytest.raises(DataError) as error:
            read_volume(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name))
        assert "\n" not in str(error.value)
        if name == "v.nii":
            assert error.match(says)


def test_files_that_are_something_else(tmp_path):
    for content, says in [(b"", "does not begin"), (b"PK\3\4" * 99, "does not begin"), (b"\x5c\1\0\0", "cut short")]:
        (tmp_path / "v.nii").write_bytes(content)
        with pytest.raises(DataError, match=says):
            read_volume(tmp_path / "v.nii")
    (tmp_path / "v.nii.gz").write_bytes(plain(tmp_path).read_bytes())
    with pytest.raises(DataError, match="compressed data are damaged"):
        read_volume(tmp_path / "v.nii.gz")
    nibabel.save(nibabel.AnalyzeImage(ARRAY, np.diag([2, 2, 2, 1])), tmp_path / "a.img")
    with pytest.raises(DataError, match=r"Analyze 7\.5"):
        read_volume(tmp_path / "a.hdr")
    (tmp_path / "a.img").unlink()
    with pytest.raises(DataError, match=r"no image a\.img beside it"):
        read_volume(tmp_path / "a.hdr")


def test_damaged_gzip_is_refused(tmp_path):
    whole = plain(
        tmp_path, "v.nii.gz", np.random.default_rng(0).integers(0, 99, (30, 30, 30)).astype(np.int16)
    ).read_bytes()
    for changed in (whole[:-1], whole[:-9000], whole[:-6] + b"xx" + whole[-4:], whole[:900] + b"\0" + whole[901:]):
        (tmp_path / "v.nii.gz").write_bytes(changed)
        with pytest.raises(DataError, match=r"damaged|cut short"):
            read_volume(tmp_path / "v.nii.gz")


def test_a_header_cannot_make_a_small_file_large(tmp_path, monkeypatch):
    """Less than it says in a stream of zeros: refused as soon as that is known, never past its real size."""
    path = plain(tmp_path)
    edited(path, DIM, "<4h", 3, 1000, 1000, 1000)
    packed = gzip.compress(path.read_bytes() + bytes(10**6))
    (tmp_path / "v.nii.gz").write_bytes(packed)
    inflated, make = [], zlib.decompressobj

    def counting(*arguments):
        stream = make(*arguments)

        class Counted:
            def __getattr__(self, name):
                return getattr(stream, name)

            def decompress(self, *rest):
                inflated.append(len(piece := stream.decompress(*rest)))
                return piece

        return Counted()

    monkeypatch.setattr(zlib, "decompressobj", counting)
    with pytest.raises(DataError, match="2000000000 bytes of pixels by its header, but it holds at most"):
        read_volume(tmp_path / "v.nii.gz")
    assert sum(inflated) <= 1000  # the header alone
