"""Adapters, labels, volumes, the cache, splits and the leakage guard."""

import dataclasses
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets import CamVid, DataError, Phantom, Promise12, Volume, write_volume
from datasets.grid import resize_image, resize_mask
from datasets.labels import LabelMap
from datasets.leakage import leaks, refuse
from datasets.normalise import ImageNet, MinMax, Percentile
from datasets.prepare import LeakageWarning, prepare
from datasets.split_file import Recorded
from datasets.splits import FromFile, Holdout, KFold, Official
from datasets.still import read_image, read_mask
from segloss_tests.cases import SHARES, cache, people
from segloss_tests.stills import make_camvid

# CamVid


def test_camvid_lists_frames_with_parts_and_sequences(camvid):
    cases = CamVid(str(camvid)).cases()
    assert [sum(case.part == part for case in cases) for part in ("train", "val", "test")] == [6, 2, 3]
    assert {case.group for case in cases} == {"A", "B", "C"}


def test_camvid_void_is_ignored(camvid):
    adapter = CamVid(str(camvid))
    case = adapter.cases()[0]
    raw = np.asarray(Image.open(case.mask))
    mask = adapter.read(case).mask[0]
    assert (mask[raw == 11] == 255).all()
    assert (mask[raw < 11] == raw[raw < 11]).all()


def broken(camvid, how):
    first = camvid / "train" / "A_000.png"
    mask = camvid / "trainannot" / "A_000.png"
    if how == "root":
        return camvid / "elsewhere"
    if how == "empty":
        for path in (camvid / "val").iterdir():
            path.unlink()
    if how == "mask missing":
        mask.unlink()
    if how == "image missing":
        first.unlink()
    if how == "sizes":
        Image.new("L", (30, 24)).save(mask)
    if how == "truncated":
        first.write_bytes(first.read_bytes()[:200])
    if how == "not an image":
        first.write_text("hello")
    if how == "label":
        Image.fromarray(np.full((24, 32), 200, np.uint8)).save(mask)
    if how == "colours":
        Image.new("RGB", (32, 24), (9, 8, 7)).save(mask)
    return camvid


@pytest.mark.parametrize(
    ("how", "names", "says"),
    [
        ("root", "elsewhere", "no such folder; set data.root"),
        ("empty", "valannot/B_000.png", "no image of this name"),
        ("mask missing", "train/A_000.png", "no mask"),
        ("image missing", "trainannot/A_000.png", "no image of this name"),
        ("sizes", "trainannot/A_000.png", "30x24 pixels, but its image"),
        ("truncated", "train/A_000.png", "damaged or cut short"),
        ("not an image", "train/A_000.png", "not a readable image"),
        ("label", "trainannot/A_000.png", "label 200 (768 pixels)"),
        (
            "colours",
            "trainannot/A_000.png",
            "an image of colours (RGB), such as [9, 8, 7] in 768 pixels; expected a mask of labels",
        ),
    ],
)
def test_what_is_wrong_is_named(camvid, tmp_path, how, names, says):
    adapter = CamVid(str(broken(camvid, how)))
    with pytest.raises(DataError) as error:
        list(cache(adapter, tmp_path / "cache").decode(adapter.cases()))
    assert names in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_palette_mask_is_read_by_index(tmp_path):
    image = Image.fromarray(np.array([[0, 3], [11, 7]], np.uint8), mode="P")
    image.putpalette([9, 8, 7] * 256)
    image.save(tmp_path / "p.png")
    assert read_mask(tmp_path / "p.png", coloured=False).tolist() == [[[0, 3], [11, 7]]]


