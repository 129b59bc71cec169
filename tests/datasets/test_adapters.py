"""Cityscapes, CamVid in its original form and folders, from files made here in the official layouts."""

import json
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

import datasets
from datasets import CamVid, CamVid701, Cityscapes, DataError, Folder, Promise12
from datasets.camvid701 import COLOURS
from datasets.cityscapes import CLASSES, VOID
from datasets.formats import is_still
from datasets.pattern import Pattern
from datasets.still import read_image, read_mask
from segloss_tests.stills import (
    GROUPED,
    PALETTE,
    TRAIN_IDS,
    blocks,
    make_camvid701,
    make_cityscapes,
    make_folder,
    photograph,
    save,
)

MODEL = "{name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 16, 8]}"

LABELS = {"background": 0, "liver": 1, "tumour": 2}
ADAPTERS = {
    "cityscapes": (make_cityscapes, lambda root: Cityscapes(str(root))),
    "camvid701": (make_camvid701, lambda root: CamVid701(str(root))),
    "folder": (make_folder, lambda root: Folder(str(root), LABELS)),
}


def refused(adapter):
    """The one line that an adapter ends with."""
    with pytest.raises(DataError) as error:
        [adapter.read(case) for case in adapter.cases()]
    assert "\n" not in str(error.value)
    return str(error.value)


# Cityscapes


def test_label_ids_become_train_ids(tmp_path):
    adapter = Cityscapes(str(make_cityscapes(tmp_path)))
    assert adapter.classes[0] == "road"
    assert adapter.classes[16:] == ("train", "motorcycle", "bicycle")
    for case in adapter.cases():
        raw = np.asarray(Image.open(case.mask))
        assert set(np.unique(raw)) == set(range(34))
        assert np.array_equal(adapter.read(case).mask[0], TRAIN_IDS[raw])


def test_every_label_id_is_a_class_or_void():
    assert sorted([*CLASSES.values(), *VOID.values()]) == list(range(34))


def test_predictions_are_written_as_label_ids():
    """What the evaluation server takes: `predict` writes the values that a mask file of the data set holds."""
    back = Cityscapes("").labels.values_of(np.arange(19))
    assert back.dtype == np.uint8
    assert TRAIN_IDS[back].tolist() == [*range(19)]


def test_the_official_images_are_read_whole(tmp_path):
    adapter = Cityscapes(str(make_cityscapes(tmp_path, (("train", "ulm", 1), ("val", "lindau", 1)), (1024, 2048))))
    for case in adapter.cases():
        decoded = adapter.read(case)
        assert decoded.image.array.shape == (1, 1024, 2048, 3)
        assert np.array_equal(decoded.image.array[0], np.asarray(Image.open(case.image)))
        assert np.array_equal(decoded.mask[0], TRAIN_IDS[np.asarray(Image.open(case.mask))])


def test_val_is_the_test_and_train_cities_validate(tmp_path):
    cities = [("train", f"city{index:02d}", 2) for index in range(18)] + [("val", "munster", 3)]
    make_cityscapes(tmp_path / "data", cities)
    (tmp_path / "data/leftImg8bit/test/berlin").mkdir(parents=True)
    cases = Cityscapes(str(tmp_path / "data")).cases()
    by_id = {case.id: case for case in cases}
    split = datasets.SPLITS["official"]()(cases, dict.fromkeys(by_id, 0.0))
    assert {by_id[name].group for name in split["test"]} == {"munster"}
    validating = {by_id[name].group for name in split["val"]}
    assert len(validating) == 2  # a tenth of 18 cities
    assert not validating & {by_id[name].group for name in split["train"]}
    assert sum(map(len, split.values())) == 39
    none = datasets.SPLITS["official"](val=0)(cases, dict.fromkeys(by_id, 0.0))
    assert (len(none["train"]), none["val"]) == (36, [])


def test_official_validation_is_not_drawn_twice(camvid):
    cases = CamVid(str(camvid)).cases()
    with pytest.raises(DataError, match=r"a validation part of its own; remove data\.split\.val"):
        datasets.SPLITS["official"](val=0.2)(cases, {})


def test_one_city_cannot_validate(tmp_path):
    adapter = Cityscapes(str(make_cityscapes(tmp_path, (("train", "ulm", 2), ("val", "lindau", 1)))))
    with pytest.raises(DataError, match=r"group 'ulm', so none can validate; set data\.split\.val: 0"):
        datasets.SPLITS["official"]()(adapter.cases(), {})


