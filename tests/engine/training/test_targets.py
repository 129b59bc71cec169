"""What a loss is called with, from the labels of a batch."""

from types import SimpleNamespace

import torch

from datasets import Case
from engine.training.targets import Targets
from segloss import build_loss

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
