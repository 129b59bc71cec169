"""Volumes in files that say nothing of space, arrays and TIFF of several pages; masks of a picture a slice."""

import struct
import tracemalloc

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image
from scipy.io import savemat
from tifffile import TiffFile

from datasets import DataError, NiftiFolder, read_mask_volume, read_volume
from segloss_tests.tiffs import write_tiff

RNG = np.random.default_rng(0)
SCAN = RNG.integers(0, 900, (3, 4, 5)).astype(np.int16)
MASK = (SCAN > 500).astype(np.uint8)
LABELS = {"background": 0, "gland": 1}


def written(folder, suffix, array):
    """An array `(slices, rows, columns)` in a file of a format."""
    folder.mkdir(exist_ok=True)
    path = folder / f"p1{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    elif suffix == ".npz":
        np.savez(path, other=np.zeros(3), volume=array)
    elif suffix == ".mat":
        savemat(path, {"volume": np.moveaxis(array, 0, 2), "other": np.zeros(3)})
    elif suffix == ".tif":
        write_tiff(path, [*array])
    else:  # by nibabel, whose axes are columns, rows, slices
        nibabel.save(nibabel.Nifti1Image(array.T, np.diag([-0.5, -0.7, 3, 1])), path)
    return path


def adapter(root, images, masks, **given):
    keys = {key: "volume" for key, suffix in (("image_key", images), ("mask_key", masks)) if suffix in (".npz", ".mat")}
    return NiftiFolder(str(root), f"i/{{name}}{images}", f"m/{{name}}{masks}", LABELS, **keys, **given)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".tif"])
def test_scans_and_masks_without_a_place(tmp_path, suffix):
    written(tmp_path / "i", suffix, SCAN.astype(np.uint16) if suffix == ".tif" else SCAN)
    written(tmp_path / "m", suffix, MASK)
    reader = adapter(tmp_path, suffix, suffix, spacing=(3, 0.7, 0.5))
    (case,) = reader.cases()
    assert case.id == "p1"
    found = reader.read(case)
    assert np.array_equal(found.image.array[..., 0], SCAN)  # as stored, by the default slice axis
    assert np.array_equal(found.mask, MASK)
    assert found.spacing == pytest.approx((3, 0.7, 0.5))
    assert found.remarks == ()
    (remark,) = adapter(tmp_path, suffix, suffix).read(case).remarks
    assert remark.what == "scan(s) that do not say how large a voxel is, or 0, taken as 1 mm"
    assert reader.is_image(case.image)


@pytest.mark.parametrize("suffix", [".npy", ".mat", ".tif"])
def test_masks_without_a_place_lie_on_their_scan(tmp_path, suffix):
    written(tmp_path / "i", ".nii", SCAN)
    path = written(tmp_path / "m", suffix, MASK)
    written(tmp_path / "m", ".nii", MASK)
    found = [adapter(tmp_path, ".nii", one) for one in (suffix, ".nii")]
    ours, theirs = (reader.read(reader.cases()[0]) for reader in found)
    assert np.array_equal(ours.mask, theirs.mask)
    assert ours.remarks == ()
    if suffix == ".npy":
        np.save(path, MASK.T)
        with pytest.raises(DataError, match=r"p1\.npy: .* 4 rows and 5 columns; .* as nibabel .* save array\.T"):
            found[0].read(found[0].cases()[0])
        np.save(path, MASK.astype(bool))
        assert np.array_equal(found[0].read(found[0].cases()[0]).mask, theirs.mask)


def test_arrays_of_other_axes(tmp_path):
    np.save(tmp_path / "a.npy", SCAN[0])
    assert np.array_equal(read_volume(tmp_path / "a.npy").array, SCAN[:1])
    channels = np.stack([SCAN, SCAN + 1], -1)
    np.save(tmp_path / "b.npy", channels)
    assert np.array_equal(read_volume(tmp_path / "b.npy").array, channels)
    np.save(tmp_path / "c.npy", np.zeros(5))
    with pytest.raises(DataError, match=r"c\.npy: .* shape \(5,\); expected \(slices, rows, columns\[, channels"):
        read_volume(tmp_path / "c.npy")
    np.save(tmp_path / "d.npy", SCAN / 7)
    with pytest.raises(DataError, match=r"d\.npy: .* is no label"):
        read_mask_volume(tmp_path / "d.npy")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_pages_are_read_as_simpleitk_reads_them(tmp_path, dtype):
    path = write_tiff(tmp_path / "a.tif", [*SCAN.astype(dtype)])
    assert np.array_equal(read_volume(path).array, SCAN.astype(dtype))
    if dtype != np.int16:
        assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))), read_volume(path).array)


@pytest.mark.parametrize("dtype", ["i1", "u2", "i2", "f2", "f4", "f8", "u4", "i8"])
@pytest.mark.parametrize(
    "layout", [{"predictor": 2, "order": ">"}, {"predictor": 1, "order": ">"}, {"big": True}, {"tile": (16, 16)}]
)
def test_pages_of_any_numbers_however_they_are_packed(tmp_path, dtype, layout):
    slices = RNG.integers(0, 120, (3, 20, 17)).astype(dtype)
    found = read_volume(write_tiff(tmp_path / "a.tif", [*slices], **layout)).array
    assert np.array_equal(found, slices)
    colours = RNG.integers(0, 120, (3, 20, 17, 3)).astype(dtype)
    found = read_volume(write_tiff(tmp_path / "b.tif", [*colours], **layout)).array
    assert np.array_equal(found, colours)


