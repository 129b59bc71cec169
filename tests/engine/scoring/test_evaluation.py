"""A part is counted the same, whatever is worked on at once; what a case was not labelled for is not counted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from datasets import Division
from engine.configuration.checking import load_config
from engine.experiment.device import launch
from engine.experiment.experiment import Experiment
from engine.scoring import evaluation, inference
from engine.scoring.evaluation import score
from engine.scoring.prediction import predict_file
from engine.scoring.results import baselines
from engine.scoring.tables import rules, score_tables

FOLDER = """\
name: folder
data:
  {name: folder, root: ROOT, labels: {background: 0, organ: 1, lesion: 2}, workers: 0, split: {kind: kfold, folds: 2},
   labelled: {case0: [organ], "case[1-4]": [lesion]}}
model: {name: unet2015, width: 4, depth: 1}
loss: [{name: ce}, {name: dice}]
optim: {name: adam, lr: 1e-3}
train: {batch_size: 2, device: cpu}
"""
YAML = """\
name: small
data: {name: phantom, patients: 3, root: phantom, size: [16, 16], workers: 0, split: {kind: holdout, test: 1, val: 1}}
model: {name: unet2015, width: 4, depth: 1}
loss: {name: ce}
optim: {name: adam, lr: 1e-3}
train: {batch_size: 3, device: cpu}
"""
STILLS = ["data.size=[12, 16]", "train.batch_size=3", "scores.grid=original"]
VOLUMES = ["scores.grid=original", "data.spacing=[6, null, null]"]


@pytest.mark.parametrize("options", [STILLS, VOLUMES, ["scores.grid=network"]])
def test_scores_are_the_same_whatever_is_worked_on_at_once(tmp_path, camvid_yaml, monkeypatch, options):
    path = camvid_yaml if options is STILLS else tmp_path / "volumes.yaml"
    if options is not STILLS:
        path.write_text(YAML)
        monkeypatch.chdir(tmp_path)
    config = load_config(path, [f"output={tmp_path}", *options])
    experiment, fabric = Experiment.prepare(config), launch(config.train)
    torch.manual_seed(0)
    model = fabric.setup(nn.Conv2d(experiment.adapter.channels, len(experiment.adapter.classes), 3, padding=1))
    found = []
    for most in (1, 3000, 2**21):
        for module in (evaluation, inference):
            monkeypatch.setattr(module, "PIXELS", most)
        found.append(score(model, "test", experiment, fabric, thorough=True).scores())
    assert found[0] == found[1] == found[2]
    assert len({tuple(row) for row in found[0].document.confusion}) > 1


class Paint(nn.Module):
    """Says organ in the upper half of an image, and lesion in the lower one."""

    def forward(self, images):
        logits = torch.zeros(len(images), 3, *images.shape[2:])
        rows = images.shape[2] // 2
        logits[:, 1, :rows], logits[:, 2, rows:] = 9, 9
        return logits


def test_what_a_case_was_not_labelled_for_is_not_counted(tmp_path):
    """Six stills of 8 rows: the upper half is background, the lower one, but in one case, what was labelled."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for index in range(6):
        mask = np.zeros((8, 8), np.uint8)
        mask[4:] = {0: 0, 5: 1}.get(index, 2)
        Image.fromarray(np.full((8, 8, 3), 20 * index, np.uint8)).save(tmp_path / f"images/case{index}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/case{index}.png")
    path = tmp_path / "folder.yaml"
    path.write_text(FOLDER.replace("ROOT", str(tmp_path)))
    config = load_config(path, [f"output={tmp_path}/runs"])
    experiment, fabric = Experiment.prepare(config), launch(config.train)
    cases = [cached for part in experiment.data.parts.values() for cached in part]
    whole = Division({**experiment.data.parts, "test": cases}, {}, [], [])
    every = replace(experiment, data=whole)
    document = score(fabric.setup(Paint()), "test", every, fabric, thorough=True).scores().document
    rows = {(row.case, row.label): (row.tp, row.fp, row.fn) for row in document.rows}
    assert rows["case0", "organ"] == (0, 32, 0)  # the lower half, lesion or not, is background
    assert ("case0", "lesion") not in rows
    assert rows["case1", "lesion"] == (32, 0, 0)
    assert rows["case1", "background"] == (32, 0, 0)  # the organ that is found there may be one
    assert ("case1", "organ") not in rows
    assert rows["case5", "lesion"] == (0, 32, 0)
    assert rows["case5", "organ"] == (0, 32, 32)
    classes = document.aggregations["dataset"]["classes"]
    assert classes["lesion"]["DSC"] == pytest.approx(2 * 4 * 32 / (2 * 4 * 32 + 32))
    assert classes["organ"]["DSC"] == 0
    assert sum(one["count"] for one in document.calibration["bins"]) == 64  # of case5
    assert rules(document)[0].startswith("means without background; ")


