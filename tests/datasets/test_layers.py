"""Several masks an image, one pattern a class, and files that say which pixels count."""

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets import DataError, Folder, NiftiFolder, Volume, noted, write_volume, written

LABELS = {"background": 0, "lesion": 255}


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def square(top, value=255, size=8):
    """A mask that is `value` in two rows from `top` on."""
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + 2] = value
    return mask


@pytest.fixture
def busi(tmp_path):
    """Two images as in BUSI; the second one has three lesions, a mask each."""
    for name, tops in {"benign (1)": [0], "benign (2)": [0, 3, 6]}.items():
        save(tmp_path / f"benign/{name}.png", np.full((8, 8, 3), len(tops)))
        for index, top in enumerate(tops):
            save(tmp_path / f"benign/{name}_mask{f'_{index}' if index else ''}.png", square(top))
    return tmp_path


def mask_of(adapter, index=-1):
    return adapter.read(adapter.cases()[index]).mask[0]


def test_what_this_program_wrote_into_the_data_set_is_neither_data_nor_named(busi):
    """Known by what its folders hold, whatever they are called; one that was corrected by hand is the user's."""
    adapter = Folder(str(busi), LABELS, "{name}).png", "{name})_mask*.png")
    for folder, files in {
        "a/run": ("config.yaml", "environment.json", "figures/curves).png"),
        "b/shared": ("config.yaml", "training.json", "overlays/x).png"),
        "folds": ("fold-0/config.yaml", "fold-0/environment.json", "figures/curves.png"),
        "grid": ("ablation.json", "ce/fold-0/figures/curves).png", "figures/forest.png"),
    }.items():
        for name in files:
            save(busi / folder / name, np.zeros((8, 8))) if name.endswith(".png") else touch(busi / folder / name)
    for name in ("samples.png", "mine.png"):
        save(busi / "check" / name, np.zeros((8, 8)))
    written.note(busi / "check", "check", ["samples.png", "mine.png"], finished=True)
    with noted() as lines:
        cases = adapter.cases()
    assert [case.id for case in cases] == ["benign/benign (1", "benign/benign (2"]
    assert not any("no pattern takes" in line for line in lines)
    save(busi / "check/mine.png", np.ones((8, 8)))
    save(busi / "config.png", np.ones((8, 8)))
    with noted() as lines:
        adapter.cases()
    (line,) = [line for line in lines if "no pattern takes" in line]
    assert line.startswith(f"2 file(s) that no pattern takes: {busi}/check/mine.png, {busi}/config.png; ")


def test_files_of_one_name_say_how_to_choose(tmp_path):
    volume = Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4))
    for name in ("i/x.nii.gz", "m/x.nii.gz"):
        (tmp_path / name).parent.mkdir()
        write_volume(volume, tmp_path / name)
    (tmp_path / "i/x.nrrd").write_bytes(b"NRRD0004")
    says = r"x\.nrrd: x\.nii\.gz has the same name; .* narrow data\.images, such as i/\{name\}\.nii\.gz"
    with pytest.raises(DataError, match=says):
        NiftiFolder(str(tmp_path), "i/{name}.*", "m/{name}.*", {"background": 0, "x": 1}).cases()


def test_files_that_no_pattern_takes_are_named_with_what_would_take_them(busi):
    adapter = Folder(str(busi), LABELS, "benign/{name}).png", "benign/{name})_mask.png")
    with noted() as lines:
        adapter.cases()
    (line,) = lines
    names = ", ".join(f"{busi}/benign/benign (2)_mask_{index}.png" for index in (1, 2))
    assert line.startswith(
        f"2 file(s) that no pattern takes, though their names begin like a file that one takes: {names};"
    )
    assert "data.masks with * unites" in line


def test_several_masks_of_an_image_are_united_and_that_is_said(busi):
    adapter = Folder(str(busi), LABELS, "benign/{name}.png", "benign/{name}_mask*.png")
    with noted() as lines:
        cases = adapter.cases()
    assert [case.id for case in cases] == ["benign (1)", "benign (2)"]
    assert len(adapter.sources(cases[1])) == 4
    assert lines == [
        f"1 image(s) with several masks, which are united: {busi}/benign/benign (2).png; data.masks finds them; "
        "`masks: {class: pattern, …}` gives each class its own"
    ]
    assert np.array_equal(mask_of(adapter), np.maximum.reduce([square(top, 1) for top in (0, 3, 6)]))
    assert np.array_equal(mask_of(adapter, 0), square(0, 1))


def test_the_ending_alone_unites_nothing(busi):
    save(busi / "benign/benign (2)_mask_1.bmp", square(3))
    adapter = Folder(str(busi), LABELS, "benign/{name}.png", "benign/{name}_mask*.*")
    with pytest.raises(DataError, match=r"benign \(2\)_mask.*has the same name; keep one of them"):
        adapter.cases()


