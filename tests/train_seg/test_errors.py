"""What a newcomer types wrong: one clear line, exit code 2, no traceback, nothing lost."""

import importlib
import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from segloss_tests import ROOT
from segloss_tests.stills import make_camvid

PARTLY = "the network and the transforms of data.augment are checked once this is corrected"


def told(process):
    assert process.returncode == 2, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    line, *more = process.stderr.strip().split("\n")
    assert more in ([], [PARTLY]), process.stderr
    return line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: VERB"),
        (["trian", "x.yaml"], "did you mean 'train'"),
        (["train", "no.yaml"], "no.yaml: no such file"),
        (["train", "run.yaml", "epochs"], "expected key=value"),
        (["train", "run.yaml", "train.epochs="], "train.epochs: no value; train.epochs=null takes the default"),
        (["train", "run.yaml", "loss=dice"], "loss: expected a mapping, such as {name: dice}"),
        (["train", "run.yaml", "--fast"], "unrecognized argument '--fast'"),
        (["train", "run.yaml", "--tune", "--find-lr"], "--find-lr and --tune do not go together"),
        (["train", "run.yaml", "--profile", "--workers", "2"], "--workers is for folds and trials, and --profile"),
        (["train", "run.yaml", "--workers", "0"], "--workers: expected a whole number above 0, got '0'"),
        (["check", "run.yaml", "--clear-cache", "--html"], "--clear-cache checks nothing that --html could show"),
        (["train", "run.yaml", "train.epoch=3"], "did you mean 'epochs'"),
        (["train", "run.yaml", "data.root=nowhere"], "nowhere: no such folder; set data.root"),
        (["train", "run.yaml", "train.device=cuda"], "train.device: cuda, but torch sees no GPU"),
        (["evaluate", "nowhere"], "nowhere: not a run"),
        (["export", "nowhere", "--checkpoint", "last", "scores.checkpoint=best"], "give one of them"),
        (
            ["predict", "nowhere", "a.png", "scores.checkpoint=best", "--out", "b", "--checkpoint", "last"],
            "give one of",
        ),
        (["evaluate", "nowhere", "--split", "tset"], "did you mean 'test'"),
        (["train", "run.yaml", "extends=run.yaml"], "belongs into a file"),
        (["train", "run.yaml", "data.group=("], "data.group: '(' is not a regular expression"),
        (
            ["train", "run.yaml", "data.size=[32]"],
            "data.size: expected [a whole number, a whole number] or null, got [32]",
        ),
        (["train", "run.yaml", "data.augment=[{name: RandomCrop, height: 64, width: 64}]"], "data.augment: "),
        (["train", "run.yaml", "data.augment=[{name: Transpose}]"], "different sizes (32x24, 24x32)"),
        (["train", "run.yaml", "data.augment=[{name: FDA}]"], "data.augment"),
        (["train", "run.yaml", "model.encoder=tu-nonsense"], "model.encoder: 'tu-nonsense' is none"),
        (["train", "run.yaml", "model.decoder_channels=[8, 8, -8]"], "model.decoder_channels: "),
        (["train", "run.yaml", "model={name: unet, encoder: dpn92, pretrained: imagenet}"], "dpn92 has no weights"),
        (["train", "run.yaml", "loss={name: ce, class_weights: {name: effective_number, beta: x}}"], "beta must be in"),
    ],
)
def test_wrong_arguments(program, camvid_yaml, arguments, says):
    if "train.device=cuda" in arguments:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
    assert says in told(program(*arguments))


def test_help_teaches(program):
    assert "train_seg.py train configs/demo.yaml" in program("--help", check=0).stdout
    assert "loss.gamma=1" in program("train", "--help", check=0).stdout
    assert "prostate: 1}' \\\n      --html page.html" in program("compare", "--help", check=0).stdout


def test_one_class_only(program, camvid_yaml, camvid):
    for path in (camvid / "trainannot").iterdir():
        Image.fromarray(np.full((24, 32), 3, np.uint8)).save(path)
    assert "the training part holds no class but road" in told(program("train", camvid_yaml))


def test_mixed_sizes_without_a_size(program, camvid_yaml, tmp_path):
    make_camvid(tmp_path / "camvid", (("train", "Z", 1),), size=(48, 32))
    said = told(program("train", camvid_yaml, "data.size=null"))
    assert "Z_000.png: gives 32x48 pixels" in said
    assert "set data.size" in said


def test_one_training_image(program, camvid_yaml, camvid):
    for path in sorted((camvid / "train").iterdir())[1:]:
        path.unlink()
        (camvid / "trainannot" / path.name).unlink()
    assert "1 training image(s) are too few for batches of 2" in told(program("train", camvid_yaml))


def test_a_folder_that_is_no_run(program, camvid_yaml, tmp_path):
    (tmp_path / "runs/small").mkdir(parents=True)
    (tmp_path / "runs/small/thesis.tex").write_text("dear")
    assert "not empty and no run" in told(program("train", camvid_yaml))
    assert (tmp_path / "runs/small/thesis.tex").read_text() == "dear"