@pytest.mark.parametrize("void", [True, False])
def test_train_ids_in_place_of_label_ids_are_refused(tmp_path, void):
    make_cityscapes(tmp_path)
    path = tmp_path / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    mask = np.repeat(np.array([0, 0, 1, 2, 8, 10, 13, 255 if void else 2], np.uint8), 256).reshape(32, 64)
    save(path, mask)
    told = refused(Cityscapes(str(tmp_path)))
    assert str(path) in told
    assert "trainIds where labelIds are expected" in told
    assert "data.ids: labelTrainIds" in told


def test_train_ids_are_read_where_they_are_asked_for(tmp_path):
    make_cityscapes(tmp_path)
    for path in sorted(tmp_path.rglob("*_labelIds.png")):
        save(path.with_name(path.name.replace("labelIds", "labelTrainIds")), TRAIN_IDS[np.asarray(Image.open(path))])
    adapter, same = Cityscapes(str(tmp_path), ids="labelTrainIds"), Cityscapes(str(tmp_path))
    for case, other in zip(adapter.cases(), same.cases(), strict=True):
        assert np.array_equal(adapter.read(case).mask, same.read(other).mask)
    for path in tmp_path.rglob("*_labelIds.png"):
        path.unlink()
    assert "there are labelTrainIds: set data.ids: labelTrainIds" in refused(same)


def test_a_frame_of_road_and_void_is_allowed_as_train_ids(tmp_path):
    make_cityscapes(tmp_path, (("train", "ulm", 1), ("val", "lindau", 1)))
    for path in sorted(tmp_path.rglob("*_labelIds.png")):
        path.rename(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    adapter = Cityscapes(str(tmp_path), ids="labelTrainIds")
    mask = np.zeros((32, 64), np.uint8)
    mask[:4] = 255
    case = adapter.cases()[0]
    save(case.mask, mask)
    assert np.array_equal(adapter.read(case).mask[0], mask)


# CamVid in its original form


def test_colours_become_the_classes_of_segnet(tmp_path):
    adapter = CamVid701(str(make_camvid701(tmp_path)))
    assert adapter.classes == CamVid("").classes
    assert len(COLOURS) == 32
    for case in adapter.cases():
        raw = np.asarray(Image.open(case.mask)).astype(int)
        table = {tuple(colour): index for colour, index in zip(PALETTE.tolist(), GROUPED.tolist(), strict=True)}
        expected = [[table[tuple(pixel)] for pixel in row] for row in raw.tolist()]
        assert np.array_equal(adapter.read(case).mask[0], expected)


def test_sequences_are_groups_and_there_is_no_official_split(tmp_path):
    cases = CamVid701(str(make_camvid701(tmp_path))).cases()
    assert {case.group for case in cases} == {"0001TP", "0006R0", "0016E5", "Seq05VD"}
    assert {case.part for case in cases} == {None}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("128 0 0\tBulding", "Bulding is [128, 0, 0], but no class of CamVid"),
        ("1 0 0\tBuilding", "Building is [1, 0, 0], but CamVid's Building is [128, 0, 0]"),
        ("red\tBuilding", "expected a line such as"),
    ],
)
def test_a_list_of_other_colours_is_refused(tmp_path, line, says):
    path = make_camvid701(tmp_path) / "label_colors.txt"
    path.write_text(path.read_text().replace("128 0 0\tBuilding", line))
    told = refused(CamVid701(str(tmp_path)))
    assert f"{path}:5: " in told
    assert says in told


def test_the_two_forms_of_camvid_point_at_each_other(tmp_path, camvid):
    assert "use data.name: camvid701" in refused(CamVid(str(make_camvid701(tmp_path / "full"))))
    assert "use data.name: camvid" in refused(CamVid701(str(camvid)))


def test_a_stray_colour_is_named_and_can_be_ignored(tmp_path):
    make_camvid701(tmp_path)
    path = tmp_path / "LabeledApproved_full/0001TP_f00000_L.png"
    pixels = np.array(Image.open(path))
    pixels[0, :3] = [1, 2, 3]
    save(path, pixels)
    told = refused(CamVid701(str(tmp_path)))
    assert str(path) in told
    assert "colour [1, 2, 3] (3 pixels)" in told
    assert "[64, 128, 64]" in told
    adapter = CamVid701(str(tmp_path), ignore=[[1, 2, 3]])
    assert adapter.read(adapter.cases()[0]).mask[0, 0, :3].tolist() == [255] * 3


