"""The loss of a batch that two processes share; what they tell each other goes through memory here."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F

import segloss
from engine.processes import ranks
from engine.processes.whole_batch import exact_over_ranks, global_denominator
from segloss_tests.devices import META, no_wait
from segloss_tests.losses import build, sample

LOSSES = {
    "dice": build("dice", class_weights=[0, 1, 2, 1]),
    "generalized_dice": build("generalized_dice", smooth=0.1),
    "mcc": build("mcc"),
    "tversky of all classes": build("tversky", classes="all"),
    "a sum": segloss.WeightedSum([build("ce"), build("iou", smooth=1.0)], [0.3, 2.0]),
}


def in_two(monkeypatch, loss, call):
    """What each of two processes, here threads, makes of its number."""
    process, meeting, told = threading.local(), threading.Barrier(2, timeout=30), [None, None]

    def add(tensor):
        told[process.number] = tensor.clone()
        meeting.wait()
        tensor.copy_(told[0] + told[1])
        meeting.wait()
        return tensor

    def run(number):
        process.number = number
        return call(number)

    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    monkeypatch.setattr(ranks, "all_reduce", add)
    with exact_over_ranks(loss), ThreadPoolExecutor(2) as threads:
        return list(threads.map(run, range(2)))


def value_and_slope(loss, logits, targets, call=None, **given):
    """What a process adds to the loss of the micro-batches of a step, and its gradients."""
    logits = [each.clone().requires_grad_() for each in logits]
    sizes = {} if call is None else {"sizes": [each.shape[2:] for each in call(logits[0])]}
    whole = loss if call is None else segloss.DeepSupervision(loss)
    denominator = global_denominator([whole.denominator(t, **sizes, **given) for t in targets], targets, loss)
    parts = [(z if call is None else call(z), t) for z, t in zip(logits, targets, strict=True)]
    total = sum(whole(z, t, denominator=denominator, **given) for z, t in parts)
    return total.detach(), torch.autograd.grad(total, logits)


def levels(logits):
    return [logits, F.avg_pool2d(logits, 2, ceil_mode=True)]


@pytest.mark.parametrize("call", [None, levels], ids=["", "deep"])
@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_shares_of_a_batch_are_the_whole_batch(loss, uneven, call, monkeypatch):
    """Also where one process has nothing that counts, as of padding, or a class alone."""
    logits, target = sample(shape=(5, 4, 3, 3))
    target[3:][target[3:] == 2] = 255
    if uneven:
        target[3:] = 255
    expected, (slope,) = value_and_slope(loss, [logits], [target], call)
    shares = [slice(0, 3), slice(3, 5)]
    found = in_two(monkeypatch, loss, lambda n: value_and_slope(loss, [logits[shares[n]]], [target[shares[n]]], call))
    torch.testing.assert_close(sum(value for value, _ in found), expected)
    torch.testing.assert_close(torch.cat([own for _, (own,) in found]), slope)


def test_micro_batches_are_averaged_and_small_maps_upsampled(monkeypatch):
    """The second process holds nothing that counts in its part of the second micro-batch."""
    loss, (logits, _) = build("dice"), sample(shape=(6, 4, 3, 3))
    target = sample(shape=(6, 4, 6, 6), seed=1)[1]
    target[5] = 255
    large = F.interpolate(logits, (6, 6), mode="bilinear")
    expected = (loss(large[[0, 1, 2]], target[[0, 1, 2]]) + loss(large[[3, 4]], target[[3, 4]])) / 2

    def share(number):
        parts = ([0, 1], [3, 4]) if number == 0 else ([2], [5])
        given = [target[part] for part in parts]
        denominator = global_denominator([loss.denominator(each) for each in given], given, loss)
        small = segloss.upsampled(loss, (6, 6))
        return sum(small(logits[part], t, denominator=denominator) for part, t in zip(parts, given, strict=True))

    torch.testing.assert_close(sum(in_two(monkeypatch, loss, share)), expected)


def test_classes_that_no_image_of_a_process_was_labelled_for(monkeypatch):
    loss, (logits, target) = build("dice", classes="all"), sample(shape=(4, 4, 3, 3))
    labelled = torch.ones(4, 4, dtype=torch.bool)
    labelled[2:, 2] = False
    target[2:][target[2:] == 2] = 0
    found = in_two(
        monkeypatch,
        loss,
        lambda n: value_and_slope(loss, [logits[2 * n :][:2]], [target[2 * n :][:2]], labelled=labelled[2 * n :][:2]),
    )
    torch.testing.assert_close(sum(value for value, _ in found), loss(logits, target, labelled=labelled))


def test_a_mean_over_images_stays_an_average(monkeypatch):
    loss, (logits, target) = build("dice", per_image=True), sample(shape=(4, 4, 3, 3))
    found = in_two(monkeypatch, loss, lambda n: value_and_slope(loss, [logits[2 * n :][:2]], [target[2 * n :][:2]]))
    halves = [loss(logits[:2], target[:2]), loss(logits[2:], target[2:])]
    torch.testing.assert_close(sum(value for value, _ in found), sum(halves) / 2)
    target[2:] = 255  # a share of which nothing counts is none
    found = in_two(monkeypatch, loss, lambda n: value_and_slope(loss, [logits[2 * n :][:2]], [target[2 * n :][:2]]))
    torch.testing.assert_close(sum(value for value, _ in found), halves[0])


def test_a_denominator_is_shared_without_waiting(monkeypatch):
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    monkeypatch.setattr(ranks, "all_reduce", lambda tensor: tensor)
    loss = segloss.WeightedSum([segloss.build_loss("dice"), segloss.build_loss("ce")])
    target = torch.empty(2, 4, 4, dtype=torch.int64, device=META)
    with no_wait():
        assert global_denominator([loss.denominator(target)], [target], loss).shape == (2,)
