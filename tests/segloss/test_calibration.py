"""Reliability bins and ECE against numbers worked out by hand, by NumPy and by torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

from segloss.calibration import Calibration, pooled_calibration

NAMES = ["a", "b", "c"]


def batch(seed=0, shape=(2, 3, 17, 13), scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(shape, generator=generator)
    target = (logits + 2 * torch.randn(shape, generator=generator)).argmax(1)
    target[torch.rand(target.shape, generator=generator) < 0.2] = 255
    return logits, target


def document(*batches, **options):
    found = Calibration(3, **options)
    for logits, target in batches:
        found.update(logits, target)
    return found.document(NAMES)


def test_by_hand():
    """Two bins: 90 % sure twice and right once, 60 % sure once and right, 50 % sure once and wrong."""
    p = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    seen = Calibration(2, bins=2)
    seen.update(p.log(), torch.tensor([0, 1, 1, 1]))
    seen.update(torch.full((1, 2), torch.nan), torch.tensor([255]))
    found = seen.document(["a", "b"])
    low, high = found["bins"]
    assert (low["count"], high["count"]) == (1, 3)
    assert (low["confidence"], low["accuracy"]) == (pytest.approx(0.5), 0)
    assert (high["confidence"], high["accuracy"]) == (pytest.approx(0.8), pytest.approx(2 / 3))
    assert found["ece"] == pytest.approx((0.5 + 3 * (0.8 - 2 / 3)) / 4)
    low, high = found["classes"]["b"]["bins"]  # 10 %, 10 % and 50 %: two of three are b; 60 %: it is b
    assert (low["count"], low["confidence"], low["accuracy"]) == (3, pytest.approx(0.7 / 3), pytest.approx(2 / 3))
    assert (high["count"], high["confidence"], high["accuracy"]) == (1, pytest.approx(0.6), 1)
    assert found["classes"]["b"]["ece"] == pytest.approx((2 - 0.7 + 0.4) / 4)


def test_ece_is_torchmetrics_s():
    logits, target = batch()
    theirs = MulticlassCalibrationError(3, n_bins=15, norm="l1", ignore_index=255)
    assert document((logits, target))["ece"] == pytest.approx(float(theirs(logits.softmax(1), target)), abs=1e-6)
    found = document((logits, target), activation="sigmoid")
    for index, name in enumerate(NAMES):
        binary = torch.where(target == 255, 255, (target == index).long())
        theirs = BinaryCalibrationError(n_bins=15, norm="l1", ignore_index=255)
        expected = float(theirs(logits[:, index].sigmoid(), binary))
        assert found["classes"][name]["ece"] == pytest.approx(expected, abs=1e-6)


def test_bins_are_numpy_s():
    logits, target = batch(1)
    found = document((logits, target))
    counted = (target < 3).numpy()
    p = logits.softmax(1).movedim(1, -1).double().numpy()[counted]
    edges = np.linspace(0, 1, 16)
    np.testing.assert_array_equal([one["count"] for one in found["bins"]], np.histogram(p.max(1), edges)[0])
    for index, name in enumerate(NAMES):
        rows = found["classes"][name]["bins"]
        truth = (target.numpy()[counted] == index).astype(int)
        n, sure, hits = (np.histogram(p[:, index], edges, weights=w)[0] for w in (None, p[:, index], truth))
        np.testing.assert_array_equal([one["count"] for one in rows], n)
        np.testing.assert_allclose([one["confidence"] for one in rows], sure / n, atol=1e-6)
        np.testing.assert_allclose([one["accuracy"] for one in rows], hits / n)


def bins(document):
    """All numbers of its bins, NaN where there is none."""
    rows = [document["bins"], *(document["classes"][name]["bins"] for name in NAMES)]
    return np.array([[[*one.values()] for one in row] for row in rows], dtype=float)


def test_order_and_batches_change_nothing():
    """One is sure and always wrong: of its only bin the accuracy is 0."""
    one, two = (
        batch(2),
        (torch.tensor([20.0, -20, 0]).expand(5, 17, 13, 3).movedim(-1, 1), torch.ones(5, 17, 13).long()),
    )
    whole = document((torch.cat([one[0], two[0]]), torch.cat([one[1], two[1]])))
    assert whole == document(one, two) == document(two, one)
    pooled = pooled_calibration([document(one), document(two)])
    assert pooled["ece"] == pytest.approx(whole["ece"], abs=1e-12)
    np.testing.assert_allclose(bins(pooled), bins(whole), atol=1e-12)
    assert pooled_calibration([whole])["classes"].keys() == whole["classes"].keys()


def test_regions_by_hand():
    """Whole holds labels 1 and 2, core 2 alone; a decision for each of them at every pixel that counts."""
    whole = torch.tensor([[False, True, True], [False, False, True]])
    seen = Calibration(2, "sigmoid", bins=2, regions=whole)
    p = torch.tensor([[0.9, 0.4], [0.8, 0.7], [0.1, 0.1], [torch.nan, 0.5], [torch.nan, torch.nan]])
    seen.update(p.logit(), torch.tensor([1, 2, 0, 2, 0]))
    seen.update(torch.zeros(1, 2), torch.tensor([255]))
    found = seen.document(["whole", "core"])
    low, high = found["bins"]  # three broken ones, and the 0.5 of core, which is none: all wrong
    assert (low["count"], low["confidence"], low["accuracy"]) == (4, pytest.approx(0.5 / 4), 0)
    assert (high["count"], high["accuracy"]) == (6, 1)
    assert high["confidence"] == pytest.approx((0.9 + 0.6 + 0.8 + 0.7 + 0.9 + 0.9) / 6)
    low, high = found["classes"]["core"]["bins"]
    assert (low["count"], low["confidence"], low["accuracy"]) == (4, pytest.approx(1 / 4), pytest.approx(1 / 4))
    assert (high["count"], high["confidence"], high["accuracy"]) == (1, pytest.approx(0.7), 1)
    assert found["classes"]["whole"]["bins"][1]["accuracy"] == 1


def test_classes_counted_one_by_one_or_together_are_the_same(monkeypatch):
    found = []
    for logits in (1, 2 * 17 * 13 * 2, 2**20):
        monkeypatch.setattr("segloss.calibration.LOGITS", logits)
        found.append(document(batch(4)))
    assert found[0] == found[1] == found[2]


def test_certainty_nothing_and_no_numbers():
    sure = torch.tensor([[1e4, -1e4, -1e4]])
    found = document((sure, torch.tensor([0])))
    assert found["ece"] == 0
    assert found["bins"][14] == {"count": 1, "confidence": 1.0, "accuracy": 1.0}
    assert found["classes"]["b"]["bins"][0] == {"count": 1, "confidence": 0.0, "accuracy": 0.0}
    empty = document((sure, torch.tensor([255])))
    assert empty == document((torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)))
    assert empty["ece"] is None
    assert empty["bins"][0] == {"count": 0, "confidence": None, "accuracy": None}
    first = document((torch.full((1, 3), torch.nan), torch.tensor([0])))  # also of the class that argmax would name
    assert first["bins"][0] == {"count": 1, "confidence": 0, "accuracy": 0}
    broken = document((torch.full((1, 3), torch.nan), torch.tensor([2])))
    assert broken["bins"][0]["count"] == 1