# Folders


@pytest.mark.parametrize(
    ("images", "masks", "on_disk", "ids"),
    [
        ("images/{name}.*", "masks/{name}.*", ("images/{}.jpg", "masks/{}.png"), "case{}"),
        ("images/*.png", "masks/{name}.png", ("images/{}.png", "masks/{}.png"), "case{}"),
        ("{name}.png", "{name}_mask.png", ("{}.png", "{}_mask.png"), "case{}"),
        ("{name}.*", "{name}.png", ("{}.jpg", "{}.png"), "case{}"),
        ("x/{name}_t1.tif", "y/seg_{name}.bmp", ("x/p1/{}_t1.tif", "y/seg_p1/{}.bmp"), "p1/case{}"),
        ("images/**/*.png", "masks/{name}.png", ("images/p1/{}.png", "masks/p1/{}.png"), "p1/case{}"),
        ("*/scan/{name}.png", "masks/{name}.png", ("a/scan/{}.png", "masks/{}.png"), "case{}"),
        ("{part}/images/{name}.*", "{part}/masks/{name}.*", ("val/images/{}.v1.png", "val/masks/{}.v1.png"),
         "val/case{}.v1"),
    ],
)  # fmt: skip
def test_patterns_pair_images_and_masks(tmp_path, images, masks, on_disk, ids):
    make_folder(tmp_path, images=on_disk[0], masks=on_disk[1], count=3)
    adapter = Folder(str(tmp_path), LABELS, images, masks)
    cases = adapter.cases()
    assert [case.id for case in cases] == [ids.format(index) for index in range(3)]
    for index, case in enumerate(cases):
        assert case.image == tmp_path / on_disk[0].format(f"case{index}")
        assert case.mask == tmp_path / on_disk[1].format(f"case{index}")
        assert adapter.read(case).mask.max() == 2


def test_folders_named_train_val_and_test_are_the_official_split(tmp_path):
    for part in ("train", "val", "test"):
        make_folder(tmp_path, count=2, images=f"images/{part}/{{}}.png", masks=f"masks/{part}/{{}}.png")
    cases = Folder(str(tmp_path), LABELS).cases()
    assert [(case.id, case.part) for case in cases][::2] == [(f"{p}/case0", p) for p in ("test", "train", "val")]
    assert len({case.group for case in cases}) == 6


@pytest.mark.parametrize("mode", ["grey", "palette", "16 bit", "1 bit", "colours", "palette colours", "rgba colours"])
def test_masks_of_every_kind(tmp_path, mode):
    truth = blocks(np.random.default_rng(0), np.arange(2), (24, 32)).astype(np.uint8)
    image = save(tmp_path / "images/a.png", photograph(np.random.default_rng(1), truth))
    colours = np.array([[0, 0, 0], [200, 10, 30]], np.uint8)
    labels = {"background": 0, "polyp": [3, 7]}
    path = tmp_path / "masks/a.png"
    path.parent.mkdir()
    if mode == "grey":
        save(path, truth * 7)
    elif mode == "16 bit":
        labels["polyp"] = 4000
        save(path, truth.astype(np.uint16) * 4000)
    elif mode == "1 bit":
        labels["polyp"] = 1
        Image.fromarray(truth * 255).convert("1").save(path)
    else:
        if "colours" in mode:
            labels = {"background": [[0, 0, 0]], "polyp": [[200, 10, 30]]}
        if "palette" in mode:
            paletted = Image.fromarray(truth * 3, mode="P")
            paletted.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, 200, 10, 30])
            paletted.save(path)
        else:
            alpha = np.full((24, 32, 1), 9, np.uint8)
            save(path, np.concatenate([colours[truth], alpha], 2) if mode == "rgba colours" else colours[truth])
    adapter = Folder(str(tmp_path), labels)
    (case,) = adapter.cases()
    assert case.image == image
    assert np.array_equal(adapter.read(case).mask[0], truth)


def test_one_class_of_several_values_and_what_is_ignored(tmp_path):
    make_folder(tmp_path, values=(0, 1, 2, 9, 255), count=1)
    adapter = Folder(str(tmp_path), {"background": 0, "lesion": [1, 2]}, ignore=[9])
    (case,) = adapter.cases()
    raw = np.asarray(Image.open(case.mask))
    expected = np.select([raw == 0, raw <= 2], [0, 1], 255)
    assert np.array_equal(adapter.read(case).mask[0], expected)


