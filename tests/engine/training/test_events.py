"""What TensorBoard and Weights & Biases are given of a training."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from engine.configuration.config import TrainSection
from engine.errors import UsageError
from engine.scoring.overlays import validation_overlays
from engine.training.events import events

ENTRIES = [
    {"epoch": 1, "loss": 0.5, "score": None, "lr": 0.1},
    {"epoch": 2, "loss": 0.25, "score": 0.75, "lr": 0.2, "validation": {"case": {}}},
]
"""The first was not validated."""


def draw():
    """A figure of 80 by 160 pixels, all of it blue."""
    return {"validation/0": Figure(figsize=(2, 1), facecolor="#0000ff")}


def run_in(folder, writes=True):
    return SimpleNamespace(path=folder, writes=writes, config=lambda: SimpleNamespace(document=lambda: {"seed": 7}))


class Recorder:
    """Stands for the module `wandb`: records what its runs are given."""

    class errors:  # noqa: N801
        Error = type("Error", (Exception,), {})

    def __init__(self, refuses=False):
        self.refuses, self.begun, self.logged, self.finished = refuses, {}, [], False

    def init(self, **options):
        if self.refuses:
            raise self.errors.Error("no API key")
        self.begun = options
        return self

    def log(self, shown, step):
        self.logged.append((step, shown))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.finished = True

    def Settings(self, **options):  # noqa: N802
        return options

    def Image(self, pixels):  # noqa: N802
        return pixels


def test_weights_and_biases_is_given_numbers_and_pictures_by_epoch(tmp_path, monkeypatch):
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "wandb", recorder)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    with events(run_in(tmp_path / "grid/ce/seed-0/fold-1"), TrainSection(wandb=True), draw) as write:
        for entry in ENTRIES:
            write(entry)
    begun = recorder.begun
    assert (begun["project"], begun["name"], begun["group"]) == ("mine", "ce, seed-0, fold-1", "grid")
    assert begun["config"] == {"seed": 7}
    picture = recorder.logged[1][1].pop("validation/0")
    assert recorder.logged == [
        (1, {"epoch": 1, "loss": 0.5, "lr": 0.1}),
        (2, {"epoch": 2, "loss": 0.25, "score": 0.75, "lr": 0.2}),
    ]
    assert picture.shape == (80, 160, 3)
    assert np.all(picture == [0, 0, 255])
    assert recorder.finished


def test_who_is_not_logged_in_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", Recorder(refuses=True))
    said = r"train\.wandb: no API key; WANDB_MODE=offline needs no login"
    with pytest.raises(UsageError, match=said), events(run_in(tmp_path), TrainSection(wandb=True), draw):
        pass


def test_tensorboard_reads_back_numbers_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with events(run_in(tmp_path), TrainSection(tensorboard=True), draw) as write:
        for entry in ENTRIES:
            write(entry)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(one.step, one.value) for one in found.Scalars("loss")] == [(1, 0.5), (2, 0.25)]
    assert [(one.step, one.value) for one in found.Scalars("score")] == [(2, 0.75)]
    assert [(one.step, one.width, one.height) for one in found.Images("validation/0")] == [(2, 160, 80)]


@pytest.mark.parametrize(("wanted", "writes"), [(False, True), (True, False)])
def test_nothing_is_drawn_where_nothing_is_wanted_or_another_process_writes(tmp_path, wanted, writes):
    with events(run_in(tmp_path, writes), TrainSection(tensorboard=wanted, wandb=wanted), lambda: 1 / 0) as write:
        write(ENTRIES[1])
    assert not [*tmp_path.iterdir()]


def test_pictures_of_validation_cases_draw_no_random_number_of_the_training(camvid_yaml):
    from segloss_tests.runs import trainer

    made = trainer(camvid_yaml)
    before = torch.get_rng_state()
    found = validation_overlays(made.stepper.forward, made.validated, made.fabric)
    assert torch.equal(torch.get_rng_state(), before)
    cases = [case.case.id for case in made.experiment.data.parts["val"]]
    assert [figure.get_suptitle() for figure in found.values()] == cases[:3]
    assert made.stepper.model.training
