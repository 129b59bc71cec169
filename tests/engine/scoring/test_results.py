"""What is said at the end of a training."""

import io

import pytest
from rich.console import Console

from engine.configuration.checking import load_config, load_saved
from engine.console.display import Display
from engine.experiment.run import TRAINED, Run
from engine.scoring import results


@pytest.mark.parametrize(
    ("scored", "best", "suggested"),
    [
        ("best", 3, "last"),
        ("best", 5, None),  # the last epoch was the best
        ("best", 0, None),  # no epoch was validated, so `best` holds the last
        ("last", 3, "best"),
        ("last", 5, None),
        ("average", 5, "last"),
    ],
)
def test_the_scores_of_another_epoch_are_suggested(camvid_yaml, tmp_path, scored, best, suggested):
    average = ["train.average={kind: ema}"] if scored == "average" else []
    config = load_config(camvid_yaml, [f"scores.checkpoint={scored}", "train.epochs=5", *average])
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.write_json(TRAINED, {"epochs": 5, "best_epoch": best})
    shown = io.StringIO()
    results.hint(camvid_yaml, [], run, config, Display(Console(file=shown, width=500)))
    said = shown.getvalue()
    assert "train_seg.py train " in said
    assert ("evaluate" in said) == (suggested is not None)
    if suggested is not None:
        assert f", and the scores of the {suggested} epoch:" in said
        assert f"evaluate {run.path} --checkpoint {suggested}\n" in said


@pytest.mark.parametrize(
    ("given", "verb", "end"),
    [
        ([], "train", ["seed=1"]),
        (["tune={keys: {optim.lr: [1e-3, 1e-2]}}"], "train", ["seed=1", "--tune"]),
        (["ablation={baseline: a, arms: {a: {}}}"], "ablate", ["seed=1"]),
    ],
)
def test_the_command_that_is_suggested_is_the_one_that_trains(camvid_yaml, door, given, verb, end):
    words = results.training_command(load_saved(camvid_yaml, given), camvid_yaml, "seed=1").split()
    assert words[1:] == ["train_seg.py", verb, str(camvid_yaml), *end]
    assert door.parse(words[2:]).verb == verb