def test_pages_take_the_memory_of_a_volume_once(tmp_path):
    path = write_tiff(tmp_path / "a.tif", [*RNG.random((32, 128, 128)).astype(np.float32)])
    read_volume(path)
    tracemalloc.start()
    try:
        size = read_volume(path).array.nbytes
        assert tracemalloc.get_traced_memory()[1] < 1.5 * size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_pages_of_few_bits_are_the_numbers_they_hold(tmp_path, bits):
    slices = RNG.integers(0, 2**bits, (3, 5, 16)).astype(np.uint8)
    unpacked = np.unpackbits(slices[..., np.newaxis], axis=-1)[..., -bits:]
    pages = np.packbits(unpacked.reshape(3, 5, -1), axis=-1)
    path = write_tiff(tmp_path / "a.tif", [*pages], tags={256: 16, 258: bits})
    assert np.array_equal(read_volume(path).array, slices)
    path = write_tiff(tmp_path / "a.tif", [*pages], tags={256: 16, 258: bits, 262: 0})
    assert np.array_equal(read_mask_volume(path).array, 2**bits - 1 - slices)


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_pages_on_their_side(tmp_path, dtype):
    slices = RNG.integers(0, 120, (2, 20, 17)).astype(dtype)
    path = write_tiff(tmp_path / "a.tif", [*slices], tags={274: 6})
    assert np.array_equal(read_volume(path).array, [np.rot90(page, -1) for page in slices])
    content, side = path.read_bytes(), struct.pack("<HHIH", 274, 3, 1, 6)
    at = content.rindex(side)
    path.write_bytes(content[:at] + struct.pack("<HHIH", 274, 3, 1, 1) + content[at + len(side) :])
    with pytest.raises(DataError, match=r"page 2 is 17x20 .*, the first 20x17"):
        read_volume(path)


def test_no_page_of_many_is_left_out(tmp_path, monkeypatch):
    slices = np.arange(5000.0).reshape(5000, 1, 1)
    path = write_tiff(tmp_path / "a.tif", [*slices])
    assert np.array_equal(read_volume(path).array, slices)
    monkeypatch.setattr("datasets.tiff._MOST_PAGES", 4999)
    with pytest.raises(DataError, match="more than 4999 pages, of which no more are read; divide the file"):
        read_volume(path)


def test_pages_that_are_no_slices(tmp_path):
    path = write_tiff(tmp_path / "a.tif", [SCAN[0].astype(np.uint8), SCAN[1, :2].astype(np.uint8)])
    with pytest.raises(DataError, match=r"a\.tif: page 2 is 5x2 \(uint8 of 1 band\(s\)\), the first 5x4 \(uint8"):
        read_volume(path)
    write_tiff(path, [SCAN[0] / 2, SCAN[1, :2] / 2])
    with pytest.raises(DataError, match=r"page 2 is 5x2 \(float64 of 1 band\(s\)\), the first 5x4 \(float64 of 1 "):
        read_volume(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="not a readable TIFF"):
        read_volume(path)


@pytest.mark.parametrize("target", ["beyond", "itself", "pixels"])
def test_pages_that_follow_are_not_lost(tmp_path, target):
    """A list of pages that goes on where there is none: readers take what comes before for all."""
    path = write_tiff(tmp_path / "a.tif", [*SCAN.astype(np.uint16)])
    with TiffFile(path) as file:
        first, second, *_ = (page.offset for page in file.pages)
    content = path.read_bytes()
    link = struct.pack("<I", second)
    assert content.count(link) == 1
    goes_on = {"beyond": len(content) + 9, "itself": first, "pixels": 9}[target]
    path.write_bytes(content.replace(link, struct.pack("<I", goes_on)))
    with pytest.raises(DataError, match=r"a\.tif: not a readable TIFF, damaged or cut short"):
        read_volume(path)


def test_a_picture_a_slice_for_a_scan_of_nifti(tmp_path):
    written(tmp_path / "i", ".nii", SCAN)
    written(tmp_path / "m", ".nii", MASK)
    folder = tmp_path / "drawn/p1"
    folder.mkdir(parents=True)
    for at, plane in enumerate(MASK, start=9):  # slice9, slice10, slice11
        Image.fromarray(plane).save(folder / f"slice{at}.png")
    reader = NiftiFolder(str(tmp_path), "i/{name}.nii", "drawn/{name}", LABELS)
    (case,) = reader.cases()
    theirs = adapter(tmp_path, ".nii", ".nii")
    found = reader.read(case)
    assert np.array_equal(found.mask, theirs.read(theirs.cases()[0]).mask)
    assert [remark.what[:40] for remark in found.remarks] == ["scan(s) with a picture a slice as their "]
    assert {folder / "slice10.png", case.image} <= {*reader.sources(case)}
    (folder / "slice10.png").unlink()
    with pytest.raises(DataError, match="2 masks for the 3 slices"):
        reader.read(case)