def test_only_0_and_255_is_a_trap_with_a_way_out(tmp_path):
    make_folder(tmp_path, values=(0, 255))
    told = refused(Folder(str(tmp_path), {"background": 0, "vessel": 1}))
    assert f"{tmp_path}/masks/case0.png: holds only 0 and 255" in told
    assert "255 is ignored, so all foreground would be" in told
    assert "data.labels: {background: 0, foreground: 255}" in told
    adapter = Folder(str(tmp_path), {"background": 0, "foreground": 255})
    assert {*np.unique(adapter.read(adapter.cases()[0]).mask)} == {0, 1}
    with pytest.raises(ValueError, match="ignore: 255 is the class foreground too"):
        Folder(str(tmp_path), {"background": 0, "foreground": 255}, ignore=[255])


def test_the_trap_is_found_in_a_data_set_that_ignores_other_values(camvid):
    for path in (camvid / "trainannot").iterdir():
        save(path, np.repeat(np.array([0, 255], np.uint8), 384).reshape(24, 32))
    assert "holds only 0 and 255 (384 pixels), and 255 is no class" in refused(CamVid(str(camvid)))


@pytest.mark.parametrize("adapter", [
    lambda labels: CamVid("", labels),
    lambda labels: Promise12("", labels),
    lambda labels: Cityscapes("", labels=labels),
    lambda labels: datasets.Phantom(labels=labels),
    lambda labels: Folder("", labels),
])  # fmt: skip
def test_labels_belong_to_every_adapter(adapter):
    made = adapter({"background": 0, "lesion": [1, 2]})
    assert made.classes == ("background", "lesion")
    assert made.background == "background"


def test_a_data_set_can_be_scored_binary(camvid, tmp_path):
    adapter = CamVid(str(camvid), {"other": [*range(8), 9, 10], "car": 8})
    case = adapter.cases()[0]
    raw = np.asarray(Image.open(case.mask))
    assert np.array_equal(adapter.read(case).mask[0], np.select([raw == 8, raw == 11], [1, 255], 0))
    rest = [list(colour) for colour, name in COLOURS.values() if name not in ("void", "car")]
    cars = [list(colour) for colour, name in COLOURS.values() if name == "car"]
    coloured = CamVid701(str(make_camvid701(tmp_path / "full")), {"other": rest, "car": cars})
    first = coloured.cases()[0]
    whole = CamVid701(str(tmp_path / "full")).read(first).mask
    assert np.array_equal(coloured.read(first).mask, np.select([whole == 8, whole == 255], [1, 255], 0))


@pytest.mark.parametrize(
    ("labels", "ignore", "says"),
    [
        ({"a": 0, "b": [0, 1]}, None, "labels: 0 is in a and in b"),
        ({"a": 0, "b": [[1, 2, 3]]}, None, "labels: 0 is a value, but others are colours"),
        ({"a": [[0, 0, 0]], "b": [[1, 2]]}, None, r"labels: \[1, 2\] is no colour"),
        ({"a": [[0, 0, 0]], "b": [[1, 2, 256]]}, None, r"labels: \[1, 2, 256\] is no colour"),
        ({"a": 0, "b": []}, None, "labels: b has no value"),
        ({"a": 0, "b": 1}, [1], "ignore: 1 is the class b too"),
        ({"a": 0, "b": 1}, [[1, 1, 1]], "labels: 0 is a value, but others are colours"),
        ({}, None, "labels: names no class"),
        ({f"c{value}": value for value in range(256)}, None, "labels: 256 classes; at most 255"),
        ({"a": [0, 1]}, None, "labels: one class is nothing to tell apart"),
    ],
)
def test_labels_that_cannot_be(labels, ignore, says):
    with pytest.raises(ValueError, match=says):
        Folder("", labels, ignore=ignore)


def test_volumes_have_no_colours():
    with pytest.raises(ValueError, match="labels: the masks of this data set hold values, not colours"):
        Promise12("", {"a": [[0, 0, 0]], "b": [[1, 1, 1]]})


