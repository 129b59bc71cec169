"""No folder of a user hides a module of ours, whatever it is called: runs/, data/, models/ and the like."""

import subprocess
import sys

from segloss_tests import ROOT

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


def test_folders_of_any_name_beside_a_test_run(tmp_path):
    """The fork server is started where a folder of every name lies, as `make demo` leaves runs/ in the checkout."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    command = [sys.executable, "-c", SCRIPT, str(ROOT), str(ROOT / "tests")]
    started = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr


def test_folders_of_any_name_beside_a_configuration(tmp_path):
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    command = [sys.executable, str(ROOT / "train_seg.py"), "check", str(ROOT / "configs/demo.yaml")]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