def test_a_checkpoint_of_another_run(program, camvid_yaml, tmp_path):
    """Even one whose weights would fit."""
    for name, seed in (("one", 1), ("two", 2)):
        program("train", camvid_yaml, f"name={name}", f"seed={seed}", "train.epochs=1", check=0)
    wrong = (tmp_path / "runs/one/checkpoints/best.safetensors").read_bytes()
    (tmp_path / "runs/two/checkpoints/best.safetensors").write_bytes(wrong)
    said = told(program("evaluate", "runs/two"))
    assert "runs/two/checkpoints/best.safetensors: a checkpoint of another run" in said


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or sys.platform != "linux", reason="needs root to mount"
)
def test_a_full_disk_and_then_space(program, camvid_yaml, tmp_path, monkeypatch):
    """On a real file system: too small for the cache, then for a checkpoint, then large enough."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        assert ".cache" in (said := told(program("train", camvid_yaml, f"output={disk}")))
        assert "the disk is full" in said
        subprocess.run(["mount", "-o", "remount,size=3m", str(disk)], check=True)
        assert "but the checkpoints need" in told(program("train", camvid_yaml, f"output={disk}"))
        with monkeypatch.context() as patch:  # as if another program took the space meanwhile
            patch.setattr("engine.training.trainer.refuse_small_disk", lambda *_: None)
            assert ".safetensors: the disk is full" in told(program("train", camvid_yaml, f"output={disk}"))
        kept = [path.name for path in (disk / "small/checkpoints").iterdir()]
        assert kept in ([], ["best.safetensors"])  # whole, and nothing of the one that did not fit
        subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
        program("train", camvid_yaml, f"output={disk}", check=0)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_corrected_command_works_after_a_wrong_one(program, camvid_yaml, tmp_path):
    told(program("train", camvid_yaml, "data.root=nowhere"))
    assert not (tmp_path / "runs/small").exists()
    program("train", camvid_yaml, "train.epochs=1", check=0)


def test_a_folder_that_was_begun_is_taken_up(program, camvid_yaml, tmp_path):
    (tmp_path / "runs/small").mkdir(parents=True)
    (tmp_path / "runs/small/.config.yaml.17-ab").write_text("half")
    program("train", camvid_yaml, "train.epochs=1", check=0)


def test_equal_names_in_two_parts(program, camvid_yaml, camvid):
    for kind in ("", "annot"):
        (camvid / f"test{kind}" / "C_000.png").rename(camvid / f"test{kind}" / "A_000.png")
    assert "test/A_000.png: " in (said := told(program("train", camvid_yaml)))
    assert "train/A_000.png has the same name" in said


def test_a_best_checkpoint_in_place_of_the_last(program, camvid_yaml, tmp_path):
    program("train", camvid_yaml, check=0)
    run = tmp_path / "runs/small"
    (run / "scores.json").unlink()
    (run / "trained.json").unlink()  # as of a run that was stopped while it trained
    (run / "checkpoints/last.safetensors").write_bytes((run / "checkpoints/best.safetensors").read_bytes())
    assert "no checkpoint to train on from" in told(program("train", camvid_yaml))


def test_a_foreign_package_is_named(program, camvid_yaml, tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/__init__.py").write_text("")
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); "
        f"sys.argv = ['train_seg.py', 'train', {str(camvid_yaml)!r}]; "
        f"import importlib.util as u; s = u.spec_from_file_location('door', {str(ROOT / 'train_seg.py')!r}); "
        "m = u.module_from_spec(s); s.loader.exec_module(m); sys.exit(m.main())"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert "the package 'datasets' is found in" in told(process)


@pytest.mark.parametrize(
    "line",
    [
        "train a.yaml",
        "train a.yaml --find-lr",
        "reproduce run",
        "init data",
        "check a.yaml",
        "evaluate run",
        "evaluate --pred a --ref b",
        "predict run image --out masks",
        "ablate a.yaml",
        "compare a b",
        "report run",
        "schema",
    ],
)
def test_the_function_of_a_verb_takes_what_the_command_line_gives(door, line):
    options = door.parse(line.split())
    module, name = options.function.split(":")
    wanted = inspect.signature(getattr(importlib.import_module(module), name)).parameters.keys()
    assert wanted <= {*vars(options), "display", "stop", door.VERBS[options.verb].reads}


def test_overrides_stand_anywhere(door):
    assert door.parse(["predict", "run", "a.png", "x=1", "--out", "masks", "y=2"]).overrides == ["x=1", "y=2"]
    assert door.parse(["evaluate", "labels={a:1}", "--pred", "a", "--ref", "b", "name=x"]).overrides == [
        "labels={a:1}",
        "name=x",
    ]
    for line in ("report run x=1 --out y.html z=2", "schema x=1", "train a.yaml --html"):
        with pytest.raises(SystemExit):
            door.parse(line.split())


def test_a_text_may_be_read_in_part():
    reads, writes = os.pipe()
    os.close(reads)
    ended = subprocess.run(
        [sys.executable, "train_seg.py", "schema"], stdout=writes, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    os.close(writes)
    assert (ended.returncode, ended.stderr) == (0, "")
