"""The table of faults: what it counts, and that it goes on where it stopped; the faults themselves are `make soak`."""

import json
import os
import random
import time

import pytest

from segloss_tests import faults, soak
from segloss_tests.faults import EQUAL, KINDS, LINE, MISSED, Kind


@pytest.fixture
def kinds(monkeypatch):
    """Two kinds, of which the second one finds something lost in its second call."""
    ends = iter([EQUAL, EQUAL, LINE, AssertionError("another weight"), MISSED, EQUAL, EQUAL])

    def fault(bench):
        end = next(ends)
        if isinstance(end, AssertionError):
            raise end
        return end

    monkeypatch.setattr(faults, "KINDS", {"killed": Kind(fault), "full": Kind(fault)})
    monkeypatch.setattr(soak, "KINDS", faults.KINDS)
    monkeypatch.setattr(faults, "ROUND", ["killed", "full"])


def test_a_table_goes_on_where_it_stopped(kinds, tmp_path, capsys):
    out = tmp_path / "faults.json"
    soak.table(3, 0, out, tmp_path)
    assert len(json.loads(out.read_text())) == 3
    soak.table(5, 0, out, tmp_path)
    said = capsys.readouterr().out
    assert "fault 3, full: AssertionError: another weight" in said
    assert said.splitlines()[-3:] == [
        "| killed | 2 | 1 | 1 | 0 |",
        "| full | 3 | 2 | 0 | 1 |",
        "| all | 5 | 3 | 1 | 1 |",
    ]
    assert [one["ended"] for one in json.loads(out.read_text())] == [EQUAL, EQUAL, LINE, "lost", MISSED, EQUAL]


def test_every_kind_has_its_turn():
    assert {*faults.ROUND} == {*KINDS}
    assert {name: faults.ROUND.count(name) for name in KINDS} == {name: kind.share for name, kind in KINDS.items()}


def test_faults_are_planted(tmp_path, monkeypatch):
    """An fsync that fails at its second call, and a clock that jumps."""
    for module, name in ((os, "fsync"), (time, "time"), (time, "monotonic")):
        monkeypatch.setattr(module, name, getattr(module, name))
    faults._fail_to_flush(2)
    with (tmp_path / "x").open("w") as file:
        os.fsync(file.fileno())
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(file.fileno())
        os.fsync(file.fileno())
    faults._jump(random.Random(0))
    times = [time.time() for _ in range(50)]
    assert min(times) < times[0] + 1 < max(times)
    grown = [time.monotonic() for _ in range(2000)]
    assert grown == sorted(grown)
    assert grown[-1] > grown[0] + 100
