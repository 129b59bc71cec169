"""Running a run again, and finding a learning rate."""

import gc
import json
import multiprocessing
import shlex
import shutil

import numpy as np
import pytest
import torch

from engine.experiment.difference import differences, log_difference, tensor_difference, without_new_keys
from engine.verbs import find_lr as lr_finder

SMALL = "model={name: unet2015, width: 8, depth: 2, batch_norm: true, dropout: 0.2}"


def test_a_run_is_reproduced_to_the_bit(program, camvid_yaml, tmp_path):
    program("train", camvid_yaml, SMALL, "data.augment=[{name: HorizontalFlip}]", check=0)
    said = program("reproduce", "runs/small", "data.workers=1", check=0).stdout
    assert "runs/small: reproduced bit for bit" in said
    assert not (tmp_path / "runs/small-reproduced").exists()


def test_what_differs_is_named(program, camvid_yaml, tmp_path, camvid):
    """The run is given another seed in its folder: the second one differs from the first epoch on."""
    program("train", camvid_yaml, SMALL, check=0)
    config = tmp_path / "runs/small/config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 1"))
    environment = tmp_path / "runs/small/environment.json"
    facts = json.loads(environment.read_text())
    facts["packages"]["numpy"] = "0.1"
    environment.write_text(json.dumps(facts))
    for time in range(2):  # a second time, compared again
        found = program("reproduce", "runs/small", check=1).stdout
        assert ("compared as it was left" in found) == (time == 1)
        assert "changed since the first run: packages.numpy was 0.1, is " in found
        assert "differs: log: epoch 1 (steps 1 to 3): loss was " in found
        assert "differs: checkpoint last: model." in found
        assert "differs: scores: " in found
        assert (tmp_path / "runs/small-reproduced/scores.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["runs/none"], "runs/none: not a run"),
        (["runs/small"], "runs/small: not finished (no scores.json in it)"),
        (["runs/small", "train.epochs=3"], "train.epochs: belongs to the training of this run"),
    ],
)
def test_what_cannot_be_reproduced(program, tmp_path, camvid_yaml, arguments, says):
    (tmp_path / "runs/small").mkdir(parents=True)
    (tmp_path / "runs/small/config.yaml").write_text(camvid_yaml.read_text())
    assert says in program("reproduce", *arguments, check=2).stderr


def test_damage_is_told_before_a_run_is_trained_again(program, camvid_yaml, tmp_path, monkeypatch):
    program("train", camvid_yaml, SMALL, check=0)
    monkeypatch.setattr("engine.verbs.reproduce.complete", lambda *_: pytest.fail("trained"))
    for name, says in [("checkpoints/best.safetensors", "a damaged checkpoint"), ("scores.json", "cannot be read")]:
        path = tmp_path / "runs/small" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-9])
        assert says in program("reproduce", "runs/small", check=2).stderr
        path.write_bytes(whole)
    assert not (tmp_path / "runs/small-reproduced").exists()
    program("train", camvid_yaml, SMALL, "name=small-reproduced", "train.epochs=1", check=0)
    config = tmp_path / "runs/small-reproduced/config.yaml"
    config.write_text(config.read_text().replace("epochs: 1", "epochs: 2"))
    said = program("reproduce", "runs/small", check=2).stderr
    assert "runs/small-reproduced: a run of yours, which reproduce would remove" in said
    assert (tmp_path / "runs/small-reproduced/scores.json").is_file()


def test_differences_by_hand():
    one = [
        {"epoch": 1, "step": 3, "loss": 1.0, "seconds": 1.0},
        {"epoch": 2, "step": 6, "loss": 0.5, "a": {"b": [1, 2]}},
    ]
    other = [{**one[0], "seconds": 2.0}, {**one[1], "a": {"b": [1, 3]}}]
    assert log_difference(one, other[:1] + one[1:]) is None
    assert log_difference(one, other) == "epoch 2 (steps 4 to 6): a.b.1 was 2, is 3"
    assert log_difference(one, one[:1]) == "the log had 2 epochs, has 1"
    a = {"x": torch.tensor([1.0, torch.nan]), "y": torch.zeros(2)}
    assert tensor_difference(a, {name: tensor.clone() for name, tensor in a.items()}) is None
    assert tensor_difference(a, a | {"y": torch.tensor([0.0, 0.5])}) == "y by up to 0.5 (1 of 2 tensors differ)"
    assert tensor_difference(a, a | {"y": torch.tensor([0.0, -0.0])}) == "y by up to 0 (1 of 2 tensors differ)"
    assert tensor_difference(a, {"x": a["x"]}) == "y is in one of them only"


