"""`init`: folders of every layout of docs/data.md, and a configuration that `check` finds nothing wrong with."""

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

import datasets
from datasets import DataError, Volume, write_volume
from datasets.dicom_seg_write import write_seg
from datasets.dicom_series import find_series
from engine.configuration.checking import load_config
from engine.console.display import Display
from engine.data_check.check import check_data
from engine.errors import UsageError
from engine.verbs.init import init
from segloss_tests.dicoms import save as save_dicom
from segloss_tests.dicoms import structures, write_series
from segloss_tests.stills import blocks, make_camvid, make_camvid701, make_cityscapes, make_folder, photograph, save

SIZE = (32, 32)
RNG = np.random.default_rng(0)


def mask(values=(0, 1), size=SIZE):
    return np.asarray(values, np.uint8)[blocks(RNG, np.arange(len(values)), size, 8)]


def stills(images, masks, values=(0, 1), names=6, image=photograph):
    """A maker of images and masks by two paths with `{}` for the name."""

    def make(root):
        for index in range(names):
            drawn = mask(values)
            save(root / images.format(f"case{index}"), image(RNG, drawn % 5 * 30))
            save(root / masks.format(f"case{index}"), drawn)

    return make


def scan(path, array, spacing=(3.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(array, np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])), path)


def scans(images, masks, values=(0, 1), spacing=(3.0, 1.0, 1.0), names=6):
    """A maker of scans of several channels, and masks by their class or by values."""

    def make(root):
        for index in range(names):
            drawn = np.stack([mask(values) for _ in range(4)])
            for text in images:
                scan(
                    root / text.format(f"p{index}"),
                    (drawn * 90 + RNG.integers(0, 99, drawn.shape)).astype(np.int16),
                    spacing,
                )
            scan(root / masks.format(f"p{index}"), drawn, spacing)

    return make


def described(root):
    scans(["imagesTr/{}_0000.nii.gz", "imagesTr/{}_0001.nii.gz"], "labelsTr/{}.nii.gz")(root)
    content = {
        "channel_names": {"0": "T2", "1": "ADC"},
        "labels": {"background": 0, "gland": 1},
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content))


def patient(root, index, folder=""):
    """A series that differs from those of other patients."""
    array = RNG.integers(0, 999, (4, 32, 32)).astype(np.int16)
    write_series(root / f"p{index}" / folder, array, series=f"1.2.{index}", PatientID=f"p{index}")
    return root / f"p{index}"


def dicom(root):
    for index in range(3):
        folder = patient(root, index)
        drawn = np.stack([mask() for _ in range(4)])
        write_seg(drawn, find_series(folder, None, None, None), {1: "prostate"}, folder / "seg.dcm", is_reference=True)


def contours(root):
    for index in range(3):
        folder = patient(root, index)
        corners = [(at, [(4, 4), (20, 4), (20, 20), (4, 20)]) for at in range(4)]
        save_dicom(structures({(1, "gland"): corners}, series=f"1.2.{index}"), folder / "drawn.dcm")


def numbered_anew(root):
    """Segments whose numbers differ between patients."""
    dicom(root)
    for index, names in enumerate(({1: "gland", 2: "lesion"}, {1: "lesion", 2: "gland"}, {1: "gland", 2: "lesion"})):
        folder = root / f"p{index}"
        (folder / "seg.dcm").unlink()
        drawn = np.stack([mask((0, 1, 2)) for _ in range(4)])
        write_seg(drawn, find_series(folder, None, None, None), names, folder / "seg.dcm", is_reference=True)


def dicom_beside(root):
    for index in range(3):
        folder = patient(root, index, "t2")
        drawn = np.stack([mask() for _ in range(4)])
        write_volume(Volume(drawn, datasets.read_volume(folder).affine), folder / "gland.nii.gz")


