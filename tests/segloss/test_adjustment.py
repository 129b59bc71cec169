"""Logit adjustment against Bayes' rule, scipy, brute force and numbers worked by hand."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax
from scipy.stats import norm

from segloss.adjustment import STEP, LogitAdjustment, fit_offsets, fit_temperature, prior_offsets
from segloss.aggregation import aggregate


def pixels(classes, count=4000, seed=0, rare=0.1, units=5):
    """Logits, labels and units of noisy pixels; the classes after the first are rare."""
    rng = np.random.default_rng(seed)
    shares = [1 - rare * (classes - 1), *[rare] * (classes - 1)]
    target = rng.choice(classes, count, p=shares)
    logits = rng.normal(0, 1.5, (count, classes)) + 3 * np.eye(classes)[target] + np.log(shares)
    return (
        torch.tensor(logits, dtype=torch.float32),
        torch.from_numpy(target),
        torch.from_numpy(rng.integers(0, units, count)),
    )


def metric(labels, target, units, score, left_out):
    """The mean by the scores' own code, from counts that NumPy makes."""
    labels, target, units = (each.numpy() for each in (labels, target, units))
    classes = int(max(labels.max(), target.max())) + 1
    counts = [
        [[np.sum((units == u) & hit(k)) for k in range(classes)] for u in range(units.max() + 1)]
        for hit in (
            lambda k: (labels == k) & (target == k),
            lambda k: (labels == k) & (target != k),
            lambda k: (labels != k) & (target == k),
        )
    ]
    return aggregate(*map(torch.tensor, counts), list(map(str, range(classes))), left_out)[f"m{score}"]


def test_the_prior_is_taken_out_by_bayes_rule():
    """Two Gaussians, one of 2 %: the exact posterior, adjusted, is the exact posterior of equal shares."""
    x = np.linspace(-4, 6, 101)
    likelihood = np.stack([norm.pdf(x, 0, 1), norm.pdf(x, 2, 1)], axis=1)
    shares = np.array([0.98, 0.02])
    logits = torch.from_numpy(np.log(likelihood * shares))
    found = LogitAdjustment(prior_offsets([9800, 200]))(logits).softmax(1)
    assert found.numpy() == pytest.approx(likelihood / likelihood.sum(1, keepdims=True), abs=1e-12)
    assert (found.argmax(1).numpy() == (x > 1)).all()  # halfway between the means
    half = LogitAdjustment(prior_offsets([9800, 200], tau=0.5))(logits).softmax(1).numpy()
    shifted = likelihood * np.sqrt(shares)
    assert half == pytest.approx(shifted / shifted.sum(1, keepdims=True), abs=1e-12)


def test_prior_offsets_by_hand():
    assert prior_offsets([8, 4, 1], tau=2).tolist() == pytest.approx([0, 2 * np.log(2), 2 * np.log(8)])
    assert prior_offsets([8, 4, 1], tau=0).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="tau must be ≥ 0, got -1"):
        prior_offsets([1, 1], tau=-1)


def test_the_adjustment_is_in_float32_whatever_the_logits_and_commutes_with_means():
    logits = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    layer = LogitAdjustment([0.5, -1.0, 0.0], temperature=1.7)
    assert torch.allclose(layer(logits.mean(0, keepdim=True)), layer(logits).mean(0, keepdim=True), atol=1e-6)
    assert layer(logits.bfloat16()).dtype == torch.float32
    assert layer.state_dict() == {}
    expected = logits.double().numpy() / 1.7 + np.array([0.5, -1, 0])[:, None, None]
    assert layer(logits.double()).numpy() == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="offsets must hold one number a class"):
        layer(torch.zeros(1, 2))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("scale", [0.3, 1, 5])
def test_the_temperature_is_that_of_scipy(activation, scale):
    logits, target, _ = pixels(3)
    logits = scale * logits
    z, own = logits.double().numpy(), np.eye(3)[target.numpy()]

    def loss(log_t):
        scaled = z / np.exp(log_t)
        if activation == "softmax":
            return -(own * log_softmax(scaled, axis=1)).sum(1).mean()
        return -(own * np.log(expit(scaled)) + (1 - own) * np.log(expit(-scaled))).sum(1).mean()

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-10})
    found = fit_temperature(logits, target, activation)
    assert float(found.value) == pytest.approx(np.exp(best.x), rel=1e-6)
    assert found.after == pytest.approx(best.fun, abs=1e-12)
    assert found.before == pytest.approx(loss(0.0), abs=1e-12)


