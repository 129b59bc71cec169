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


def test_draws_no_random_number():
    before = torch.get_rng_state()
    AdaptiveClassWeight(4)
    assert torch.equal(before, torch.get_rng_state())


def test_acw_with_ce_is_not_wce_minus_a_constant():
    """The paper's derivation needs Σ_j exp(w_j x_j) to be constant in x; at two points the difference differs."""
    weight = torch.tensor([1.0, 3.0])
    differences = []
    for x in (torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, -1.0]])):
        wce = weight[0] * nn.functional.cross_entropy(x, torch.tensor([0]))
        acw = nn.functional.cross_entropy(AdaptiveClassWeight(2, weight.tolist())(x), torch.tensor([0]))
        differences.append((wce - acw).item())
    assert abs(differences[0] - differences[1]) > 0.01


@pytest.mark.parametrize(("classes", "init"), [(1, 1.0), (3, [1.0, 2.0])])
def test_bad_arguments(classes, init):
    with pytest.raises(ValueError, match=r"must be|needs"):
        AdaptiveClassWeight(classes, init)


def test_wrong_number_of_classes():
    with pytest.raises(ValueError, match="3 classes"):
        AdaptiveClassWeight(3)(torch.zeros(1, 4, 2, 2))