def test_grey_images_become_rgb(tmp_path):
    Image.new("L", (3, 2), 77).save(tmp_path / "g.png")
    assert read_image(tmp_path / "g.png", 3).shape == (1, 2, 3, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
def test_labels_of_any_integer_dtype(dtype):
    labels = LabelMap({"a": [0], "b": [5, 90]}, ignore=[7])
    assert labels(np.array([[[0, 5, 90, 7]]], dtype), Path("m")).tolist() == [[[0, 1, 1, 255]]]


# Volumes of patients


def test_promise12_names_what_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"no such folder; set data\.root"):
        Promise12(str(tmp_path / "no")).cases()
    with pytest.raises(DataError, match=r"no scan here; expected CaseNN\.mhd"):
        Promise12(str(tmp_path)).cases()
    write_volume(Volume(np.zeros((3, 4, 5), np.int16), np.eye(4)), tmp_path / "Case01.mhd")
    with pytest.raises(DataError, match=r"no mask .*Case01_segmentation\.mhd"):
        Promise12(str(tmp_path)).cases()
    write_volume(Volume(np.zeros((2, 4, 5), np.uint8), np.eye(4)), tmp_path / "Case01_segmentation.mhd")
    adapter = Promise12(str(tmp_path))
    with pytest.raises(DataError, match=r"_segmentation\.mhd: does not lie on the grid of .*Case01\.mhd"):
        adapter.read(adapter.cases()[0])


def test_phantoms_are_rare_hidden_and_repeatable(tmp_path):
    adapter = Phantom(str(tmp_path / "a"), patients=4)
    decoded = [adapter.read(case) for case in adapter.cases()]
    masks = np.stack([d.mask for d in decoded])
    assert 0.01 < masks.mean() < 0.03
    assert (masks.sum((2, 3)) == 0).sum(1).min() >= 4  # several slices are empty
    values = np.stack([d.image.array[..., 0] for d in decoded])
    best = max(
        2 * (side & (masks > 0)).sum() / (side.sum() + masks.sum())
        for t in np.quantile(values, np.linspace(0, 1, 60))
        for side in (values > t, values <= t)
    )
    assert best < 0.4
    again = Phantom(str(tmp_path / "b"), patients=4)
    assert all(
        np.array_equal(again.read(case).image.array, one.image.array)
        for case, one in zip(again.cases(), decoded, strict=True)
    )
    assert not list(tmp_path.glob("a/.making*"))


# Resizing and normalisation


def test_resizing_keeps_the_place_of_things():
    """A square in the middle of the image is in the middle after resizing, in image and mask alike."""
    image = np.zeros((1, 40, 60, 1), np.float32)
    image[0, 10:30, 20:40] = 1
    small = resize_image(image, (1, 20, 30))
    mask = resize_mask((image[..., 0] > 0).astype(np.uint8), (1, 20, 30))
    assert np.array_equal(small[0, ..., 0] > 0.5, mask[0] > 0)
    assert mask[0, 5:15, 10:20].all()
    assert mask.sum() == 100


@pytest.mark.parametrize(("length", "to"), [(800, 200), (800, 100), (400, 200), (300, 250)])
@pytest.mark.parametrize("across", [(20, 24), (20, 10), (20, 20)])
@pytest.mark.parametrize("turned", [False, True])
def test_an_axis_that_shrinks_is_averaged_in_its_place_whatever_the_other_does(length, to, across, turned):
    noise = np.random.default_rng(0).random(length)
    edges = np.arange(to + 1) * length / to
    whole = np.concatenate([[0], np.cumsum(noise)])
    expected = np.diff(np.interp(edges, np.arange(length + 1), whole)) / (length / to)
    image = np.tile(noise.astype(np.float32), (across[0], 1))[None, ..., None]
    if turned:
        found = resize_image(image.swapaxes(1, 2), (1, to, across[1])).swapaxes(1, 2)
    else:
        found = resize_image(image, (1, across[1], to))
    np.testing.assert_allclose(found[0, ..., 0], np.tile(expected, (across[1], 1)), atol=1e-4)


@pytest.mark.parametrize("channels", [5, 12, 200])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("size", [(20, 30), (27, 41), (80, 90), (27, 90)])
def test_many_channels_are_resized_as_each_alone(channels, dtype, size):
    image = np.random.default_rng(0).integers(0, 256, (2, 40, 60, channels)).astype(dtype)
    found = resize_image(image, (2, *size))
    for channel in range(channels):
        np.testing.assert_array_equal(found[..., [channel]], resize_image(image[..., [channel]], (2, *size)))


def test_masks_get_no_new_labels():
    mask = np.random.default_rng(0).choice([0, 9, 255], (2, 31, 47)).astype(np.uint8)
    assert set(np.unique(resize_mask(mask, (5, 64, 20)))) == {0, 9, 255}


