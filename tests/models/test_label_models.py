"""Networks for pictures with one label."""

import pytest
import torch
from torch import nn

import models
from models.resnet_cifar import Block
from segloss import AdaptiveClassWeight
from segloss_tests.networks import build


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def of_he(depth, classes):
    """Weights of ResNet-(6n+2) with shortcuts without weights: convolutions, batch normalisation, the last layer."""
    n = (depth - 2) // 6
    layers = [(3, 16), *[(16, 16)] * 2 * n, (16, 32), *[(32, 32)] * (2 * n - 1), (32, 64), *[(64, 64)] * (2 * n - 1)]
    return sum(9 * before * after + 2 * after for before, after in layers) + 64 * classes + classes


@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56, 110])
def test_resnet_cifar_has_the_layers_of_he_2016(depth):
    model = build("resnet_cifar", depth=depth, num_classes=10)
    assert count(model) == of_he(depth, 10)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) == depth
    assert [layer.stride for layer in layers].count((2, 2)) == 2


def test_resnet_32_has_464154_weights():
    assert count(build("resnet_cifar", num_classes=10)) == 464_154


def test_the_shortcut_takes_every_second_pixel_and_pads_the_channels_with_zeros():
    block = Block(2, 4).eval()
    nn.init.zeros_(block.conv2.weight)
    images = torch.rand(1, 2, 4, 6)
    found = block(images)
    assert torch.equal(found[:, 1:3], images[:, :, ::2, ::2])
    assert not found[:, [0, 3]].any()


def test_resnet_18_with_the_stem_for_32_pixels():
    """11,173,962 weights, as torchvision's resnet18 with a 3x3 first layer and 10 classes; 4x4 features."""
    model = build("classifier", stem="cifar", num_classes=10)
    assert count(model) == 11_173_962
    assert model.network.encoder(torch.rand(1, 3, 32, 32))[-1].shape[-2:] == (4, 4)


@pytest.mark.parametrize("name", models.LABEL_MODELS)
@pytest.mark.parametrize("size", [(32, 32), (33, 70), (64, 48)])
def test_logits_are_of_the_image_as_a_whole(name, size):
    model = build(name, channels=1).eval()
    images = torch.rand(2, 1, *size)
    assert model(images).shape == (2, 4, 1, 1)
    assert torch.equal(model(images), model.low_resolution(images))
    assert model.padded_size(images) == size


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet_cifar", {"depth": 18}, "depth must be 6n \\+ 2"),
        ("classifier", {"encoder": "resnet19"}, "did you mean"),
        ("classifier", {"encoder": "vgg11", "stem": "cifar"}, "stem: cifar is for ResNets"),
        ("classifier", {"stem": "cifar", "pretrained": "imagenet"}, "stem: cifar replaces the first layer"),
        ("resnet_cifar", {"pretrained": "imagenet"}, "pretrained: resnet_cifar has no weights"),
    ],
)
def test_what_cannot_be_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, **options)


@pytest.mark.parametrize(
    ("decay", "spared"),
    [
        ("kernels", {"network.bn.weight", "network.bn.bias", "network.head.bias"}),
        ("all", set()),
        ("all_but_head_bias", {"network.head.bias"}),
    ],
)
def test_what_weight_decay_pulls_at(decay, spared):
    model = build("resnet_cifar", depth=8, acw=AdaptiveClassWeight(4))
    groups = {group["name"]: group for group in model.parameter_groups(1e-4, decay)}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(p)] for p in groups.get("no_decay", {"params": []})["params"]}
    assert {name for name in found if ".blocks." not in name} == spared
    assert len(found) == len(spared) + (12 if decay == "kernels" else 0)  # six norms in three blocks
    assert groups["decay"]["weight_decay"] == 1e-4
    assert [names[id(p)] for p in groups["acw"]["params"]] == ["acw.weight"]
    assert groups["acw"]["weight_decay"] == 0
    assert sum(len(group["params"]) for group in groups.values()) == len(names)
