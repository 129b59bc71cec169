"""Mixed pictures against what mixing is: each is a sum of two, and its label holds the shares of the two."""

import numpy as np
import pytest
import torch
from scipy import stats

from datasets import PADDING, Mixing, unpacked

CLASSES = 5
GREYS = torch.tensor([1.0, 10.0, 100.0, 1000.0])
"""Of the pictures of a batch, told apart in any sum of two."""
LABELS = torch.tensor([3, 0, 3, 4])


def batch(index=(0, 1, 2, 3)):
    """Grey pictures of 20x16, which a factor and a shift of their own turn into `GREYS`."""
    factor = torch.tensor([[0.5, 2.0], [1.0, 4.0], [2.0, 0.25], [8.0, 1.0]])
    values = (GREYS[:, None] + 6) / factor
    return {
        "image": values[..., None, None].expand(4, 2, 20, 16).clone(),
        "factor": factor,
        "shift": torch.full((4, 2), 6.0),
        "mask": LABELS.to(torch.uint8).view(4, 1, 1),
        "index": torch.tensor(index),
        "case": torch.arange(4),
        "slice": torch.zeros(4, dtype=torch.int64),
    }


def mixing(kind, alpha=1.0):
    return Mixing(kind, alpha, CLASSES, lambda tensor: tensor)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_picture_and_its_label_hold_the_same_shares_of_the_same_two(kind):
    for seed in range(20):
        found = unpacked(mixing(kind)(batch(), seed))
        image, target = found["image"], found["mask"]
        assert target.shape == (4, CLASSES, 1, 1)
        share = target[1, 0].item()  # the second is the only one of its class, and the first of another
        for own, other in ((1, 0), (0, 3), (2, 1), (3, 2)):
            wanted = torch.zeros(CLASSES)
            wanted[LABELS[own]] += share
            wanted[LABELS[other]] += 1 - share
            torch.testing.assert_close(target[own].flatten(), wanted)
            mean = share * GREYS[own] + (1 - share) * GREYS[other]
            torch.testing.assert_close(image[own].mean((1, 2)), mean.expand(2), rtol=1e-4, atol=0)
            values = image[own].unique()
            if kind == "mixup":
                torch.testing.assert_close(values, mean.expand_as(values), rtol=1e-5, atol=0)
            else:
                assert all((values - GREYS[pair]).abs().min() < 1e-2 for pair in (own,) if share > 0)
                inside = (image[own, 0] - GREYS[other]).abs() < 1e-2  # a box: all of its rows by all of its columns
                assert inside.sum() == inside.any(0).sum() * inside.any(1).sum()
                assert inside.sum().item() / 320 == pytest.approx(1 - share, abs=1e-5)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_the_share_of_a_batch_is_drawn_from_a_beta_distribution(alpha):
    made = mixing("mixup", alpha)
    found = [b["mask"][1, 0].item() for epoch in (0, 1) for b in made.batches([batch()] * 150, seed=7, epoch=epoch)]
    assert stats.kstest(found, stats.beta(alpha, alpha).cdf).pvalue > 0.01
    assert len({*found}) > 290


def test_batches_follow_from_seed_epoch_and_number_alone():
    made, loaded = mixing("cutmix"), [batch()] * 6
    whole = [b["image"] for b in made.batches(loaded, seed=3, epoch=2)]
    torch.manual_seed(99)
    before = torch.get_rng_state()
    rest = [b["image"] for b in made.batches(loaded[4:], seed=3, epoch=2, start=4)]
    assert torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, whole[4:], rest))
    for other in ({"seed": 4, "epoch": 2}, {"seed": 3, "epoch": 1}):
        assert not all(torch.equal(a, b["image"]) for a, b in zip(whole, made.batches(loaded, **other), strict=True))


def test_padding_counts_no_more_than_before():
    padding = batch([PADDING] * 4)
    assert mixing("mixup")(padding, seed=0) is padding


def test_a_share_that_is_all_or_nothing_stays_a_number():
    for seed in range(200):
        found = mixing("mixup", 0.01)(batch(), seed)
        assert torch.isfinite(found["image"]).all()
        np.testing.assert_allclose(found["mask"].sum(1), 1, rtol=1e-6)
