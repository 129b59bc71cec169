"""`export` and `predict --engine`: the same masks as the run's own, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from segloss_tests.runs import small_yaml

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory, module_program):
    folder = tmp_path_factory.mktemp("exported")
    module_program("train", small_yaml(folder), "train.epochs=1", "model.acw=true", check=0, cwd=folder)
    return folder


def masks(folder):
    return {path.name: np.asarray(Image.open(path)) for path in sorted((folder / "masks").iterdir())}


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_both_engines_give_the_masks_of_the_run(engine, folder, module_program):
    for name, overrides in {"whole": [], "flip": ["scores.flip=true"], "windows": ["scores.window=[16, 16]"]}.items():
        module_program("predict", "runs/small", "camvid/test", "--out", name, *overrides, check=0, cwd=folder)
        module_program("export", "runs/small", "--format", engine, *overrides, check=0, cwd=folder)
        asked = ["--engine", engine, "--out", f"{name}-{engine}", *overrides]
        module_program("predict", "runs/small", "camvid/test", *asked, check=0, cwd=folder)
        own, found = masks(folder / name), masks(folder / f"{name}-{engine}")
        assert own.keys() == found.keys()
        assert np.mean([(own[one] == found[one]).mean() for one in own]) >= 0.9999


def test_what_does_not_fit_is_refused(folder, module_program):
    predict = ["predict", "runs/small", "camvid/test", "--engine", "torch", "--out", "refused"]
    module_program("export", "runs/small", "--format", "torch", check=0, cwd=folder)
    assert "other scores than" in module_program(*predict, "scores.flip=true", check=2, cwd=folder).stderr
    assert "other checkpoint" in module_program(*predict, "--checkpoint", "last", check=2, cwd=folder).stderr
    graph = folder / "runs/small/exported/model.pt2"
    described = json.loads(graph.with_name("model.pt2.json").read_text())
    assert described["parity"]["equal"] >= 0.9999
    graph.write_bytes(graph.read_bytes()[:-1])
    assert "damaged" in module_program(*predict, check=2, cwd=folder).stderr
    graph.unlink()
    assert "are not there; make them" in module_program(*predict, check=2, cwd=folder).stderr
