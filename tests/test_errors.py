"""What a newcomer types wrong: one clear line, exit code 2, no traceback, nothing lost."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, make_camvid
from PIL import Image


def told(process):
    assert process.returncode == 2, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    assert process.stderr.strip().count("\n") == 0, process.stderr
    return process.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: VERB"),
        (["trian", "x.yaml"], "did you mean 'train'"),
        (["train", "no.yaml"], "no.yaml: no such file"),
        (["train", "run.yaml", "epochs"], "expected key=value"),
        (["train", "run.yaml", "--fast"], "unrecognized argument '--fast'"),
        (["train", "run.yaml", "train.epoch=3"], "did you mean 'epochs'"),
        (["train", "run.yaml", "data.root=nowhere"], "nowhere: no such folder; set data.root"),
        (["train", "run.yaml", "train.device=cuda"], "train.device: cuda, but torch sees no GPU"),
        (["evaluate", "nowhere"], "nowhere: not a run"),
        (["evaluate", "nowhere", "--split", "tset"], "did you mean 'test'"),
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


def test_one_class_only(program, camvid_yaml, camvid):
    for path in (camvid / "trainannot").iterdir():
        Image.fromarray(np.full((24, 32), 3, np.uint8)).save(path)
    assert "the training part holds no class but road" in told(program("train", camvid_yaml))


def test_mixed_sizes_without_a_size(program, camvid_yaml, tmp_path):
    make_camvid(tmp_path / "camvid", (("train", "Z", 1),), size=(48, 32))
    assert "32x48 pixels, but" in told(program("train", camvid_yaml, "data.size=null"))


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


def test_a_checkpoint_from_another_model(program, camvid_yaml, tmp_path):
    for name, widths in (("one", "[16, 16, 8]"), ("two", "[16, 8, 8]")):
        program("train", camvid_yaml, f"name={name}", f"model.decoder_channels={widths}", "train.epochs=1", check=0)
    wrong = (tmp_path / "runs/one/checkpoints/best.safetensors").read_bytes()
    (tmp_path / "runs/two/checkpoints/best.safetensors").write_bytes(wrong)
    said = told(program("evaluate", "runs/two"))
    assert "runs/two/checkpoints/best.safetensors: a checkpoint of another model" in said


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or sys.platform != "linux", reason="needs root to mount"
)
def test_a_full_disk(program, camvid_yaml, tmp_path):
    """On a real file system of 3 MB: the cache fits, the checkpoint does not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount here")
    try:
        said = told(program("train", camvid_yaml, f"output={disk}"))
        assert "the disk is full" in said
        assert "free some space" in said
        program("train", camvid_yaml, f"output={disk}", check=2)  # the same again, not a broken run
    finally:
        subprocess.run(["umount", str(disk)], check=True)


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
