"""`predict` for scans: which files are scans, what their masks are called, where they are written."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from datasets import DataError, NiftiFolder
from datasets.labels import LabelMap
from engine.scoring.prediction import inputs

YAML = """\
name: zones
data:
  name: nifti
  root: scans
  size: [32, 32]
  workers: 0
  split: {kind: kfold, folds: 2, fold: all, val: 0}
model: {name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 8, 8]}
loss: {name: ce}
optim: {name: adam, lr: 1e-3}
train: {epochs: 1, batch_size: 8, device: cpu}
"""


def nnunet(root: Path, count=4, values=(0, 1, 2)):
    """Scans of an organ in two zones, with the values that a mask holds."""
    rng = np.random.default_rng(0)
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    rows, columns, slices = np.meshgrid(np.arange(24), np.arange(20), np.arange(4), indexing="ij")
    for index in range(count):
        away = np.hypot(rows - 12, columns - 9 + index % 3) + slices
        zones = np.where(away < 4, 2, np.where(away < 7, 1, 0))
        mask = np.array(values, np.int16)[zones]
        affine = np.diag([-1.0, -1.0, 3.0, 1.0])
        scan = (100 * zones + rng.normal(size=mask.shape)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(scan, affine), root / f"imagesTr/p{index}_0000.nii.gz")
        nibabel.save(nibabel.Nifti1Image(mask, affine), root / f"labelsTr/p{index}.nii.gz")
    return describe(root, dict(zip(("background", "PZ", "TZ"), values, strict=True)))


def describe(root, labels, **more):
    content = {"channel_names": {"0": "T2"}, "labels": labels, "file_ending": ".nii.gz", **more}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def names(found):
    return [one.name for one in found]


# Which files


@pytest.mark.parametrize("out", ["in", ".", "in/imagesTr"])
def test_an_output_on_or_above_the_input_hides_no_scan(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    adapter = NiftiFolder(str(nnunet(Path("in"))))
    expected = ["p0", "p1", "p2", "p3"]
    assert names(inputs([Path("in/imagesTr")], adapter, Path(out))) == expected
    for folder in ("masks", "probabilities/deep"):
        (Path(out) / folder).mkdir(parents=True)
        (Path(out) / folder / "p0.nii.gz").write_bytes(b"")
    assert names(inputs([Path("in/imagesTr")], adapter, Path(out))) == expected
    with pytest.raises(DataError, match="no image here"):
        inputs([Path(out) / "masks"], adapter, Path(out))


def test_masks_of_a_data_set_are_no_scans(tmp_path):
    root = nnunet(tmp_path / "in")
    found = inputs([root], NiftiFolder(str(root)), tmp_path / "out")
    assert names(found) == [f"imagesTr/p{index}" for index in range(4)]
    other = tmp_path / "other"
    other.mkdir()
    for name in ("a.nii.gz", "a_seg.nii.gz"):
        (other / name).write_bytes(b"")
    describe(other, {"background": 0, "gland": 1}, training=[{"image": "./a.nii.gz", "label": "./a_seg.nii.gz"}])
    assert names(inputs([other], NiftiFolder(str(other)), tmp_path / "out")) == ["a"]


def test_a_channel_is_no_part_of_the_name_by_nnunet_alone(tmp_path):
    root = nnunet(tmp_path / "in", count=1)
    (tmp_path / "x_0000.nii.gz").write_bytes(b"")
    by_pattern = NiftiFolder(str(tmp_path), "{name}.nii.gz", "m/{name}.nii.gz", {"background": 0, "gland": 1})
    for adapter, name in ((NiftiFolder(str(root)), "x"), (by_pattern, "x_0000")):
        assert names(inputs([tmp_path / "x_0000.nii.gz"], adapter, tmp_path / "out")) == [name]


# What is written


@pytest.fixture(scope="module")
def trained(tmp_path_factory, module_program, cells_here):
    """Two folds of a run on negative mask values, which a dataset.json names."""
    folder = tmp_path_factory.mktemp("zones")
    nnunet(folder / "scans", values=(-1, 1, 300))
    (folder / "zones.yaml").write_text(YAML)
    module_program("train", "zones.yaml", cwd=folder, check=0)
    return folder


def test_masks_hold_the_values_of_the_data_set(trained, module_program):
    scan = trained / "scans/imagesTr/p0_0000.nii.gz"
    module_program("predict", "runs/zones/fold-0", scan, "--out", "out", cwd=trained, check=0)
    mask = np.asarray(nibabel.load(trained / "out/masks/p0.nii.gz").dataobj)
    assert set(np.unique(mask)) <= {-1, 1, 300}
    assert {entry["value"] for entry in json.loads((trained / "out/classes.json").read_text()).values()} == {-1, 1, 300}


def test_a_run_holds_its_classes(trained, module_program):
    """Predictions do not change when the dataset.json does, or goes; scoring says so, and training is refused."""
    scan, described = trained / "scans/imagesTr/p0_0000.nii.gz", trained / "scans/dataset.json"
    before = described.read_text()

    def predicted():
        module_program("predict", "runs/zones/fold-0", scan, "--out", "held", cwd=trained, check=0)
        return (trained / "held/masks/p0.nii.gz").read_bytes(), (trained / "held/classes.json").read_text()

    expected = predicted()
    for labels in ({"background": -1, "PZ": 300, "TZ": 1}, {"background": -1, "PZ": 1, "TZ": 300, "cyst": 7}):
        describe(trained / "scans", labels)
        assert predicted() == expected
        refused = module_program("train", "zones.yaml", cwd=trained, check=2).stderr
        assert "fold-0: holds another run: data.labels" in refused
        said = module_program("evaluate", "runs/zones", cwd=trained, check=0).stdout
        assert "warning: the data set now gives the labels" in said
        assert f"'TZ': [{labels['TZ']}]" in said
    described.unlink()
    assert predicted() == expected
    described.write_text(before)
    assert "2 folds, 2 finished" in module_program("train", "zones.yaml", cwd=trained, check=0).stdout
    assert "warning" not in module_program("evaluate", "runs/zones", cwd=trained, check=0).stdout


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(-1, 1, "i2"), (0, 255, "u1"), (0, 300, "u2"), (-129, 40000, "i4"), (0, 70000, "u4"), (-3, -1, "i1")],
)
def test_values_are_stored_in_the_smallest_type(low, high, dtype):
    values = LabelMap({"rest": [low], "organ": [high]}).values_of(np.array([[0, 1]]))
    assert values.tolist() == [[low, high]]
    assert values.dtype == dtype
    if low >= 0 and high < 2**16:  # as stills are written
        content = BytesIO()
        Image.fromarray(values).save(content, "PNG")
        assert np.asarray(Image.open(content)).tolist() == [[low, high]]


# Folds


@pytest.mark.slow
def test_folds_are_those_of_the_split_file(tmp_path, program):
    """Two folds of three are trained; then the file changes, or has fewer folds."""
    nnunet(tmp_path / "scans")
    cases = [f"p{index}" for index in range(4)]
    folds = [{"train": [case for case in cases if case != held], "val": [held]} for held in cases[:3]]
    splits = tmp_path / "splits_final.json"
    splits.write_text(json.dumps(folds))
    text = YAML.replace(
        "{kind: kfold, folds: 2, fold: all, val: 0}", "{kind: file, path: splits_final.json, fold: all}"
    )
    (tmp_path / "zones.yaml").write_text(text)
    program("train", "zones.yaml", check=0)
    (tmp_path / "runs/zones/fold-1/scores.json").unlink()
    shutil.rmtree(tmp_path / "runs/zones/fold-2")
    scan = tmp_path / "scans/imagesTr/p0_0000.nii.gz"
    told = program("predict", "runs/zones", scan, "--out", "out", check=0).stdout
    assert "warning: not finished, so the mean lacks them or has them half trained: fold-1, fold-2" in told
    assert "the mean of 2 networks" in told
    splits.write_text(json.dumps(folds[::-1]))
    told = program("train", "zones.yaml", check=2).stderr
    assert "splits_final.json: 2 cases, such as 'p0', are not in the parts that runs/zones/fold-0/split.json" in told
    splits.write_text(json.dumps(folds[:1]))
    program("train", "zones.yaml", check=0)
    scores = json.loads((tmp_path / "runs/zones/scores.json").read_text())
    assert (scores["header"]["folds"], {row["case"] for row in scores["cases"]}) == (1, {"p0"})
