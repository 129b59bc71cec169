"""The losses agree with other people's code wherever both compute the same thing, in value and in gradient."""

import pytest
import torch
import torchmetrics.functional.segmentation as metrics

from docs.peers import PAIRS, TRAPPED, outcome, traps
from segloss_tests.losses import build, sample

IDS = [f"{pair.library}-{pair.theirs}{'-soft' * pair.soft}" for pair in PAIRS]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("pair", PAIRS, ids=IDS)
def test_other_libraries(pair, seed):
    logits, labels = pair.example(seed)
    results = []
    for index in (0, 1):
        z = logits.clone().requires_grad_()
        value = pair.both(z, labels)[index]
        results.append((value.item(), torch.autograd.grad(value, z)[0]))
    theirs, ours = results
    if pair.same:
        assert theirs[0] == pytest.approx(ours[0], abs=1e-5)
        torch.testing.assert_close(theirs[1], ours[1], rtol=1e-4, atol=1e-6)
    else:
        assert pair.note
        assert abs(theirs[0] - ours[0]) > 1e-4


@pytest.mark.parametrize("name", [name for name in TRAPPED if name.startswith("segloss")])
def test_traps_that_others_fall_into(name):
    found = {trap.name: outcome(TRAPPED[name], trap) for trap in traps()}
    assert found["all pixels ignored"] == "0"
    assert found["a label 7 of 4 classes"] == "ValueError"
    assert found["sure and right (gradient)"] == "0"
    assert not any("NaN" in what or "nan" in what for what in found.values())


SCORES = {
    "dice": (metrics.dice_score, {"include_background": True, "average": "macro"}),
    "iou": (metrics.mean_iou, {"include_background": True}),
    "generalized_dice": (metrics.generalized_dice_score, {}),
}


@pytest.mark.parametrize("name", list(SCORES))
def test_region_losses_of_hard_predictions_are_one_minus_the_score(name):
    logits, target = sample(shape=(3, 4, 9, 8), ignored=0.0)
    labels = logits.argmax(1)
    sure = 1e4 * torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).double()
    score, options = SCORES[name]
    expected = score(labels, target, 4, input_format="index", **options).mean().item()
    assert 1 - build(name, per_image=True)(sure, target).item() == pytest.approx(expected, rel=1e-6)
