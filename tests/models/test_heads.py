"""The last layer, linear or cosine, and where its bias starts."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import models
from models import CosineHead
from segloss import AdaptiveClassWeight
from segloss_tests.networks import build


def test_cosine_of_a_hand_worked_pixel():
    linear = nn.Conv2d(2, 2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, -2.0]]).view(2, 2, 1, 1))
    head = CosineHead(linear)
    found = head(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)).flatten().tolist()
    assert found == pytest.approx([0.6, 0.0])
    assert head(torch.tensor([0.0, 7.0]).view(1, 2, 1, 1)).flatten().tolist() == pytest.approx([0.8, -1.0])


def test_cosine_under_a_kernel_is_numpy_s():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 3, 5, 6)), rng.normal(size=(4, 3, 3, 3))
    linear = nn.Conv2d(3, 4, 3, padding=1)
    linear.weight.data = torch.tensor(w, dtype=torch.float32)
    found = CosineHead(linear)(torch.tensor(x, dtype=torch.float32)).detach().numpy()
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for row in range(5):
        for column in range(6):
            patch = padded[0, :, row : row + 3, column : column + 3].ravel()
            for c in range(4):
                expected = patch @ w[c].ravel() / np.linalg.norm(patch) / np.linalg.norm(w[c])
                assert found[0, c, row, column] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", list(models.MODELS))
def test_cosine_logits_are_in_minus_one_to_one_and_train(name):
    model = build(name, head="cosine").train()
    logits = model(100 * torch.randn(2, 3, 64, 64))
    assert float(logits.detach().abs().max()) <= 1 + 1e-5
    nn.functional.cross_entropy(30 * logits, torch.randint(0, 4, (2, *logits.shape[-2:]))).backward()
    for head in model.heads:
        layer = model.get_submodule(head)
        assert isinstance(layer, CosineHead)
        assert [key for key, _ in layer.named_parameters()] == ["weight"]
        assert bool(layer.weight.grad.isfinite().all())
        assert float(layer.weight.grad.abs().sum()) > 0


def test_a_pixel_without_features_has_logits_and_gradients_of_zero():
    head = CosineHead(nn.Conv2d(2, 3, 1))
    x = torch.zeros(1, 2, 1, 1, requires_grad=True)
    head(x).sum().backward()
    assert head(x).abs().sum() == 0
    assert bool(x.grad.isfinite().all())


def test_cosine_keeps_float32_under_autocast():
    head = CosineHead(nn.Conv2d(8, 3, 1))
    x = torch.randn(1, 8, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = head(x)
    assert torch.equal(found, head(x))


def test_class_weights_do_not_fold_into_a_cosine_head():
    with pytest.raises(TypeError, match="CosineHead"):
        build(head="cosine", acw=AdaptiveClassWeight(4)).folded()


@pytest.mark.parametrize("name", list(models.MODELS))
def test_head_bias(name):
    """The summed biases are what is asked for, and nothing else of the network changes."""
    own = build(name).state_dict()
    for choice, expected in (("zero", 0.0), ("prior", -math.log(3))):
        model = build(name, head_bias=choice)
        biases = [model.get_submodule(head).bias for head in model.heads]
        assert sum(biases).tolist() == pytest.approx([expected] * 4)
        further = [model.get_submodule(head).bias for head in model.coarse_heads]
        assert all(bias.tolist() == pytest.approx([expected] * 4) for bias in further)
        names = {f"{head}.bias" for head in (*model.heads, *model.coarse_heads)}
        for key, tensor in model.state_dict().items():
            assert key in names or torch.equal(tensor, own[key]), key


def test_prior_gives_every_class_its_share():
    model = build("vgg19_fcn", head_bias="prior").eval()
    for head in model.heads:
        nn.init.zeros_(model.get_submodule(head).weight)
    assert torch.allclose(model(torch.randn(1, 3, 50, 70)).sigmoid(), torch.tensor(0.25))


def test_the_bias_does_not_decay():
    model = build(head_bias="prior")
    optimizer = torch.optim.SGD(model.parameter_groups(0.5), lr=0.1)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    before = model.network.segmentation_head[0].bias.clone()
    optimizer.step()
    assert torch.equal(model.network.segmentation_head[0].bias, before)
