"""`predict`: masks for images without a reference, at their own size; sliding windows and flips."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import datasets
from engine.configuration.config import ScoresSection
from engine.errors import UsageError
from engine.scoring.inference import infer
from engine.scoring.prediction import refuse_values
from segloss_tests.runs import small_yaml
from segloss_tests.stills import make_cityscapes


@pytest.fixture(scope="module")
def trained(tmp_path_factory, module_program):
    folder = tmp_path_factory.mktemp("trained")
    module_program("train", small_yaml(folder), "train.epochs=1", "data.size=[16, 20]", check=0, cwd=folder)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return "runs/small"


def photo(path, size, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_masks_have_the_images_own_size_and_the_data_sets_values(run, program, tmp_path):
    photo(tmp_path / "in/a.png", (30, 41))
    photo(tmp_path / "in/deep/b.jpg", (17, 24))
    photo(tmp_path / "single.png", (24, 32))
    done = program("predict", run, "in", "single.png", "--out", "out", "--probabilities", check=0)
    assert "3 masks in out/masks" in done.stdout
    for name, (rows, columns) in {"a": (30, 41), "deep/b": (17, 24), "single": (24, 32)}.items():
        mask = np.asarray(Image.open(tmp_path / f"out/masks/{name}.png"))
        assert mask.shape == (rows, columns)
        shares = np.load(tmp_path / f"out/probabilities/{name}.npy")
        assert shares.shape == (1, 11, rows, columns)
        assert np.abs(shares.astype(float).sum(1) - 1).max() < 0.01
        assert (shares[0].argmax(0) == mask).mean() > 0.99  # float16 ties
        assert Image.open(tmp_path / f"out/preview/{name}.png").size == (columns, rows)
    classes = json.loads((tmp_path / "out/classes.json").read_text())
    assert classes["bicyclist"]["value"] == 10


def test_predictions_are_those_that_evaluate_scores(run, program, tmp_path):
    program("predict", run, "camvid/test", "--out", "out", check=0)
    labels = ", ".join(f"c{i}: {i}" for i in range(11))
    ours = ["--pred", "out/masks", "--ref", "camvid/testannot", f"labels={{{labels}}}", "ignore=11"]
    program("evaluate", *ours, "--out", "scores", check=0)
    found = json.loads((tmp_path / "scores/scores.json").read_text())
    trained = json.loads((tmp_path / "runs/small/scores.json").read_text())
    assert found["dataset"]["mIoU"] == pytest.approx(trained["dataset"]["mIoU"], abs=1e-12)


def test_volumes_keep_their_place(program, tmp_path):
    (tmp_path / "p.yaml").write_text(
        "name: p\nmodel: {name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 8, 8]}\n"
        "loss: {name: ce}\noptim: {name: adam, lr: 1e-3}\ntrain: {epochs: 1, batch_size: 8, device: cpu}\n"
        "data: {name: phantom, root: scans, patients: 6, size: [32, 32], split: {kind: holdout}, workers: 0}\n"
    )
    program("train", "p.yaml", check=0)
    scan = next(path for path in sorted((tmp_path / "scans").rglob("Case*.mhd")) if "segm" not in path.name)
    program("predict", "runs/p", scan, "--out", "out", check=0)
    mask, image = datasets.read_volume(tmp_path / f"out/masks/{scan.name}"), datasets.read_volume(scan)
    assert mask.array.shape == image.array.shape
    assert set(np.unique(mask.array)) <= {0, 1}
    np.testing.assert_allclose(mask.affine, image.affine)


def test_goes_on_after_an_image_that_cannot_be_read_and_leaves_its_own_output_alone(run, program, tmp_path):
    good = photo(tmp_path / "in/a.png", (24, 32))
    photo(tmp_path / "in/c.png", (24, 32))
    (tmp_path / "in/b.png").write_text("no picture")
    for _ in range(2):
        done = program("predict", run, "in", "in", "--out", "in/out", check=2)
        assert "2 masks in in/out/masks" in done.stdout
        assert done.stderr.startswith("in/b.png: not a readable image")
    ours = ["--pred", "in/out", "--ref", "in/out/masks"]
    program("evaluate", *ours, "labels={" + ", ".join(f"c{i}: {i}" for i in range(11)) + "}", "--out", "s", check=0)
    assert "a file; give a folder" in program("predict", run, good, "--out", good, check=2).stderr


def test_an_image_that_cannot_be_scaled_is_named(run, program, tmp_path):
    photo(tmp_path / "in/a.png", (24, 32))
    dark = np.random.default_rng(0).integers(0, 4000, (24, 32)).astype(np.uint16)
    Image.fromarray(dark).save(tmp_path / "in/b.png")
    done = program("predict", run, "in", "--out", "out", check=2)
    assert done.stderr.startswith("in/b.png: data.normalise: imagenet divides 16-bit pixels")
    assert "1 masks in out/masks" in done.stdout


@pytest.mark.parametrize("value", [-1, 70000])
def test_a_value_that_no_png_holds_is_refused_before_anything_is_predicted(value):
    labels = {"background": 0, "thing": value}
    with pytest.raises(UsageError, match=f"the class thing has the value {value}, and PNG"):
        refuse_values(datasets.Folder("x", labels))
    refuse_values(datasets.Folder("x", {"background": 0, "thing": 65535}))
    refuse_values(datasets.Folder("x", {"background": [[0, 0, 0]], "thing": [[255, 255, 255]]}))
    refuse_values(datasets.NiftiFolder("x", "{name}.nii", "{name}_m.nii", labels))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "x.png", "--out", "o"], "nowhere: not a run"),
        (["runs/small", "x.png", "--out", "o"], "x.png: no such file or folder"),
        (["runs/small", "run.yaml", "--out", "o"], "run.yaml: no image here that this data set could hold"),
        (["runs/small", "small.png", "s/small.png", "--out", "o"], "s/small.png: small.png would get the same output"),
        (["runs/small", "cut.png", "--out", "o"], "cut.png: not a readable image"),
        (["runs/small", "small.png", "--out", "o", "scores.window=[64, 64]"], "larger than the network's grid"),
        (["runs/small", "small.png", "--out", "o", "loss.name=dfl"], "belongs to the training of this run"),
        (["runs/small", "scores.flip=true", "--out", "o"], "predict needs an image or a folder"),
    ],
)
def test_wrong_arguments(run, program, tmp_path, arguments, message):
    photo(tmp_path / "s/small.png", (24, 32))
    whole = photo(tmp_path / "small.png", (24, 32)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    assert message in program("predict", *arguments, check=2).stderr


class Local(torch.nn.Module):
    """A network that sees each pixel alone, so windows cannot change what it says."""

    def forward(self, images):
        return torch.cat([images, -images], 1)


def test_windows_of_a_pixelwise_network_change_nothing():
    images = torch.randn(2, 3, 70, 50)
    whole = infer(Local(), images, ScoresSection())
    windows = infer(Local(), images, ScoresSection(window=(32, 24), overlap=0.5, flip=True))
    torch.testing.assert_close(windows, whole, rtol=1e-5, atol=1e-5)


def test_a_flip_is_the_mean_with_the_mirror_image():
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 2, 3, padding=1)
    images = torch.randn(1, 3, 9, 8)
    with torch.no_grad():
        found = infer(network, images, ScoresSection(flip=True))
        expected = (network(images) + network(images.flip(3)).flip(3)) / 2
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_cityscapes_at_full_size_in_windows_with_label_ids_for_submission(program, tmp_path):
    """2048x1024 images: trained on crops, scored and predicted in windows at their own size."""
    cities = (("train", "ulm", 2), ("train", "bonn", 2), ("val", "lindau", 1))
    root = make_cityscapes(tmp_path / "city", cities, (1024, 2048))
    (tmp_path / "city.yaml").write_text(
        f"""\
