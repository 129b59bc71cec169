"""The floors of the code: imports lead to lower floors only; and the reading order of CONTRIBUTING."""

import re
import shutil

import pytest

from docs import architecture
from docs.architecture import FLOOR, arrows_of, circles, imports_of, upward
from segloss_tests import ROOT

SOURCE = """
from __future__ import annotations
import engine.store.lock, json
import models as networks
from . import run
from .run import Run
from ..store import disk
from .. import errors
from engine import console
if TYPE_CHECKING:
    from ..verbs.train import train
def later():
    from engine.report.page import page
"""
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
SPINE = re.findall(r"^\d+\. `([\w/]+\.py)`: \S", PAGE, re.MULTILINE)


def test_imports_go_down_only():
    arrows = arrows_of()
    assert {f"{above} -> {below}": arrows[above, below] for above, below in upward(arrows)} == {}
    assert circles(arrows) == []


def test_every_room_is_on_a_floor():
    rooms = {path.stem for path in (ROOT / "engine").iterdir() if not path.name.startswith("__")}
    assert {room for room in FLOOR if room.startswith("engine.")} == {f"engine.{name}" for name in rooms}


def test_imports_are_found_wherever_they_stand():
    found = {".".join(name) for name in imports_of(SOURCE, ("engine", "experiment"))}
    assert found - {"__future__.annotations", "json"} == {
        "engine.store.lock",
        "models",
        "engine.experiment.run",
        "engine.experiment.run.Run",
        "engine.store.disk",
        "engine.errors",
        "engine.console",
        "engine.verbs.train.train",
        "engine.report.page.page",
    }


@pytest.mark.parametrize(
    ("file", "line", "arrow"),
    [
        ("engine/store/lock.py", "from ..experiment import run", ("engine.store", "engine.experiment")),
        ("engine/report/page.py", "def f():\n    from engine.verbs import train", ("engine.report", "engine.verbs")),
        ("datasets/case.py", "import segloss", ("datasets", "segloss")),
        ("models/segmentation.py", "if TYPE_CHECKING:\n    import train_seg", ("models", "train_seg")),
    ],
)
def test_an_import_upwards_or_sideways_is_found(tmp_path, file, line, arrow):
    for room in ("segloss", "models", "datasets", "engine"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train_seg.py", tmp_path)
    with (tmp_path / file).open("a") as source:
        source.write(f"\n{line}\n")
    arrows = arrows_of(tmp_path)
    assert upward(arrows) == [arrow]


def test_circles_by_hand():
    arrows = {("train_seg", "models"): {"a"}, ("models", "segloss"): {"b"}, ("engine.errors", "datasets"): {"c"}}
    assert circles(arrows) == []
    assert circles(arrows | {("segloss", "train_seg"): {"d"}}) == [["models", "segloss", "train_seg"]]


def test_every_room_is_drawn(capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr(architecture, "save", lambda figure, path: drawn.append(figure))
    architecture.main()
    assert capsys.readouterr().out.splitlines()[-1].endswith(" 0 upward, 0 circles")
    assert set(FLOOR) <= {text.get_text() for text in drawn[0].axes[0].texts}


def test_the_reading_order_is_as_long_as_it_says():
    numbers = re.search(r"These (\d+) files, about ([\d,]+) lines", PAGE)
    assert len(SPINE) == len(set(SPINE)) == int(numbers[1])
    lines = sum(len((ROOT / name).read_text().splitlines()) for name in SPINE)
    assert lines == pytest.approx(int(numbers[2].replace(",", "")), rel=0.1)
