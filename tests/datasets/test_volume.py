"""Volumes: read, written, turned and resampled, wherever they lie in space."""

import os
import resource

import nibabel
import numpy as np
import pytest
import SimpleITK

from datasets import (
    DataError,
    Geometry,
    Volume,
    read_mask_volume,
    read_volume,
    volume_files,
    volume_stem,
    volume_suffix,
    write_volume,
)
from segloss_tests.orientations import ORDERS, turn

SUFFIXES = [".mhd", ".mha", ".nii", ".nii.gz"]


def scan(axes="RAS", rotation=None, dtype=np.int16, channels=()):
    """A small anisotropic volume of noise, indices increasing as the letters say before it is rotated."""
    shape = (4, 5, 6)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.diag([0.5, 0.7, 3.0]), [97.3, -121.9, 330.7]
    affine = Geometry(shape, affine).reordered(axes).affine
    if rotation is not None:
        affine[:3] = rotation @ affine[:3]
    numbers = np.random.default_rng(len(axes)).integers(-99, 99, (*shape, *channels))
    return Volume(np.abs(numbers).astype(dtype) if np.dtype(dtype).kind == "u" else numbers.astype(dtype), affine)


def points_by_other_readers(path, indices):
    """RAS+ millimetres of voxels (column, row, slice) as SimpleITK or nibabel has them."""
    if path.suffix in (".mhd", ".mha"):
        image = SimpleITK.ReadImage(str(path), imageIO="MetaImageIO")
        return np.array([image.TransformIndexToPhysicalPoint(index.tolist()) for index in indices]) * [-1, -1, 1]
    return nibabel.affines.apply_affine(nibabel.load(path).affine, indices)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rotation", [None, turn(0.4, (1, 2, 3)), turn(2.6, (3, -1, 1))], ids=["", "oblique", "turned"])
def test_48_orientations_there_and_back(tmp_path, suffix, rotation):
    indices = np.array([[c, r, s] for c in (0, 5) for r in (0, 4) for s in (0, 3)])
    for axes in ORDERS:
        volume, path = scan(axes, rotation), tmp_path / f"{axes}{suffix}"
        write_volume(volume, path)
        back = read_volume(path)
        assert np.array_equal(back.array, volume.array)
        assert back.array.dtype == volume.array.dtype
        placed = nibabel.affines.apply_affine(volume.affine, indices)
        np.testing.assert_allclose(nibabel.affines.apply_affine(back.affine, indices), placed, atol=1e-4)
        np.testing.assert_allclose(points_by_other_readers(path, indices), placed, atol=1e-4)
        assert back.geometry.difference(volume.geometry) is None
        turned = back.reordered("LPS")
        assert turned.axes == "LPS"
        again = turned.reordered(back.axes)
        assert np.array_equal(again.array, volume.array)
        np.testing.assert_allclose(again.affine, back.affine, atol=1e-9)


@pytest.mark.parametrize("rotation", [None, turn(0.4, (1, 2, 3))], ids=["", "oblique"])
def test_a_voxel_keeps_its_place_when_indices_are_reordered(rotation):
    """Every value is unique, and lies at the same millimetres before and after."""
    values = np.arange(120).reshape(4, 5, 6)
    for axes in ORDERS:
        volume = Volume(values, scan("PIR", rotation).affine)
        turned = volume.reordered(axes)
        where = [
            nibabel.affines.apply_affine(one.affine, np.argwhere(one.array >= 0)[:, ::-1])[
                np.argsort(one.array.ravel())
            ]
            for one in (volume, turned)
        ]
        np.testing.assert_allclose(*where, atol=1e-9)


def test_simpleitks_nifti_and_metaimage_lie_in_one_place(tmp_path):
    for number, axes in enumerate(ORDERS):
        lps = np.diag([-1, -1, 1, 1]) @ scan(axes, turn(0.1 * number, (1, number, 2))).affine
        image = SimpleITK.GetImageFromArray(np.arange(120, dtype=np.int16).reshape(4, 5, 6))
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        found = []
        for name in ("v.mha", "v.nii.gz"):
            SimpleITK.WriteImage(image, str(tmp_path / name))
            found.append(read_volume(tmp_path / name))
        assert found[0].geometry.difference(found[1].geometry) is None
        assert np.array_equal(found[0].array, found[1].array)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels", [(), (2,), (3,)])
def test_numbers_come_back_as_they_were(tmp_path, suffix, channels):
    for dtype in ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", ">i2", ">f4"):
        volume = scan(dtype=dtype, channels=channels)
        write_volume(volume, tmp_path / f"v{suffix}")
        back = read_volume(tmp_path / f"v{suffix}").array
        assert np.array_equal(back, volume.array)
        assert back.dtype == np.dtype(dtype).newbyteorder("=")
    for values, dtype in [
        (np.array([False, True]), "u1"),
        (np.array([0, 255]), "u1"),
        (np.array([-1, 2]), "i2"),
        (np.array([0, 65535]), "u2"),
        (np.array([-1, 65535]), "i4"),
        (np.array([0, 2**32 - 1]), "u4"),
        (np.array([0, 2**62]), "i8"),
        (np.array([0.5, -2], np.float16), "f4"),
    ]:
        write_volume(Volume(values.reshape(1, 1, 2), np.eye(4)), tmp_path / f"v{suffix}")
        back = read_volume(tmp_path / f"v{suffix}").array
        assert np.array_equal(back.ravel(), values)
        assert back.dtype == dtype