name: city
data: {{name: cityscapes, root: {root}, size: null, workers: 0, split: {{kind: official, val: 1}},
        augment: [{{name: RandomCrop, height: 64, width: 64}}]}}
model: {{name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 8, 8]}}
loss: {{name: ce}}
optim: {{name: adam, lr: 1e-3}}
train: {{epochs: 1, batch_size: 2, device: cpu}}
scores: {{window: [512, 1024], overlap: 0}}
"""
    )
    program("train", "city.yaml", check=0)
    scores = json.loads((tmp_path / "runs/city/scores.json").read_text())
    assert scores["header"]["inference"] == "windows of 512x1024, overlap 0"
    assert len({row["case"] for row in scores["cases"]}) == 1
    program("predict", "runs/city", root / "leftImg8bit/val", "--out", "out", check=0)
    (mask,) = (tmp_path / "out/masks").rglob("*.png")
    labels = np.asarray(Image.open(mask))
    assert labels.shape == (1024, 2048)
    ids = {7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33}  # the 19 of cityscapesScripts
    assert set(np.unique(labels).tolist()) <= ids
    (reference,) = (root / "gtFine/val").rglob("*_labelIds.png")
    assert mask.name.removesuffix("_leftImg8bit.png") == reference.name.removesuffix("_gtFine_labelIds.png")
