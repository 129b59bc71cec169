"""Which arms are said to find nothing of a class."""

import json
from types import SimpleNamespace

import torch

from engine.ablation.comparison import Method
from engine.ablation.conclusion import Conclusion, missed_lines
from engine.experiment.run import Run
from segloss.scores import SegmentationScores


def method(name, predictions, targets, background=0):
    scores = SegmentationScores(2, background=background)
    ids = range(len(targets))
    scores.update(torch.tensor(predictions), torch.tensor(targets), image=list(ids), case=list(ids))
    named = [f"image {index}" for index in ids]
    return Method(name, {0: [scores.document(["background", "crack"], named, named, kind="still")]})


def test_an_arm_that_finds_nothing_of_a_class_is_named():
    """Of four images three have a crack; a false pixel elsewhere is no find, one beside it is."""
    targets = [[0, 0], [0, 1], [1, 1], [0, 1]]
    arms = {
        "ce": method("ce", [[1, 0], [0, 0], [0, 0], [0, 1]], targets),
        "dfl": method("dfl", [[0, 0], [0, 1], [0, 1], [1, 0]], targets),
    }
    assert missed_lines(arms) == ["ce finds no crack in 2 of 3 cases that have it"]
    arms["ce"].documents[1] = arms["dfl"].documents[0]
    assert missed_lines(arms) == ["ce finds no crack in 2 of 3 cases that have it (seed 0)"]


def test_floors_are_those_of_a_seed_that_is_finished(tmp_path):
    """The first seed of the first arm has failed."""
    (tmp_path / "ce-1").mkdir()
    (tmp_path / "ce-1/baseline.json").write_text(json.dumps({"floors": {"commonest": {"dataset": {"mIoU": 0.25}}}}))
    made = method("ce", [[0, 1]], [[0, 1]])
    record = SimpleNamespace(seeds=[0, 1], runs=lambda folder, arm, seed: [Run(folder / f"{arm}-{seed}")])
    found = Conclusion(tmp_path, record, {"ce": Method("ce", {1: made.documents[0]})}, [], []).floors()
    assert found is not None
    assert found.lines[0] == "above the commonest class everywhere, which reaches dataset mIoU 0.2500"


def test_arms_are_held_against_the_mean_of_the_folds_as_floors_are(tmp_path):
    """The second fold has no crack: all of its classes are found, where of both folds together half are."""
    folds = [method("ce", [[0, 0]], targets, None).documents[0][0] for targets in ([[0, 1]], [[0, 0]])]
    for fold, document in enumerate(folds):
        (tmp_path / f"fold-{fold}").mkdir()
        floors = {"commonest": {"dataset": {"mIoU": document.primary}}}
        (tmp_path / f"fold-{fold}/baseline.json").write_text(json.dumps({"floors": floors}))
    record = SimpleNamespace(seeds=[0], runs=lambda folder, *_: [Run(folder / f"fold-{fold}") for fold in (0, 1)])
    found = Conclusion(tmp_path, record, {"ce": Method("ce", {0: folds})}, [], []).floors()
    assert found is not None
    assert [row[1] for row in found.rows] == [f"{(0.5 / 2 + 1) / 2:.4f}"] * 2
