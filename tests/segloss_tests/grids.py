"""A small grid of two arms on two folds."""

import json
import re
from pathlib import Path

from segloss_tests.stills import make_camvid

YAML = """\
name: grid
data:
  name: camvid
  root: {root}
  size: [24, 32]
  workers: 0
  group: case
  split: {{kind: kfold, folds: 2, fold: all, val: 0}}
  augment: [{{name: HorizontalFlip}}]
model: {{name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 16, 8]}}
loss: {{name: ce}}
optim: {{name: adam, lr: 1e-3}}
train: {{epochs: 2, batch_size: 2, device: cpu}}
ablation:
  baseline: ce
  arms:
    ce: {{}}
    adfl: {{loss: {{name: adfl}}}}
"""


def grid_yaml(folder: Path) -> Path:
    path = folder / "grid.yaml"
    path.write_text(YAML.format(root=json.dumps(str(make_camvid(folder / "camvid")))))
    return path


def without_hours(table: str) -> str:
    """The text of a table without the device hours in its cost, which differ from call to call."""
    return re.sub(r"^(\| \S+ \| [\d.]+ \| [\d,]+ \|) [\d.]+ ", r"\1 … ", table, flags=re.MULTILINE)
