"""A part is counted the same, whatever is worked on at once."""

import pytest
import torch
from torch import nn

from engine.configuration.checking import load_config
from engine.experiment.device import launch
from engine.experiment.experiment import Experiment
from engine.scoring import evaluation, inference
from engine.scoring.evaluation import score

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