def test_masks_are_united_on_background_alone(busi):
    adapter = Folder(str(busi), {"nothing": 0, "lesion": 255}, "benign/{name}.png", "benign/{name}_mask*.png")
    with pytest.raises(DataError, match=r"no class of data\.labels is named so"):
        adapter.cases()


def test_an_ignored_pixel_of_one_mask_is_ignored_in_all(tmp_path):
    save(tmp_path / "images/a.png", np.zeros((8, 8, 3)))
    save(tmp_path / "masks/a_1.png", square(0, 1))
    save(tmp_path / "masks/a_2.png", square(1, 9))
    adapter = Folder(str(tmp_path), {"background": 0, "organ": 1}, masks="masks/{name}_*.png", ignore=[9])
    assert mask_of(adapter)[:, 0].tolist() == [1, 255, 255, 0, 0, 0, 0, 0]


def by_class(root, overlap="refuse", labels=None):
    masks = {"organ": "organs/{name}.png", "lesion": "lesions/{name}*.png"}
    return Folder(str(root), labels, masks=masks, overlap=overlap)


@pytest.fixture
def classes(tmp_path):
    """Three images, each with an organ; the first has two lesions in it, drawn as 1 and as 255; the last has none."""
    for name in "abc":
        save(tmp_path / f"images/{name}.png", np.zeros((8, 8, 3)))
        save(tmp_path / f"organs/{name}.png", square(0) | square(2))
    save(tmp_path / "lesions/a_1.png", square(1, 1))
    save(tmp_path / "lesions/a_2.png", square(5))
    save(tmp_path / "lesions/b.png", square(6))
    return tmp_path


def test_one_pattern_a_class(classes):
    adapter = by_class(classes, "labels")
    assert adapter.classes == ("background", "organ", "lesion")
    with noted() as lines:
        adapter.cases()
    assert lines[1] == (
        f"1 image(s) without mask of lesion, so without lesion: {classes}/images/c.png; see data.masks.lesion"
    )
    assert mask_of(adapter, 0)[:, 0].tolist() == [1, 2, 2, 1, 0, 2, 2, 0]
    assert mask_of(adapter, 1)[:, 0].tolist() == [1, 1, 1, 1, 0, 0, 2, 2]
    assert mask_of(adapter, 2)[:, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    turned = by_class(classes, "labels", {"lesion": 7, "organ": 3, "background": 0})  # the later in labels wins
    assert mask_of(turned, 0)[:, 0].tolist() == [1, 1, 1, 1, 2, 0, 0, 2]
    assert turned.labels.values_of(np.array([0, 1, 2])).tolist() == [7, 3, 0]


def test_classes_that_overlap_are_refused_with_the_key_that_decides(classes):
    with pytest.raises(
        DataError, match=r"a_1\.png: 16 pixels that are organ by another .* are lesion here; data\.overlap"
    ):
        mask_of(by_class(classes), 0)


def test_a_mask_of_a_class_has_two_values_and_some_class_has_a_mask(classes):
    save(classes / "lesions/b.png", square(6) + square(1, 3))
    with pytest.raises(DataError, match=r"b\.png: holds 0, 3, 255; expected 0 and one other value, so threshold it"):
        mask_of(by_class(classes), 1)
    (classes / "organs/c.png").unlink()
    with pytest.raises(DataError, match=r"c\.png: no mask .*organs/c\.png; add it or remove the image"):
        by_class(classes).cases()


@pytest.mark.parametrize(
    ("masks", "options", "says"),
    [
        ({"organ": "a/{name}.png"}, {"labels": {"background": 0, "x": 1}}, "no pattern for the class x"),
        ({"organ": "a/{name}.png"}, {"labels": {"organ": 1, "x": 0}}, "must be named background"),
        ({"organ": "a/{name}.png", "y": "b/{name}.png"}, {"labels": {"background": 0, "organ": 1}}, "y is no class"),
        ({"background": "a/{name}.png"}, {}, "background is no class"),
        ({"organ": "a/{name}.png"}, {"ignore": [3]}, "ignore: masks of one class each"),
        ({"organ": "a/*.png"}, {}, r"masks.organ: .* does not hold \{name\}"),
        ({}, {}, "an empty mapping"),
        ("masks/{name}.png", {}, "labels: missing"),
        ("masks/{name}.png", {"labels": LABELS, "valid": "fov.png"}, "valid: .* does not hold"),
    ],
)
def test_classes_and_patterns_belong_together(masks, options, says):
    with pytest.raises(ValueError, match=says):
        Folder("data", masks=masks, **options)


def test_pixels_outside_the_field_of_view_do_not_count(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.png", np.zeros((8, 8, 3)))
        save(tmp_path / f"{name}_manual.png", square(3))
        save(tmp_path / f"{name}_fov.png", square(2, 1))
    adapter = Folder(str(tmp_path), LABELS, "{name}.png", "{name}_manual.png", valid="{name}_fov.png")
    cases = adapter.cases()
    assert [case.id for case in cases] == ["a", "b"]
    assert adapter.sources(cases[0])[-1] == tmp_path / "a_fov.png"
    assert mask_of(adapter)[:, 0].tolist() == [255, 255, 0, 1, 255, 255, 255, 255]
    save(tmp_path / "b_fov.png", square(0, size=7))
    with pytest.raises(DataError, match=r"b_fov\.png: 7x7 pixels, but its image"):
        mask_of(adapter)
    (tmp_path / "b_fov.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: no file .*b_fov\.png; add it"):
        adapter.cases()


def test_volumes_too(tmp_path):
    """Lesions in files of their own, an organ, and where voxels count; one file is stored in another orientation."""
    affine = np.diag([-1.0, -1.0, 3.0, 1.0])
    organ = np.zeros((3, 4, 5), np.uint8)
    organ[1, 1:3] = 1
    lesions = [np.zeros_like(organ) for _ in range(2)]
    lesions[0][1, 1, 2], lesions[1][2, 3, 4] = 1, 9
    valid = np.ones_like(organ)
    valid[0] = 0
    write_volume(Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), affine), tmp_path / "p0.nii.gz")
    write_volume(Volume(organ, affine), tmp_path / "p0_organ.nii.gz")
    for index, lesion in enumerate(lesions):
        write_volume(Volume(lesion, affine).reordered("RAS"), tmp_path / f"p0_lesion{index}.nii.gz")
    write_volume(Volume(valid, affine), tmp_path / "p0_valid.mha")
    adapter = NiftiFolder(
        str(tmp_path),
        "{name}.nii.gz",
        {"organ": "{name}_organ.nii.gz", "lesion": "{name}_lesion*.nii.gz"},
        valid="{name}_valid.mha",
        overlap="labels",
    )
    (case,) = adapter.cases()
    assert len(adapter.sources(case)) == 5
    expected = organ.astype(int)
    expected[lesions[0] > 0] = expected[lesions[1] > 0] = 2
    expected[0] = 255
    assert np.array_equal(adapter.read(case).mask, expected)
    assert [path.name for path in sorted(tmp_path.iterdir()) if adapter.is_image(path)] == ["p0.nii.gz"]


