"""What is said of cases though it is no error, with count, names and key; from the files and from the cache alike."""

import re

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

import datasets
from datasets import DataError, Folder, noted
from datasets.cache import Cache
from datasets.normalise import NORMALISATIONS
from datasets.remarks import Grids, note_remarks
from datasets.volume_io import read_mask_volume
from segloss_tests.stills import save
from segloss_tests.tiffs import write_tiff

RNG = np.random.default_rng(0)
LABELS = {"background": 0, "lesion": 1}


def said(adapter, folder, normalise="min_max", size=None, spacing=None, **options):
    """The lines about a data set; the second time its cases come from the cache."""
    store = Cache(
        folder / "cache", adapter, size, spacing, NORMALISATIONS[normalise](**options), f"{normalise} {options}"
    )
    lines = []
    for _ in range(2):
        decoded = list(store.decode(adapter.cases()))
        with noted() as found:
            note_remarks(decoded)
        lines.append(found)
    assert lines[0] == lines[1]
    return lines[0]


def stills(root, images, masks=None):
    for number, image in enumerate(images):
        save(root / f"images/{number}.tif", image)
        mask = np.zeros(image.shape, np.uint8) if masks is None else masks[number]
        save(root / f"masks/{number}.png", mask)
    return Folder(str(root), LABELS, channels=1)


def noise(top=200, size=(32, 32)):
    return RNG.integers(1, top, size).astype(np.float32)


def spot(row=5, column=5):
    mask = np.zeros((32, 32), np.uint8)
    mask[row, column] = 1
    return mask


def test_nothing_is_said_of_what_is_right(tmp_path):
    mask = np.zeros((32, 32), np.uint8)
    mask[4:20, 4:20] = 1
    assert said(stills(tmp_path, [noise()] * 3, [mask] * 3), tmp_path, "percentile", (16, 16)) == []


def test_a_class_that_the_size_loses(tmp_path):
    masks = [*[spot(5, 5)] * 4, np.ones((32, 32), np.uint8)]
    adapter = stills(tmp_path, [noise() for _ in masks], masks)
    (line,) = said(adapter, tmp_path, size=(8, 8))
    assert line.startswith("4 image(s) lose all of lesion on the network's grid: ")
    assert "0.tif" in line
    assert line.endswith("; see data.size and data.spacing")
    assert said(adapter, tmp_path) == []


def test_a_rare_class_that_percentiles_clip(tmp_path):
    image, mask = noise(size=(64, 64)), np.zeros((64, 64), np.uint8)
    image[40:50, 40:50] = 4000 + noise(size=(10, 10))  # 2.4 % of the image, of which the lesion is brighter still
    image[44:46, 44:46] = 9000
    mask[44:46, 44:46] = 1
    adapter = stills(tmp_path, [image], [mask])
    (line,) = said(adapter, tmp_path, "percentile", high=98.0)
    assert line.startswith("1 image(s) in which more than half of lesion is clipped to the value of other pixels: ")
    assert said(adapter, tmp_path, "percentile", low=0.0, high=100.0) == []


def test_percentiles_clip_no_label_of_a_picture(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / name / "0.png", noise().astype(np.uint8))
    adapter = datasets.Pictures(str(tmp_path), channels=1)
    store = Cache(tmp_path / "cache", adapter, None, None, NORMALISATIONS["percentile"](low=5.0, high=95.0), "5 to 95")
    case = adapter.cases()[0]
    decoded = adapter.read(case)
    assert store.remarks_of(decoded, store.normalised(decoded, case), Grids([1, 0], [1, 0])) == ()


@pytest.mark.parametrize("value", [-3.4e38, -9999.0, 1e30])
def test_a_value_for_no_data_that_sets_the_scale(tmp_path, value):
    images = [noise() for _ in range(3)]
    for image in images[1:]:
        image[:4] = value
    (line,) = said(stills(tmp_path, images), tmp_path)
    assert line.startswith(f"2 image(s) whose scale is set by one value apart from all others, {value:g}: ")
    assert "data.normalise" in line
    assert said(Folder(str(tmp_path), LABELS, channels=1), tmp_path, "window", low=0.0, high=200.0) == []


