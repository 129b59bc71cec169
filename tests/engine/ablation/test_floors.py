"""Which arms are said to find nothing of a class."""

import torch

from engine.ablation.comparison import Method
from engine.ablation.conclusion import missed_lines
from segloss.scores import SegmentationScores


def method(name, predictions, targets):
    scores = SegmentationScores(2, background=0)
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