def test_percentile_gives_zero_mean_and_unit_deviation():
    image = np.random.default_rng(0).gamma(2, 100, (5, 20, 20, 1)).astype(np.float32)
    found = Percentile(1, 99)(image)
    seen = (found.image - found.mean) / found.deviation
    assert (found.image.min(), found.image.max()) == (0, 1)
    assert (seen.mean(), seen.std()) == pytest.approx((0, 1), abs=1e-5)


def test_other_normalisations():
    image = np.array([10.0, 20.0, 30.0], np.float32).reshape(1, 1, 3, 1)
    assert MinMax()(image).image.ravel().tolist() == [0, 0.5, 1]
    assert np.isfinite(Percentile()(np.full((1, 4, 4, 1), 7.0)).image).all()
    with pytest.raises(DataError, match="RGB of 8 or 16 bits, got float32 of 1"):
        ImageNet()(image)


# The cache


def test_the_cache_reads_each_source_once(camvid, tmp_path):
    adapter = CamVid(str(camvid))
    cases = adapter.cases()
    first = list(cache(adapter, tmp_path / "cache").decode(cases))
    for folder in camvid.iterdir():
        for path in folder.iterdir():  # same size and time, but no image any more
            stat = path.stat()
            path.write_bytes(b"x" * stat.st_size)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = list(cache(adapter, tmp_path / "cache").decode(cases))
    assert first == second
    assert second[0].image(0).shape == (24, 32, 3)


def test_a_changed_source_or_setting_is_noticed(camvid, tmp_path):
    adapter = CamVid(str(camvid))
    cases = adapter.cases()
    first = next(cache(adapter, tmp_path / "cache").decode([cases[0]]))
    time.sleep(0.01)
    Image.fromarray(np.full((24, 32, 3), 9, np.uint8)).save(cases[0].image)
    changed = next(cache(adapter, tmp_path / "cache").decode([cases[0]]))
    assert (changed.image(0) == 9).all()
    assert changed.digest != first.digest
    small = next(cache(adapter, tmp_path / "cache", size=(12, 16)).decode([cases[0]]))
    assert small.image(0).shape == (12, 16, 3)
    assert small.references().shape == (1, 24, 32)


def test_a_changed_raw_file_behind_a_header_is_noticed(tmp_path):
    adapter = Phantom(str(tmp_path), patients=3)
    case = adapter.cases()[0]
    first = next(cache(adapter, tmp_path / "cache", (96, 96)).decode([case]))
    time.sleep(0.01)
    write_volume(Volume(np.ones((20, 96, 96), np.int16), np.eye(4)), tmp_path / "other.mhd")
    (tmp_path / "other.zraw").replace(case.image.with_suffix(".zraw"))
    with pytest.raises(DataError, match="damaged"):  # the header's size no longer fits
        next(cache(adapter, tmp_path / "cache", (96, 96)).decode([case]))
    assert first.shape == (20, 96, 96)


def test_a_damaged_cache_file_is_made_anew(camvid, tmp_path):
    adapter = CamVid(str(camvid))
    case = adapter.cases()[0]
    first = next(cache(adapter, tmp_path / "cache").decode([case]))
    pixels = first.image(0)
    first.path.write_bytes(first.path.read_bytes()[:50])
    assert np.array_equal(next(cache(adapter, tmp_path / "cache").decode([case])).image(0), pixels)


def test_files_are_readable_by_colleagues(camvid, tmp_path):
    adapter = CamVid(str(camvid))
    made = next(cache(adapter, tmp_path / "cache").decode(adapter.cases()))
    (tmp_path / "plain").write_text("")
    assert made.path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_one_nan_voxel_is_named(tmp_path):
    volume = np.zeros((3, 4, 5), np.float32)
    volume[1, 2, 3] = np.nan
    write_volume(Volume(volume, np.eye(4)), tmp_path / "Case01.mhd")
    write_volume(Volume(np.zeros((3, 4, 5), np.uint8), np.eye(4)), tmp_path / "Case01_segmentation.mhd")
    adapter = Promise12(str(tmp_path))
    with pytest.raises(DataError, match=r"Case01\.mhd: 1 of 60 voxels are NaN"):
        list(cache(adapter, tmp_path / "cache", (4, 5)).decode(adapter.cases()))


# Splits


def groups_of(split, part):
    return {name[:3] for name in split[part]}


