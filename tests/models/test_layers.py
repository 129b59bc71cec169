"""Learning rates of an encoder's layers by hand, and the stages of an encoder that a shallow network does not keep."""

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file

import models
from engine.configuration import build as engine_build
from engine.configuration.checking import load_config
from engine.configuration.config import FullConfig
from engine.errors import ConfigError
from engine.store.checkpoint import Checkpoint, load_model, prefixed
from models.layers import layer_scales
from segloss import AdaptiveClassWeight
from segloss_tests.networks import build


def test_scales_by_hand():
    """ResNet-18: a stem and eight blocks."""
    model = build(acw=AdaptiveClassWeight(4))
    scales = {name: s for name, p in model.network.encoder.named_parameters() for s in [layer_scales_of(model)[p]]}
    assert scales["conv1.weight"] == scales["bn1.bias"] == 0.5**9
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    for distance, block in enumerate(reversed(blocks), start=1):
        assert scales[f"{block}.conv2.weight"] == scales[f"{block}.bn1.weight"] == 0.5**distance


def test_the_stages_of_a_mix_transformer_follow_each_other():
    """Four of two blocks: each begins with an embedding, which belongs to the block before it, and ends with a norm."""
    encoder = smp.encoders.get_encoder("mit_b0", weights=None)
    scales = {name: layer_scales(encoder, 0.5)[p] for name, p in encoder.named_parameters()}
    expected = {"patch_embed1.proj.bias": 0.5**9}
    for stage in (1, 2, 3, 4):
        first, second = 0.5 ** (10 - 2 * stage), 0.5 ** (9 - 2 * stage)
        expected |= {
            f"block{stage}.0.norm1.bias": first,
            f"block{stage}.1.norm1.bias": second,
            f"norm{stage}.bias": second,
        }
        expected |= {f"patch_embed{stage + 1}.proj.bias": second} if stage < 4 else {}
    assert {name: scales[name] for name in expected} == expected
    assert set(scales.values()) == {0.5**layer for layer in range(1, 10)}


def test_layers_without_numbers_are_refused(camvid_yaml):
    """They would all have one rate, that of the last layer."""
    with pytest.raises(ConfigError, match=r"optim\.layer_decay: the blocks of this encoder have no numbers"):
        load_config(camvid_yaml, ["model={name: unet, encoder: densenet121}", "optim.layer_decay=0.8"])
    assert load_config(camvid_yaml, ["model={name: unet, encoder: densenet121}"]).optim.layer_decay is None


def layer_scales_of(model):
    return layer_scales(model.network.encoder, 0.5)


def test_the_optimizer_has_them():
    model = build(acw=AdaptiveClassWeight(4))
    section = FullConfig.model_fields["optim"].annotation
    from pydantic import TypeAdapter

    optim = TypeAdapter(section).validate_python({"name": "adamw", "lr": 0.1, "layer_decay": 0.5})
    optimizer = engine_build.build_optimizer(optim, model)
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates.keys() == set(model.parameters())
    for name, p in model.named_parameters():
        own = layer_scales_of(model)[p] if name.startswith("network.encoder.") else 1.0
        assert rates[p] == pytest.approx(0.1 * own)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert {group["weight_decay"] for group in optimizer.param_groups if group["lr"] == 0.05} == {0.01, 0.0}
    plain = model.parameter_groups(0.01)
    assert [group["name"] for group in plain] == ["decay", "no_decay", "acw"]
    assert all("lr_scale" not in group for group in plain)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_shallow_network_of_shapes_alone_is_on_their_device(channels):
    network = models.build("unet", num_classes=2, channels=channels, seed=0, depth=4, decoder_channels=[8, 8, 8, 8],
                           shapes_only=True)  # fmt: skip
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("name", "encoder", "depth"),
    [("unet", "resnet18", 3), ("linknet", "resnet18", 4), ("pspnet", "resnet18", 3), ("unet", "mobilenet_v2", 3),
     ("unet", "efficientnet-b0", 4)],
)  # fmt: skip
def test_stages_that_no_logit_depends_on_are_not_kept(name, encoder, depth):
    """Every parameter has a gradient, and the logits are those of smp with the same weights."""
    model = build(name, encoder=encoder, depth=depth).eval()
    images = torch.randn(2, 3, 64, 64)
    logits = model.low_resolution(images)
    logits.sum().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []
    if encoder == "resnet18" and name == "unet":
        theirs = smp.Unet(encoder, depth, None, decoder_channels=[256, 128, 64], classes=4).eval()
        missing, foreign = theirs.load_state_dict(model.network.state_dict(), strict=False)
        assert foreign == []
        assert {key.split(".")[1] for key in missing} == {"layer3", "layer4"}
        with torch.no_grad():
            torch.testing.assert_close(theirs(images), logits.detach())


def test_weights_of_a_whole_encoder_still_fit(tmp_path):
    """A file of the encoder, and a checkpoint of a version that kept all stages."""
    whole = smp.encoders.get_encoder("resnet18", depth=3, weights=None)
    save_file(whole.state_dict(), tmp_path / "encoder.safetensors")
    model = build(depth=3, pretrained=str(tmp_path / "encoder.safetensors"))
    assert torch.equal(model.network.encoder.layer2[0].conv1.weight, whole.layer2[0].conv1.weight)
    weights = model.state_dict() | prefixed("network.encoder.layer4", dict(whole.layer4.state_dict()))
    other = build(depth=3, seed=1)
    load_model(other, Checkpoint(prefixed("model", weights), {}), tmp_path / "last")
    assert all(torch.equal(tensor, weights[key]) for key, tensor in other.state_dict().items())
