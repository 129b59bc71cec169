"""The table of faults: what it counts, and that it goes on where it stopped; the faults themselves are `make soak`."""

import json
import os
import random
import re
import shutil
import time

import pytest
from safetensors.torch import load_file, save_file

from segloss_tests import faults, injection, soak
from segloss_tests.bench import Bench, UnmountableError, assert_same_files
from segloss_tests.faults import EQUAL, KINDS, LINE, MISSED, Fault, Kind, pace
from segloss_tests.grids import without_hours


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
    assert "fault 3, full: lost: AssertionError: another weight" in said
    assert said.splitlines()[-3:] == [
        "| killed | 2 | 1 | 1 | 0 |",
        "| full | 3 | 2 | 0 | 1 |",
        "| all | 5 | 3 | 1 | 1 |",
    ]
    assert [one["ended"] for one in json.loads(out.read_text())] == [EQUAL, EQUAL, LINE, "lost", MISSED, EQUAL]


def test_what_may_not_mount_is_one_line_and_not_lost(monkeypatch, tmp_path, capsys):
    def unmountable(bench):
        raise UnmountableError("must be superuser")

    monkeypatch.setattr(faults, "KINDS", {"full": Kind(unmountable), "killed": Kind(lambda bench: EQUAL)})
    monkeypatch.setattr(soak, "KINDS", faults.KINDS)
    monkeypatch.setattr(faults, "ROUND", ["full", "killed"])
    soak.table(2, 0, None, tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "fault 0, full: left out: must be superuser"
    assert said[3:] == ["| full | 0 | 0 | 0 | 0 |", "| killed | 2 | 2 | 0 | 0 |", "| all | 2 | 2 | 0 | 0 |"]


def test_faults_that_come_too_late_come_sooner_the_next_time():
    assert pace("killed", [Fault("killed", MISSED), Fault("full", MISSED), Fault("killed", EQUAL)]) == 0.7 * 1.05


def test_every_kind_has_its_turn():
    assert {*faults.ROUND} == {*KINDS}
    assert {name: faults.ROUND.count(name) for name in KINDS} == {name: kind.share for name, kind in KINDS.items()}


def test_faults_are_planted(tmp_path, monkeypatch):
    """An fsync that fails at its second call, and a clock that jumps."""
    for module, name in ((os, "fsync"), (time, "time"), (time, "monotonic")):
        monkeypatch.setattr(module, name, getattr(module, name))
    note = tmp_path / "note"
    injection.fail_to_flush(2, str(note))
    with (tmp_path / "x").open("w") as file:
        os.fsync(file.fileno())
        assert not note.exists()
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(file.fileno())
        assert note.exists()
        os.fsync(file.fileno())
    injection.jump(random.Random(0))
    times = [time.time() for _ in range(50)]
    assert min(times) < times[0] + 1 < max(times)
    grown = [time.monotonic() for _ in range(2000)]
    assert grown == sorted(grown)
    assert grown[-1] > grown[0] + 100


def _change(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.fixture(scope="module")
def run(module_program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    bench = Bench(folder)
    module_program(*bench.command("whole", "data.workers=0"), cwd=folder, check=0)
    return folder / "runs/whole"


@pytest.fixture
def copy(run, tmp_path):
    """The run under another name, with other times and loader processes."""
    copy = shutil.copytree(run, tmp_path / "cut")
    _change(copy / "config.yaml", b"name: whole", b"name: cut")
    _change(copy / "config.yaml", b"workers: 0", b"workers: 2")
    page = (copy / "report.html").read_text().replace("whole", "cut")
    (copy / "report.html").write_text(
        re.sub(r"<td>\d+\.\d</td>(?=<td>\d+\.\d</td><td>\d+</td><td>-)", "<td>7.0</td>", page)
    )
    return copy


def test_a_run_is_the_same_under_another_name(run, copy):
    assert_same_files(run, copy)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("figures/curves.png", b"IEND", b"IENX"),
        ("report.html", b"by class during training", b"by class in training"),
        ("report.html", b"</html>", b""),
        ("config.yaml", b"lr: 0.001", b"lr: 0.002"),
        ("environment.json", b'"threads": 1', b'"threads": 2'),
        ("cases.csv", b"C_000", b"C_00"),
        ("trained.json", b"epochs", b"epoch"),
    ],
)
def test_a_run_with_one_other_file_is_not_the_same(run, copy, file, old, new):
    _change(copy / file, old, new)
    with pytest.raises(AssertionError, match=f"{file} differs"):
        assert_same_files(run, copy)


def test_a_run_with_another_best_checkpoint_or_another_file_is_not_the_same(run, copy):
    best = copy / "checkpoints/best.safetensors"
    tensors = load_file(best)
    next(iter(tensors.values())).add_(1)
    content = best.read_bytes()
    save_file(tensors, best)
    with pytest.raises(AssertionError, match=r"best\.safetensors differs"):
        assert_same_files(run, copy)
    best.write_bytes(content)
    (copy / ".curves.png.7-1").touch()
    with pytest.raises(AssertionError, match="other files"):
        assert_same_files(run, copy)


@pytest.mark.slow
def test_cells_that_are_forked_train_as_those_that_are_started(module_program, tmp_path):
    """And one that is killed ends as one that was started, which is told in one line."""
    bench = Bench(tmp_path)
    with bench.cells() as cells:
        bench.grid_ends("forked")
        begun = bench.grid("killed", "ablation.workers=2")
        assert begun.until(cells.running)
        cells.kill()
        assert begun.end() == 2
        assert "ended by SIGKILL" in bench.said(begun)
    module_program("ablate", tmp_path / "grid.yaml", "output=started", "ablation.workers=2", cwd=tmp_path, check=0)
    forked, started = (tmp_path / name / "grid" for name in ("forked", "started"))
    for name in ("table.md", "adfl/seed-0/fold-1/scores.json", "ce/seed-0/fold-0/cases.csv"):
        assert without_hours((forked / name).read_text()) == without_hours((started / name).read_text())