@pytest.mark.parametrize(
    ("images", "masks", "says"),
    [
        ("/images/{name}.png", "m/{name}.png", "images: '/images/{name}.png' must be a path below data.root"),
        ("images/{name}.png", "../m/{name}.png", r"masks: '\.\./m/{name}.png' must be a path below"),
        ("images/{nam}.png", "m/{name}.png", "images: 'images/{nam}.png' has unknown placeholder {nam}"),
        ("{name}/{name}.png", "m/{name}.png", "has a placeholder twice"),
        ("images/{name}.png", "m/x.png", "masks: 'm/x.png' does not hold {name}"),
        ("{part}/{name}.png", "m/{name}.png", "must both hold {part}, or neither"),
    ],
)
def test_patterns_that_cannot_be(images, masks, says):
    with pytest.raises(ValueError, match=says):
        Folder("", LABELS, images, masks)


def test_patterns_skip_what_is_no_image(tmp_path):
    save(tmp_path / "images/.hidden.png", np.zeros((2, 2), np.uint8))
    save(tmp_path / "images/.ipynb_checkpoints/shown.png", np.zeros((2, 2), np.uint8))
    save(tmp_path / "images/shown.PNG", np.zeros((2, 2), np.uint8))
    (tmp_path / "images/notes.txt").write_text("")
    assert [*Pattern("images", "images/{name}.*", is_still).find(tmp_path)] == ["shown"]


# Images


def test_sixteen_bits_keep_their_values(tmp_path):
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 65536, (5, 6)).astype(np.uint16), rng.integers(0, 65536, (5, 6, 3)).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    cv2.imwrite(str(tmp_path / "colour.png"), colour[..., ::-1])
    cv2.imwrite(str(tmp_path / "colour.tif"), colour[..., ::-1])
    cv2.imwrite(str(tmp_path / "alpha.png"), np.concatenate([colour[..., ::-1], colour[..., :1]], 2))
    assert np.array_equal(read_image(tmp_path / "grey.png", 1)[0, ..., 0], grey)
    for name in ("colour.png", "colour.tif", "alpha.png"):
        found = read_image(tmp_path / name, 3)
        assert found.dtype == np.uint16
        assert np.array_equal(found[0], colour), name
    normalised = datasets.NORMALISATIONS["imagenet"]()(found)
    np.testing.assert_allclose(normalised.image[0], colour / 65535, atol=1e-6)


def test_twelve_bits_are_not_taken_for_sixteen(tmp_path):
    make_folder(tmp_path, count=1)
    Image.fromarray(np.full((24, 32), 4095, np.uint16)).save(tmp_path / "images/case0.png")
    adapter = Folder(str(tmp_path), LABELS)
    store = datasets.Cache(tmp_path / "cache", adapter, None, None, datasets.NORMALISATIONS["imagenet"](), "")
    with pytest.raises(DataError, match=r"case0\.png: .* the brightest here is 4095 .*use percentile"):
        next(store.decode(adapter.cases()))


def test_images_of_every_kind(tmp_path):
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 256, (5, 6)).astype(np.uint8), rng.integers(0, 256, (5, 6, 3)).astype(np.uint8)
    alpha = np.concatenate([colour, colour[..., :1]], 2)
    save(tmp_path / "grey.png", grey)
    save(tmp_path / "alpha.png", alpha)
    save(tmp_path / "grey_as_rgb.png", np.repeat(grey[..., None], 3, 2))
    Image.fromarray(grey > 99).save(tmp_path / "bit.png")
    save(tmp_path / "float.tif", grey.astype(np.float32) / 7)
    assert np.array_equal(read_image(tmp_path / "alpha.png", 3)[0], colour)
    for name in ("grey.png", "grey_as_rgb.png"):
        assert np.array_equal(read_image(tmp_path / name, 1)[0, ..., 0], grey)
        assert np.array_equal(read_image(tmp_path / name, 3)[0], np.repeat(grey[..., None], 3, 2))
    assert np.array_equal(read_image(tmp_path / "bit.png", 1)[0, ..., 0], (grey > 99) * 255)
    assert np.array_equal(read_image(tmp_path / "float.tif", 1)[0, ..., 0], grey.astype(np.float32) / 7)
    with pytest.raises(DataError, match=r"alpha\.png: has colours, but data\.channels is 1"):
        read_image(tmp_path / "alpha.png", 1)


