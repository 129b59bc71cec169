"""No folder of a user hides a module of ours, whatever it is called: runs/, data/, models/ and the like."""

import os
import subprocess
import sys

import pytest

from segloss_tests import ROOT
from segloss_tests.grids import grid_yaml

SCRIPT = """
import sys
from pathlib import Path

sys.path[:0] = sys.argv[1:]
from segloss_tests import runs

first = runs.CONTEXT.Process(target=print)  # starts the fork server, which preloads modules by name
first.start()
first.join()
sys.exit(runs.Started(Path.cwd(), "--help").end())
"""
FOLDERS = {path.stem for folder in ("", "tests", "tests/segloss_tests") for path in (ROOT / folder).iterdir()}
FOLDERS = {name for name in FOLDERS if not name.startswith((".", "_"))} - {"segloss_tests"} | {"data", "runs"}


@pytest.fixture(params=[pytest.param("folders", marks=pytest.mark.slow), "packages"])
def crowded(request, tmp_path):
    """A folder that holds one of every name of ours; as packages they fail where anything imports them."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        if request.param == "packages":
            (tmp_path / name / "__init__.py").write_text(f"raise ImportError('imported in place of ours: {name}')\n")
    return tmp_path


def test_folders_of_any_name_beside_a_test_run(tmp_path):
    """The fork server is started where a folder of every name lies, as `make demo` leaves runs/ in the checkout."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    command = [sys.executable, "-c", SCRIPT, str(ROOT), str(ROOT / "tests")]
    started = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr


def test_folders_of_any_name_beside_a_configuration(crowded):
    few = "data.patients=7"
    command = [sys.executable, str(ROOT / "train_seg.py"), "check", str(ROOT / "configs/demo.yaml"), few]
    checked = subprocess.run(command, cwd=crowded, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("crowded", "method"), [("folders", "fork"), ("packages", "spawn")], indirect=["crowded"])
def test_processes_that_load_find_our_modules(crowded, tmp_path_factory, method):
    """`spawn` is what other systems begin processes with."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(f"import multiprocessing\nmultiprocessing.set_start_method({method!r})\n")
    plain = "ablation=null", "data.split={kind: official}", "data.workers=2", "train.epochs=1"
    command = [sys.executable, str(ROOT / "train_seg.py"), "train", str(grid_yaml(crowded)), *plain]
    trained = subprocess.run(
        command, cwd=crowded, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(site)}
    )
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert (crowded / "runs/grid/scores.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("crowded", ["packages"], indirect=True)
def test_processes_that_train_cells_find_our_modules(crowded):
    changes = "data.workers=2", "train.epochs=1", "ablation.workers=2", "ablation.arms={ce: {}}"
    command = [sys.executable, str(ROOT / "train_seg.py"), "ablate", str(grid_yaml(crowded)), *changes]
    trained = subprocess.run(command, cwd=crowded, capture_output=True, text=True)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert len(list(crowded.glob("runs/grid/ce/seed-0/fold-*/scores.json"))) == 2
