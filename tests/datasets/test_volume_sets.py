"""Data sets of volumes: layouts, orientation, grids, slices, context; and predictions back in the scanner's space."""

import contextlib
import json
import threading
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from nibabel import orientations

import datasets
from datasets import DataError, NiftiFolder, Promise12, Samples, Volume, read_volume, write_volume
from datasets.counts import slice_counts
from datasets.grid import between_slices, network_shape, resize_image, resize_mask
from datasets.labels import looks_like_background
from datasets.scan import AXES, GridRule, in_file, read_scan, with_scan_masks
from datasets.slices import kept_slices, neighbours
from engine.configuration.config import ScoresSection
from engine.scoring import inference
from engine.scoring.inference import between, labels_of, resized
from segloss_tests.cases import MARKED, cache

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def scan_of(shape=(4, 5, 6), channels=None):
    """A scan whose values name their voxel, and a mask that marks some."""
    rng = np.random.default_rng(0)
    array = rng.permutation(int(np.prod(shape))).reshape(shape).astype(np.float32)
    if channels:
        array = np.stack([array + 1000 * c for c in range(channels)], axis=-1)
    mask = np.zeros(shape, np.uint8)
    mask[1:3, 1:4, 2:5] = 1
    mask[2, 2, 3] = 2
    return array, mask


def write_case(folder: Path, name: str, suffix=".nii.gz", affine=LPS, **kind):
    folder.mkdir(parents=True, exist_ok=True)
    array, mask = scan_of(**kind)
    write_volume(Volume(array, affine), folder / f"{name}{suffix}")
    write_volume(Volume(mask, affine), folder / f"{name}_seg{suffix}")
    return array, mask


# Orientation


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_every_stored_order_gives_the_same_slices(tmp_path, suffix):
    """The same anatomy stored in 48 orders is cut into the same slices; nibabel stores it."""
    array, mask = scan_of()
    by_index = nibabel.Nifti1Image(array.transpose(2, 1, 0), LPS @ np.diag([0.7, 0.7, 3, 1]))
    marked = nibabel.Nifti1Image(mask.transpose(2, 1, 0), by_index.affine)
    for axes, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        order = np.array([[axis, flip] for axis, flip in zip(axes, flips, strict=True)], float)
        files = []
        for name, stored in (("scan", by_index), ("mask", marked)):
            turned = stored.as_reoriented(order)
            path = tmp_path / f"{name}{suffix}"
            if suffix == ".mha":
                write_volume(Volume(np.asarray(turned.dataobj).transpose(2, 1, 0), turned.affine), path)
            else:
                nibabel.save(turned, path)
            files.append(path)
        scan = read_scan(files[:1], "axial")
        found = with_scan_masks(scan, datasets.Case("s", "s", files[0], files[1]), MARKED)
        assert np.array_equal(found.image.array[..., 0], array)
        assert np.array_equal(found.mask, mask)
        np.testing.assert_allclose(found.spacing, (3, 0.7, 0.7), rtol=1e-6)
        back = in_file(found.mask, found.image)
        assert np.array_equal(back.array, read_volume(files[1]).array)  # what is predicted lands where it was
        np.testing.assert_allclose(back.affine, read_volume(files[0]).affine, atol=1e-6)


def test_slice_axes_are_those_of_a_radiologist(tmp_path):
    """A voxel at a known place of the body stands where each view shows it: nibabel says what the letters mean."""
    array = np.zeros((3, 4, 5), np.float32)  # slices to the head, rows to the back, columns to the left
    array[2, 0, 4] = 1  # head, front, left
    write_volume(Volume(array, LPS), tmp_path / "s.nii.gz")
    assert orientations.aff2axcodes(LPS) == ("L", "P", "S")
    places = {"axial": (2, 0, 4), "coronal": (0, 0, 4), "sagittal": (4, 0, 0)}  # of slice, row, column
    assert set(places) == set(AXES)
    for axis, place in places.items():
        found = read_scan([tmp_path / "s.nii.gz"], axis).array[..., 0]
        assert np.argwhere(found == 1).tolist() == [list(place)]