def pictures(*folders):
    def make(root):
        for folder in folders:
            for index in range(6):
                save(root / folder / f"{index}.png", RNG.integers(0, 255, (24, 24, 3)).astype(np.uint8))

    return make


def table(root):
    lines = ["image,diagnosis,patient"]
    for index in range(12):
        save(root / f"images/{index}.png", RNG.integers(0, 255, (24, 24, 3)).astype(np.uint8))
        lines.append(f"images/{index}.png,{('naevus', 'melanoma')[index % 2]},p{index // 2}")
    (root / "labels.csv").write_text("\n".join(lines))


def cifar(root):
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        records = RNG.integers(0, 255, (20, 3073)).astype(np.uint8)
        records[:, 0] = np.arange(20) % 10
        records.tofile(root / f"{name}.bin")


def promise(root):
    scans(["Case{}.mhd"], "Case{}_segmentation.mhd")(root)


def case_masks(root):
    for index in range(6):
        drawn = mask()
        save(root / f"c{index}/images/a{index}.png", photograph(RNG, drawn * 50))
        for part in range(2):
            half = drawn.copy()
            half[:, part * 16 : part * 16 + 16] = 0
            save(root / f"c{index}/masks/{part}.png", half * np.uint8(255))


def numbered_pictures(root):
    """Files called alike in the folder of each class, of which one picture of each might be a mask by its pixels."""
    for name in ("cat", "dog", "horse"):
        for index in range(6):
            save(root / f"{name}/{index}.png", photograph(RNG, mask()))
        save(root / f"{name}/6.png", (mask() == 1) * np.uint8(255))


def class_masks(root):
    for index in range(6):
        drawn = mask((0, 0, 0, 1, 2))
        save(root / f"a{index}.png", photograph(RNG, drawn * 50))
        save(root / f"a{index}_kidney.png", (drawn == 1) * np.uint8(255))
        save(root / f"a{index}_stone.png", (drawn == 2) * np.uint8(255))


def grey(rng, drawn):
    return (drawn + rng.integers(0, 99, drawn.shape)).astype(np.uint8)


LAYOUTS = {
    "camvid": (make_camvid, {"name": "camvid"}),
    "camvid701": (make_camvid701, {"name": "camvid701"}),
    "cityscapes": (make_cityscapes, {"name": "cityscapes"}),
    "promise12": (promise, {"name": "promise12"}),
    "two folders": (
        make_folder,
        {
            "images": "images/{name}.png",
            "masks": "masks/{name}.png",
            "labels": {"background": 0, "class_1": 1, "class_2": 2},
        },
    ),
    "a suffix": (
        stills("{}.png", "{}_mask.png", (0, 255)),
        {"images": "{name}.png", "masks": "{name}_mask.png", "labels": {"background": 0, "object": 255}},
    ),
    "prefixes": (
        stills("img/image_{}.png", "gt/label_{}.png"),
        {"images": "img/image_{name}.png", "masks": "gt/label_{name}.png"},
    ),
    "parts inside": (
        lambda root: [
            stills(f"images/{part}/{part}{{}}.png", f"masks/{part}/{part}{{}}.png")(root)
            for part in ("train", "val", "test")
        ],
        {"images": "images/{name}.png", "split": {"kind": "official"}},
    ),
    "parts outside": (
        lambda root: [
            stills(f"{part}/images/{part}{{}}.png", f"{part}/masks/{part}{{}}.png")(root) for part in ("train", "test")
        ],
        {"images": "{part}/images/{name}.png", "split": {"kind": "official"}},
    ),
    "several masks": (case_masks, {"images": "{name}/images/*.png", "masks": "{name}/masks/*.png"}),
    "a mask a class": (class_masks, {"masks": {"kidney": "{name}_kidney.png", "stone": "{name}_stone.png"}}),
    "grey": (stills("images/{}.png", "masks/{}.png", image=grey), {"channels": 1}),
    "a folder a case": (
        scans(["{}/t2.nii.gz", "{}/adc.nii.gz"], "{}/gland.nii.gz"),
        {"name": "nifti", "images": ["{name}/t2.nii.gz", "{name}/adc.nii.gz"], "masks": "{name}/gland.nii.gz"},
    ),
    "names in names": (
        scans(["{0}/{0}_flair.nii.gz"], "{0}/{0}_seg.nii.gz", (0, 1, 2, 4)),
        {
            "name": "nifti",
            "images": "{name}_flair.nii.gz",
            "labels": {"background": 0, "class_1": 1, "class_2": 2, "class_3": 4},
        },
    ),
    "dataset.json": (described, {"name": "nifti"}),
    "dicom": (dicom, {"name": "dicom", "labels": {"background": 0, "prostate": 1}}),
    "segments numbered anew": (numbered_anew, {"structures": {"gland": "gland", "lesion": "lesion"}}),
    "dicom with a mask beside": (dicom_beside, {"name": "dicom", "masks": "{name}/gland.nii.gz"}),
    "contours": (contours, {"name": "dicom", "structures": {"gland": "gland"}}),
    "classes": (pictures("cat", "dog"), {"name": "pictures"}),
    "classes with pictures of one bit": (numbered_pictures, {"name": "pictures"}),
    "classes in parts": (
        pictures("train/cat", "train/dog", "test/cat", "test/dog"),
        {"name": "pictures", "split": {"kind": "official"}},
    ),
    "a table": (
        table,
        {
            "name": "pictures",
            "table": "labels.csv",
            "columns": {"file": "image", "label": "diagnosis", "group": "patient"},
        },
    ),
    "cifar10": (cifar, {"name": "cifar10"}),
}


