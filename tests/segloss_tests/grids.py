"""A small grid of two arms on two folds, and cells trained without processes of their own."""

import json
import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.ablation.executors import Workers
from segloss_tests.figures import without_rendering
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


class Here:
    """A client of Dask with one worker, which trains each cell at once, as `program` runs it in this process."""

    status = "running"

    def __init__(self, program):
        self.program = program

    def nthreads(self):
        return {"here": 1}

    def submit(self, function, key, workers):
        [job] = function.args
        with pytest.MonkeyPatch.context() as patch:
            without_rendering(patch)
            done = self.program("train", job.config, *job.options, cwd=job.folder)
        with (job.folder / job.log).open("a") as log:
            log.write(done.stdout + done.stderr)
        return SimpleNamespace(
            status="finished", done=lambda: True, result=lambda: done.returncode, cancel=lambda: None
        )


def train_here(patch, program):
    """Let this machine train the cells of grids and folds in this process: to start one takes seconds."""
    patch.setattr(
        "engine.ablation.executors.LocalExecutor._connect",
        lambda executor, limit, report: nullcontext(Workers(Here(program), limit)),
    )
    patch.setattr("engine.ablation.grid.POLL_SECONDS", 0)


def without_hours(table: str) -> str:
    """The text of a table without the device hours in its cost, which differ from call to call."""
    return re.sub(r"^(\| \S+ \| [\d.]+ \| [\d,]+ \|) [\d.]+ ", r"\1 … ", table, flags=re.MULTILINE)