@pytest.mark.usefixtures("rendered_figures")
def test_a_learning_rate_is_found_and_nothing_trained(program, camvid_yaml, tmp_path):
    said = program("train", camvid_yaml, "--find-lr", SMALL, check=0).stdout
    found = json.loads((tmp_path / "runs/small-lr/lr.json").read_text())
    again = shlex.split(said.splitlines()[-1])
    assert again[1:] == ["train_seg.py", "train", str(camvid_yaml), SMALL, f"optim.lr={found['suggestion']:.1e}"]
    assert 1e-5 < found["suggestion"] < 1
    assert found["rates"][0] == pytest.approx(1e-7)
    assert len(found["rates"]) == len(found["losses"]) <= 100
    assert np.isfinite(found["losses"]).all()
    assert (tmp_path / "runs/small-lr/lr.png").stat().st_size > 1000
    assert sorted(path.name for path in (tmp_path / "runs/small-lr").glob("[!.]*")) == ["lr.json", "lr.png"]
    assert not (tmp_path / "runs/small").exists()


def test_the_search_leaves_no_loader_process(program, camvid_yaml):
    """They would keep the program from its end for as long as they outlive SIGTERM."""
    gc.disable()  # which might end them
    try:
        program("train", camvid_yaml, "--find-lr", SMALL, "data.workers=2", check=0)
        assert not multiprocessing.active_children()
    finally:
        gc.enable()


def test_the_sweep_sets_the_rates(camvid_yaml):
    from segloss_tests.runs import trainer

    made = trainer(camvid_yaml, "optim={name: sgd, lr: 0.3, momentum: 0.0}", SMALL)
    rates, seen = [1e-3, 1e-2, 1e-1, 1.0], []
    step = made.stepper.take

    def noted(group):
        seen.append(made.stepper.optimizer.param_groups[0]["lr"])
        return step(group)

    made.stepper.take = noted
    assert len(list(lr_finder.sweep(made, rates))) == 4
    assert seen == pytest.approx(rates)


def test_the_suggestion_by_hand():
    rates, steps = np.geomspace(1e-7, 10, 100), np.arange(100)
    beside = np.exp(-1 / 18)
    assert lr_finder.smoothed([2.0, 1.0]).tolist() == pytest.approx(
        [(2 + beside) / (1 + beside), (2 * beside + 1) / (1 + beside)]
    )
    assert lr_finder.suggestion(rates, abs(steps - 60)) == pytest.approx(rates[59] / 10)  # whose update led to the 60th
    assert lr_finder.suggestion(rates, steps) is None
    assert lr_finder.suggestion(rates[:1], [1]) is None


def test_where_a_sweep_ends_by_hand():
    """At four times the lowest loss; of one that falls below 0, three times as far above it as it had fallen."""
    diverged = lr_finder.diverged
    assert [bool(diverged(np.array([1.0, 0.3, last]))) for last in (0.2, 1.1, 1.3)] == [False, False, True]
    falling = np.linspace(0.5, -10, 50)
    assert not any(diverged(falling[:count]) for count in range(1, 51))
    assert [bool(diverged(np.array([0.5, -10.0, last]))) for last in (-9.5, 21.0, 22.0)] == [False, False, True]
    assert [bool(diverged(np.array([-1.0, last]))) for last in (-0.9, 1.9, 2.1)] == [False, False, True]


def test_a_search_locks_its_folder_before_it_starts(program, camvid_yaml, tmp_path, monkeypatch):
    folder, held = tmp_path / "runs/small-lr", []

    def swept(*_):
        held.append((folder / ".lock").is_file())
        return [0.1, 1.0], [2.0, 1.0]

    monkeypatch.setattr(lr_finder, "_try_rates", swept)
    program("train", camvid_yaml, "--find-lr", check=0)
    assert held == [True]
    shutil.rmtree(folder)
    folder.write_text("a file")
    assert "runs/small-lr" in program("train", camvid_yaml, "--find-lr", check=2).stderr
    assert held == [True]


def test_what_an_older_version_did_not_write_is_no_difference():
    older = {"header": {"classes": ["a"], "seed": 1}, "cases": [{"tp": 1}]}
    today = {"header": {"classes": ["a"], "seed": 1, "kind": "still"}, "cases": [{"tp": 1}], "calibration": {}}
    assert list(differences(older, without_new_keys(today, older))) == []
    today["header"]["seed"] = 2
    del today["header"]["classes"]
    assert [where for where, *_ in differences(older, without_new_keys(today, older))] == [
        "header.classes",
        "header.seed",
    ]
