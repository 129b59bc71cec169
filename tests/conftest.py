import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
torch.set_num_threads(2)


@pytest.fixture
def program(tmp_path):
    """Run train_seg.py as a user does, in a folder of its own; returns the finished process."""

    def run(*arguments, check=None, cwd=tmp_path, env=None, timeout=300):
        import os

        process = subprocess.run(
            [sys.executable, str(ROOT / "train_seg.py"), *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check is not None:
            assert process.returncode == check, process.stdout + process.stderr
        return process

    return run


@pytest.fixture
def camvid(tmp_path):
    """A small CamVid in SegNet's layout: sequences of frames, 11 classes and void."""
    return make_camvid(tmp_path / "camvid")


def make_camvid(root, frames=(("train", "A", 6), ("val", "B", 2), ("test", "C", 3)), size=(24, 32)):
    rng = np.random.default_rng(0)
    for part, sequence, count in frames:
        (root / part).mkdir(parents=True, exist_ok=True)
        (root / f"{part}annot").mkdir(exist_ok=True)
        for index in range(count):
            mask = np.repeat(np.repeat(rng.integers(0, 12, (size[0] // 4, size[1] // 4)), 4, 0), 4, 1)
            image = (mask[..., None] * [20, 10, 5] + rng.integers(0, 20, (*size, 3))).astype(np.uint8)
            name = f"{sequence}_{index:03d}.png"
            Image.fromarray(image).save(root / part / name)
            Image.fromarray(mask.astype(np.uint8)).save(root / f"{part}annot" / name)
    return root


@pytest.fixture
def camvid_yaml(tmp_path, camvid):
    """A configuration that trains on the small CamVid in seconds."""
    path = tmp_path / "run.yaml"
    path.write_text(
        f"""\
name: small
data: {{name: camvid, root: {json.dumps(str(camvid))}, size: [24, 32], workers: 0, split: {{kind: official}}}}
model: {{name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 16, 8]}}
loss: {{name: ce}}
optim: {{name: adam, lr: 1e-3}}
train: {{epochs: 2, batch_size: 2, device: cpu}}
"""
    )
    return path