def test_a_network_without_a_mistake_has_the_lowest_temperature():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert float(fit_temperature(logits, torch.tensor([0, 1])).value) == pytest.approx(0.01)
    assert float(fit_temperature(-1e4 * logits, torch.tensor([0, 1])).value) == pytest.approx(100)


@pytest.mark.parametrize("score", ["DSC", "IoU"])
@pytest.mark.parametrize("left_out", [(), (0,)])
@pytest.mark.parametrize("pooled", [True, False])
def test_offsets_of_two_classes_are_those_of_brute_force(score, left_out, pooled):
    logits, target, units = pixels(2, rare=0.03, seed=1)
    units = torch.zeros_like(units) if pooled else units
    found = fit_offsets(logits, target, None if pooled else units, score, left_out, limit=2)
    tried = np.arange(-2, 2 + STEP, STEP)
    scores = [metric((logits + torch.tensor([0, b]).float()).argmax(1), target, units, score, left_out) for b in tried]
    assert found.after == pytest.approx(max(scores), abs=1e-12)
    assert found.before == pytest.approx(metric(logits.argmax(1), target, units, score, left_out), abs=1e-12)
    assert found.after > found.before + 0.005
    best = tried[np.isclose(scores, max(scores), atol=1e-12)]
    assert found.value.tolist() == [0, pytest.approx(best[np.abs(best).argmin()])]


def test_the_other_class_may_be_the_frequent_one():
    logits, target, units = pixels(2, rare=0.03, seed=1)
    one, other = fit_offsets(logits, target, units), fit_offsets(logits.flip(1), 1 - target, units)
    assert other.value.tolist() == one.value.flip(0).tolist()
    assert other.value[0] > 0
    assert other[1:] == pytest.approx(one[1:], abs=1e-12)


def test_offsets_at_the_limits_by_hand():
    """The first pixel needs an offset above 4; the second one of −1 at most, with which the third stays as it is."""
    logits = torch.tensor([[4.0, 0], [9, 0], [9, 0]])
    assert fit_offsets(logits, torch.tensor([1, 0, 0])).value.tolist() == [0, 0]
    assert fit_offsets(logits, torch.tensor([1, 0, 0]), limit=5).value.tolist() == [0, 4 + STEP]
    logits = torch.tensor([[0, 0.99], [0, 1.5], [3, 0]])
    found = fit_offsets(logits, torch.tensor([0, 1, 0]), limit=1)
    assert (found.value.tolist(), found.after) == ([0, -1], 1)


def test_offsets_of_three_classes_are_those_of_brute_force():
    logits, target, units = pixels(3, rare=0.05, count=1500, seed=2)
    found = fit_offsets(logits, target, units, "DSC", (0,), limit=0.5)
    tried = np.arange(-0.5, 0.5 + STEP, STEP)

    def at(offsets):
        return metric((logits + torch.tensor(offsets).float()).argmax(1), target, units, "DSC", (0,))

    scores = {pair: at([0, *pair]) for pair in itertools.product(tried.tolist(), repeat=2)}
    assert found.after == pytest.approx(max(scores.values()), abs=1e-12)
    assert at(found.value.tolist()) == pytest.approx(found.after, abs=1e-12)


def test_offsets_of_many_classes_are_better_than_their_neighbours():
    logits, target, units = pixels(6, rare=0.04, seed=3)
    found = fit_offsets(logits, target, units)
    assert found.value[0] == 0  # the most frequent class
    assert found.after > found.before
    for index in range(1, 6):
        for step in (-STEP, STEP):
            other = found.value.clone()
            other[index] += step
            labels = (logits + other.float()).argmax(1)
            assert metric(labels, target, units, "DSC", ()) <= found.after + 1e-12


def test_of_equal_logits_the_first_is_the_label():
    """With whole logits every step is a tie: what is found is what argmax gives."""
    rng = np.random.default_rng(4)
    logits, target = torch.from_numpy(rng.integers(-2, 3, (400, 3))).float(), torch.from_numpy(rng.integers(0, 3, 400))
    found = fit_offsets(logits, target)
    labels = (logits + found.value.float()).argmax(1)
    assert metric(labels, target, torch.zeros_like(target), "DSC", ()) == pytest.approx(found.after, abs=1e-12)


def test_offsets_change_nothing_where_nothing_is_better():
    target = torch.tensor([0, 0, 1, 2])
    logits = 5.0 * torch.eye(3)[target]
    assert fit_offsets(logits, target).value.tolist() == [0, 0, 0]
    assert fit_offsets(logits, target)[1:] == (1, 1)