def written(root, out):
    """What `init` says, and the configuration that it writes."""
    said = io.StringIO()
    init(root, out, Display(Console(file=said, soft_wrap=True)))
    return said.getvalue(), load_config(out)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_gives_a_configuration_that_the_check_passes(tmp_path, layout):
    make, expected = LAYOUTS[layout]
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    said, config = written(tmp_path / "data", tmp_path / "a.yaml")
    found = config.data.model_dump(exclude_unset=True)
    for key, value in expected.items():
        assert (found[key] if key != "split" else {"kind": found[key]["kind"]}) == value, said
    checked = check_data(config.model_copy(update={"output": str(tmp_path / "runs")}))
    assert checked.problems == []
    assert len(checked.facts) > 2
    assert "next: " in said


def refused(root, out):
    with pytest.raises((UsageError, DataError)) as error:
        init(root, out, Display(Console(file=io.StringIO())))
    assert not out.exists()
    return str(error.value)


def test_what_is_no_data_set_is_refused_with_what_comes_nearest(tmp_path):
    out = tmp_path / "a.yaml"
    (tmp_path / "empty").mkdir()
    save(tmp_path / "b/images/a.png", photograph(RNG, mask()))
    save(tmp_path / "b/images/b.png", photograph(RNG, mask()))
    save(tmp_path / "b/masks/a.png", mask())
    save(tmp_path / "b/masks/b.png", mask())
    assert "no such folder; give the folder that holds" in refused(tmp_path / "nowhere", out)
    assert (
        f"a file; give the folder that holds the images and their masks; did you mean {tmp_path}/b/masks?"
        in refused(tmp_path / "b/masks/a.png", out)
    )
    assert "it holds no image, scan or DICOM file\nlooked for: CamVid" in refused(tmp_path / "empty", out)
    table(tmp_path / "table")
    path = tmp_path / "table/labels.csv"
    path.write_text(path.read_text().replace("diagnosis", "Befund"))
    assert "pictures by the table labels.csv: " in (told := refused(tmp_path / "table", out))
    assert "the column 'label' is missing; the columns are" in told
    told = refused(tmp_path / "b/images", out)
    assert "images, but no masks; masks lies beside it: give" in told
    assert "these are masks, but no images" in refused(tmp_path / "b/masks", out)


