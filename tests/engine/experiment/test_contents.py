"""What a run was trained on is known to it: changed files are refused, files that are not needed need not be there."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from engine.experiment.contents import changed_between
from engine.experiment.run import Run

YAML = """\
name: r
data: {name: folder, root: data, labels: {background: 0, lesion: 1}, workers: 0, split: {kind: official},
  images: 'images/{part}/{name}.png', masks: 'masks/{part}/{name}.png', size: [16, 16]}
model: {name: unet2015, width: 2, depth: 1}
loss: {name: ce}
optim: {name: adam, lr: 1e-3}
train: {epochs: 2, batch_size: 2, device: cpu}
scores: {background: exclude}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, module_program):
    """The folder of a trained run whose validation part has no lesion, and what was said of it."""
    folder = tmp_path_factory.mktemp("contents")
    rng = np.random.default_rng(0)
    for part, names in {"train": "abcd", "val": "ef", "test": "gh"}.items():
        for kind in ("images", "masks"):
            (folder / "data" / kind / part).mkdir(parents=True)
        for name in names:
            image = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
            mask = np.zeros((16, 16), np.uint8)
            mask[4:9, 4:9] = part != "val"
            Image.fromarray(image).save(folder / f"data/images/{part}/{name}.png")
            Image.fromarray(mask).save(folder / f"data/masks/{part}/{name}.png")
    (folder / "r.yaml").write_text(YAML)
    return folder, module_program("train", "r.yaml", cwd=folder, check=0).stdout


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "copy")


def test_a_validation_part_that_can_rank_no_epoch_is_said_and_the_last_epoch_kept(trained):
    folder, said = trained
    assert "warning: no pixel of lesion in the val part" in said
    assert "so the last one is kept; see data.split" in said
    assert "in the test part" not in said
    assert "validation dataset mIoU is undefined in every epoch: the last one is kept as the best" in said
    assert json.loads((folder / "runs/r/scores.json").read_text())["header"]["epoch"] == 2
    log = [json.loads(line) for line in (folder / "runs/r/log.jsonl").read_text().splitlines()]
    assert [entry["score"] for entry in log] == [None, None]


def test_a_class_that_the_training_part_lacks_is_said(trained, tmp_path, module_program):
    shutil.copytree(trained[0] / "data", tmp_path / "data")
    (tmp_path / "r.yaml").write_text(YAML.replace("lesion: 1}", "lesion: 1, cyst: 2}"))
    said = module_program("train", "r.yaml", "train.epochs=1", cwd=tmp_path, check=0).stdout
    assert (
        "warning: no pixel of cyst in the train part: nothing of it is learnt; check the values of data.labels; see "
        "data.split\n"
    ) in said
    assert "in the train part" not in trained[1]


def test_a_run_keeps_digests_of_what_it_was_trained_on(trained):
    found = json.loads((trained[0] / "runs/r/data.json").read_text())
    assert {part: sorted(cases) for part, cases in found.items()} == {
        "train": ["train/a", "train/b", "train/c", "train/d"],
        "val": ["val/e", "val/f"],
    }
    one, other = found["train"]["train/a"], found["train"]["train/b"]
    assert one["image"] != other["image"]
    assert one["mask"] == other["mask"]


@pytest.mark.parametrize("kind", ["mask", "image"])
def test_a_changed_file_is_refused_by_name_when_a_run_is_resumed(copy, module_program, kind):
    for name in ("trained.json", "scores.json"):
        (copy / "runs/r" / name).unlink()
    path = copy / f"data/{kind}s/train/b.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0] = 1 - pixels[0, 0] % 2
    Image.fromarray(pixels).save(path)
    said = module_program("train", "r.yaml", cwd=copy, check=2).stderr
    assert f"runs/r: since this run began, the {kind} of train/b has changed; restore the files" in said
    assert not (copy / "runs/r/trained.json").exists()


@pytest.mark.parametrize("kind", ["masks", "images"])
def test_a_training_file_that_is_gone_does_not_stop_the_scoring(copy, module_program, kind):
    before = (copy / "runs/r/scores.json").read_text()
    (copy / f"data/{kind}/train/b.png").unlink()
    module_program("evaluate", "runs/r", cwd=copy, check=0)
    (copy / "runs/r/scores.json").unlink()
    said = module_program("train", "r.yaml", cwd=copy, check=0).stdout
    assert "note: scored without the training part" in said
    assert (copy / "runs/r/scores.json").read_text() == before
    assert module_program("evaluate", "runs/r", "--split", "train", cwd=copy, check=2).stderr.count("b.png") >= 1


def test_starting_from_a_run_that_has_seen_what_is_held_out_is_said(copy, module_program):
    """Once test and validation part have changed places; in their own places nothing is said."""
    parts = {"train": "abcd", "val": "gh", "test": "ef"}
    of = {name: part for part, names in {"train": "abcd", "val": "ef", "test": "gh"}.items() for name in names}
    (copy / "parts.json").write_text(
        json.dumps({part: [f"{of[name]}/{name}" for name in names] for part, names in parts.items()})
    )
    given = ["train", "r.yaml", "train.epochs=1", "model.init_from=runs/r"]
    same = module_program(*given, "name=same", cwd=copy, check=0).stdout
    other = module_program(*given, "name=other", "data.split={kind: file, path: parts.json}", cwd=copy, check=0).stdout
    assert "warning: model.init_from" not in same
    assert (
        "warning: model.init_from: runs/r has been trained, or its weights chosen, by 2 of the 2 cases held out here, "
        "such as val/e: their scores say nothing of other cases"
    ) in " ".join(other.split())


def runs(tmp_path, *contents):
    for number, each in enumerate(contents):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/data.json").write_text(json.dumps(each))
    return [Run(tmp_path / f"{number}") for number in range(len(contents) + 1)]  # the last one has no record


def test_runs_on_other_masks_of_the_same_cases_are_named(tmp_path):
    def one(image, mask):
        return {"image": image, "mask": mask}

    first = {"train": {name: one("i", "m") for name in "abcde"}, "val": {"v": one("i", "m")}}
    second = {"train": {"a": one("i", "n"), "v": one("j", "n"), "z": one("x", "x")}, "val": {"b": one("i", "m")}}
    found = runs(tmp_path, first, second)
    assert changed_between(found[:1]) is None
    assert changed_between(found) == "between these runs, the mask of a, the image and mask of v have changed"
