import contextlib
import gc
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from engine.pictures import chart
from segloss_tests.figures import RENDERED, with_few_points, without_rendering
from segloss_tests.stills import make_camvid

torch.set_num_threads(1)
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # else it starts processes, which takes seconds


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


def pytest_collection_finish(session):
    """A million objects of libraries and tests live to the end: the garbage collector need not look at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def blank_figures():
    """Figures are built but not rendered, which takes most of the time of a small run; see `rendered_figures`."""

    with pytest.MonkeyPatch.context() as patch:
        without_rendering(patch)
        yield


@pytest.fixture(scope="module")
def rendered_figures():
    """For modules whose tests look at figures: `pytestmark = pytest.mark.usefixtures("rendered_figures")`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chart, "rendered", RENDERED)
        yield


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
    """Call train_seg.py with arguments in a folder, in this process: starting one takes seconds.

    t-SNE takes few points: of many it is half of a small run.
    """

    def run(*arguments, check=None, cwd):
        out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
        os.chdir(cwd)
        try:
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                pytest.MonkeyPatch.context() as patch,
            ):
                with_few_points(patch)
                code = door.main([*map(str, arguments)])
        except SystemExit as exit_:
            code = exit_.code
        finally:
            os.chdir(before)
        if check is not None:
            assert code == check, out.getvalue() + err.getvalue()
        return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())

    return run


@pytest.fixture(scope="module")
def cells_here(module_program):
    """For modules that look at what grids and folds leave, not at the processes of their cells."""
    from segloss_tests.grids import train_here

    with pytest.MonkeyPatch.context() as patch:
        train_here(patch, module_program)
        yield


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