def test_no_file_is_overwritten_and_no_folder_is_made(tmp_path):
    make_folder(tmp_path / "data")
    out = tmp_path / "a.yaml"
    out.write_text("mine")
    with pytest.raises(UsageError, match="is there already, and is not overwritten"):
        init(tmp_path / "data", out, Display(Console(file=io.StringIO())))
    assert out.read_text() == "mine"
    assert f"no folder {tmp_path}/nowhere; make it" in refused(tmp_path / "data", tmp_path / "nowhere/a.yaml")


def test_a_case_without_mask_and_a_copy_are_left_out_with_the_reason(tmp_path):
    root = make_folder(tmp_path / "data", count=12)
    (root / "masks/case3.png").unlink()
    for name in ("images", "masks"):
        (root / name / "copy.png").write_bytes((root / name / "case1.png").read_bytes())
    said, config = written(root, tmp_path / "a.yaml")
    assert {one.case: one.reason for one in config.data.exclude} == {
        "case3": "no mask",
        "copy": "the same file as case1",
    }
    assert "2 left out by data.exclude: case3 (no mask), copy (the same file as case1)" in said
    assert check_data(config.model_copy(update={"output": str(tmp_path / "runs")})).problems == []


def test_a_picture_in_two_classes_is_a_question(tmp_path):
    pictures("a", "b")(tmp_path / "data")
    for copy in ("a/copy.png", "b/copy.png"):
        (tmp_path / "data" / copy).write_bytes((tmp_path / "data/a/0.png").read_bytes())
    said, config = written(tmp_path / "data", tmp_path / "a.yaml")
    assert {one.case: one.reason for one in config.data.exclude} == {
        "a/copy": "the same file as a/0",
        "b/copy": "the same file as a/0, of another class",
    }
    assert "to decide: exclude: pictures of two classes at once: b/copy; leave out the wrong ones" in said


def test_parts_that_are_not_called_so_are_refused(tmp_path):
    pictures("Training/a", "Training/b", "Testing/a", "Testing/b")(tmp_path / "data")
    assert "Testing, Training are called like parts" in refused(tmp_path / "data", tmp_path / "a.yaml")


def test_a_second_table_is_a_question(tmp_path):
    table(tmp_path / "data")
    first = tmp_path / "data/labels.csv"
    head, *lines = first.read_text().splitlines()
    first.write_text("\n".join([head, *lines[:8]]))
    (tmp_path / "data/test.csv").write_text("\n".join([head, *lines[8:]]))
    said, config = written(tmp_path / "data", tmp_path / "a.yaml")
    assert "to decide: table: pictures are in test.csv too, which is not read" in said
    assert config.data.model_dump()["table"] == "labels.csv"


@pytest.mark.parametrize(
    ("names", "group"),
    [
        (["well/p1_0", "well/p1_1", "ill/p2_0", "ill/p2_1", "ill/p3_0", "well/p3_1"], "p3"),
        (["well/p1a", "well/p1b", "ill/p2a", "ill/p2b", "ill/p3a", "well/p3b"], "p3"),
        (["n01/n01_0", "n01/n01_1", "n02/n02_0", "n02/n02_1"], None),  # the class
        (["a/0", "a/1", "b/0", "b/1"], None),
    ],
)
def test_pictures_of_one_patient_are_a_question(tmp_path, names, group):
    for name in names:
        save(tmp_path / f"data/{name}.png", RNG.integers(0, 255, (24, 24, 3)).astype(np.uint8))
    said, _ = written(tmp_path / "data", tmp_path / "a.yaml")
    found = re.search(r"group: names begin alike.*?'(.*)' keeps", said)
    assert (found is None) == (group is None)
    if found is not None:
        adapter = datasets.Pictures(str(tmp_path / "data"))
        groups = {case.id: case.group for case in datasets.list_cases(adapter, found[1])}
        assert [case for case, one in groups.items() if one == group] == [names[4], names[5]]