def test_a_header_that_promises_too_much_allocates_nothing(tmp_path):
    Image.new("1", (4096, 4096)).save(tmp_path / "empty.png")  # the most pixels a byte that are real
    assert read_image(tmp_path / "empty.png", 1).shape == (1, 4096, 4096, 1)
    save(tmp_path / "a.png", np.zeros((4, 5), np.uint8))
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = (9000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: 9000x9000 pixels by its header, in \d+ bytes"):
        read_image(tmp_path / "a.png", 1)


def test_other_formats_are_not_opened(tmp_path):
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=r"a\.png: not a readable image"):
        read_image(tmp_path / "a.png", 3)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".bmp"])
def test_damaged_files_are_one_line(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = save(tmp_path / f"a{suffix}", rng.integers(0, 255, (20, 24)).astype(np.uint8))
    whole, told = path.read_bytes(), []
    for _ in range(200):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 200), 4):
            content[place] = rng.integers(0, 256)
        path.write_bytes(content)
        for read in (lambda: read_image(path, 3), lambda: read_mask(path, coloured=False)):
            try:
                read()
            except DataError as error:  # anything else would be a traceback
                told.append(str(error))
    assert len(told) > 20
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in told)


def test_a_jpeg_is_no_mask(tmp_path):
    make_folder(tmp_path, masks="masks/{}.jpg")
    assert "case0.jpg: a JPEG, whose compression changes labels" in refused(Folder(str(tmp_path), LABELS))


def test_several_pictures_in_a_file(tmp_path):
    pages = [Image.new("L", (3, 2), value) for value in (1, 2)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"stack\.tif: holds 2 pictures"):
        read_image(tmp_path / "stack.tif", 1)


# What is wrong with the files


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("root", "no such folder; set data.root"),
        ("truncated", "damaged or cut short"),
        ("doubled", "has the same name"),
        ("mask missing", "no mask "),
        ("image missing", "no image "),
        ("label", "250"),
        ("size", "8x8 pixels, but its image"),
        ("kind of mask", "expected a mask of "),
    ],
)
def test_one_line_names_the_file(tmp_path, name, how, says):
    make, adapter = ADAPTERS[name]
    root = make(tmp_path / "data")
    case = adapter(root).cases()[0]
    named, coloured = case.mask, name == "camvid701"
    if how == "root":
        root = named = tmp_path / "elsewhere"
    elif how == "truncated":
        named = case.image
        case.image.write_bytes(case.image.read_bytes()[:100])
    elif how == "doubled":
        named = case.image
        save(case.image.with_suffix(".bmp"), np.zeros((2, 2), np.uint8))
    elif how.endswith("missing"):
        named, gone = (case.image, case.mask) if how == "mask missing" else (case.mask, case.image)
        gone.unlink()
    elif how == "label":
        raw = np.array(Image.open(case.mask))
        raw[0, 0] = 250
        save(case.mask, raw)
    elif how == "size":
        save(case.mask, np.zeros((8, 8, 3) if coloured else (8, 8), np.uint8))
    else:
        save(case.mask, np.zeros((8, 8), np.uint16) if coloured else np.full((8, 8, 3), [1, 2, 3], np.uint8))
    told = refused(adapter(root))
    assert str(named) in told
    assert says in told
    if how == "label":
        assert "(1 pixels)" in told


def test_folders_with_doubled_names_and_odd_patterns(tmp_path):
    make_folder(tmp_path)
    save(tmp_path / "images/case1.jpg", np.zeros((24, 32, 3), np.uint8))
    assert "case1.png: case1.jpg has the same name" in refused(Folder(str(tmp_path), LABELS))
    (tmp_path / "images/case1.jpg").unlink()
    save(tmp_path / "masks/case1.bmp", np.zeros((24, 32), np.uint8))
    assert "case1.png: case1.bmp has the same name" in refused(Folder(str(tmp_path), LABELS))
    assert "would be its own mask" in refused(Folder(str(tmp_path), LABELS, "images/{name}.png", "images/{name}.*"))
    assert "no image fits data.images: pictures/*" in refused(Folder(str(tmp_path), LABELS, "pictures/*"))
    (tmp_path / "train/images").mkdir(parents=True)
    (tmp_path / "images").rename(tmp_path / "away")
    assert "try images: '{part}/images/{name}.*'" in refused(Folder(str(tmp_path), LABELS))


# From a YAML file to scores