@pytest.mark.parametrize("splitter", [Holdout(test=3, val=2), Holdout(test=0.25, val=0.2), KFold(folds=4, val=2)])
def test_parts_are_whole_groups_and_hold_every_case(splitter):
    split = splitter(people(), SHARES)
    parts = [groups_of(split, part) for part in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 12
    assert (len(parts[1]), len(parts[2])) == (2, 3)
    assert sum(map(len, split.values())) == 24


def test_folds_cover_every_group_once_and_are_stratified():
    tests = [groups_of(KFold(folds=4, fold=fold)(people(), SHARES), "test") for fold in range(4)]
    assert sorted(group for test in tests for group in test) == sorted({case.group for case in people()})
    sums = [sum(int(group[1:]) for group in test) for test in tests]
    assert max(sums) - min(sums) <= 12  # dealt by foreground: a random deal differs by 20 and more


@pytest.mark.parametrize("seed", range(4))
def test_the_first_folds_get_what_is_left_over(seed):
    tests = [groups_of(KFold(folds=4, fold=fold, seed=seed)(people(10), SHARES), "test") for fold in range(4)]
    assert [len(test) for test in tests] == [3, 3, 2, 2]


def official(groups, held_out):
    """Cases of which the last groups are the test of the data set itself."""
    first = f"p{groups - held_out:02d}"
    return [dataclasses.replace(case, part="train" if case.group < first else "test") for case in people(groups)]


@pytest.mark.parametrize(("val", "count"), [(None, 1), (0, 0), (2, 2), (0.5, 5)])
def test_groups_of_an_official_training_part_validate(val, count):
    split = Official(val)(official(12, 2), SHARES)
    train, validation, test = (groups_of(split, part) for part in ("train", "val", "test"))
    assert (len(train), len(validation), test) == (10 - count, count, {"p10", "p11"})
    assert not train & validation
    assert sum(map(len, split.values())) == 24


def test_one_of_two_official_training_groups_validates():
    split = Official()(official(3, 1), SHARES)
    assert {len(groups_of(split, part)) for part in ("train", "val", "test")} == {1}
    with pytest.raises(DataError, match="of the group 'p00', so none can validate"):
        Official()(official(2, 1), SHARES)


def test_splits_repeat_and_repeats_differ():
    for kind in (Holdout, KFold):
        first, again, other = (kind(**seed)(people(), SHARES) for seed in ({}, {"seed": 0}, {"seed": 1}))
        assert first == again != other
    draws = {json.dumps(Holdout(test=3, repeats=5, fold=fold)(people(), SHARES)["test"]) for fold in range(5)}
    assert len(draws) > 2


def test_a_split_of_many_groups_takes_no_longer_than_they_are_many():
    """Of the processor; to look each group up in a list would take a minute."""
    cases = [datasets.Case(name, name, Path(name), Path(name)) for name in map("{:06d}".format, range(60_000))]
    began = time.process_time()
    split = Holdout(test=0.5)(cases, dict.fromkeys((case.id for case in cases), 0.0))
    assert time.process_time() - began < 5
    assert [len(split[part]) for part in ("train", "val", "test")] == [27_000, 3_000, 30_000]


def test_no_validation_where_none_is_wanted():
    assert KFold(folds=3, val=0)(people(), SHARES)["val"] == []


def test_split_from_a_file(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps([{"train": ["p00s0"], "test": ["p01s0"]}, {"train": ["p01s0"], "test": ["p00s0"]}]))
    assert FromFile(str(path), fold=1)(people(), {}) == {"train": ["p01s0"], "val": [], "test": ["p00s0"]}
    for content, says in [
        ('{"train": ["nobody"]}', "'nobody', which the data set does not have"),
        ('{"train": ["p00s0"], "test": ["p00s0"]}', "'p00s0' is in train and in test"),
        ('{"trian": []}', "expected"),
        ('{"train": [["a"]]}', "must be a list of case ids"),
        ('{"train": ["p00s0", 1]}', "must be a list of case ids"),
        ("[{}]", "1 folds, counted from 0; data.split.fold is 1"),
        ("{", "not a JSON file"),
    ]:
        path.write_text(content)
        with pytest.raises(DataError, match=says):
            FromFile(str(path), fold=1)(people(), {})
    with pytest.raises(DataError, match="no such file"):
        FromFile(str(tmp_path / "no.json"))(people(), {})
    path.write_text(json.dumps({"train": [r"clinic\a.png"], "test": ["clinic/b.nii.gz"]}))
    cases = [datasets.Case(name, name, Path(name), Path(name)) for name in ("clinic/a", "clinic/b")]
    assert FromFile(str(path))(cases, {}) == {"train": ["clinic/a"], "val": [], "test": ["clinic/b"]}
    assert FromFile(str(path)).divisions() == 1


def recorded(train, val, test):
    return {"train": train.split(), "val": val.split(), "test": test.split()}


@pytest.mark.parametrize(
    ("content", "val", "split", "is_cut", "other"),
    [
        ({"train": ["a", "b"], "val": ["c"], "test": ["d"]}, 0, recorded("a b", "c", "d"), False, None),
        ({"train": ["a", "b"], "val": ["c"], "test": ["d"]}, 0, recorded("a", "c", "d"), False, "b"),
        ({"train": ["a", "b"], "val": ["c"], "test": ["d"]}, 0, recorded("a", "c", "d"), True, None),
        ({"train": ["a", "b"], "val": ["c"], "test": ["d"]}, 0, recorded("a b", "c", "d e"), False, "e"),
        ({"train": ["a", "b"], "val": ["c"], "test": ["d"]}, 0, recorded("a b e", "c", "d"), True, "e"),
        ({"train": ["a", "b", "c"], "test": ["d"]}, 1, recorded("a b", "c", "d"), False, None),
        ({"train": ["a", "b", "c"], "test": ["d"]}, 1, recorded("a", "c", "d"), False, "b"),
        ({"train": ["a", "b", "c"], "val": ["d"]}, 0, recorded("a b c", "", "d"), False, None),
        ({"train": ["a", "b", "c"], "val": ["d"]}, 1, recorded("a b", "c", "d"), False, None),
        ({"train": ["a.png", "b"], "val": ["d"]}, 0, recorded("a", "", "d"), False, "b"),
    ],
)
def test_a_run_goes_on_with_the_file_that_it_began_with(tmp_path, content, val, split, is_cut, other):
    (tmp_path / "split.json").write_text(json.dumps(content))
    splitter = FromFile(str(tmp_path / "split.json"), val=val)
    if other is None:
        splitter.refuse_other(split, "split.json", is_cut)
    else:
        with pytest.raises(
            DataError, match=f"1 cases, such as {other!r}, are not in the parts that runs/x has them in"
        ):
            splitter.refuse_other(split, "runs/x", is_cut)


def test_the_recorded_split_has_the_wanted_parts_alone():
    split = recorded("p00s0 p00s1", "p01s0", "p02s0")
    assert Recorded(split, "runs/x")(people(), {}) == split
    wanted = Recorded(split, "runs/x", ["val"])
    assert wanted(people(), {}) == recorded("", "p01s0", "")
    assert (wanted.ids, wanted.divisions()) == ({"p01s0"}, 1)


@pytest.mark.parametrize(
    ("splitter", "cases", "says"),
    [
        (KFold(folds=5), people(3), "3 groups cannot make 5 folds"),
        (Holdout(test=2, val=2), people(4), "none are left for training"),
        (Holdout(), people(1), "cannot be divided"),
        (Official(), people(3), "no official part"),
    ],
)
def test_splits_that_cannot_be(splitter, cases, says):
    with pytest.raises(DataError, match=says):
        splitter(cases, {case.id: 0.0 for case in cases})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Holdout(test=0), "test must be"),
        (lambda: Holdout(test=1.5), "test must be"),
        (lambda: Holdout(val=-1), "val must be"),
        (lambda: Holdout(test=float("nan")), "test must be"),
        (lambda: KFold(val=float("inf")), "val must be"),
        (lambda: Holdout(seed=-1), "seed must be ≥ 0, got -1"),
        (lambda: KFold(seed=-1), "seed must be ≥ 0"),
        (lambda: Official(seed=-1), "seed must be ≥ 0"),
        (lambda: FromFile("x", seed=-1), "seed must be ≥ 0"),
        (lambda: KFold(folds=1), "folds must be ≥ 2"),
        (lambda: KFold(folds=3, fold=3), r"fold must be in 0\.\.2"),
        (lambda: Holdout(fold=1), r"fold must be in 0\.\.0 \(repeats is 1\)"),
        (lambda: FromFile("x", fold=-1), "fold must be ≥ 0"),
    ],
)
def test_split_ranges(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# Leakage


def test_the_guard_names_groups_and_twins(camvid, tmp_path):
    first = camvid / "train" / "A_000.png"
    (camvid / "test" / "C_000.png").write_bytes(first.read_bytes())
    adapter = CamVid(str(camvid))
    decoded = list(cache(adapter, tmp_path / "cache").decode(adapter.cases()))
    parts = {part: [c for c in decoded if c.case.part == part] for part in ("train", "val", "test")}
    assert [leak.said for leak in leaks(parts)] == ["the cases 'A_000' (train) and 'C_000' (test) have equal pixels"]
    parts["val"] = [*parts["val"], parts["train"].pop()]
    says = r"the group 'A' is in train and in val; .*equal pixels; put each group .*exclude: \['C_000'\]"
    with pytest.raises(DataError, match=says):
        refuse(list(leaks(parts)))


def test_an_official_split_that_leaks_warns_and_others_refuse(tmp_path):
    root = make_camvid(tmp_path / "camvid", (("train", "A", 4), ("val", "B", 2), ("test", "A", 0)))
    for index in range(2):
        for kind in ("train", "trainannot"):
            source = root / kind / f"A_00{index}.png"
            source.rename(root / kind.replace("train", "test") / source.name)
    adapter = CamVid(str(root))
    store = cache(adapter, tmp_path / "cache")
    with pytest.warns(LeakageWarning, match="the group 'A' is in train and in test"):
        prepare(store, Official(), official=True)
    ids = {part: [case.id for case in adapter.cases() if case.part == part] for part in ("train", "val", "test")}
    (tmp_path / "split.json").write_text(json.dumps(ids))
    with pytest.raises(DataError, match=r"the group 'A' is in train and in test.*data\.group: case"):
        prepare(store, FromFile(str(tmp_path / "split.json")))
    assert len(prepare(store, FromFile(str(tmp_path / "split.json")), group="case").parts["test"]) == 2


def test_groups_by_a_pattern(camvid, tmp_path):
    adapter = CamVid(str(camvid))
    store = cache(adapter, tmp_path / "cache")
    data = prepare(store, Holdout(test=2, val=1), group=r"_00(\d)")
    digits = {part: {cached.case.id[-1] for cached in cases} for part, cases in data.parts.items()}
    assert not digits["train"] & digits["test"]
    with pytest.raises(DataError, match=r"data\.group 'x\+' does not match the case id 'A_000'"):
        prepare(store, Holdout(), group="x+")


def test_an_empty_part_is_refused(camvid, tmp_path):
    adapter = CamVid(str(camvid))
    (tmp_path / "split.json").write_text('{"train": ["A_000"]}')
    with pytest.raises(DataError, match="the test part is empty"):
        prepare(cache(adapter, tmp_path / "cache"), FromFile(str(tmp_path / "split.json")))


def test_counts_are_those_of_a_slow_loop(camvid, tmp_path):
    adapter = CamVid(str(camvid))
    decoded = list(cache(adapter, tmp_path / "cache").decode(adapter.cases()))
    found = datasets.add_slices(*datasets.Samples(decoded).counts())
    for c in range(11):
        masks = [cached.mask(0) for cached in decoded]
        assert found["pixels"][c] == sum(int((m == c).sum()) for m in masks)
        assert found["images"][c] == sum(bool((m == c).any()) for m in masks)
        assert found["pixels_of_images"][c] == sum(int((m < 255).sum()) for m in masks if (m == c).any())


def test_components_by_hand(tmp_path):
    root = make_camvid(tmp_path / "c", (("train", "A", 1), ("val", "B", 1), ("test", "C", 1)))
    mask = np.zeros((24, 32), np.uint8)
    mask[2:4, 2:4] = mask[10:12, 10:12] = 5
    Image.fromarray(mask).save(root / "trainannot" / "A_000.png")
    adapter = CamVid(str(root))
    found = datasets.add_slices(
        *datasets.Samples([next(cache(adapter, tmp_path / "cache").decode([adapter.cases()[0]]))]).counts()
    )
    assert (found["components"][0], found["components"][5], found["components"][1]) == (1, 2, 0)
