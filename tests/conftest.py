import contextlib
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from segloss_tests.stills import make_camvid

torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--loss", help="run only the tests of one loss, by its name")


def pytest_collection_modifyitems(config, items):
    loss = config.getoption("--loss")
    if loss is None:
        return

    def of_the_loss(item):
        if hasattr(item, "callspec") and "name" in item.callspec.params:
            return item.callspec.params["name"] == loss
        return f"_{loss}_" in f"{item.name}_"

    items[:] = [item for item in items if of_the_loss(item)]


@pytest.fixture(scope="session")
def door():
    """train_seg.py as a module."""
    import train_seg

    return train_seg


@pytest.fixture
def program(tmp_path, module_program):
    """Call train_seg.py with arguments in a folder of its own."""

    def run(*arguments, check=None, cwd=tmp_path):
        return module_program(*arguments, check=check, cwd=cwd)

    return run


@pytest.fixture(scope="session")
def module_program(door):
    """Call train_seg.py with arguments in a folder, in this process: starting one takes seconds."""

    def run(*arguments, check=None, cwd):
        out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
        os.chdir(cwd)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = door.main([*map(str, arguments)])
        except SystemExit as exit_:
            code = exit_.code
        finally:
            os.chdir(before)
        if check is not None:
            assert code == check, out.getvalue() + err.getvalue()
        return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())

    return run


@pytest.fixture
def camvid(tmp_path):
    """A small CamVid in SegNet's layout: sequences of frames, 11 classes and void."""
    return make_camvid(tmp_path / "camvid")


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