class PaintRegions(nn.Module):
    """Says whole in the upper half of an image, lesion in its upper quarter, and tube in the lower half."""

    def forward(self, images):
        logits = torch.full((len(images), 3, *images.shape[2:]), -9.0)
        logits[:, 0, :4], logits[:, 1, :2], logits[:, 2, 4:] = 9, 9, 9
        return logits


def test_regions_that_a_case_was_not_labelled_for_are_not_counted(tmp_path):
    """The masks hold just what the network says, but for the case that was labelled for the tube alone."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for index in range(6):
        mask = np.zeros((8, 8), np.uint8)
        mask[:2], mask[2:4] = (2, 1) if index else (0, 0)
        mask[4:] = 3
        Image.fromarray(np.full((8, 8, 3), 20 * index, np.uint8)).save(tmp_path / f"images/case{index}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/case{index}.png")
    path = tmp_path / "folder.yaml"
    everything = FOLDER[: FOLDER.index(",\n   labelled")] + "}" + FOLDER[FOLDER.index("\nmodel") :]
    path.write_text(everything.replace("ROOT", str(tmp_path)))
    given = [
        "data.labels={background: 0, organ: 1, lesion: 2, tube: 3}",
        "data.labelled={case0: [tube]}",
        "data.regions={whole: [organ, lesion], lesion: [lesion], tube: [tube]}",
        "loss={name: sigmoid_ce}",
    ]
    config = load_config(path, [f"output={tmp_path}/runs", *given])
    experiment, fabric = Experiment.prepare(config), launch(config.train)
    cases = [cached for part in experiment.data.parts.values() for cached in part]
    every = replace(experiment, data=Division({**experiment.data.parts, "test": cases}, {}, [], []))
    document = score(fabric.setup(PaintRegions()), "test", every, fabric, thorough=True).scores().document
    rows = {(row.case, row.label): (row.tp, row.fp, row.fn) for row in document.rows}
    assert [label for case, label in rows if case == "case0"] == ["tube"]
    assert rows["case0", "tube"] == rows["case1", "whole"] == (32, 0, 0)
    assert rows["case1", "lesion"] == (16, 0, 0)
    assert document.aggregations["dataset"]["mDSC"] == document.aggregations["case"]["mDSC"] == 1
    assert document.calibration["ece"] == pytest.approx(1 - 1 / (1 + np.exp(-9)), abs=1e-6)
    assert sum(one["count"] for one in document.calibration["bins"]) == 3 * 5 * 64
    painted = predict_file(
        tmp_path / "images/case1.png", lambda images, *_: PaintRegions()(images), experiment.adapter, config, fabric
    )
    assert [painted.regions[name].sum() for name in ("whole", "lesion", "tube")] == [32, 16, 32]
    assert np.array_equal(painted.labels[0], mask)
    assert [table.columns[0] for table in score_tables(document, "")] == ["aggregation", "region"]
    assert rules(document)[0].startswith("means over all regions; ")
    found = baselines(every)
    assert found["floors"]["mean_mask"]["dataset"]["mDSC"] == 1
