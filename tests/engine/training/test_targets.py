"""What a loss is called with, from the labels of a batch."""

from types import SimpleNamespace

import torch

from datasets import IGNORE, Case, Regions
from engine.training.targets import Targets
from segloss import SegmentationScores, build_loss

CPU = torch.device("cpu")


def cases(*labelled):
    return [SimpleNamespace(case=Case(str(n), str(n), "", "", labelled=known)) for n, known in enumerate(labelled)]


def test_each_image_has_the_classes_that_its_case_was_labelled_for():
    """Even odds of three classes: what merges a class into the background has a loss of log 3 − log 2 there."""
    targets = Targets(cases(None, frozenset({"b"}), frozenset({"a", "b"})), ["ground", "a", "b"], CPU)
    given = targets(torch.zeros(3, 1, 1, dtype=torch.long), torch.tensor([1, 0, 1]))
    assert given["labelled"].tolist() == [[True, False, True], [True, True, True], [True, False, True]]
    loss = build_loss("ce", reduction="none")(torch.zeros(3, 3, 1, 1), **given)
    torch.testing.assert_close(loss.flatten().exp(), torch.tensor([1.5, 3.0, 1.5]))


def test_where_every_case_was_labelled_for_all_the_labels_are_the_target():
    mask = torch.zeros(1, 2, 2, dtype=torch.long)
    assert Targets(cases(None, None), ["ground", "a"], CPU)(mask, torch.tensor([0])) == {"target": mask}


def test_an_image_has_the_regions_of_whose_classes_its_case_was_labelled_for_all():
    regions = Regions({"whole": [1, 2], "core": [2], "other": [3]}, 4)
    targets = Targets(cases(frozenset("12"), frozenset("3"), None), ["0", "1", "2", "3"], CPU, regions)
    given = targets(torch.zeros(3, 1, 1, dtype=torch.long), torch.tensor([0, 1, 2]))
    assert given["labelled"].tolist() == [[True, True, False], [False, False, True], [True, True, True]]
    loss = build_loss("sigmoid_ce", reduction="none")(torch.zeros(3, 3, 1, 1), **given)
    torch.testing.assert_close(loss.flatten().exp(), torch.tensor([4.0, 2.0, 8.0]))


def test_nested_regions_are_learnt_to_dice_1():
    """A linear network on one image whose grey values say the class; what is ignored has the grey value of another."""
    torch.manual_seed(0)
    regions = Regions({"whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}, 4)
    mask = torch.randint(0, 4, (1, 16, 16))
    image = torch.nn.functional.one_hot(mask, 4).movedim(3, 1).float()
    mask[0, 0] = IGNORE
    network = torch.nn.Conv2d(4, 3, 1)
    loss = build_loss([{"name": "dice", "sigmoid": True}, {"name": "sigmoid_ce"}], num_classes=3)
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    given = Targets(cases(None), ["0", "1", "2", "3"], CPU, regions)(mask, torch.tensor([0]))
    denominator = loss.denominator(**given)
    assert denominator.tolist() == [1, 15 * 16]
    for _ in range(60):
        optimizer.zero_grad()
        loss(network(image), **given, denominator=denominator).backward()
        optimizer.step()
    scores = SegmentationScores(4, regions=regions.members)
    scores.update(regions.labels(network(image)), mask, image=[0], case=[0])
    assert scores.compute()["dataset"]["mDSC"] == 1
