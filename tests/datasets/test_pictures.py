"""Pictures with one label: folders, tables, CIFAR's binary files, long tails, strata."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import datasets
from datasets import Cifar10, Cifar100, DataError, Imbalance, Pictures, Shapes
from datasets.augment import Augmentation
from datasets.case import Case
from datasets.prepare import divide, prepare
from engine.configuration.build import build_loss
from engine.configuration.config import LossSection


def picture(path, value=100, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(sum(map(ord, str(path)))).integers(0, 50, (*size, 3)) + value
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def folders(root, parts=("train", "test"), classes=("b", "a"), count=3):
    for part in parts:
        for name in classes:
            for index in range(count):
                picture(root / part / name / f"{index}.png")
    return root


def cache_of(folder, adapter, size=None):
    return datasets.Cache(folder, adapter, size, None, datasets.NORMALISATIONS["imagenet"](), "")


def test_folders_of_parts_and_classes(tmp_path):
    adapter = Pictures(str(folders(tmp_path / "data")))
    cases = adapter.cases()
    assert adapter.classes == ("a", "b")
    assert adapter.resolved() == {"classes": ["a", "b"]}
    assert [(case.id, case.label, case.part) for case in cases[:4]] == [
        ("train/a/0", 0, "train"), ("train/a/1", 0, "train"), ("train/a/2", 0, "train"), ("train/b/0", 1, "train"),
    ]  # fmt: skip
    assert [case.id for case in adapter.cases(datasets.Listing(["test/b/1"]))] == ["test/b/1"]
    decoded = adapter.read(cases[3])
    assert decoded.mask.tolist() == [[[1]]]
    assert decoded.image.array.shape == (1, 8, 8, 3)


def test_folders_of_classes_alone_in_a_given_order(tmp_path):
    for name in ("cat/deep", "train", "dog/deep"):  # a class may be called as a part is
        picture(tmp_path / name / "0.jpg")
    adapter = Pictures(str(tmp_path), classes=["train", "dog", "cat"])
    assert [(case.id, case.label, case.part) for case in adapter.cases()] == [
        ("cat/deep/0", 2, None), ("dog/deep/0", 1, None), ("train/0", 0, None),
    ]  # fmt: skip


def test_names_that_are_numbers_are_in_their_order(tmp_path):
    for name in ("10", "9", "a"):
        picture(tmp_path / name / "0.png")
    assert Pictures(str(tmp_path)).classes == ("9", "10", "a")


def test_what_is_passed_over_is_noted(tmp_path):
    folders(tmp_path)
    (tmp_path / "train/a/notes.txt").write_text("x")
    (tmp_path / "valid").mkdir()
    with datasets.noted() as notes:
        assert len(Pictures(str(tmp_path)).cases()) == 12
    assert any("notes.txt" in line for line in notes)
    assert any("valid" in line and "no part" in line for line in notes)


def test_a_folder_without_an_image_is_no_class_and_no_image_is_lost_in_silence(tmp_path):
    folders(tmp_path, parts=("",))
    (tmp_path / "__MACOSX/a").mkdir(parents=True)
    (tmp_path / "__MACOSX/a/._0.png").write_bytes(b"")
    picture(tmp_path / "loose.png")
    adapter = Pictures(str(tmp_path))
    assert adapter.classes == ("a", "b")
    with datasets.noted() as notes:
        assert len(adapter.cases()) == 6
    assert [note.partition(";")[0] for note in notes] == [
        f"1 image(s) beside the folders of the classes are passed over: {tmp_path}/loose.png",
        f"1 folder(s) without an image are no classes: {tmp_path}/__MACOSX",
    ]
    with datasets.noted():
        assert len(Pictures(str(tmp_path), classes=["b", "a"]).cases()) == 6


def test_test_images_without_classes_are_noted(tmp_path):
    folders(tmp_path, parts=("train",))
    picture(tmp_path / "test/7.png")
    with datasets.noted() as notes:
        assert {case.part for case in Pictures(str(tmp_path)).cases()} == {"train"}
    assert [f"{tmp_path}/test/7.png" in note for note in notes] == [True]


@pytest.mark.parametrize("parts", [("Training", "Testing"), ("Train", "valid", "Test")])
def test_parts_of_other_names_are_not_taken_for_classes(tmp_path, parts):
    adapter = Pictures(str(folders(tmp_path, parts)))
    with pytest.raises(DataError, match=f"{', '.join(sorted(parts))} are called like parts.*train, val and test"):
        adapter.cases()
    given = Pictures(str(tmp_path), classes=list(parts))  # said, so believed
    assert {case.label for case in given.cases()} == {*range(len(parts))}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["a"]}, "classes: 1 are nothing to tell apart"),
        ({"classes": ["a", "a"]}, "classes: 'a' stands there twice"),
        ({"classes": [str(n) for n in range(2**15 + 1)]}, "classes: 32769; at most 32768"),
        ({"columns": {"file": "x"}}, "columns: are those of data.table"),
        ({"table": "t.csv", "columns": {"path": "x"}}, "columns: 'path' is none of file, label, part, group"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Pictures("nowhere", **options)


def test_folders_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        _ = Pictures(str(tmp_path / "nowhere")).classes
    folders(tmp_path / "data")
    with pytest.raises(DataError, match=r"b is none of data.classes"):
        Pictures(str(tmp_path / "data"), classes=["a", "c"]).cases()
    (tmp_path / "empty/a").mkdir(parents=True)
    (tmp_path / "empty/b").mkdir()
    with pytest.raises(DataError, match="no picture here"):
        Pictures(str(tmp_path / "empty")).cases()
    (tmp_path / "data/train/a/link.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"link.png: a link to .*nowhere.png, which is not there"):
        Pictures(str(tmp_path / "data")).cases()


def table(root, rows, delimiter=","):
    with (root / "labels.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_a_stranger(tmp_path, delimiter):
    for index in range(3):
        picture(tmp_path / f"images/p{index}.jpg")
    rows = [
        [],
        ["age", "image_id", "dx", "lesion", "split"],
        ["", "", "", "", ""],
        ["3", "images/p0", "nv", "L1", "train"],
        ["4", "images/p1.jpg", "mel", "L1", "train"],
        ["5", "images/p2", "nv", "", "test"],
    ]
    table(tmp_path, rows, delimiter)
    columns = {"file": "image_id", "label": "dx", "group": "lesion", "part": "split"}
    adapter = Pictures(str(tmp_path), table="labels.csv", columns=columns)
    assert adapter.classes == ("mel", "nv")
    assert [(case.id, case.group, case.part, case.label) for case in adapter.cases()] == [
        ("images/p0", "L1", "train", 1),
        ("images/p1", "L1", "train", 0),
        ("images/p2", "images/p2", "test", 1),
    ]


def test_a_picture_is_found_by_its_name_alone(tmp_path):
    """As tables of public data sets name them whose pictures lie in several folders."""
    for path in ("part_1/p0.jpg", "part_2/p1.jpg", "part_2/p2.png", "p3.png", "old/p3.png", "one/p4.png", "two/p4.png"):
        picture(tmp_path / path)
    table(tmp_path, [["file", "label"], ["p0", "x"], ["p1.jpg", "y"], ["p2.png", "x"], ["p3", "y"]])
    cases = Pictures(str(tmp_path), table="labels.csv").cases()
    assert [case.id for case in cases] == ["part_1/p0", "part_2/p1", "part_2/p2", "p3"]  # the own folder goes first
    for name, message in (
        ("p4.png", "labels.csv:2: .*p4.png: several images of this name: one/p4.png, two/p4.png; name its folder"),
        ("else/p0", "labels.csv:2: .*else/p0: no image of this name"),
        ("p9", "p9: no image of this name"),
    ):
        table(tmp_path, [["file", "label"], [name, "x"], ["p3", "y"]])
        with pytest.raises(DataError, match=message):
            Pictures(str(tmp_path), table="labels.csv").cases()


def test_pictures_of_a_camera_are_turned_where_that_is_asked_for(tmp_path):
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:, :8] = 200  # the left third
    root, exif = tmp_path / "data", Image.Exif()
    exif[0x0112] = 6  # to be turned right
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        Image.fromarray(pixels).save(root / f"{name}/0.jpg", exif=exif, quality=100)
    plain, upright = (Pictures(str(root), exif=turned) for turned in (False, True))
    decoded = [adapter.read(adapter.cases()[0]) for adapter in (plain, upright)]
    assert [one.image.array.shape for one in decoded] == [(1, 16, 24, 3), (1, 24, 16, 3)]
    assert decoded[1].image.array[0, :8].min() > 150 > 50 > decoded[1].image.array[0, 8:].max()
    assert [len(one.remarks) for one in decoded] == [1, 0]
    assert decoded[0].remarks[0].remedy == "data.exif: true turns them upright"
    for _ in range(2):  # decoded, and read from the cache
        cached = [*cache_of(tmp_path / "cache", plain).decode(plain.cases())]
        assert [one.remarks for one in cached] == [decoded[0].remarks] * 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["name", "label"], ["a.png", "x"]], "the column 'file' is missing; the columns are 'name', 'label'"),
        ([["file", "label"], ["a.png"]], "labels.csv:2: 1 cells; expected 2"),
        ([["file", "label"], ["a.png", ""]], "labels.csv:2: no label"),
        ([["file", "label"], ["../a.png", "x"]], "lies outside of"),
        ([["file", "label"], ["b.png", "x"]], "labels.csv:2: .*b.png: no such file"),
        ([["file", "label"], ["a.png", "x"], ["a.png", "y"]], "stands in .*labels.csv:2 already"),
        ([["file", "label", "part"], ["a.png", "x", "dev"]], "the part 'dev' is none of train, val, test"),
        ([["file", "label"], ["a.png", "x"]], "classes: 1 are nothing to tell apart"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, rows, message):
    picture(tmp_path / "a.png")
    table(tmp_path, rows)
    with pytest.raises(DataError, match=message):
        Pictures(str(tmp_path), table="labels.csv").cases()


def binary(path, labels, width=1, seed=0):
    """Records with the label last among `width` label bytes; returns the pixels `(N, 32, 32, 3)`."""
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    content = b""
    for label, plane in zip(labels, planes, strict=True):
        content += bytes([label // 5] * (width - 1) + [label]) + plane.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return planes.transpose(0, 2, 3, 1)


def test_cifar10_is_read_as_it_was_written(tmp_path):
    for number in range(1, 6):
        binary(tmp_path / f"cifar-10-batches-bin/data_batch_{number}.bin", [number, 9], seed=number)
    pixels = binary(tmp_path / "cifar-10-batches-bin/test_batch.bin", [3, 0, 7])
    adapter = Cifar10(str(tmp_path))
    cases = adapter.cases()
    assert [(case.part, case.label) for case in cases][-4:] == [("train", 9), ("test", 3), ("test", 0), ("test", 7)]
    assert [case.id for case in cases][-1] == "test/test_batch/00002"
    assert len(cases) == 13
    for case, expected in zip(cases[-3:], pixels, strict=True):
        np.testing.assert_array_equal(adapter.read(case).image.array[0], expected)
    assert adapter.classes[3] == "cat"


@pytest.mark.parametrize(("label", "expected", "count"), [("fine", 99, 100), ("coarse", 19, 20)])
def test_cifar100_has_fine_and_coarse_labels(tmp_path, label, expected, count):
    binary(tmp_path / "train.bin", [0, 99], width=2)
    binary(tmp_path / "test.bin", [4], width=2)
    adapter = Cifar100(str(tmp_path), label)
    assert [case.label for case in adapter.cases()] == [0, expected, 4 if label == "fine" else 0]
    assert len(set(adapter.classes)) == count
    assert list(adapter.classes) == sorted(adapter.classes)  # as they are numbered


def test_cifar_that_is_damaged_or_pickled_is_refused(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x04pickle")
    with pytest.raises(DataError, match="data_batch_1 is the pickled version, which is never opened"):
        Cifar10(str(tmp_path)).cases()
    (tmp_path / "data_batch_1.bin").write_bytes(b"\x00" * 3072)
    with pytest.raises(DataError, match="3072 bytes; expected a multiple of 3073"):
        Cifar10(str(tmp_path)).cases()
    binary(tmp_path / "data_batch_1.bin", [1, 10])
    with pytest.raises(DataError, match="record 1 has the label 10; expected 0 to 9"):
        Cifar10(str(tmp_path)).cases()


def cases_of(sizes):
    return [
        Case(f"{label}-{n:04d}", f"{label}-{n:04d}", Path("x"), Path("x"), "train", label=label)
        for label, size in enumerate(sizes)
        for n in range(size)
    ]


@pytest.mark.parametrize(
    ("classes", "largest", "factor", "total", "ends"),
    [(10, 5000, 100, 12_406, (5000, 50)), (100, 500, 100, 10_847, (500, 5)), (10, 5000, 1, 50_000, (5000, 5000)),
     (10, 5000, 200, 11_203, (5000, 25)), (10, 5000, 10, 20_431, (5000, 500))],
)  # fmt: skip
def test_long_tails_have_the_sizes_of_the_papers(classes, largest, factor, total, ends):
    """12,406 and 10,847 pictures: long-tailed CIFAR-10 and CIFAR-100 (Cui 2019, Cao 2019)."""
    sizes = Imbalance("long_tail", [""] * classes, factor).sizes(largest)
    assert (sum(sizes), sizes[0], sizes[-1]) == (total, *ends)
    assert Imbalance("long_tail", [""] * classes, factor, rarest="first").sizes(largest) == sizes[::-1]


def test_the_tail_that_was_seen_and_a_step():
    tail = Imbalance("long_tail", [""] * 10, 100).sizes(5000)
    assert tail == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert Imbalance("step", [""] * 10, 50).sizes(5000) == [5000] * 5 + [100] * 5
    assert Imbalance("step", [""] * 3, 10).sizes(100) == [100, 100, 10]


def test_a_smaller_factor_keeps_more_of_the_same():
    cases = cases_of([40] * 4)
    some = Imbalance("long_tail", list("abcd"), 10).keep(cases)
    more = Imbalance("long_tail", list("abcd"), 4).keep(cases)
    other = Imbalance("long_tail", list("abcd"), 10, seed=1).keep(cases)
    assert set(some) < set(more)
    assert len(other) == len(some)
    assert set(other) != set(some)
    assert some == sorted(some)  # in the order they came


def test_a_tail_that_a_class_is_too_small_for_is_refused():
    with pytest.raises(DataError, match=r"b has 10 training pictures, and 40 are to be kept of it; set .*largest"):
        Imbalance("long_tail", ["a", "b"], 1).keep(cases_of([40, 10]))
    with pytest.raises(DataError, match="b has 40 training pictures, and 0 are to be kept"):
        Imbalance("step", ["a", "b"], 100).keep(cases_of([40, 40]))


@pytest.mark.parametrize(("sizes", "factor"), [([22, 21, 20], 1.1), ([24, 20, 9], 2), ([9, 30, 4], 3)])
def test_the_size_that_is_named_for_a_small_class_is_the_largest_that_fits(sizes, factor):
    names = ["a", "b", "c"]
    with pytest.raises(DataError, match=r"set data.imbalance.largest: (\d+), which fits") as error:
        Imbalance("long_tail", names, factor, largest=max(sizes) + 9).keep(cases_of(sizes))
    named = int(str(error.value).split("largest: ")[1].split(",")[0])
    assert Imbalance("long_tail", names, factor, largest=named).keep(cases_of(sizes))
    with pytest.raises(DataError):
        Imbalance("long_tail", names, factor, largest=named + 1).keep(cases_of(sizes))


def test_a_tail_that_no_size_fits_is_told_the_factor():
    with pytest.raises(DataError, match=r"0 are to be kept of it; set data.imbalance.factor lower"):
        Imbalance("step", ["a", "b"], 100).keep(cases_of([40, 40]))


class Counted:
    def __init__(self, case, classes):
        self.case, self.digest = case, case.id
        self.pixels = [int(case.label == index) for index in range(classes)]


@pytest.mark.parametrize("fold", range(5))
def test_folds_and_validation_parts_hold_every_class(fold):
    """Of 3 birds and 5 frogs among 92 pictures each fold of five holds about its share, and validation too."""
    sizes = [60, 24, 5, 3]
    cases = cases_of(sizes)
    splitter = datasets.SPLITS["kfold"](folds=5, fold=fold, val=0.25)
    split = divide(cases, [Counted(case, 4) for case in cases], splitter, None).split
    for part, share in (("test", 0.2), ("val", 0.2)):
        for label, size in enumerate(sizes):
            found = sum(name.startswith(f"{label}-") for name in split[part])
            assert abs(found - share * size) <= 1, (part, label, found)


def test_a_group_counts_by_its_rarest_class():
    """Ten groups hold class 1, four of these also class 2: of every half of the groups, two."""
    cases = [
        Case(f"g{group}-{label}", f"g{group}", Path("x"), Path("x"), None, label=label)
        for group in range(20)
        for label in ([0, 1, 2] if group < 4 else [0, 1] if group < 10 else [0])
    ]
    for seed in range(3):
        splitter = datasets.SPLITS["kfold"](folds=2, val=0, seed=seed)
        split = divide(cases, [Counted(case, 3) for case in cases], splitter, None).split
        assert sum(name.endswith("-2") for name in split["test"]) == 2
        assert sum(name.endswith("-1") for name in split["test"]) == 5


def test_decoded_pictures_keep_their_label_and_their_size(tmp_path):
    adapter = Pictures(str(folders(tmp_path / "data")))
    data = prepare(cache_of(tmp_path / "cache", adapter, (6, 6)), datasets.SPLITS["official"](val=0), official=True)
    cached = data.parts["train"][-1]
    assert (cached.shape, cached.original) == ((1, 6, 6), (1, 1, 1))
    assert cached.mask(0).tolist() == [[1]]
    assert cached.references().tolist() == [[[1]]]
    assert [*cached.pixels] == [0, 1]
    sample = datasets.Samples(data.parts["train"])[5]
    assert sample["image"].shape == (3, 6, 6)
    assert sample["mask"].tolist() == [[1]]
    assert datasets.centre(sample, None)[0].shape == (3, 6, 6)


def test_the_class_of_the_number_255_counts(tmp_path):
    """Of more than 255 classes no class is taken for void."""
    for name in range(300):
        picture(tmp_path / "data" / str(name) / "0.png")
    adapter = Pictures(str(tmp_path / "data"))
    cases = sorted(adapter.cases(), key=lambda case: case.label)
    assert adapter.read(cases[299]).mask.tolist() == [[[299]]]
    samples = datasets.Samples([*cache_of(tmp_path / "cache", adapter).decode(cases)])
    chosen = [0, 254, 255, 299]
    batch = torch.stack([samples[index]["mask"] for index in chosen]).flatten()
    assert batch.tolist() == chosen
    resident = datasets.ResidentSamples(samples, torch.device("cpu"))
    assert resident.batch(chosen, torch.tensor(chosen))["mask"].flatten().tolist() == chosen
    assert samples[datasets.Draw(0, 0, 0, 255, padding=True)]["mask"].tolist() == [[-1]]
    pixels, components = samples.counts()
    assert pixels.nnz == components.nnz == 300
    assert pixels.toarray().tolist() == components.toarray().tolist() == np.eye(300, dtype=int).tolist()
    assert datasets.total_pixels(samples.cases[:299], 300) == [1] * 299 + [0]
    assert datasets.total_pixels([], 300) == [0] * 300
    loss = build_loss([LossSection(name="ce")], 300, None, 1)
    logits = torch.zeros(5, 300)
    target = torch.tensor([*chosen, datasets.ignored_label(300)])
    assert float(loss.denominator(target)) == 4
    assert float(loss(logits, target)) == pytest.approx(np.log(300))


def test_another_label_or_class_is_another_picture_in_the_cache(tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / "data" / name / "0.png")
    first = cache_of(tmp_path / "cache", Pictures(str(tmp_path / "data"), classes=["a", "b", "c"]))
    second = cache_of(tmp_path / "cache", Pictures(str(tmp_path / "data"), classes=["c", "b", "a"]))
    for cache, expected in ((first, [0, 1, 2]), (second, [2, 1, 0])):
        found = [cached.mask(0).item() for cached in cache.decode(cache.adapter.cases())]
        assert found == expected


def test_a_damaged_picture_is_named(tmp_path):
    folders(tmp_path / "data")
    (tmp_path / "data/train/a/1.png").write_bytes(b"no image")
    cache = cache_of(tmp_path / "cache", Pictures(str(tmp_path / "data")))
    with pytest.raises(DataError, match=r"train/a/1.png: not a readable image"):
        list(cache.decode(cache.adapter.cases()))


def test_the_training_part_is_cut_and_no_other(tmp_path):
    folders(tmp_path / "data", count=4)
    adapter = Pictures(str(tmp_path / "data"))
    imbalance = Imbalance("step", adapter.classes, 4)
    splitter = datasets.SPLITS["official"](val=0)
    data = prepare(cache_of(tmp_path / "cache", adapter), splitter, official=True, imbalance=imbalance)
    counts = {
        part: np.sum([[*cached.pixels] for cached in cases], 0).tolist() for part, cases in data.parts.items() if cases
    }
    assert counts == {"train": [4, 1], "test": [4, 4]}
    assert data.split["train"] == [cached.case.id for cached in data.parts["train"]]
    recorded = datasets.Recorded(json.loads(json.dumps(data.split)), "split.json")
    again = prepare(cache_of(tmp_path / "cache", adapter), recorded, imbalance=imbalance)
    assert again.split == data.split


def test_crops_beyond_the_edge_change_the_picture_alone():
    pad = {"name": "PadIfNeeded", "min_height": 16, "min_width": 16}
    augmentation = Augmentation([pad, {"name": "RandomCrop", "height": 8, "width": 8}])
    image, label = np.full((8, 8, 3), 200, np.uint8), np.array([[3]], np.uint8)
    found, kept = augmentation(image, label, seed=0)
    assert found.shape == (8, 8, 3)
    assert kept.tolist() == [[3]]


def test_shapes_are_made_once_and_are_the_same_everywhere(tmp_path):
    adapter = Shapes(str(tmp_path), train=2, test=1)
    cases = adapter.cases()
    assert len(cases) == 30
    assert {case.part for case in cases} == {"train", "test"}
    files = sorted(tmp_path.rglob("*.png"))
    written = [path.stat().st_mtime_ns for path in files]
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*.png"))] == written
    other = Shapes(str(tmp_path / "other"), train=2, test=1)
    twins = other.cases()
    for one, twin in zip(cases, twins, strict=True):
        np.testing.assert_array_equal(adapter.read(one).image.array, other.read(twin).image.array)


def test_many_pictures_are_in_one_file_whatever_their_size(tmp_path):
    for index, size in enumerate([(8, 8), (5, 9), (8, 8), (16, 4)]):
        picture(tmp_path / "data" / "ab"[index % 2] / f"{index}.png", size=size)
    cache = cache_of(tmp_path / "cache", Pictures(str(tmp_path / "data")))
    cases = cache.adapter.cases()
    for attempt in range(2):
        found = list(cache.decode(cases))
        assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 1, attempt
        for cached, case in zip(found, cases, strict=True):
            pixels = np.asarray(Image.open(case.image))
            assert cached.shape == (1, *pixels.shape[:2])
            np.testing.assert_array_equal(cached.image(0), pixels)
            assert cached.contents == found[cases.index(case)].contents
    assert cache.held() == sum(path.stat().st_size for path in (tmp_path / "cache").iterdir())


def test_a_changed_picture_is_decoded_anew_and_a_damaged_file_is_named(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / "data" / name / "0.png")
    cache = cache_of(tmp_path / "cache", Pictures(str(tmp_path / "data")))
    before = list(cache.decode(cache.adapter.cases()))
    picture(tmp_path / "data/a/0.png", value=200, size=(9, 9))
    after = list(cache.decode(cache.adapter.cases()))
    assert after[0].image(0).min() >= 200
    assert [one.digest == other.digest for one, other in zip(before, after, strict=True)] == [False, True]
    content = bytearray(after[0].path.read_bytes())
    place = content.rindex(after[0].image(0).tobytes()[:30])
    content[place] ^= 1
    after[0].path.write_bytes(content)
    with pytest.raises(DataError, match="damaged since it was decoded"):
        after[0].image(0)
