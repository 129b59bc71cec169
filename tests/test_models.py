import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

import models
from models import SegmentationModel, WeightsError
from segloss import AdaptiveClassWeight


def build(name="unet", **parameters):
    settings = {"num_classes": 4, "channels": 3, "seed": 0} | parameters
    return models.build(name, **settings)


@pytest.mark.parametrize("name", list(models.MODELS))
@pytest.mark.parametrize("size", [(64, 64), (65, 97), (33, 40), (17, 200)])
def test_any_input_size(name, size):
    model = build(name, channels=1).eval()
    assert model(torch.randn(2, 1, *size)).shape == (2, 4, *size)


@pytest.mark.parametrize("name", list(models.MODELS))
def test_the_same_weights_with_and_without_acw(name):
    plain, weighted = build(name), build(name, acw=AdaptiveClassWeight(4))
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor, weighted.state_dict()[key]), key
    assert weighted.acw is not None
    assert weighted.acw.weight.tolist() == [1.0] * 4
    other = build(name, seed=1).state_dict()
    assert any(not torch.equal(tensor, other[key]) for key, tensor in plain.state_dict().items())


def test_building_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    build()
    assert torch.equal(before, torch.get_rng_state())


def test_the_architecture_is_smp_s():
    """Parameter counts as smp's own, and equal features: only the last resize is ours."""
    ours = build("deeplabv3plus").eval()
    theirs = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=4).eval()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    theirs.load_state_dict(ours.network.state_dict())
    images = torch.randn(1, 3, 64, 64)
    expected = nn.functional.interpolate(ours.low_resolution(images), (64, 64), mode="bilinear", align_corners=True)
    torch.testing.assert_close(theirs(images), expected)


def test_low_resolution_is_what_the_output_is_resized_from():
    model = build("deeplabv3plus", acw=AdaptiveClassWeight(4)).eval()
    images = torch.randn(1, 3, 32, 48)
    low = model.low_resolution(images)
    assert low.shape == (1, 4, 8, 12)
    expected = nn.functional.interpolate(low, (32, 48), mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(images), expected)


def test_acw_multiplies_the_logits():
    model = build(acw=AdaptiveClassWeight(4)).eval()
    images = torch.randn(1, 3, 32, 32)
    before = model(images)
    with torch.no_grad():
        model.acw.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 0.0]))
    torch.testing.assert_close(model(images), before * torch.tensor([1.0, 2.0, 3.0, 0.0]).view(1, 4, 1, 1))


def test_padding_does_not_move_the_image():
    """A network that is the identity gives the image back, whatever its size."""
    model = SegmentationModel(nn.Identity(), stride=16)
    images = torch.randn(1, 2, 19, 30)
    assert torch.equal(model(images), images)


def test_parameter_groups_hold_every_parameter_once():
    model = build(acw=AdaptiveClassWeight(4))
    groups = {group["name"]: group for group in model.parameter_groups(0.01)}
    assert {name: group["weight_decay"] for name, group in groups.items()} == {
        "decay": 0.01,
        "no_decay": 0.0,
        "acw": 0.0,
    }
    found = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters())
    assert groups["acw"]["params"] == [model.acw.weight]
    assert all(p.dim() > 1 for p in groups["decay"]["params"])


def test_weight_decay_leaves_acw_alone():
    model = build(acw=AdaptiveClassWeight(4))
    optimizer = torch.optim.SGD(model.parameter_groups(0.5), lr=0.1)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert model.acw.weight.tolist() == [1.0] * 4
    first = model.parameter_groups(0.5)[0]["params"][0]
    assert not torch.equal(first, build(acw=AdaptiveClassWeight(4)).parameter_groups(0.5)[0]["params"][0])


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"encoder": "resnet19"}, "did you mean 'resnet18'"),
        ({"depth": 2}, r"depth must be in 3\.\.5, got 2"),
        ({"decoder_channels": [8, 8]}, "decoder_channels must hold 5 widths"),
    ],
)
def test_bad_parameters(parameters, says):
    with pytest.raises(ValueError, match=says):
        build(**parameters)


def test_weights_out_of_reach_are_one_line(monkeypatch):
    monkeypatch.setitem(models.build.__globals__["MODELS"], "unet", unreachable)
    with pytest.raises(WeightsError, match=r"resnet18 cannot be downloaded.*pretrained: null"):
        build(encoder="resnet18", pretrained="imagenet")


def unreachable(**_):
    raise OSError("no route to host")
