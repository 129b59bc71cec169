"""Damaged and hostile files: those that were once too much for a reader, and new ones; more with `make soak`."""

import shutil
from pathlib import Path

import pytest

from segloss_tests.fuzz import DICOM_KINDS, KEPT, TARGETS, attempt, fuzz

INPUTS = {"yaml": 25, "cache": 60, "run": 40} | {f"dicom-{kind}": 40 for kind in DICOM_KINDS}
"""Of the slower targets."""


@pytest.mark.parametrize("name", TARGETS)
def test_every_damage_is_read_or_refused_by_an_error_of_ours(name, tmp_path):
    wanted = INPUTS.get(name, 150)
    inputs, found = fuzz(name, seed=1, inputs=wanted, seconds=600, keep=tmp_path)
    assert inputs == wanted
    assert not found, found[0].what


@pytest.mark.parametrize("case", sorted(KEPT.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_once_is_mended(case, tmp_path):
    target = TARGETS[case.parent.name]
    target.write(tmp_path)
    for name in target.files:
        shutil.copy(case / Path(name).name, tmp_path / name)
    attempt(target, tmp_path)


def test_a_finding_is_found(tmp_path, monkeypatch):
    """A reader with a bug, one that ends its process, one that never ends."""
    monkeypatch.setattr("segloss_tests.fuzz.HANG", 0.5)
    for line, says in (
        ("1 / 0", "ZeroDivisionError"),
        ("os._exit(3)", "exit code 3"),
        ("while True: pass", "more than"),
    ):
        scope = {}
        exec(f"import os\ndef read(folder):\n    {line}", scope)
        monkeypatch.setitem(TARGETS, "bad", TARGETS["split"]._replace(read=scope["read"]))
        inputs, (found,) = fuzz("bad", seed=0, inputs=1, seconds=600, keep=tmp_path)
        assert (inputs, found.index) == (1, 0)
        assert says in found.what
        assert (found.file / "split.json").is_file()