def test_images_of_one_value(tmp_path):
    flat = np.full((32, 32), 0.0, np.float32)
    low = noise(top=90)
    adapter = stills(tmp_path, [flat, low, noise()])
    first, *others = said(adapter, tmp_path)
    assert first.startswith("1 image(s) with a channel that is 0 everywhere: ")
    assert others == []
    lines = said(adapter, tmp_path, "window", low=100.0, high=200.0)
    assert lines[1].startswith("1 image(s) with a channel that is one value once it is scaled: ")


def rotated(path, orientation):
    image = Image.fromarray(RNG.integers(0, 255, (32, 32)).astype(np.uint8))
    exif = image.getexif()
    exif[0x112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif)
    return np.asarray(image)


def test_exif_is_said_and_applied_where_that_is_asked_for(tmp_path):
    stored = rotated(tmp_path / "images/a.png", 3)
    rotated(tmp_path / "images/b.png", 1)
    for name in "ab":
        save(tmp_path / f"masks/{name}.png", spot())
    adapter = Folder(str(tmp_path), LABELS, channels=1)
    (line,) = said(adapter, tmp_path)
    assert line.startswith("1 image(s) with an EXIF orientation, which is not applied: ")
    assert line.endswith("data.exif: true")
    assert np.array_equal(adapter.read(adapter.cases()[0]).image.array[0, ..., 0], stored)
    upright = Folder(str(tmp_path), LABELS, channels=1, exif=True)
    found = upright.read(upright.cases()[0])
    assert found.remarks == ()
    assert np.array_equal(found.image.array[0, ..., 0], stored[::-1, ::-1])
    assert np.array_equal(found.mask[0], spot())  # which says no orientation


def test_a_picture_on_its_side_is_recognised(tmp_path):
    image = Image.fromarray(RNG.integers(0, 255, (20, 30)).astype(np.uint8))
    exif = image.getexif()
    exif[0x112] = 6
    (tmp_path / "images").mkdir()
    image.save(tmp_path / "images/a.jpg", exif=exif)
    save(tmp_path / "masks/a.png", np.zeros((30, 20), np.uint8))
    adapter = Folder(str(tmp_path), LABELS, channels=1)
    with pytest.raises(DataError, match=r"stands on its side: .* data\.exif: true"):
        adapter.read(adapter.cases()[0])
    upright = Folder(str(tmp_path), LABELS, channels=1, exif=True)
    assert upright.read(upright.cases()[0]).image.array.shape == (1, 30, 20, 1)


def test_bands_that_are_not_read(tmp_path):
    for name, bands in (("a", 4), ("b", 3)):
        write_tiff(tmp_path / f"images/{name}.tif", [RNG.integers(0, 200, (8, 8, bands)).astype(np.uint8)])
        save(tmp_path / f"masks/{name}.png", np.eye(8, dtype=np.uint8))
    rgba = Image.fromarray(RNG.integers(0, 255, (8, 8, 4)).astype(np.uint8))
    rgba.save(tmp_path / "images/c.tif")
    save(tmp_path / "masks/c.png", np.eye(8, dtype=np.uint8))
    (line,) = said(Folder(str(tmp_path), LABELS), tmp_path)
    assert line.startswith("1 image(s) with 4 bands that are no alpha, of which 3 are read: ")
    assert "a.tif" in line
    assert line.endswith("data.channels: 4 reads all")


