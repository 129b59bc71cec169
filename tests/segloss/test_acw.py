import copy
import math
import pickle

import pytest
import torch
from torch import nn

from segloss import AdaptiveClassWeight


def test_multiplies_each_class():
    layer = AdaptiveClassWeight(3, init=[1.0, 2.0, 0.5])
    logits = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(layer(logits), logits * torch.tensor([1.0, 2.0, 0.5]).view(1, 3, 1, 1))
    torch.testing.assert_close(layer(logits[..., 0, 0]), logits[..., 0, 0] * torch.tensor([1.0, 2.0, 0.5]))


def test_keeps_half_precision():
    assert AdaptiveClassWeight(2)(torch.zeros(1, 2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("head", [nn.Conv2d(6, 3, 3, padding=1), nn.Conv2d(6, 3, 1, bias=False)])
def test_folds_into_the_head(head):
    layer = AdaptiveClassWeight(3, init=[0.3, 2.0, -1.0])
    features = torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(layer.fold(head)(features), layer(head(features)))


@pytest.mark.parametrize("constraint", ["none", "positive"])
def test_draws_no_random_number(constraint):
    before = torch.get_rng_state()
    AdaptiveClassWeight(4, constraint=constraint)
    assert torch.equal(before, torch.get_rng_state())


def test_positive_starts_at_one_to_the_bit_and_stays_positive():
    free, positive = AdaptiveClassWeight(2), AdaptiveClassWeight(2, constraint="positive")
    assert torch.equal(free.weight, positive.weight)
    logits, target = torch.tensor([[-1.0, 1.0]]), torch.tensor([0])
    for layer in (free, positive):
        optimizer = torch.optim.SGD(layer.parameters(), lr=5.0)
        for _ in range(30):
            optimizer.zero_grad()
            nn.functional.cross_entropy(layer(logits), target).backward()
            optimizer.step()
        assert bool((layer.weight > 0).all()) == (layer is positive)
        assert bool((layer.weight < 0).all()) == (layer is free)
    fresh = AdaptiveClassWeight(2, constraint="positive")
    fresh.load_state_dict(positive.state_dict())
    assert torch.equal(fresh.weight, positive.weight)


def test_positive_folds_too():
    layer, head = AdaptiveClassWeight(3, init=[0.3, 2.0, 1.0], constraint="positive"), nn.Linear(6, 3)
    features = torch.randn(5, 6)
    torch.testing.assert_close(layer.fold(head)(features), layer(head(features)))


def test_compiles():
    layer = AdaptiveClassWeight(3, init=[0.3, 2.0, 1.0], constraint="positive")
    logits = torch.randn(2, 3, 4)
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="eager")(logits), layer(logits))


def test_is_not_invariant_to_a_shift_of_the_logits():
    layer, logits = AdaptiveClassWeight(2, init=[1.0, 3.0]), torch.tensor([[0.0, 0.0]])
    assert layer(logits).softmax(1).tolist() == [[0.5, 0.5]]
    assert layer(logits + 1).softmax(1)[0, 1].item() == pytest.approx(1 / (1 + math.exp(-2)))


def test_acw_with_ce_is_not_wce_minus_a_constant():
    """The paper needs Σ_j exp(w_j x_j) to be constant in x; at the two points of the docstring it is not."""
    weight = torch.tensor([1.0, 3.0])
    differences = []
    for x in (torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]])):
        wce = weight[0] * nn.functional.cross_entropy(x, torch.tensor([0]))
        acw = nn.functional.cross_entropy(AdaptiveClassWeight(2, weight.tolist())(x), torch.tensor([0]))
        differences.append((wce - acw).item())
    assert differences == pytest.approx([0, math.log(1 + math.e) - math.log(1 + math.e**3)])
    assert differences[1] == pytest.approx(-1.74, abs=0.005)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1,), "needs num_classes ≥ 2, got 1"),
        ((3, [1.0, 2.0]), r"init must be one finite number or one a class \(3\)"),
        ((3, float("nan")), "init must be one finite number"),
        ((2, [1.0, 0.0], "positive"), "init must be > 0 under constraint: positive"),
        ((2, 1.0, "negative"), "constraint must be one of none, positive, got 'negative'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveClassWeight(*arguments)


@pytest.mark.parametrize("constraint", ["none", "positive"])
def test_pickles(constraint):
    layer = AdaptiveClassWeight(3, init=[0.3, 2.0, 1.0], constraint=constraint)
    for again in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert torch.equal(again.weight, layer.weight)
    assert list(layer.state_dict()) == ["weight" if constraint == "none" else "log_weight"]
    assert isinstance(layer.weight, nn.Parameter) == (constraint == "none")


def test_sums_its_gradient_in_single_precision():
    layer = AdaptiveClassWeight(2)
    (layer(torch.ones(4, 2, 300, 300, dtype=torch.float16)).float() * 1.0).sum().backward()
    assert layer.weight.grad.tolist() == [360000.0, 360000.0]


def test_folds_into_linear_heads_alone():
    with pytest.raises(TypeError, match="remove its parametrizations"):
        AdaptiveClassWeight(3).fold(nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)))
    with pytest.raises(TypeError, match="got Sequential"):
        AdaptiveClassWeight(3).fold(nn.Sequential(nn.Linear(2, 3)))
    with pytest.raises(ValueError, match="the head has 4 outputs, the layer 3 classes"):
        AdaptiveClassWeight(3).fold(nn.Linear(2, 4))


def test_wrong_number_of_classes():
    with pytest.raises(ValueError, match="3 classes"):
        AdaptiveClassWeight(3)(torch.zeros(1, 4, 2, 2))
