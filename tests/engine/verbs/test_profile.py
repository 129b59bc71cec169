"""Where the time of an epoch goes."""

import json

import pytest

from engine.console.display import Display
from engine.verbs import profile
from segloss_tests.runs import trainer

SMALL = "model={name: unet2015, width: 4, depth: 1}"


def test_the_parts_of_an_epoch_and_a_trace_are_told_and_nothing_is_trained(program, camvid_yaml, tmp_path):
    said = program("train", camvid_yaml, "--profile", SMALL, "data.workers=1", check=0).stdout
    folder = tmp_path / "runs/small-profile"
    found = json.loads((folder / "profile.json").read_text())
    names = [part["name"] for part in found["parts"]]
    assert names[:3] == ["waiting for batches", "forward and loss", "backward"]
    assert "validation" in names
    assert all(part["seconds"] > 0 for part in found["parts"])
    assert {part["times"] for part in found["parts"]} == {3, 1}
    assert found["seconds_an_epoch"] == pytest.approx(sum(p["times"] * p["seconds"] for p in found["parts"]), abs=1e-3)
    assert found["operations_a_step"] > 50
    assert (found["busy"], found["launches_a_step"]) == (None, None)
    events = [event.get("name") for event in json.loads((folder / "trace.json").read_text())["traceEvents"]]
    assert events.count("backward") == profile.TRACED
    assert "waiting for batches" in said
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["profile.json", "trace.json"]
    assert not (tmp_path / "runs/small").exists()


def test_the_table_by_hand():
    parts = [
        profile.Part("waiting for batches", 10, 0.01),
        profile.Part("forward and loss", 10, 0.02),
        profile.Part("backward", 10, 0.02),
        profile.Part("validation", 1, 0.5),
    ]
    facts = {"images": 40, "operations_a_step": 7, "peak_mib": 3, "busy": 0.25, "launches_a_step": 5}
    section = profile.table(parts, facts)
    assert section.rows[0] == ["waiting for batches", "10", "10.00", "10.0%"]
    assert section.rows[3] == ["validation", "1", "500.00", "50.0%"]
    text = " ".join(section.lines)
    for expected in ("about 1.0 s", "80.0 with loading", "100.0 without", "5; the GPU is busy 25%"):
        assert expected in text
    Display().section(section)


def test_a_profile_leaves_the_methods_as_they_were(camvid_yaml):
    made = trainer(camvid_yaml, SMALL, "train.validate_every=2")
    names = [part.name for part in profile.measured(made)]
    assert "validation, one epoch in 2" in names
    assert not {"loss_of", "take"} & vars(made.stepper).keys()
    assert "backward" not in vars(made.fabric)
    assert "update" not in vars(made.stepper.guard)
