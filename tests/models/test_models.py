import pytest
import torch
from torch import nn

import models
from models import Network, SegmentationModel
from segloss import AdaptiveClassWeight
from segloss_tests.networks import build


@pytest.mark.parametrize("name", [name for name in models.MODELS if name not in models.LABEL_MODELS])
def test_any_input_size(name):
    for channels, size in ((1, (64, 64)), (1, (65, 97)), (3, (33, 40)), (3, (17, 200))):
        model = build(name, channels=channels).eval()
        with torch.no_grad():
            images = torch.randn(2, channels, *size)
            logits, low = model(images), model.low_resolution(images)
        assert logits.shape == (2, 4, *size)
        assert all(
            side % low_side == 0 for side, low_side in zip(model.padded_size(images), low.shape[-2:], strict=True)
        )
        resized = nn.functional.interpolate(low, model.padded_size(images), mode="bilinear", align_corners=False)
        torch.testing.assert_close(logits, resized[..., : size[0], : size[1]])


@pytest.mark.parametrize("name", list(models.MODELS))
def test_one_step_of_training(name):
    """Gradients are finite, and none is missing that belongs to the head."""
    model = build(name, acw=AdaptiveClassWeight(4)).train()
    optimizer = torch.optim.SGD(model.parameter_groups(1e-4), lr=0.01)
    logits = model(torch.randn(2, 3, 64, 64))
    nn.functional.cross_entropy(logits, torch.randint(0, 4, (2, *logits.shape[-2:]))).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    for head in model.heads:
        assert float(model.get_submodule(head).weight.grad.abs().sum()) > 0
    assert float(model.acw.weight.grad.abs().sum()) > 0
    optimizer.step()
    assert all(bool(p.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("name", list(models.MODELS))
def test_a_batch_of_one_fails_where_it_is_said_to(name):
    images = torch.randn(1, 3, 128, 128)
    model = build(name).train()
    if model.pools_image:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            model(images)
    else:
        model(images)


@pytest.mark.parametrize("name", list(models.MODELS))
def test_the_same_weights_whatever_acw_and_head(name):
    plain, weighted, cosine = build(name), build(name, acw=AdaptiveClassWeight(4)), build(name, head="cosine")
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor, weighted.state_dict()[key]), key
        if not key.startswith(tuple(f"{head}." for head in (*plain.heads, *plain.coarse_heads))):
            assert torch.equal(tensor, cosine.state_dict()[key]), key
    assert weighted.acw is not None
    assert weighted.acw.weight.tolist() == [1.0] * 4
    other = build(name, seed=1).state_dict()
    assert any(not torch.equal(tensor, other[key]) for key, tensor in plain.state_dict().items())


@pytest.mark.parametrize("name", list(models.MODELS))
def test_heads_are_the_linear_end_of_the_network(name):
    """Folded class weights give the same logits, so nothing but a sum and a resize comes after the heads."""
    model = build(name, acw=AdaptiveClassWeight(4, init=[0.5, 1.0, 2.0, -1.0])).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        folded = model.folded()
        assert folded.acw is None
        torch.testing.assert_close(folded(images), model(images), rtol=1e-4, atol=1e-4)
        assert folded.state_dict().keys() == build(name).state_dict().keys()


def test_building_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    build()
    assert torch.equal(before, torch.get_rng_state())


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
    model = SegmentationModel(Network(nn.Identity(), stride=16, heads=(), smallest=32))
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
    ("name", "parameters", "says"),
    [
        ("unet", {"encoder": "resnet19"}, "did you mean 'resnet18'"),
        ("unet", {"dept": 4}, "unet cannot be built with dept: 4: got an unexpected keyword argument 'dept'"),
        ("unet", {"depth": 2}, r"depth must be in 3\.\.5, got 2"),
        ("unet", {"decoder_channels": [8, 8]}, "decoder_channels must hold 5 widths"),
        ("unetplusplus", {"decoder_channels": [8, 8, 8, 8, 0]}, "decoder_channels must hold 5 widths"),
        ("manet", {"attention_channels": 0}, "attention_channels must be ≥ 1, got 0"),
        ("linknet", {"depth": 6}, r"depth must be in 3\.\.5, got 6"),
        ("deeplabv3plus", {"decoder_channels": 0}, "decoder_channels must be ≥ 1, got 0"),
        ("deeplabv3", {"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ("deeplabv3", {"encoder": "vgg11"}, "models do not support dilated mode"),
        ("fpn", {"pyramid_channels": 0}, "pyramid_channels must be ≥ 1, got 0"),
        ("pspnet", {"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ("pan", {"decoder_channels": -1}, "decoder_channels must be ≥ 1, got -1"),
        ("upernet", {"encoder": "rsnet50"}, "did you mean 'resnet50'"),
        ("segformer", {"decoder_channels": 0}, "decoder_channels must be ≥ 1, got 0"),
        ("dpt", {"encoder": "resnet18"}, "encoder must be a vision transformer of timm"),
        ("dpt", {"encoder": "tu-resnet18"}, "dpt cannot be built with encoder: tu-resnet18"),
        ("vgg19_fcn", {"variant": "4s"}, "variant must be one of 8s, 16s, 32s, got '4s'"),
        ("vgg19_fcn", {"width": 0}, "width must be ≥ 1, got 0"),
        ("unet2015", {"depth": 0}, r"depth must be in 1\.\.6, got 0"),
        ("unet2015", {"width": 0}, "width must be ≥ 1, got 0"),
        ("fastfcn", {"encoder": "resnet52"}, "did you mean 'resnet152' or 'resnet50'"),
        ("fastfcn", {"width": 0}, "width must be ≥ 1, got 0"),
        ("unet", {"head": "cosin"}, "head must be one of linear, cosine, got 'cosin'"),
        ("unet", {"head_bias": "one"}, "head_bias must be one of zero, prior, got 'one'"),
        ("unet", {"head": "cosine", "head_bias": "prior"}, "a cosine head has no bias"),
        ("unet", {"pretrained": "imagent"}, "pretrained: resnet18 has no weights 'imagent', only imagenet"),
        ("unet2015", {"pretrained": "imagenet"}, "unet2015 has no weights 'imagenet', only those of a .safetensors"),
        ("unnet", {}, "unknown model 'unnet'; did you mean 'unet'"),
    ],
)
def test_bad_parameters(name, parameters, says):
    with pytest.raises(ValueError, match=says):
        build(name, **parameters)
