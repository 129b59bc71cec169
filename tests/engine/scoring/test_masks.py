"""`evaluate --pred --ref`: scores of mask files, without a model or a run."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

import datasets
from segloss_tests import ROOT  # noqa: F401  (the door's folder is on the path)


def write(folder, **masks):
    for name, mask in masks.items():
        path = folder / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(mask, dtype=np.uint8)).save(path)


@pytest.fixture
def masks(tmp_path):
    """Predictions and references of three cases, values 0, 7 and 9, some reference pixels 255."""
    rng = np.random.default_rng(0)
    ours = {f"p{i}_a": rng.choice([0, 7, 9], (6, 5)) for i in range(3)}
    theirs = {
        name: np.where(rng.random((6, 5)) < 0.6, mask, rng.choice([0, 7, 9, 255], (6, 5)))
        for name, mask in ours.items()
    }
    write(tmp_path / "ours", **ours)
    write(tmp_path / "theirs", **theirs)
    return ours, theirs


def test_scores_are_those_of_the_confusion_matrix(program, tmp_path, masks):
    done = program(
        "evaluate", "--pred", "ours", "--ref", "theirs", "labels={rest: 0, organ: [7, 9]}", "group=p[0-9]", check=0
    )
    scores = json.loads((tmp_path / "ours/scores.json").read_text())
    ours, theirs = (np.concatenate([mask.ravel() for mask in each.values()]) for each in masks)
    counts = theirs != 255
    matrix = confusion_matrix(theirs[counts] > 0, ours[counts] > 0)
    ious = [matrix[c, c] / (matrix[c].sum() + matrix[:, c].sum() - matrix[c, c]) for c in (0, 1)]
    assert scores["dataset"]["mIoU"] == pytest.approx(np.mean(ious))
    assert scores["dataset"]["classes"]["organ"]["IoU"] == pytest.approx(ious[1])
    assert scores["confusion"] == matrix.tolist()
    assert scores["calibration"] is None
    assert [row["group"] for row in scores["cases"][::2]] == ["p0", "p1", "p2"]
    assert f"{np.mean(ious):.4f}" in done.stdout


def test_every_value_is_a_class_where_nothing_else_is_said(program, tmp_path, masks):
    program("evaluate", "--pred", "ours", "--ref", "theirs", "background='0'", "--out", "scores", check=0)
    scores = json.loads((tmp_path / "scores/scores.json").read_text())
    assert scores["header"]["classes"] == ["0", "7", "9"]
    assert scores["header"]["background"] == "0"


def test_of_how_many_cases_the_distances_are_is_said(program, tmp_path):
    """The gland of one is found, of one is missed, and one has none, which nothing says of distances."""
    gland = np.zeros((3, 4, 4), dtype=np.uint8)
    gland[1, 1:3, 1:3] = 1
    for folder, masks in (("a", (gland, gland * 0, gland * 0)), ("b", (gland, gland, gland * 0))):
        (tmp_path / folder).mkdir()
        for case, mask in enumerate(masks):
            datasets.write_volume(datasets.Volume(mask, np.eye(4)), tmp_path / folder / f"case{case}.mhd")
    said = program("evaluate", "--pred", "a", "--ref", "b", "labels={background: 0, gland: 1}", check=0).stdout
    assert re.search(r"cases with distances\W+HD95 mm", said)
    assert re.search(r"gland\W+1 of 2\W+0\.0000", said)


@pytest.mark.parametrize(
    ("options", "expected", "mean"),
    [
        ([], "0", 0.5),
        (["background=false"], None, (0.5 + 2 * 42 / (2 * 42 + 2 + 2)) / 2),
        (["labels={other: 0, gland: 1}"], "other", 0.5),
        (["labels={gland: 1, other: 0}", "background=gland"], "gland", 2 * 42 / (2 * 42 + 2 + 2)),
    ],
)
def test_value_0_of_volumes_is_the_background_unless_told(program, tmp_path, options, expected, mean):
    """Four pixels of 48, of which two agree; the others are 42 that agree, 2 and 2 that do not."""
    mask = np.zeros((3, 4, 4), dtype=np.uint8)
    mask[1, 1:3, 1:3] = 1
    for folder, values in (("a", mask), ("b", np.roll(mask, 1, axis=2))):
        (tmp_path / folder).mkdir()
        datasets.write_volume(datasets.Volume(values, np.eye(4)), tmp_path / folder / "case1.mhd")
    program("evaluate", "--pred", "a", "--ref", "b", *options, check=0)
    scores = json.loads((tmp_path / "a/scores.json").read_text())
    assert scores["header"]["background"] == expected
    assert scores["case"]["mDSC"] == pytest.approx(mean)


def test_volumes_are_cases_of_many_images(program, tmp_path):
    mask = np.zeros((3, 4, 4), dtype=np.uint8)
    mask[1, 1:3, 1:3] = 1
    for folder, values in (("a", mask), ("b", np.roll(mask, 1, axis=2))):
        (tmp_path / folder).mkdir()
        datasets.write_volume(datasets.Volume(values, np.eye(4)), tmp_path / folder / "case1.mhd")
    program("evaluate", "--pred", "a", "--ref", "b", "background='0'", check=0)
    scores = json.loads((tmp_path / "a/scores.json").read_text())
    assert scores["case"]["classes"]["1"]["DSC"] == pytest.approx(0.5)
    assert scores["image"]["mDSC"] == pytest.approx(0.5)
    assert scores["image"]["left_out"] == 2


def test_millilitres_are_those_of_the_voxels_of_a_sheared_grid(program, tmp_path):
    """Of a gantry tilted by 30 degrees: the triple product of the sides, not the product of their lengths."""
    affine = np.diag([-1.0, -2.0, 4.0, 1.0])
    affine[:3, 1] = [0, -2 * np.cos(np.pi / 6), 2 * np.sin(np.pi / 6)]
    mask = np.zeros((3, 4, 5), dtype=np.uint8)
    mask[1, 1:3, 1:4] = 1
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        datasets.write_volume(datasets.Volume(mask, affine), tmp_path / folder / "case1.nii")
    program("evaluate", "--pred", "a", "--ref", "b", "labels={background: 0, gland: 1}", check=0)
    (row,) = [r for r in json.loads((tmp_path / "a/scores.json").read_text())["cases"] if r["class"] == "gland"]
    column, line, slice_ = affine[:3, :3].T
    assert row["volume_ml"] == pytest.approx(6 * abs(np.cross(column, line) @ slice_) / 1000, rel=1e-6)


def test_a_prediction_takes_the_place_of_its_reference(program, tmp_path):
    """Voxel on voxel as both files have them, though the axes of one are turned round."""
    mask = np.zeros((3, 4, 5), dtype=np.uint8)
    mask[0, 1:3, 1:4] = 1
    for folder, affine in (("a", np.eye(4)), ("b", np.diag([-2.0, -2.0, -4.0, 1.0]))):
        (tmp_path / folder).mkdir()
        datasets.write_volume(datasets.Volume(mask, affine), tmp_path / folder / "case1.nii")
    told = program("evaluate", "--pred", "a", "--ref", "b", check=2).stderr
    assert "b/case1.nii: spacing " in told
    assert told.rstrip().endswith("copy_affine=true takes the reference's place")
    program("evaluate", "--pred", "a", "--ref", "b", "copy_affine=true", check=0)
    (row,) = [r for r in json.loads((tmp_path / "a/scores.json").read_text())["cases"] if r["class"] == "1"]
    assert row["DSC"] == 1
    assert row["volume_ml"] == pytest.approx(6 * 16 / 1000)


def test_arrays_are_masks_too(program, tmp_path):
    """Of stills and of volumes, beside other formats and alone; a volume lies where its reference does."""
    mask = np.zeros((3, 4, 5), dtype=np.uint8)
    mask[0, 1:3, 1:4] = 1
    for folder in ("a", "b", "c", "d"):
        (tmp_path / folder).mkdir()
    datasets.write_volume(datasets.Volume(mask, np.diag([2.0, 2.0, 4.0, 1.0])), tmp_path / "b/x.nii")
    np.save(tmp_path / "a/x.npy", np.roll(mask, 1, 2))
    np.save(tmp_path / "c/x.npy", mask.astype(bool))
    program("evaluate", "--pred", "c", "--ref", "b", check=0)
    (row,) = [r for r in json.loads((tmp_path / "c/scores.json").read_text())["cases"] if r["class"] == "1"]
    assert (row["DSC"], row["volume_ml"]) == (1, pytest.approx(6 * 16 / 1000))
    told = program("evaluate", "--pred", "a", "--ref", "c", check=0).stdout
    assert "1 volume(s) of arrays alone, in which a voxel counts as 1 mm: x" in told
    scores = json.loads((tmp_path / "a/scores.json").read_text())
    assert scores["header"]["kind"] == "volume"
    (row,) = [r for r in scores["cases"] if r["class"] == "1"]
    assert row["DSC"] == pytest.approx(4 / 6)
    np.save(tmp_path / "d/y.npy", mask[0])
    write(tmp_path / "e", y=mask[0])
    program("evaluate", "--pred", "d", "--ref", "e", check=0)
    assert json.loads((tmp_path / "d/scores.json").read_text())["header"]["kind"] == "still"


def test_colours_are_classes_too(program, tmp_path):
    red, black = [255, 0, 0], [0, 0, 0]
    write(tmp_path / "a", x=[[red, black], [black, black]])
    write(tmp_path / "b", x=[[red, red], [black, [1, 2, 3]]])
    labels = "labels={rest: [[0, 0, 0]], red: [[255, 0, 0]]}"
    program("evaluate", "--pred", "a", "--ref", "b", labels, "ignore=[[1, 2, 3]]", check=0)
    scores = json.loads((tmp_path / "a/scores.json").read_text())
    assert scores["dataset"]["classes"]["red"]["IoU"] == 0.5
    assert scores["dataset"]["classes"]["rest"]["IoU"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pred", "ours"], "--pred and --ref go together"),
        (["runs/x", "--pred", "ours", "--ref", "theirs"], "not both: 'runs/x'"),
        ([], "evaluate needs a run's folder, or --pred and --ref"),
        (["runs/x", "--out", "s"], "--out is for --pred and --ref"),
        (["--pred", "ours", "--ref", "theirs", "--split", "val"], "--split and --checkpoint choose of a run"),
        (
            ["--pred", "ours", "--ref", "theirs", "labels={a: 0, b: 7}"],
            "(labels={background: 0, gland: [1, 255]} names",
        ),
        (["--pred", "nowhere", "--ref", "theirs"], "nowhere: no such folder"),
        (["--pred", "ours", "--ref", "theirs", "lables={a: 0}"], "unknown key 'lables'; did you mean 'labels'?"),
        (["--pred", "ours", "--ref", "theirs", "labels=[0, 1]"], "labels: [0, 1]; expected a mapping such as"),
        (["--pred", "ours", "--ref", "theirs", "ignore=abc"], "ignore: 'abc'; expected whole numbers, or colours"),
        (["--pred", "ours", "--ref", "theirs", "tolerance=-1"], "tolerance: -1; expected a number of millimetres"),
        (["--pred", "ours", "--ref", "theirs", "tolerance=abc"], "tolerance: 'abc'; expected a number of millim"),
        (["--pred", "ours", "--ref", "theirs", "background=7"], "background: 7; expected the name of a class, in quot"),
        (["--pred", "ours", "--ref", "theirs", "labels={a: 0, b: [0, 7]}"], "0 is in a and in b"),
        (["--pred", "ours", "--ref", "theirs", "labels={a: x}"], "to whole numbers"),
        (["--pred", "ours", "--ref", "theirs", "background=organ"], "background: unknown class 'organ'"),
        (["--pred", "ours", "--ref", "theirs", "name='(x'"], "name: '(x' is no pattern"),
        (["--pred", "ours", "--ref", "theirs", "name=p"], "is the same case 'p'; keep one of them, or set name="),
        (["--pred", "ours", "--ref", "theirs", "labels={a: 0, b: 7}"], "label 9"),
    ],
)
def test_wrong_arguments(program, masks, arguments, message):
    assert message in program("evaluate", *arguments, check=2).stderr


def test_files_that_do_not_fit(program, tmp_path, masks):
    call = ("evaluate", "--pred", "ours", "--ref", "theirs")
    write(tmp_path / "theirs", extra=np.zeros((6, 5)))
    assert "theirs/extra.png: no prediction of this name in ours" in program(*call, check=2).stderr
    write(tmp_path / "ours", extra=np.zeros((6, 4)))
    assert (
        "ours/extra.png: not on the grid of theirs/extra.png: 4x6x1 pixels, not 5x6x1 pixels"
        in program(*call, check=2).stderr
    )
    write(tmp_path / "ours", extra=np.full((6, 5), 3))
    assert "ours/extra.png: label 3 (30 pixels)" in program(*call, check=2).stderr
    write(tmp_path / "ours", extra=np.zeros((6, 5)), more=np.zeros((6, 5)))
    assert "ours/more.png: no reference of this name in theirs" in program(*call, check=2).stderr


def test_stills_and_volumes_are_not_mixed(program, tmp_path):
    for folder in ("a", "b"):
        write(tmp_path / folder, z=[[0, 1], [0, 1]])
        datasets.write_volume(datasets.Volume(np.eye(4, dtype=np.uint8)[None], np.eye(4)), tmp_path / folder / "p.nii")
    told = program("evaluate", "--pred", "a", "--ref", "b", check=2).stderr
    assert "a/z.png: a still, but a/p.nii is a volume; score them apart" in told


def test_masks_of_0_and_255_alone_say_what_to_write(program, tmp_path):
    for folder in ("a", "b"):
        write(tmp_path / folder, x=[[0, 255], [0, 255]])
    said = program("evaluate", "--pred", "a", "--ref", "b", check=2).stderr
    assert "labels={background: 0, gland: 255} ignore=[]" in said
    program("evaluate", "--pred", "a", "--ref", "b", "labels={background: 0, gland: 255}", "ignore=[]", check=0)
    assert json.loads((tmp_path / "a/scores.json").read_text())["dataset"]["mIoU"] == 1