def test_a_mask_of_another_grid_is_refused_or_resampled_as_simpleitk_does(tmp_path):
    array, mask = scan_of((6, 8, 10))
    write_volume(Volume(array, LPS), tmp_path / "s.nii.gz")
    small = np.ascontiguousarray(np.repeat(mask, 2, axis=2))
    finer = LPS.copy()
    finer[0, 0], finer[0, 3] = -0.5, 0.25
    write_volume(Volume(small, finer), tmp_path / "m.nii.gz")
    scan = read_scan([tmp_path / "s.nii.gz"], "axial")
    files = (tmp_path / "s.nii.gz", tmp_path / "m.nii.gz")
    case = datasets.Case("s", "s", *files)
    with pytest.raises(DataError, match=r"m\.nii\.gz: does not lie on the grid of .*s\.nii\.gz: .*data\.resample"):
        with_scan_masks(scan, case, MARKED)
    found = with_scan_masks(scan, case, MARKED, GridRule(resample=True))
    image, moving = SimpleITK.ReadImage(str(files[0])), SimpleITK.ReadImage(str(files[1]))
    expected = SimpleITK.Resample(moving, image, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    assert np.array_equal(found.mask, SimpleITK.GetArrayFromImage(expected))


# Layouts


def msd(root: Path, channels=2, count=4):
    for index in range(count):
        array, mask = scan_of(channels=channels if channels > 1 else None)
        for folder, what in (("imagesTr", array), ("labelsTr", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            write_volume(Volume(what, LPS), root / folder / f"prostate_{index:02d}.nii.gz")
    content = {
        "modality": {str(c): f"m{c}" for c in range(channels)},
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "training": [
            {"image": f"./imagesTr/prostate_{i:02d}.nii.gz", "label": f"./labelsTr/prostate_{i:02d}.nii.gz"}
            for i in range(count)
        ],
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return content


def nnunet(root: Path, ending=".nii.gz", count=3):
    array, mask = scan_of()
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        for channel in range(2):
            write_volume(Volume(array + 1000 * channel, LPS), root / f"imagesTr/c{index}_{channel:04d}{ending}")
        write_volume(Volume(mask, LPS), root / f"labelsTr/c{index}{ending}")
    content = {
        "channel_names": {"0": "T2", "1": "ADC"},
        "labels": {"background": 0, "gland": 1, "tumour": 2},
        "numTraining": count,
        "file_ending": ending,
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return content


def test_with_what_a_dataset_json_says_an_adapter_does_without_it(tmp_path):
    """`resolved` gives arguments; YAML and JSON can hold them."""
    content = nnunet(tmp_path)
    content["labels"]["ignore"] = 7
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    first = NiftiFolder(str(tmp_path))
    said = json.loads(json.dumps(first.resolved()))
    assert said == {"labels": {"background": [0], "gland": [1], "tumour": [2]}, "ignore": [7], "channels": 2}
    case = first.cases()[1]
    decoded = first.read(case)
    (tmp_path / "dataset.json").unlink()
    again = NiftiFolder(str(tmp_path), **said)
    assert (again.classes, again.background, again.channels) == (first.classes, first.background, 2)
    assert 7 in again.labels.ignored()
    assert again.resolved() == {}
    found = again.read(case)
    assert np.array_equal(found.image.array, decoded.image.array)
    assert np.array_equal(found.mask, decoded.mask)
    assert again.is_image(case.image)
    assert not again.is_image(case.mask)


def test_adapters_without_such_a_file_resolve_nothing(tmp_path):
    labels = {"background": 0, "gland": 1}
    adapters = [
        Promise12(str(tmp_path)),
        NiftiFolder(str(tmp_path), "{name}.nii", "{name}_seg.nii", labels),
        datasets.Folder(str(tmp_path), labels),
        datasets.Dicom(str(tmp_path), labels=labels),
        datasets.Phantom(str(tmp_path)),
    ]
    assert [adapter.resolved() for adapter in adapters] == [{}] * 5


@pytest.mark.parametrize(
    ("classes", "index"), [(["a", "Background"], 1), (["background"], 0), (["bg", "gland"], None), ([], None)]
)
def test_the_index_of_the_background(classes, index):
    assert datasets.background_index(classes) == index
    assert datasets.class_index(["a", "b"], "b") == 1
    assert datasets.class_index(["a", "b"], None) is None


def test_the_decathlon_is_read_with_its_channels_and_names(tmp_path):
    msd(tmp_path)
    adapter = NiftiFolder(str(tmp_path))
    assert (adapter.classes, adapter.channels, adapter.background) == (("background", "PZ", "TZ"), 2, "background")
    cases = adapter.cases()
    assert [case.id for case in cases] == [f"prostate_{i:02d}" for i in range(4)]
    array, mask = scan_of(channels=2)
    found = adapter.read(cases[0])
    assert np.array_equal(found.image.array, array)
    assert np.array_equal(found.mask, mask)


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_nnunet_is_read_with_its_channel_files(tmp_path, ending):
    nnunet(tmp_path, ending)
    adapter = NiftiFolder(str(tmp_path))
    case = adapter.cases()[1]
    assert case.id == "c1"
    assert np.array_equal(adapter.read(case).image.array, scan_of(channels=2)[0])
    names = {f"c1_0000{ending}", f"c1_0001{ending}", f"c1{ending}", "dataset.json"}
    assert {path.name for path in adapter.sources(case)} == names
    assert [adapter.is_image(path) for path in sorted((tmp_path / "imagesTr").glob("c0*"))] == [True, False]


def test_regions_become_classes_by_labels(tmp_path):
    """The regions of a BraTS-like dataset.json are refused, but not where data.labels says what the values are."""
    content = nnunet(tmp_path)
    content["labels"] = {"background": 0, "whole": [1, 2], "core": 2}
    content["regions_class_order"] = [1, 2]
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    adapter = NiftiFolder(str(tmp_path), labels={"background": 0, "rim": 1, "core": 2})
    assert (adapter.classes, adapter.channels) == (("background", "rim", "core"), 2)
    assert np.array_equal(adapter.read(adapter.cases()[0]).mask, scan_of()[1])
    with pytest.raises(DataError, match="'whole' is a region"):
        _ = NiftiFolder(str(tmp_path)).classes


def test_background_is_background_in_whatever_case(tmp_path):
    content = nnunet(tmp_path)
    content["labels"] = {"Background": 0, "gland": 1, "tumour": 2}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert NiftiFolder(str(tmp_path)).background == "Background"
    assert looks_like_background(["Background", "rest"]) is None
    assert looks_like_background(["BG", "gland"]) == "BG"
    assert looks_like_background(["gland", "tumour"]) is None


def test_a_missing_root_and_stills_of_nnunet_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder; set data\.root"):
        _ = NiftiFolder(str(tmp_path / "nowhere")).classes
    content = nnunet(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps(content | {"file_ending": ".png"}))
    with pytest.raises(DataError, match=r"file_ending '\.png'; expected one of \.mhd, .*data\.name: folder"):
        NiftiFolder(str(tmp_path)).cases()


def test_outside_a_channel_is_air(tmp_path):
    """A CT channel that covers the lower half of the scan alone: beyond it lies -1000, not water."""
    write_volume(Volume(np.zeros((4, 5, 6), np.float32), LPS), tmp_path / "a.nii")
    write_volume(Volume(np.linspace(-1000, 500, 60, dtype=np.float32).reshape(2, 5, 6), LPS), tmp_path / "b.nii")
    found = read_scan([tmp_path / "a.nii", tmp_path / "b.nii"], "axial", GridRule(resample=True)).array[..., 1]
    assert (found[3] == -1000).all()
    assert found[1].max() == 500


def test_patterns_find_channels_in_folders_of_patients(tmp_path):
    for patient in ("p1", "p2"):
        array, mask = scan_of()
        (tmp_path / "train" / patient).mkdir(parents=True)
        write_volume(Volume(array, LPS), tmp_path / "train" / patient / "t2.nii.gz")
        write_volume(Volume(array + 1000, LPS), tmp_path / "train" / patient / "adc.mha")
        write_volume(Volume(mask, LPS), tmp_path / "train" / patient / "gland.nii.gz")
    labels = {"background": 0, "gland": [1, 2]}
    adapter = NiftiFolder(
        str(tmp_path), ["{part}/{name}/t2.nii.gz", "{part}/{name}/adc.mha"], "{part}/{name}/gland.nii.gz", labels
    )
    assert [(case.id, case.part) for case in adapter.cases()] == [("train/p1", "train"), ("train/p2", "train")]
    found = adapter.read(adapter.cases()[0])
    assert np.array_equal(found.image.array, scan_of(channels=2)[0])
    assert found.mask.max() == 1
    assert [p.name for p in sorted(tmp_path.rglob("*.*")) if adapter.is_image(p)] == ["t2.nii.gz"] * 2


def test_masks_beside_scans_are_told_apart(tmp_path):
    for name in ("a", "b"):
        write_case(tmp_path, name)
    adapter = NiftiFolder(str(tmp_path), "{name}.nii.gz", "{name}_seg.nii.gz", {"background": 0, "rest": [1, 2]})
    assert [case.id for case in adapter.cases()] == ["a", "b"]
    assert [path.name for path in sorted(tmp_path.iterdir()) if adapter.is_image(path)] == ["a.nii.gz", "b.nii.gz"]
    (tmp_path / "b_seg.nii.gz").unlink()
    with pytest.raises(DataError, match=r"b\.nii\.gz: no mask .*b_seg\.nii\.gz; add it"):
        adapter.cases()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda c: c.pop("labels"), r'dataset\.json: labels must be \{"background": 0'),
        (lambda c: c.update(labels={"background": 0, "all": [1, 2]}), "the label 'all' is a region"),
        (lambda c: c.update(labels={"background": 0, "gland": "1"}), "the label 'gland' has the value '1'"),
        (lambda c: c.update(modality={"1": "T2"}), "channel_names"),
        (lambda c: c["training"].append({"image": "../x.nii.gz", "label": "y"}), "is no file below"),
        (
            lambda c: c["training"].append({"image": "./imagesTr/no.nii.gz", "label": "./labelsTr/no.nii.gz"}),
            "no such file",
        ),
        (lambda c: c.update(training=[]), "no training case"),
        (lambda c: c.update(training=[7]), "training must list"),
    ],
)
def test_what_is_wrong_in_a_dataset_json_is_named(tmp_path, edit, says):
    content = msd(tmp_path)
    edit(content)
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=says):
        _ = NiftiFolder(str(tmp_path)).classes, NiftiFolder(str(tmp_path)).cases()


def test_other_wrong_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.json: no such file; .*set data\.images"):
        _ = NiftiFolder(str(tmp_path)).classes
    (tmp_path / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="not a JSON file"):
        _ = NiftiFolder(str(tmp_path)).classes
    msd(tmp_path, channels=1)
    (tmp_path / "dataset.json").write_text(
        (tmp_path / "dataset.json").read_text().replace('"0": "m0"', '"0": "a", "1": "b"')
    )
    adapter = NiftiFolder(str(tmp_path))
    with pytest.raises(DataError, match=r"1 channel\(s\); expected 2"):
        adapter.read(adapter.cases()[0])
    with pytest.raises(DataError, match=r"names 2 channel\(s\), a, b, but data.channels is 1"):
        NiftiFolder(str(tmp_path), channels=1).cases()
    for arguments, says in [
        ({"images": "{name}.nii"}, "masks: images and masks go together"),
        ({"images": "{name}.nii", "masks": "m/{name}.nii"}, "labels: missing"),
        ({"images": "x.nii", "masks": "m/{name}.nii", "labels": {"a": 0, "b": 1}}, "images: 'x.nii' does not hold"),
        ({"channels": 0}, "channels: 0, but"),
    ]:
        with pytest.raises(ValueError, match=says):
            NiftiFolder(str(tmp_path), **arguments)


def test_two_dimensions_are_one_slice_and_channels_too_many_are_refused_by_name(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5), np.float32), np.eye(4)), tmp_path / "flat.nii.gz")
    assert read_scan([tmp_path / "flat.nii.gz"], "axial").array.shape == (1, 5, 4, 1)
    (tmp_path / "p").mkdir()
    write_volume(Volume(scan_of(channels=3)[0], LPS), tmp_path / "p/Case01.mhd")
    write_volume(Volume(scan_of()[1], LPS), tmp_path / "p/Case01_segmentation.mhd")
    adapter = Promise12(str(tmp_path / "p"))
    with pytest.raises(DataError, match=r"3 channel\(s\); expected 1$"):
        adapter.read(adapter.cases()[0])


