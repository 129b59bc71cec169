"""A NIfTI file says twice where it lies: a mask says it as its scan does, so every viewer lays it on the scan."""

import nibabel
import numpy as np
import pytest
import SimpleITK

import datasets

UNITS = {"mm": 1.0, "micron": 1000.0, "meter": 0.001}


def scan(path, codes, unit="mm", shift=5.0, kind=nibabel.Nifti1Image):
    """Voxels of 1.2 x 1.2 x 3 mm, oblique; the sform is shifted against the qform."""
    array = np.random.default_rng(0).normal(size=(20, 18, 6)).astype(np.float32)
    image = kind(array, None)
    turned = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turned @ np.diag([-1.2, -1.2, 3]), [20, 30, -10]
    moved = affine.copy()
    moved[0, 3] += shift
    for form in (affine, moved):
        form[:3] *= UNITS[unit]
    image.header.set_xyzt_units(unit)
    image.header.set_qform(affine, codes[0])
    image.header.set_sform(moved, codes[1])
    nibabel.save(image, path)
    return path


def itk(path):
    image = SimpleITK.ReadImage(str(path))
    return np.array([*image.GetOrigin(), *image.GetSpacing(), *image.GetDirection()])


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (1, 4), (1, 0), (0, 1), (0, 0), (2, 1)])
def test_itk_and_nibabel_lay_the_mask_on_the_scan(tmp_path, codes, unit, kind):
    source = scan(tmp_path / "scan.nii.gz", codes, unit, kind=kind)
    found = datasets.read_volume(source)
    shares = np.zeros((*found.array.shape, 2), np.float32)
    for name, array in (("mask.nii.gz", np.ones(found.array.shape, np.uint8)), ("shares.nii", shares)):
        datasets.write_volume(datasets.Volume(array, found.affine), tmp_path / name, like=source)
        written, theirs = nibabel.load(tmp_path / name), nibabel.load(source)
        for form in ("get_qform", "get_sform"):
            ours, given = (getattr(image, form)(coded=True) for image in (written, theirs))
            assert ours[1] == given[1]
            assert given[0] is None or np.array_equal(ours[0], given[0])
        np.testing.assert_allclose(written.affine, theirs.affine, rtol=1e-6)
        assert written.header.get_xyzt_units()[0] == unit
        again = datasets.read_volume(tmp_path / name)
        assert np.array_equal(again.array, array)
        assert again.geometry.difference(found.geometry) is None
    if kind is nibabel.Nifti1Image:  # ITK does not read the other
        np.testing.assert_array_equal(itk(tmp_path / "mask.nii.gz"), itk(source))


def test_metaimage_and_nifti_are_placed_by_what_was_read(tmp_path):
    source = scan(tmp_path / "scan.nii.gz", (1, 2))
    found = datasets.read_volume(source)
    datasets.write_volume(found, tmp_path / "a.mha", like=source)
    datasets.write_volume(found, tmp_path / "b.nii", like=tmp_path / "a.mha")
    for name in ("a.mha", "b.nii"):
        assert datasets.read_volume(tmp_path / name).geometry.difference(found.geometry) is None


def test_a_place_that_programs_may_doubt_is_told(tmp_path):
    def told(codes, unit="mm", shift=5.0):
        return datasets.place_doubt(scan(tmp_path / "scan.nii.gz", codes, unit, shift))

    assert told((1, 2)) == "qform and sform 5 mm apart"
    assert told((1, 1), "micron") == "qform and sform 5 mm apart"
    assert told((0, 0)) == "neither qform nor sform"
    assert [told((1, 1), shift=0), told((0, 1)), told((1, 0))] == [None] * 3
    datasets.write_volume(datasets.read_volume(tmp_path / "scan.nii.gz"), tmp_path / "a.mha")
    assert datasets.place_doubt(tmp_path / "a.mha") is None


@pytest.mark.parametrize("quaternion", [(1, 1, 0), (np.nan, 0, 0)])
def test_a_qform_that_no_program_can_use_is_told_where_the_sform_is_believed(tmp_path, quaternion):
    image = nibabel.load(scan(tmp_path / "scan.nii", (1, 1)))
    expected, content = image.affine, bytearray((tmp_path / "scan.nii").read_bytes())
    content[256:268] = np.array(quaternion, "<f4").tobytes()
    (tmp_path / "scan.nii").write_bytes(content)
    np.testing.assert_allclose(datasets.read_volume(tmp_path / "scan.nii").affine, expected)
    assert datasets.place_doubt(tmp_path / "scan.nii") == "a qform that is no rotation"


@pytest.mark.parametrize("sides", [(4, 5), (4, 5, 1)])
def test_one_slice_of_unknown_thickness_and_its_mask(tmp_path, sides):
    """As programs write that place a picture in space: the sform says nothing of a third axis."""
    header = nibabel.Nifti1Header()
    header.set_data_shape(sides)
    header.set_data_dtype(np.int16)
    header["vox_offset"], header["sform_code"] = 352, 1
    header["srow_x"], header["srow_y"], header["srow_z"] = (0, 0, 0, 5), (2, 0, 0, 6), (0, -3, 0, 7)
    pixels = np.arange(20, dtype=np.int16)
    (tmp_path / "scan.nii").write_bytes(header.binaryblock + bytes(4) + pixels.tobytes())
    found = datasets.read_volume(tmp_path / "scan.nii")
    assert found.affine.tolist() == [[0, 0, -1, 5], [2, 0, 0, 6], [0, -3, 0, 7], [0, 0, 0, 1]]
    mask = datasets.Volume(np.ones((1, 5, 4), np.uint8), found.affine)
    datasets.write_volume(mask, tmp_path / "mask.nii.gz", like=tmp_path / "scan.nii")
    assert datasets.read_volume(tmp_path / "mask.nii.gz").geometry.difference(found.geometry) is None