def test_what_cannot_be_written(tmp_path):
    for array in (np.zeros((2, 2, 2), np.complex64), np.zeros((2, 2, 2), "U1")):
        with pytest.raises(ValueError, match="cannot be written; convert it"):
            write_volume(Volume(array, np.eye(4)), tmp_path / "v.nii")
    with pytest.raises(ValueError, match=r"written as \.mhd, \.mha, \.nii or \.nii\.gz"):
        write_volume(scan(), tmp_path / "v.hdr")
    for suffix in SUFFIXES:
        with pytest.raises(DataError, match="cannot be written"):
            write_volume(scan(), tmp_path / "nowhere" / f"v{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_file_whole(tmp_path, suffix):
    old = scan()
    write_volume(old, tmp_path / f"v{suffix}")
    before = sorted(path.name for path in tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # Python ignores the signal: writing fails
    try:
        with pytest.raises(DataError, match="cannot be written"):
            write_volume(Volume(np.random.default_rng(0).normal(size=(20, 30, 40)), np.eye(4)), tmp_path / f"v{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert np.array_equal(read_volume(tmp_path / f"v{suffix}").array, old.array)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_masks_are_whole_numbers(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    for values, dtype in [([0, 1, 255], "u1"), ([0, -1, 300], "i2"), ([0, 1, 70000], "i4")]:
        write_volume(Volume(np.array(values, np.float32).reshape(1, 1, 3), np.eye(4)), path)
        found = read_mask_volume(path).array
        assert found.ravel().tolist() == values
        assert found.dtype == dtype
    for values, says in [
        ([0, 0.5, 0.25], r"0\.5 in 2 of 3 voxels"),
        ([np.nan, 1, 1], "nan in 1 of 3"),
        ([1e30, 1, 1], "1e[+]30 in 1"),
    ]:
        write_volume(Volume(np.array(values).reshape(1, 1, 3), np.eye(4)), path)
        with pytest.raises(DataError, match=f"{path.name}: {says}"):
            read_mask_volume(path)
    write_volume(scan(dtype=np.uint8, channels=(2,)), path)
    with pytest.raises(DataError, match="2 values a voxel; expected a mask of one"):
        read_mask_volume(path)


def test_resampling_onto_its_own_grid_in_another_order_is_reordering():
    for rotation in (None, turn(0.4, (1, 2, 3))):
        for axes in ORDERS[::7]:
            volume = scan("LPI", rotation)
            turned = volume.reordered(axes)
            for labels in (True, False):
                found = volume.resampled(turned.geometry, labels)
                np.testing.assert_allclose(found.array, turned.array, atol=1e-3)
                assert found.array.dtype == (np.int16 if labels else np.float32)
                assert np.array_equal(found.affine, turned.affine)


def test_resampling_by_hand():
    """Values 0, 10, 20 at 0, 2 and 4 mm, looked up at −1, 0.5, 1.5, 4 and 6 mm."""
    volume = Volume(np.array([0, 10, 20], np.uint8).reshape(1, 1, 3), np.diag([2.0, 1, 1, 1]))
    found = []
    for place in (-1.5, 0.5, 1.5, 4, 6):
        affine = np.eye(4)
        affine[0, 3] = place
        found.append([volume.resampled(Geometry((1, 1, 1), affine), labels).array.item() for labels in (False, True)])
    assert found == [[0, 0], [2.5, 0], [7.5, 10], [20, 20], [0, 0]]
    both = volume.resampled(Geometry((1, 1, 2), np.diag([4.0, 1, 1, 1])), True)
    assert (both.array.ravel().tolist(), both.array.dtype) == ([0, 20], np.uint8)
    truth = Volume(np.ones((1, 1, 3), bool), np.eye(4)).resampled(Geometry((1, 1, 4), np.eye(4)), True)
    assert (truth.array.ravel().tolist(), truth.array.dtype) == ([True, True, True, False], bool)
    colours = scan(channels=(3,))
    assert np.array_equal(colours.resampled(colours.geometry, True).array, colours.array)


@pytest.mark.parametrize(
    ("name", "suffix", "stem"),
    [
        ("a.mhd", ".mhd", "a"),
        ("a.b.MHA", ".mha", "a.b"),
        ("a.nii.gz", ".nii.gz", "a"),
        ("A.NII.GZ", ".nii.gz", "A"),
        ("a.1.nii", ".nii", "a.1"),
        ("a.hdr", ".hdr", "a"),
        ("a.img.gz", ".img.gz", "a"),
        ("a.gz", None, "a"),
        ("a.png", None, "a"),
        (".nii.gz", None, ".nii"),
        ("nii", None, "nii"),
    ],
)
def test_names(name, suffix, stem):
    assert (volume_suffix(f"x/{name}"), volume_stem(f"x/{name}")) == (suffix, stem)


def test_files_and_what_is_none(tmp_path):
    write_volume(scan(), tmp_path / "v.mhd")
    write_volume(scan(), tmp_path / "v.nii")
    assert [path.name for path in volume_files(tmp_path / "v.mhd")] == ["v.mhd", "v.zraw"]
    assert volume_files(tmp_path / "v.nii") == [tmp_path / "v.nii"]
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "text.nii").write_text("hello")
    (tmp_path / "v.png").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.nii")
    for name, says in [
        ("no.nii", "no such file"),
        ("folder.nii", "a folder"),
        ("pipe.nii", "no such file"),
        ("v.png", "expected a file ending in"),
        ("text.nii", "not a NIfTI"),
    ]:
        with pytest.raises(DataError, match=says):
            read_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "affine"),
    [(np.zeros((2, 2)), np.eye(4)), (np.zeros((0, 2, 2)), np.eye(4)), (np.zeros((2, 2, 2)), np.zeros((4, 4)))],
)
def test_no_volume(array, affine):
    with pytest.raises(ValueError, match=r"volume|affine"):
        Volume(array, affine)
