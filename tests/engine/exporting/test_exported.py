"""`export` and `predict --engine`: the same masks as the run's own, and what is refused."""

import json

import cv2
import numpy as np
import pytest
import SimpleITK
import torch
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
    every = {}
    for name, overrides in {"whole": [], "flip": ["scores.flip=true"], "windows": ["scores.window=[16, 16]"]}.items():
        module_program("predict", "runs/small", "camvid/test", "--out", name, *overrides, check=0, cwd=folder)
        module_program("export", "runs/small", "--format", engine, *overrides, check=0, cwd=folder)
        asked = ["--engine", engine, "--out", f"{name}-{engine}", *overrides]
        module_program("predict", "runs/small", "camvid/test", *asked, check=0, cwd=folder)
        own, found = masks(folder / name), masks(folder / f"{name}-{engine}")
        assert own.keys() == found.keys()
        assert np.mean([(own[one] == found[one]).mean() for one in own]) >= 0.9999
        every[name] = np.concatenate([mask.ravel() for mask in own.values()])
    assert len(np.unique(every["whole"])) > 1
    assert (every["whole"] != every["flip"]).any()
    assert (every["whole"] != every["windows"]).any()


def test_what_does_not_fit_is_refused(folder, module_program):
    predict = ["predict", "runs/small", "camvid/test", "--engine", "torch", "--out", "refused"]
    module_program("export", "runs/small", "--format", "torch", check=0, cwd=folder)
    assert "other scores than" in module_program(*predict, "scores.flip=true", check=2, cwd=folder).stderr
    assert "other checkpoint" in module_program(*predict, "--checkpoint", "last", check=2, cwd=folder).stderr
    weights = folder / "runs/small/checkpoints/best.safetensors"
    content = weights.read_bytes()
    weights.write_bytes((folder / "runs/small/checkpoints/last.safetensors").read_bytes()[:-4] + b"wxyz")
    assert "damaged" in module_program("export", "runs/small", check=2, cwd=folder).stderr
    assert "other weights" in module_program(*predict, check=2, cwd=folder).stderr
    weights.write_bytes(content)
    graph = folder / "runs/small/exported/model.pt2"
    described = json.loads(graph.with_name("model.pt2.json").read_text())
    assert described["parity"]["equal"] >= 0.9999
    graph.write_bytes(graph.read_bytes()[:-1])
    assert "damaged" in module_program(*predict, check=2, cwd=folder).stderr
    graph.unlink()
    assert "are not there; make them" in module_program(*predict, check=2, cwd=folder).stderr


SCANS = """\
name: scans
data: {name: phantom, root: scans, patients: 6, size: [32, 40], workers: 0, split: {kind: holdout}}
model: {name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 8, 8]}
loss: {name: dice}
optim: {name: adam, lr: 1e-2}
train: {epochs: 2, batch_size: 8, device: cpu}
"""


def test_a_stranger_who_does_what_the_json_file_says_gets_the_mask_of_predict(module_program, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    (tmp_path / "scans.yaml").write_text(SCANS)
    module_program("train", "scans.yaml", check=0, cwd=tmp_path)
    module_program("export", "runs/scans", check=0, cwd=tmp_path)
    scan = min(path for path in (tmp_path / "scans").rglob("Case*.mhd") if "segm" not in path.name)
    module_program("predict", "runs/scans", scan, "--out", "out", check=0, cwd=tmp_path)
    wanted = SimpleITK.ReadImage(str(tmp_path / f"out/masks/{scan.name}"))
    told = json.loads((tmp_path / "runs/scans/exported/model.onnx.json").read_text())
    assert [step["step"] for step in told["before"]] == ["orient", "normalise", "resize"]
    assert [step["step"] for step in told["after"]] == ["resize", "argmax", "orient"]
    orient, normalise, resize = told["before"]
    turned = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(scan), SimpleITK.sitkFloat32), orient["axes"])
    voxels = SimpleITK.GetArrayFromImage(turned)
    low, high = np.percentile(voxels, [normalise["low"], normalise["high"]])
    scaled = np.clip((voxels - low) / (high - low), 0, 1)
    rows, columns = resize["size"]
    small = np.stack([cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA) for plane in scaled])
    session = onnxruntime.InferenceSession(str(tmp_path / "runs/scans/exported" / told["file"]))
    images = ((small - scaled.mean()) / scaled.std())[:, None].astype(np.float32)
    (logits,) = session.run(["logits"], {told["input"]["name"]: images})
    wide = torch.nn.functional.interpolate(torch.from_numpy(logits), voxels.shape[1:], mode="bilinear")
    found = SimpleITK.GetImageFromArray(wide.argmax(1).numpy().astype(np.uint8))
    found.CopyInformation(turned)
    reference = SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(wanted, orient["axes"]))
    assert len(np.unique(reference)) == 2
    assert (SimpleITK.GetArrayFromImage(found) == reference).mean() >= 0.9999
