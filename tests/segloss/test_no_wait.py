"""Losses and counts look at no value, and send nothing to a GPU, once they are there."""

import pytest
import torch

import segloss
from segloss import SegmentationScores
from segloss.calibration import Calibration
from segloss.classification import ClassificationScores
from segloss_tests.devices import META, as_on_a_gpu, no_wait

__all__ = ["as_on_a_gpu"]
COUNTS = [1e2, 3e2, 1e3, 3e3, 1e4]


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("size", [16, 1024])  # whole, and in blocks
@pytest.mark.parametrize("name", sorted(segloss.LOSSES))
def test_a_loss_looks_at_no_value_if_a_graph_is_to_hold_it(name, size):
    loss = segloss.WeightedSum([segloss.build_loss(name, num_classes=5, class_counts=COUNTS).to(META)])
    target = torch.empty(2, size, size, device=META, dtype=torch.int64)

    def step(loss, side):
        logits = torch.empty(2, 5, side, side, device=META, requires_grad=True)
        loss(logits, target, denominator=loss.denominator(target)).backward()
        assert logits.grad.shape == logits.shape

    if not loss.capturable:
        with pytest.raises(NotImplementedError, match="Meta"):
            step(loss, size)
        return
    with no_wait():
        step(loss, size)
    if loss.losses[0].upsamples:
        upsampled = segloss.upsampled(loss.losses[0], (size, size))
        step(upsampled, size // 4)  # makes the weights of the resize
        with no_wait():
            step(upsampled, size // 4)


def test_counts_look_at_no_value():
    logits, target = torch.empty(2, 5, 8, 8, device=META), torch.empty(2, 8, 8, device=META, dtype=torch.int64)
    plain = Calibration(5)
    overlapping = Calibration(5, "sigmoid", regions=torch.ones(5, 6, dtype=torch.bool))
    for calibration in (plain, overlapping):
        calibration.update(logits, target)
        with no_wait():
            calibration.update(logits, target)
    with no_wait():
        SegmentationScores(5).update(logits.argmax(1), target, image=[0, 1], case=[0, 0])
        ClassificationScores(5).update(logits[..., 0, 0], target[:, 0, 0], image=[0, 1])