def test_palettes_that_differ(tmp_path):
    for number in range(4):
        save(tmp_path / f"images/{number}.png", np.zeros((8, 8), np.uint8) + np.arange(8, dtype=np.uint8))
        mask = Image.fromarray(np.eye(8, dtype=np.uint8), mode="P")
        mask.putpalette([0, 0, 0, *([0, 255, 0] if number == 3 else [255, 0, 0])])
        (tmp_path / "masks").mkdir(exist_ok=True)
        mask.save(tmp_path / f"masks/{number}.png")
    (line,) = said(Folder(str(tmp_path), LABELS, channels=1), tmp_path)
    assert line.startswith("1 mask(s) in which value 1 is #00ff00 by the palette, and #ff0000 in others: ")
    assert "masks/3.png" in line
    coloured = Folder(str(tmp_path), {"background": [[0, 0, 0]], "lesion": [[255, 0, 0], [0, 255, 0]]}, channels=1)
    assert said(coloured, tmp_path / "again") == []


# Volumes


def scan(path, array, affine=None, slope=None, sizes=None):
    affine = np.diag([0.5, 0.5, 3, 1]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    content = bytearray(path.read_bytes())
    if slope is not None:
        content[112:116] = np.float32(slope).tobytes()
    if sizes is not None:  # by qform and voxel sizes alone
        content[80:92] = np.array(sizes, "<f4").tobytes()
        content[252:256] = b"\1\0\0\0"
    path.write_bytes(content)


def volumes(root, labels=LABELS, suffix="nii", **options):
    files = {"images": f"s{{name}}.{suffix}", "masks": f"m{{name}}.{suffix}"}
    return datasets.ADAPTERS["nifti"](str(root), **files, labels=labels, **options)


SCAN, MASK = RNG.normal(100, 9, (8, 9, 5)).astype(np.float32), (RNG.random((8, 9, 5)) < 0.3).astype(np.uint8)


def test_a_voxel_size_of_zero_is_said(tmp_path):
    for name, sizes in (("0", None), ("1", (0, 0, 0)), ("2", (1, 1, 0))):
        scan(tmp_path / f"s{name}.nii", SCAN, sizes=sizes)
        scan(tmp_path / f"m{name}.nii", MASK, sizes=sizes)
    adapter = volumes(tmp_path)
    (line,) = said(adapter, tmp_path)
    assert line.startswith("2 scan(s) that do not say how large a voxel is, or 0, taken as 1 mm: ")
    assert "data.spacing" in line
    assert adapter.read(adapter.cases()[1]).spacing == (1, 1, 1)  # as it was read before
    for given in ((3, 0.4, 0.6), (3, None, None)):
        adapter = volumes(tmp_path, spacing=given)
        slice_, *plane = given
        expected = [(3, 0.5, 0.5), (slice_, *(plane if plane[0] else (1, 1))), (slice_, 1, 1)]
        found = [adapter.read(case) for case in adapter.cases()]
        np.testing.assert_allclose([one.spacing for one in found], expected, rtol=1e-6)
        assert all(np.array_equal(one.image.array, found[0].image.array) for one in found[1:])
    assert len(said(volumes(tmp_path, spacing=(3, None, None)), tmp_path / "again")) == 1
    assert said(volumes(tmp_path, spacing=(3, 1, 1)), tmp_path / "given") == []


@pytest.mark.parametrize("suffix", ["mha", "nrrd"])
def test_headers_without_voxel_sizes(tmp_path, suffix):
    """As of a NIfTI of 0; files of ITK always have them, so they are taken out of its header."""
    for name, array in (("s", SCAN), ("m", MASK)):
        image = SimpleITK.GetImageFromArray(array.T)
        image.SetSpacing((0.6, 0.4, 3))
        SimpleITK.WriteImage(image, str(tmp_path / f"{name}0.{suffix}"), useCompression=False)
        content = (tmp_path / f"{name}0.{suffix}").read_bytes()
        content = re.sub(rb"(ElementSpacing|space directions|space origin|space)(:| =) [^\n]*\n", b"", content)
        (tmp_path / f"{name}1.{suffix}").write_bytes(content)
    adapter = volumes(tmp_path, suffix=suffix)
    (line,) = said(adapter, tmp_path)
    assert line.startswith(f"1 scan(s) that do not say how large a voxel is, or 0, taken as 1 mm: {tmp_path}/s1.")
    adapter = volumes(tmp_path, suffix=suffix, spacing=(5, 0.7, 0.8))
    found = [adapter.read(case).spacing for case in adapter.cases()]
    np.testing.assert_allclose(found, [(3, 0.4, 0.6), (5, 0.7, 0.8)], rtol=1e-6)


def test_a_spacing_that_a_size_overrules_is_said(tmp_path):
    scan(tmp_path / "s0.nii", SCAN)
    scan(tmp_path / "m0.nii", MASK)
    adapter = volumes(tmp_path)
    (line,) = said(adapter, tmp_path, size=(9, 8), spacing=(3, 1, 1))
    assert line.startswith("1 scan(s) whose slices are resized to 8x9, whatever data.spacing says: ")
    for size, spacing in (((9, 8), (1, None, None)), ((9, 8), (3, 0.5, 0.5)), (None, (3, 1, 1))):
        assert said(adapter, tmp_path, size=size, spacing=spacing) == []


def test_labels_that_a_slope_scales(tmp_path):
    for name, factor, slope in (("0", 1, None), ("1", 255, 1 / 255), ("2", 10, 0.1)):
        scan(tmp_path / f"s{name}.nii", SCAN)
        scan(tmp_path / f"m{name}.nii", MASK * np.uint8(factor), slope=slope)
    adapter = volumes(tmp_path)
    for case in adapter.cases():
        assert np.array_equal(adapter.read(case).mask.sum(), MASK.sum())
    first, second = said(adapter, tmp_path)
    assert first.startswith("1 scan(s) with a mask whose header multiplies what is stored by 0.00392157 and adds 0: ")
    assert "by 0.1 and adds 0" in second
    scan(tmp_path / "m1.nii", MASK, slope=0.3)
    with pytest.raises(DataError, match=r"is no label; .* Its header scales what is stored by 0\.3 and adds 0"):
        read_mask_volume(tmp_path / "m1.nii")


def test_a_mask_in_another_place_is_not_to_be_resampled_first(tmp_path):
    scan(tmp_path / "s0.nii", SCAN)
    affine = np.diag([0.5, 0.5, 3.0, 1])
    affine[0, 3] = 4
    scan(tmp_path / "m0.nii", MASK, affine)
    adapter = volumes(tmp_path)
    with pytest.raises(
        DataError, match=r"though it has as many voxels: position .* mm apart; .* its header is wrong"
    ) as told:
        adapter.read(adapter.cases()[0])
    assert "only where its place is right" in str(told.value)
    assert "data.copy_affine: true" in str(told.value)


@pytest.mark.parametrize("wrong", ["moved", "mirrored", "scaled"])
def test_a_mask_takes_the_place_of_its_scan(tmp_path, wrong):
    """Voxel on voxel, as the arrays in the files lie, whatever either header says."""
    own = np.array([[0, 0.5, 0, 9], [-0.4, 0, 0, 3], [0, 0, 3, -7], [0, 0, 0, 1.0]])
    theirs = {
        "moved": own @ np.array([[1, 0, 0, 4], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        "mirrored": np.diag([1, -1, 1, 1.0]) @ own,
        "scaled": np.eye(4),
    }[wrong]
    scan(tmp_path / "s0.nii", SCAN, own)
    scan(tmp_path / "m0.nii", MASK, theirs)
    scan(tmp_path / "s1.nii", SCAN, own)
    scan(tmp_path / "m1.nii", MASK, own)
    adapter = volumes(tmp_path, copy_affine=True)
    moved, right = (adapter.read(case) for case in adapter.cases())
    assert np.array_equal(moved.mask, right.mask)
    assert moved.image.geometry.difference(right.image.geometry) is None
    (line,) = said(adapter, tmp_path)
    assert line.startswith(f"1 scan(s) with a mask that lies elsewhere by its header: {tmp_path}/s0.nii; ")
    scan(tmp_path / "m0.nii", MASK[:-1], own)
    with pytest.raises(DataError, match=r"m0\.nii: does not lie on the grid of .*9 x 7 x 5 voxels against"):
        adapter.read(adapter.cases()[0])
