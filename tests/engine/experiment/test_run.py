"""A run's folder whose files are damaged."""

import json
import os
import sys

import pytest

from engine.ablation.grid import _warnings
from engine.configuration.checking import load_saved
from engine.errors import UsageError
from engine.experiment.environment import _git
from engine.experiment.identity import fingerprint, identity
from engine.experiment.run import Run
from engine.report.run_report import drawn

WHOLE = json.dumps({"epoch": 0, "loss": 1.0, "score": None})


@pytest.mark.parametrize("line", ["{", "[]", '{"epoch": 1}'])
def test_a_damaged_line_of_a_log_is_named(tmp_path, line):
    (tmp_path / "log.jsonl").write_text(f"{WHOLE}\n{line}\n{WHOLE}\n")
    with pytest.raises(UsageError, match=r"log\.jsonl:2: damaged"):
        Run(tmp_path).history()


def test_pictures_that_are_there_are_reported_whatever_the_log_holds(tmp_path):
    (tmp_path / "log.jsonl").write_text("spoilt\n")
    (tmp_path / "figures").mkdir()
    for name in ("scores.json", "figures/curves.svg", "figures/class_curves.svg"):
        (tmp_path / name).write_text("")
    assert drawn(Run(tmp_path)).keys() == {"curves", "class_curves"}
    (tmp_path / "figures/curves.svg").unlink()
    with pytest.raises(UsageError, match=r"log\.jsonl:1: damaged"):
        drawn(Run(tmp_path))


def test_a_signal_to_the_whole_job_does_not_end_git(tmp_path, monkeypatch):
    """It would be missing in environment.json for good; a session of its own is another job."""
    (tmp_path / "git").write_text(f"#!{sys.executable}\nimport os\nprint(os.getsid(0))\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert int(_git()["commit"]) != os.getsid(0)


def test_what_a_cell_warns_of_is_found_in_its_log_once(tmp_path):
    log = tmp_path / "fold-0.log"
    assert _warnings(log) == []
    log.write_text("train: 3 images\nwarning: b\nwarning: a\nno warning: c\nwarning: b\n")
    assert _warnings(log) == ["warning: b", "warning: a"]


def test_why_a_case_is_left_out_does_not_make_another_run(camvid_yaml):
    one, other, more = (
        load_saved(camvid_yaml, [f"data.exclude={given}"])
        for given in ("[a]", "[{case: a, reason: blurred}]", "[a, b]")
    )
    assert identity(one) == identity(other) != identity(more)
    assert fingerprint(one) == fingerprint(other) != fingerprint(more)
