"""Data sets with a layout of their own list the cases that a listing written here finds, with the same pixels."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import (
    CamVid,
    CamVid701,
    Cityscapes,
    DataError,
    Folder,
    NiftiFolder,
    Promise12,
    Volume,
    noted,
    write_volume,
)
from segloss_tests.stills import GROUPED, PALETTE, TRAIN_IDS, make_camvid, make_camvid701, make_cityscapes, save

DATA = Path(os.environ.get("SEGLOSS_DATA", "nowhere"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def listed(cases):
    """What decides about a case, in the order of the adapter."""
    return [(case.id, case.group, case.part, case.image, case.mask) for case in cases]


def camvid_cases(root):
    """Every frame of three folders, known by the name of its file; its sequence stands before the first underscore."""
    return [
        (name[:-4], name.split("_")[0], part, root / part / name, root / f"{part}annot" / f"{name[:-4]}.png")
        for part in ("train", "val", "test")
        for name in names(root / part)
        if name.endswith((".png", ".jpg"))
    ]


def promise_cases(root):
    """Every scan of one folder."""
    numbers = sorted(name[4:-4] for name in names(root) if name.endswith(".mhd") and "_segm" not in name)
    return [(f"Case{n}", f"Case{n}", None, root / f"Case{n}.mhd", root / f"Case{n}_segmentation.mhd") for n in numbers]


def cityscapes_cases(root):
    """Every image of every city, of `val` for the test."""
    return [
        (
            name.removesuffix("_leftImg8bit.png"),
            city,
            {"train": "train", "val": "test"}[folder],
            root / "leftImg8bit" / folder / city / name,
            root / "gtFine" / folder / city / name.replace("_leftImg8bit", "_gtFine_labelIds"),
        )
        for folder in ("train", "val")
        for city in names(root / "leftImg8bit" / folder)
        for name in names(root / "leftImg8bit" / folder / city)
    ]


def test_camvid_is_listed_flat(tmp_path):
    root = make_camvid(tmp_path)
    save(root / "train/backup/A_099.png", np.zeros((4, 4, 3), np.uint8))
    save(root / "train/.hidden.png", np.zeros((4, 4, 3), np.uint8))
    (root / "train/notes.txt").write_text("no image")
    (root / "train/.hidden.png").rename(root / "train/.A_098.png")
    expected = [case for case in camvid_cases(root) if not case[0].startswith(".")]
    assert len(expected) == 11
    assert listed(CamVid(str(root)).cases()) == expected
    for case in CamVid(str(root)).cases():
        raw = np.asarray(Image.open(case.mask))
        assert np.array_equal(CamVid(str(root)).read(case).mask[0], np.where(raw == 11, 255, raw))


def test_camvid701_groups_colours_and_sequences(tmp_path):
    root = make_camvid701(tmp_path)
    names = sorted(path.stem for path in (root / "701_StillsRaw_full").iterdir())
    adapter = CamVid701(str(root))
    assert [(case.id, case.group, case.part) for case in adapter.cases()] == [
        (name, name.split("_")[0], None) for name in names
    ]
    for case in adapter.cases():
        assert case.mask == root / "LabeledApproved_full" / f"{case.id}_L.png"
        raw = np.asarray(Image.open(case.mask)).astype(int)
        expected = np.zeros(raw.shape[:2], int)
        for colour, index in zip(PALETTE.astype(int), GROUPED, strict=True):
            expected[(raw == colour).all(-1)] = index
        assert np.array_equal(adapter.read(case).mask[0], expected)


def test_cityscapes_reads_two_folders_of_cities(tmp_path):
    root = make_cityscapes(tmp_path)
    save(root / "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png", np.zeros((4, 4, 3), np.uint8))
    save(root / "leftImg8bit/train/stray_leftImg8bit.png", np.zeros((4, 4, 3), np.uint8))
    save(root / "leftImg8bit/train/ulm/more/deep_leftImg8bit.png", np.zeros((4, 4, 3), np.uint8))
    adapter = Cityscapes(str(root))
    found = listed(adapter.cases())
    (root / "leftImg8bit/train/stray_leftImg8bit.png").unlink()
    for path in sorted((root / "leftImg8bit/train/ulm").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (root / "leftImg8bit/train/ulm").rmdir()
    assert found == cityscapes_cases(root)
    assert len(found) == 6
    for case in adapter.cases():
        assert np.array_equal(adapter.read(case).mask[0], TRAIN_IDS[np.asarray(Image.open(case.mask))])


def test_promise12_takes_scans_that_are_called_case(tmp_path):
    volume = Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    for name in ("Case02", "Case10", "other"):
        write_volume(volume, tmp_path / f"{name}.mhd")
        write_volume(Volume(volume.array % 2, np.eye(4)), tmp_path / f"{name}_segmentation.mhd")
    write_volume(volume, tmp_path / "Case99_segmentation.mhd")  # a mask without its scan is passed over
    write_volume(volume, tmp_path / "deeper.mhd")
    (tmp_path / "more").mkdir()
    write_volume(volume, tmp_path / "more/Case03.mhd")
    adapter = Promise12(str(tmp_path))
    assert listed(adapter.cases()) == [case for case in promise_cases(tmp_path) if case[0] in ("Case02", "Case10")]
    assert (adapter.classes, adapter.channels, adapter.labels.ignored()) == (("background", "prostate"), 1, [])


def test_they_are_presets_of_folder_and_nifti(tmp_path):
    """The general adapters with the patterns and labels spelled out read the same pixels."""
    root = make_camvid(tmp_path / "camvid")
    own = CamVid(str(root))
    labels = {name: index for index, name in enumerate(own.classes)}
    general = Folder(str(root), labels, "{part}/{name}.png", "{part}annot/{name}.png", ignore=[11])
    by_image = {case.image: general.read(case) for case in general.cases()}
    for case in own.cases():
        ours, theirs = own.read(case), by_image[case.image]
        assert np.array_equal(ours.image.array, theirs.image.array)
        assert np.array_equal(ours.mask, theirs.mask)
    volume = Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([2.0, 3.0, 4.0, 1.0]))
    write_volume(volume, tmp_path / "Case00.mhd")
    write_volume(Volume(volume.array % 2, volume.affine), tmp_path / "Case00_segmentation.mhd")
    patterns = "{name}.mhd", "{name}_segmentation.mhd"
    general, own = NiftiFolder(str(tmp_path), *patterns, {"background": 0, "prostate": 1}), Promise12(str(tmp_path))
    assert listed(general.cases()) == listed(own.cases())
    ours, theirs = own.read(own.cases()[0]), general.read(general.cases()[0])
    assert np.array_equal(ours.image.array, theirs.image.array)
    assert np.array_equal(ours.mask, theirs.mask)


def test_a_part_that_is_not_there_is_noted_and_missed_by_the_official_split_alone(tmp_path):
    """Without `val` Cityscapes can still be divided by city."""
    for name in ("aachen/a", "bremen/b"):
        save(tmp_path / f"leftImg8bit/train/{name}_leftImg8bit.png", np.zeros((4, 4, 3), np.uint8))
        save(tmp_path / f"gtFine/train/{name}_gtFine_labelIds.png", np.full((4, 4), 7, np.uint8))
    with noted() as lines:
        cases = Cityscapes(str(tmp_path)).cases()
    assert [case.id for case in cases] == ["a", "b"]
    assert lines == [
        f"1 folder(s) without image: {tmp_path}/leftImg8bit/val; expected leftImg8bit and gtFine, in both train and "
        "val, in these CITY/*_leftImg8bit.png"
    ]


@pytest.mark.parametrize(
    ("adapter", "says"),
    [
        (CamVid701, r"701_StillsRaw_full: no such folder; expected 701_StillsRaw_full and LabeledApproved_full"),
        (Cityscapes, r"train: no such folder; expected leftImg8bit and gtFine"),
        (Promise12, r"no scan here; expected CaseNN\.mhd and CaseNN_segmentation\.mhd"),
    ],
)
def test_the_layout_is_named_where_it_is_another(tmp_path, adapter, says):
    save(tmp_path / "train/a.png", np.zeros((4, 4, 3), np.uint8))
    save(tmp_path / "trainannot/a.png", np.zeros((4, 4), np.uint8))
    if adapter is CamVid701:
        (tmp_path / "trainannot").rename(tmp_path / "masks")
    with pytest.raises(DataError, match=says):
        adapter(str(tmp_path)).cases()


@pytest.mark.skipif(not (DATA / "camvid").is_dir(), reason="set SEGLOSS_DATA to the folder of the data sets")
def test_the_real_camvid():
    assert listed(CamVid(str(DATA / "camvid")).cases()) == camvid_cases(DATA / "camvid")


@pytest.mark.skipif(not (DATA / "promise12").is_dir(), reason="set SEGLOSS_DATA to the folder of the data sets")
def test_the_real_promise12():
    assert listed(Promise12(str(DATA / "promise12")).cases()) == promise_cases(DATA / "promise12")
