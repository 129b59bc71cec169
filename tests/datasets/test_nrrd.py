"""NRRD, and images of two dimensions in formats of volumes; SimpleITK and nibabel write them."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK

from datasets import DataError, read_volume, volume_files

RNG = np.random.default_rng(0)
ARRAYS = {
    "short": RNG.integers(-900, 900, (3, 4, 5)).astype(np.int16),
    "double": RNG.random((3, 4, 5)),
    "vector": RNG.random((3, 4, 5, 2)).astype(np.float32),
}


def placed(array):
    image = SimpleITK.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetSpacing((0.5, 0.7, 3))
    image.SetOrigin((1, 2.5, -3))
    image.SetDirection((1, 0, 0, 0, 0, 1, 0, -1, 0))
    return image


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr"])
@pytest.mark.parametrize("kind", ARRAYS)
def test_a_nrrd_is_what_simpleitk_wrote(tmp_path, kind, suffix, packed):
    path = tmp_path / f"scan{suffix}"
    SimpleITK.WriteImage(placed(ARRAYS[kind]), str(path), useCompression=packed)
    SimpleITK.WriteImage(placed(ARRAYS[kind]), str(tmp_path / "same.mha"))
    found = read_volume(path)
    assert np.array_equal(found.array, ARRAYS[kind])
    assert found.array.dtype == ARRAYS[kind].dtype
    np.testing.assert_allclose(found.affine, read_volume(tmp_path / "same.mha").affine, atol=1e-12)
    assert len(volume_files(path)) == (2 if suffix == ".nhdr" else 1)


def header(**fields):
    lines = {"type": "uchar", "dimension": "3", "sizes": "5 4 3", "encoding": "raw", "space": "RAS",
             "space directions": "(1,0,0) (0,1,0) (0,0,2)", "space origin": "(9,8,7)", **fields}  # fmt: skip
    return ("NRRD0005\n# made by hand\n" + "".join(f"{k}: {v}\n" for k, v in lines.items() if v) + "\n").encode()


def test_a_nrrd_by_hand_as_slicer_writes_it(tmp_path):
    voxels = bytes(range(60))
    text = header(encoding="gzip").replace(b"\n\n", b"\nSegment0_Name:=tumour\nkeyvalue:=1\n\n")
    (tmp_path / "a.seg.nrrd").write_bytes(text + gzip.compress(voxels))
    found = read_volume(tmp_path / "a.seg.nrrd")
    assert found.array.tobytes() == voxels
    assert found.affine.tolist() == [[1, 0, 0, 9], [0, 1, 0, 8], [0, 0, 2, 7], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"data file": "../outside.raw"}, "is not one beside it"),
        ({"data file": "gone.raw"}, "is missing; it belongs beside the header"),
        ({"sizes": "5 4 9000"}, "180000 bytes of pixels by its header, but it holds 60"),
        ({"sizes": "5 4"}, r"sizes: 5 4, .*expected columns, rows and slices"),
        ({"dimension": "4", "sizes": "5 4 3 1", "space directions": ""}, r"sizes: 5 4 3 1, .*divide the file"),
        ({"type": "block"}, "type: block; expected integers or floats"),
        ({"encoding": "bzip2"}, "encoding: bzip2; expected raw or gzip"),
        ({"space": "scanner-xyz"}, "3 directions in the space scanner-xyz; expected three in"),
        ({"space directions": "(1,0,0) (0,1,0) (0,0,nan)"}, r"the vector \(0,0,nan\); expected three finite numbers"),
        ({"space directions": "(1,0,0) (0,1,0) (0,0,0)"}, "affine must place voxels in space"),
        ({"byte skip": "-1"}, "byteskip: -1; expected none"),
    ],
)
def test_headers_that_cannot_be_right(tmp_path, fields, says):
    (tmp_path / "outside.raw").write_bytes(bytes(60))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.nrrd").write_bytes(header(**fields) + bytes(60))
    with pytest.raises(DataError, match=says) as caught:
        read_volume(tmp_path / "in/a.nrrd")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii"])
def test_one_plane_is_one_slice(tmp_path, suffix):
    plane = RNG.integers(0, 9, (4, 5)).astype(np.uint8)
    image = SimpleITK.GetImageFromArray(plane)
    image.SetSpacing((0.5, 0.7))
    SimpleITK.WriteImage(image, str(tmp_path / f"a{suffix}"))
    if suffix == ".nii":
        nibabel.save(nibabel.Nifti1Image(plane.T, np.diag([0.5, 0.7, 1, 1])), tmp_path / "a.nii")
        content = bytearray((tmp_path / "a.nii").read_bytes())
        content[312:328] = bytes(16)  # srow_z, which a plane does not need
        (tmp_path / "a.nii").write_bytes(content)
    found = read_volume(tmp_path / f"a{suffix}")
    assert np.array_equal(found.array, plane[None])
    assert np.allclose(found.geometry.spacing, (1, 0.7, 0.5))