def test_scans_of_no_case_of_a_dataset_json_are_named(tmp_path):
    (tmp_path / "dataset.json").write_text(
        '{"channel_names": {"0": "T2"}, "labels": {"background": 0, "gland": 1}, "file_ending": ".mha"}'
    )
    for folder, names in {"imagesTr": ["a_0000", "b_0000", "c_0000"], "labelsTr": ["a"]}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            write_volume(Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4)), tmp_path / folder / f"{name}.mha")
    with noted() as lines:
        assert [case.id for case in NiftiFolder(str(tmp_path)).cases()] == ["a"]
    (line,) = lines
    assert line.startswith(f"2 file(s) of no case: {tmp_path}/imagesTr/b_0000.mha, {tmp_path}/imagesTr/c_0000.mha;")


def test_predictions_among_several_masks_are_no_references(busi):
    from datasets.written import note

    note(busi / "benign", "predict", ["benign (2)_mask_1.png"], finished=True)
    adapter = Folder(str(busi), LABELS, "benign/{name}.png", "benign/{name}_mask*.png")
    with pytest.raises(DataError, match=r"benign \(2\)_mask_1\.png: 1 predicted by this program"):
        datasets.list_cases(adapter, None)


def test_black_of_a_palette_is_where_nothing_is_drawn(tmp_path):
    """Pillow numbers the colours of two as it likes: here white is 0."""
    for name, drawn in (("a_mask", square(2)), ("a_fov", square(0, size=8) | square(2))):
        image = Image.fromarray(drawn).convert("RGB").quantize(2)
        assert image.getpalette()[:6] == [255, 255, 255, 0, 0, 0]
        image.save(tmp_path / f"{name}.png")
    save(tmp_path / "a.png", np.zeros((8, 8, 3)))
    adapter = Folder(str(tmp_path), None, "{name}.png", {"lesion": "{name}_mask.png"}, valid="{name}_fov.png")
    (case,) = [case for case in adapter.cases() if case.id == "a"]
    expected = np.full((8, 8), 255)
    expected[:2], expected[2:4] = 0, 1
    assert np.array_equal(adapter.read(case).mask[0], expected)