@pytest.mark.parametrize(
    ("name", "options", "classes"),
    [
        ("cityscapes", "size: [32, 64], split: {kind: official}", 19),
        ("camvid701", "size: [24, 48], split: {kind: holdout, test: 1, val: 1}", 11),
        ("folder", "labels: {background: 0, liver: 1, tumour: [2]}, split: {kind: holdout, test: 1, val: 1}", 3),
        ("folder", "labels: {background: 0, any: [1, 2]}, channels: 3, split: {kind: kfold, folds: 3}", 2),
    ],
)
def test_each_trains_and_is_scored(program, tmp_path, name, options, classes):
    root = ADAPTERS[name][0](tmp_path / "data")
    (tmp_path / "run.yaml").write_text(
        f"""\
name: small
data: {{name: {name}, root: {json.dumps(str(root))}, workers: 0, {options}}}
model: {MODEL}
loss: {{name: ce}}
optim: {{name: adam, lr: 1e-3}}
train: {{epochs: 1, batch_size: 2, device: cpu}}
"""
    )
    program("train", "run.yaml", check=0)
    scores = json.loads((tmp_path / "runs/small/scores.json").read_text())
    assert len(scores["header"]["classes"]) == classes
    assert scores["dataset"]["mIoU"] is not None


def test_grey_16_bit_images_train_in_sub_folders(program, tmp_path):
    rng = np.random.default_rng(0)
    for patient in range(4):
        for slice_index in range(2):
            mask = blocks(rng, np.arange(2), (24, 32)).astype(np.uint8)
            image = (mask.astype(int) * 2000 + rng.integers(0, 500, mask.shape)).astype(np.uint16)
            save(tmp_path / f"data/images/p{patient}/{slice_index}.png", image)
            save(tmp_path / f"data/masks/p{patient}/{slice_index}.png", mask)
    (tmp_path / "run.yaml").write_text(
        f"""\
name: small
data:
  name: folder
  root: data
  labels: {{background: 0, lesion: 1}}
  channels: 1
  workers: 0
  group: ^[^/]+
  split: {{kind: holdout, test: 1, val: 1}}
model: {MODEL}
loss: {{name: dice}}
optim: {{name: adam, lr: 1e-3}}
train: {{epochs: 1, batch_size: 2, device: cpu}}
"""
    )
    program("train", "run.yaml", check=0)
    split = json.loads((tmp_path / "runs/small/split.json").read_text())
    assert sorted(len({name[:2] for name in part}) for part in split.values()) == [1, 1, 2]
    assert len(list((tmp_path / "runs/small/figures/overlays").glob("p*_*.png"))) == 2


def test_deep_colours_train_and_a_crop_that_is_too_large_is_named(program, tmp_path):
    rng = np.random.default_rng(0)
    make_folder(tmp_path / "data", values=(0, 1))
    for path in (tmp_path / "data/images").iterdir():
        cv2.imwrite(str(path), rng.integers(0, 65536, (24, 32, 3)).astype(np.uint16))
    (tmp_path / "run.yaml").write_text(
        f"""\
name: small
data: {{name: folder, root: data, labels: {{background: 0, object: 1}}, workers: 0, split: {{kind: holdout}}}}
model: {MODEL}
loss: {{name: ce}}
optim: {{name: adam, lr: 1e-3}}
train: {{epochs: 1, batch_size: 2, device: cpu}}
"""
    )
    told = program("train", "run.yaml", "data.augment=[{name: RandomCrop, height: 64, width: 64}]", check=2).stderr
    assert ".png: data.augment: " in told
    assert "Traceback" not in told
    program("train", "run.yaml", "data.augment=[{name: RandomBrightnessContrast}]", check=0)


def test_a_wrong_labels_section_has_its_place(program, tmp_path):
    (tmp_path / "run.yaml").write_text(
        """\
name: small
data:
  name: folder
  root: nowhere
  labels: {background: 0, lesion: [0]}
  split: {kind: holdout}
model: {name: unet}
loss: {name: ce}
optim: {name: adam, lr: 1e-3}
"""
    )
    told = program("train", "run.yaml", check=2).stderr
    assert "run.yaml:5:3: data.labels: 0 is in background and in lesion" in told
    told = program("train", "run.yaml", "data.labels={a: x, b: 1}", check=2).stderr
    assert "command line: data.labels: expected a mapping of names, each to a whole number or list of (" in told
    assert told.count("\n") == 2  # and a line that network and transforms are checked once it is corrected
    assert "data.channels" in program("train", "run.yaml", "data.channels=grey", check=2).stderr