def test_two_masks_of_an_image_are_a_question(tmp_path):
    make_folder(tmp_path / "data", values=(0, 255), images="images/{}.png", masks="manual/{}.png")
    for path in sorted((tmp_path / "data/images").iterdir()):
        save(tmp_path / "data/mask" / path.name, np.full((24, 32), 255, np.uint8))
    said, config = written(tmp_path / "data", tmp_path / "a.yaml")
    assert config.data.masks == "manual/{name}.png"
    assert "to decide: masks: 'mask/{name}.png' looks like a mask too" in said
    assert "valid: 'mask/{name}.png'" in (tmp_path / "a.yaml").read_text().replace("\n#   ", " ")


@pytest.mark.parametrize("masks", ["masks/{}.png", "images/{}_mask.png"])
def test_one_image_with_its_mask_is_understood_but_holds_nothing_out(program, tmp_path, masks):
    stills("images/{}.png", masks, names=1)(tmp_path / "data")
    said, config = written(tmp_path / "data", tmp_path / "a.yaml")
    assert "to decide: group: all cases are one group, so nothing can be held out; add patients or scenes" in said
    assert (config.data.images, config.data.masks) in (
        ("images/{name}.png", masks.format("{name}")),
        ("{name}.png", masks.removeprefix("images/").format("{name}")),
    )
    said = program("train", tmp_path / "a.yaml", check=2).stderr
    assert said == "split: 1 group(s) cannot be divided into training and test; add cases, or see data.group\n"


@pytest.mark.parametrize("count", [2, 3, 4])
def test_what_is_proposed_for_few_cases_can_be_trained(program, tmp_path, count):
    stills("images/{}.png", "masks/{}.png", names=count)(tmp_path / "data")
    written(tmp_path / "data", tmp_path / "a.yaml")
    program("train", tmp_path / "a.yaml", "train.epochs=1", "train.device=cpu", "data.workers=0", check=0)


def test_names_that_begin_alike_are_groups(tmp_path):
    def make(root):
        for index in range(12):
            save(root / f"images/p{index // 2:02d}_{('pre', 'post')[index % 2]}.png", photograph(RNG, mask()))
            save(root / f"masks/p{index // 2:02d}_{('pre', 'post')[index % 2]}.png", mask())

    make(tmp_path / "data")
    _, config = written(tmp_path / "data", tmp_path / "a.yaml")
    assert config.data.group == "^[^_]+"
    assert "12 cases are 6 groups" in (tmp_path / "a.yaml").read_text().replace("\n  #   ", " ")


def test_colours_are_named_by_a_file_beside_them(tmp_path):
    colours = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 255]], np.uint8)
    for index in range(6):
        drawn = mask((0, 1, 2))
        save(tmp_path / f"data/images/{index}.png", photograph(RNG, drawn * 50))
        save(tmp_path / f"data/labels/{index}.png", colours[drawn])
    _, config = written(tmp_path / "data", tmp_path / "a.yaml")
    assert config.data.labels == {"background": [[0, 0, 0]], "class_1": [[0, 0, 255]], "class_2": [[128, 64, 128]]}
    (tmp_path / "data/class_dict.csv").write_text("name,r,g,b\nvoid,0,0,0\nroad,128,64,128\ncar,0,0,255\n")
    _, config = written(tmp_path / "data", tmp_path / "b.yaml")
    assert config.data.labels == {"road": [[128, 64, 128]], "car": [[0, 0, 255]]}
    assert config.data.ignore == [[0, 0, 0]]


def test_masks_that_are_no_labels_are_refused(tmp_path):
    for index in range(6):
        save(tmp_path / f"data/images/{index}.jpg", photograph(RNG, mask()))
        save(tmp_path / f"data/masks/{index}.jpg", mask((0, 255)))
    assert "compression" in refused(tmp_path / "data", tmp_path / "a.yaml")
