"""What a command did not write is never overwritten: the list of written files, and the verbs that keep it."""

import json
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from datasets.written import LIST, predictions, read_list
from engine.configuration.checking import load_config
from engine.errors import UsageError
from engine.store.outputs import Outputs, refuse_foreign


def write(outputs, **contents):
    names = [name.replace("__", "/") + ".txt" for name in contents]
    left = outputs.claim(names)
    for name, content in zip(names, contents.values(), strict=True):
        with outputs.writing(name):
            (outputs.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (outputs.folder / name).write_text(content)
    return left


@pytest.fixture
def outputs(tmp_path):
    return Outputs(tmp_path / "out", "predict")


def test_what_the_command_wrote_is_replaced_and_the_rest_of_it_named(outputs):
    assert write(outputs, a="1", masks__b="1") == []
    assert write(outputs, a="2", c="2") == ["masks/b.txt"]
    assert (outputs.folder / "a.txt").read_text() == "2"


def test_what_somebody_else_wrote_is_not(outputs):
    outputs.folder.mkdir()
    (outputs.folder / "b.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"out: holds 1 file that predict would .*: b.txt; choose another --out"):
        write(outputs, a="1", b="1")
    assert [path.name for path in outputs.folder.iterdir()] == ["b.txt"]


def test_what_was_edited_since_or_is_another_commands_is_not(outputs):
    write(outputs, a="1", b="1")
    (outputs.folder / "b.txt").write_text("corrected by hand")
    with pytest.raises(UsageError, match=r"b\.txt"):
        write(outputs, a="2", b="2")
    with pytest.raises(UsageError, match=r"a\.txt"):
        write(Outputs(outputs.folder, "evaluate"), a="2")


def test_a_kill_amid_a_file_leaves_it_the_commands(outputs):
    with suppress(KeyboardInterrupt), outputs.writing("a.txt"):
        (outputs.folder / "a.txt").write_text("half")
        raise KeyboardInterrupt
    list_file = outputs.folder / LIST
    list_file.write_bytes(list_file.read_bytes() + b'\n{"file": "a.t')  # a line cut short
    assert write(outputs, a="whole") == []
    assert read_list(outputs.folder)["a.txt"].digest is not None


def test_only_what_predict_wrote_and_nobody_changed_is_a_prediction(outputs, tmp_path):
    write(outputs, masks__a="1", masks__b="1")
    (outputs.folder / "masks/b.txt").write_text("corrected")
    (outputs.folder / "masks/c.txt").write_text("drawn")
    found = predictions(sorted(outputs.folder.glob("masks/*")))
    assert [path.name for path in found] == ["a.txt"]
    moved = (tmp_path / "out").rename(tmp_path / "elsewhere")
    assert predictions([moved / "masks/a.txt"])


def test_an_output_whose_name_would_be_too_long_is_refused(tmp_path):
    with pytest.raises(UsageError, match="longer than the 255 bytes of a name; rename the input"):
        Outputs(tmp_path, "predict").claim([f"masks/{'前' * 84}.nii.gz"])


def test_a_folder_of_another_program_is_refused(tmp_path):
    refuse_foreign(tmp_path / "none", ["fold-*/config.yaml"])
    (tmp_path / ".hidden").touch()
    refuse_foreign(tmp_path, ["fold-*/config.yaml"])
    (tmp_path / "scores.json").touch()
    with pytest.raises(UsageError, match="not empty"):
        refuse_foreign(tmp_path, ["fold-*/config.yaml"])
    (tmp_path / "fold-0").mkdir()
    (tmp_path / "fold-0/config.yaml").touch()
    refuse_foreign(tmp_path, ["fold-*/config.yaml"])


@pytest.fixture
def untrained(tmp_path, camvid_yaml):
    """The folder of a run without a checkpoint: whoever loads its network fails."""
    folder = tmp_path / "runs/small"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(load_config(camvid_yaml).to_yaml())
    return folder


def test_predict_refuses_to_replace_a_mask_before_it_loads_the_network(untrained, program, tmp_path):
    for folder in ("in", "data/masks"):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / folder / "a.png")
    before = (tmp_path / "data/masks/a.png").read_bytes()
    done = program("predict", untrained, "in", "--out", "data", check=2)
    assert done.stderr.startswith("data: holds 1 file that predict would overwrite")
    assert (tmp_path / "data/masks/a.png").read_bytes() == before
    assert not (tmp_path / "data/classes.json").exists()


def test_scores_of_masks_replace_no_scores_of_others(program, tmp_path):
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / folder / "a.png")
    (tmp_path / "theirs/scores.json").write_text("{}")
    arguments = ["evaluate", "--pred", "theirs", "--ref", "ours"]
    assert "theirs: holds 1 file that evaluate would overwrite" in program(*arguments, check=2).stderr
    assert [path.name for path in sorted((tmp_path / "theirs").iterdir())] == ["a.png", "scores.json"]
    for _ in range(2):  # its own it may replace
        program(*arguments, "--out", "scores", check=0)
    assert json.loads((tmp_path / "scores/scores.json").read_text())["dataset"]["mDSC"] == 1


@pytest.mark.parametrize("out", ["run.yaml", "runs/small/config.yaml"])
def test_a_page_replaces_nothing_but_a_page(untrained, program, tmp_path, out):
    assert "holds 1 file that report would overwrite" in program("report", untrained, "--out", out, check=2).stderr
    assert (tmp_path / out).read_text().startswith("name: small")


def test_the_pictures_of_check_replace_nothing_of_others(program, camvid_yaml, tmp_path):
    folder = tmp_path / "runs/small-check"
    folder.mkdir(parents=True)
    (folder / "samples.png").write_text("mine")
    assert "choose another name or output" in program("check", camvid_yaml, check=2).stderr
    assert (folder / "samples.png").read_text() == "mine"
    program("check", camvid_yaml, "name=other", "--html", check=0)
    said = program("check", camvid_yaml, "name=other", check=0).stdout
    assert "note: runs/other-check holds 1 file of an earlier check too, not written anew: check.html" in said


def test_neither_a_learning_rate_nor_folds_take_the_folder_of_others(program, camvid_yaml, tmp_path):
    for name in ("small-lr/lr.png", "small/scores.json"):
        (tmp_path / "runs" / name).parent.mkdir(parents=True)
        (tmp_path / "runs" / name).write_text("mine")
    assert "lr.png" in program("train", camvid_yaml, "--find-lr", check=2).stderr
    folds = "data.split={kind: kfold, folds: 2, fold: all}"
    assert "runs/small: not empty and not of this program" in program("train", camvid_yaml, folds, check=2).stderr


def test_clearing_the_cache_leaves_files_of_others(program, camvid_yaml, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/encoder.safetensors").write_text("mine")
    (tmp_path / f"weights/{'0a' * 20}.safetensors").write_text("decoded")
    program("check", camvid_yaml, "data.cache=weights", "--clear-cache", check=0)
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["encoder.safetensors"]