# The network's grid


def test_the_shape_of_the_network_by_size_and_by_spacing():
    assert network_shape((20, 300, 200), (3.0, 0.5, 0.5), (224, 224), None) == (20, 224, 224)
    assert network_shape((20, 300, 200), (3.0, 0.5, 0.5), None, (1.5, 1.0, None)) == (40, 150, 200)
    assert network_shape((2, 30, 20), (1.0, 1.0, 1.0), None, (9.0, None, None)) == (1, 30, 20)  # never none
    assert network_shape((1, 30, 20), None, None, (1.0, 1.0, 1.0)) == (1, 30, 20)  # a still has no millimetres


def test_resampled_slices_keep_the_mean_and_the_place():
    """Averaging keeps the mean; a ramp stays a ramp; labels are those of the slice a new slice's middle lies in."""
    rng = np.random.default_rng(0)
    image = rng.random((12, 6, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(resize_image(image, (4, 6, 5)).mean(), image.mean(), rtol=1e-6)
    np.testing.assert_allclose(resize_image(image, (4, 6, 5))[1], image[3:6].mean(0), rtol=1e-5)
    ramp = np.broadcast_to(np.arange(6, dtype=np.float32)[:, None, None, None], (6, 2, 2, 1))
    finer = resize_image(np.ascontiguousarray(ramp), (12, 2, 2))[:, 0, 0, 0]
    np.testing.assert_allclose(finer[1:-1], (np.arange(1, 11) + 0.5) / 2 - 0.5, atol=1e-6)
    mask = np.arange(6, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
    assert resize_mask(mask, (3, 2, 2))[:, 0, 0].tolist() == [1, 3, 5]
    assert resize_mask(mask, (12, 2, 2))[:, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@pytest.mark.parametrize("most", [1, 200, 2**21])
@pytest.mark.parametrize(("count", "shape"), [(5, (5, 12, 9)), (4, (10, 6, 8)), (10, (3, 7, 7)), (1, (4, 5, 5))])
def test_logits_come_back_as_trilinear_interpolation_does(count, shape, most, monkeypatch):
    """In chunks of any size the same numbers, those of torch's trilinear interpolation of the whole volume."""
    monkeypatch.setattr(inference, "PIXELS", most)
    planes = torch.randn(count, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    one_by_one = [chunk for plane in planes for chunk in resized(plane[None], shape[1:])]
    together = list(resized(planes, shape[1:]))
    found = torch.cat(list(between(together, count, shape[0]))).movedim(1, 0)
    assert torch.equal(found, torch.cat(list(between(one_by_one, count, shape[0]))).movedim(1, 0))
    whole = torch.nn.functional.interpolate(planes.movedim(0, 1)[None], shape, mode="trilinear", align_corners=False)[0]
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-6)
    assert len(between_slices(count, shape[0])) == shape[0]


def test_the_largest_component_is_kept_in_3d():
    labels = torch.zeros(3, 6, 8, dtype=torch.long)
    labels[0, 1, 1] = labels[1, 2, 2] = labels[2, 3, 3] = 1  # joined by corners alone, over slices
    labels[0, 5, 6:8] = 1  # two of its own slice
    labels[1, 0, 7] = 2
    logits = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    kept = labels_of([logits], ScoresSection(largest_component=True), background=0)
    expected = labels.clone()
    expected[0, 5, 6:8] = 0
    assert torch.equal(kept, expected)
    assert torch.equal(labels_of([logits], ScoresSection(), background=0), labels)


# Slices


def test_slices_with_foreground_and_a_margin():
    masks = np.zeros((9, 2, 2), np.uint8)
    masks[3, 0, 0], masks[4, 1, 1], masks[8, 0, 0] = 1, 2, 255
    pixels, _ = slice_counts(masks, 3)
    assert pixels[3].tolist() == [3, 1, 0]
    assert kept_slices(pixels, "all", 0) == list(range(9))
    assert kept_slices(pixels, "foreground", 0) == [3, 4]
    assert kept_slices(pixels, 2, 0) == [1, 2, 3, 4, 5, 6]
    assert kept_slices(pixels[3:], 2, 0) == [0, 1, 2, 3]


def test_evenly_spaced():
    assert datasets.evenly_spaced(3, 8) == [0, 1, 2]
    assert datasets.evenly_spaced(15, 8) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert datasets.evenly_spaced(1, 8) == [0]


def test_context_repeats_the_ends():
    assert neighbours(0, 3, 1) == [0, 0, 1]
    assert neighbours(2, 3, 2) == [0, 1, 2, 2, 2]
    assert neighbours(0, 1, 1) == [0, 0, 0]


def test_context_stacks_neighbours_as_channels(tmp_path):
    write_case(tmp_path, "Case01", ".mhd")
    (tmp_path / "Case01_seg.mhd").rename(tmp_path / "Case01_segmentation.mhd")
    adapter = Promise12(str(tmp_path), labels={"background": 0, "gland": [1, 2]})
    decoded = list(cache(adapter, tmp_path / "cache", size=None).decode(adapter.cases()))
    plain, wide = Samples(decoded), Samples(decoded, context=1)
    assert wide[1]["image"].shape == (3, 5, 6)
    assert torch.equal(wide[1]["image"], torch.cat([plain[index]["image"] for index in (0, 1, 2)]))
    assert torch.equal(wide[3]["image"], torch.cat([plain[index]["image"] for index in (2, 3, 3)]))
    few = Samples(decoded, keep=lambda case: kept_slices(np.array(case.counts[0]), "foreground", 0))
    assert [index for _, index in few.slices] == [1, 2]
    assert datasets.add_slices(*few.counts())["pixels"] == [2 * 30 - 18, 18]


# The cache


def test_resampled_cases_are_cached_on_both_grids(tmp_path):
    write_case(tmp_path, "Case01", ".mhd", affine=LPS @ np.diag([1, 1, 4, 1]))
    (tmp_path / "Case01_seg.mhd").rename(tmp_path / "Case01_segmentation.mhd")
    adapter = Promise12(str(tmp_path), labels={"background": 0, "gland": [1, 2]})
    found = next(cache(adapter, tmp_path / "cache", None, spacing=(2.0, None, 0.5)).decode(adapter.cases()))
    assert (found.shape, found.original, found.spacing) == ((8, 5, 12), (4, 5, 6), (4.0, 1.0, 1.0))
    assert found.voxel_ml == pytest.approx(0.004)
    assert np.array_equal(found.references(), np.minimum(scan_of()[1], 1))
    assert found.masks().shape == found.shape


def test_the_cache_is_read_without_its_sources_and_can_be_cleared(tmp_path):
    adapter = datasets.Phantom(str(tmp_path / "p"), patients=3)
    store = cache(adapter, tmp_path / "cache", (32, 32))
    decoded = list(store.decode(adapter.cases()))
    for case in adapter.cases():
        for path in adapter.sources(case):
            path.write_bytes(b"")
    assert np.isfinite(decoded[0].image(7)).all()
    killed = next((tmp_path / "cache").iterdir())
    killed.with_name(f".{killed.name}.4711-0badcafe").write_bytes(b"half a case")
    size = sum(path.stat().st_size for path in (tmp_path / "cache").iterdir())
    assert store.held() == size
    assert store.clear() == size
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize(("room", "together"), [(datasets.cache.ROOM, 2), (1, 1)])
def test_large_scans_are_decoded_one_at_a_time(tmp_path, monkeypatch, room, together):
    """Two readers meet where there is room for both; where there is none, the second never comes while one reads."""
    adapter = datasets.Phantom(str(tmp_path / "p"), patients=3)
    cases, meeting, read, met = adapter.cases(), threading.Barrier(2), adapter.read, []

    def slowly(case):
        if case is not cases[0]:
            with contextlib.suppress(threading.BrokenBarrierError):
                met.append(meeting.wait(timeout=1.5))
        return read(case)

    monkeypatch.setattr(adapter, "read", slowly)
    monkeypatch.setattr("datasets.cache.ROOM", room)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert len(list(cache(adapter, tmp_path / "cache", (32, 32)).decode(cases))) == 3
    assert len(met) == (2 if together == 2 else 0)


def read_whole(case):
    for index in range(case.shape[0]):
        _ = case.image(index), case.mask(index)
    return case.references()


@pytest.mark.parametrize("damage", ["zeroed", "one bit", "cut", "gone"])
def test_a_cache_file_that_is_damaged_after_it_was_opened_is_told(tmp_path, damage):
    adapter = datasets.Phantom(str(tmp_path / "p"), patients=3)
    store = cache(adapter, tmp_path / "cache", (32, 32))
    case = next(store.decode(adapter.cases()))
    whole = case.path.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "zeroed": whole[:middle] + bytes(len(whole) - middle),
        "one bit": whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:],
        "cut": whole[:middle],
    }
    if damage == "gone":
        store.clear()
    else:
        case.path.write_bytes(damaged[damage])
    says = {"gone": "missing; was the cache cleared"}.get(damage, "damaged since it was decoded; remove this file")
    with pytest.raises(DataError, match=says):
        read_whole(case)
    case.path.unlink(missing_ok=True)
    assert next(store.decode(adapter.cases())).path.read_bytes() == whole


def test_windows_clip_to_the_same_intensities():
    image = np.array([-1000, -160, 40, 240, 3000], np.int16).reshape(1, 1, 5, 1)
    found = datasets.NORMALISATIONS["window"](-160, 240)(image)
    np.testing.assert_allclose(found.image.ravel(), [0, 0, 0.5, 1, 1])
    with pytest.raises(ValueError, match="high must be above low"):
        datasets.NORMALISATIONS["window"](5, 5)


def test_percentiles_of_what_is_not_zero():
    rng = np.random.default_rng(0)
    image = np.zeros((4, 20, 20, 1), np.float32)
    image[:, 5:15, 5:15] = rng.uniform(100, 200, (4, 10, 10, 1))
    found = datasets.NORMALISATIONS["percentile"](nonzero=True)(image)
    values = ((found.image - found.mean[0]) / found.deviation[0])[image != 0]
    assert abs(values.mean()) < 1e-4
    assert abs(values.std() - 1) < 1e-4
