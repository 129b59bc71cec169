"""Initial weights: from files, from other runs, from afar."""

import shutil

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import VGG19_Weights

import models
from engine.configuration.checking import load_config
from engine.errors import ConfigError
from models import WeightsError, WeightsWarning
from segloss import AdaptiveClassWeight
from segloss_tests.networks import build


@pytest.fixture
def file(tmp_path):
    def write(tensors, name="weights.safetensors"):
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / name)
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("name", list(models.MODELS))
def test_a_file_of_the_whole_network(name, file):
    other = build(name, seed=1)
    found = build(name, pretrained=file(other.network.state_dict()))
    for key, tensor in found.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key]), key


@pytest.mark.filterwarnings("error")
def test_a_file_of_the_encoder(file):
    other = build(seed=1)
    found = build(pretrained=file(other.network.encoder.state_dict()))
    own, theirs = build().network.state_dict(), other.network.state_dict()
    for key, tensor in found.network.state_dict().items():
        assert torch.equal(tensor, (theirs if key.startswith("encoder.") else own)[key]), key


def test_an_encoder_s_classifier_is_left_and_named(file):
    tensors = build(seed=1).network.encoder.state_dict() | {"fc.weight": torch.ones(5, 512), "fc.bias": torch.ones(5)}
    tensors = {key: tensor for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")}
    with pytest.warns(WeightsWarning, match=r"weights.safetensors: not taken: fc$"):
        found = build(pretrained=file(tensors))
    assert torch.equal(found.network.encoder.conv1.weight, tensors["conv1.weight"])


@pytest.mark.parametrize("name", ["unet", "vgg19_fcn", "resenc_unet"])
def test_a_head_of_other_classes_is_left_and_named(name, file):
    other = build(name, seed=1, num_classes=7)
    with pytest.warns(WeightsWarning, match="not taken: ") as caught:
        found = build(name, pretrained=file(other.network.state_dict()))
    for head in found.heads:
        assert head.removeprefix("network.") in str(caught[0].message)
    own, theirs = build(name).state_dict(), other.state_dict()
    for key, tensor in found.state_dict().items():
        spared = key.startswith(tuple(f"{head}." for head in (*found.heads, *found.coarse_heads)))
        assert torch.equal(tensor, (own if spared else theirs)[key]), key


def without(tensors, key):
    return {name: tensor for name, tensor in tensors.items() if name != key}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: without(t, "encoder.conv1.weight"), r"it lacks encoder.conv1.weight \(64, 3, 7, 7\)"),
        (lambda t: t | {"decoder.more": torch.ones(2)}, "it has decoder.more, which the network has not"),
        (
            lambda t: t | {"encoder.bn1.bias": torch.ones(32)},
            r"encoder.bn1.bias is \(32,\) there and \(64,\) here; set the parameters",
        ),
        (lambda t: {"x": torch.ones(1)}, r"it lacks conv1.weight .*; it has x"),
    ],
)
def test_weights_of_another_network(file, change, says):
    path = file(change(build().network.state_dict()))
    with pytest.raises(WeightsError, match=says):
        build(pretrained=path)


def test_files_that_are_none(tmp_path):
    broken = tmp_path / "broken.safetensors"
    with pytest.raises(WeightsError, match=r"broken.safetensors: no such file"):
        build(pretrained=str(broken))
    broken.write_bytes(b"\x80\x04pickle, not tensors")
    with pytest.raises(WeightsError, match=r"broken.safetensors: no whole safetensors file"):
        build(pretrained=str(broken))
    with pytest.raises(
        ValueError, match=r"has no weights '.*model.pth', only imagenet, .*those of a .safetensors file"
    ):
        build(pretrained=str(tmp_path / "model.pth"))


def test_weights_out_of_reach_are_one_line(monkeypatch):
    def unreachable(**_):
        raise OSError("no route to host")

    monkeypatch.setitem(models.MODELS, "unet", unreachable)
    with pytest.raises(WeightsError, match=r"resnet18 cannot be downloaded.*pretrained: null"):
        build(encoder="resnet18", pretrained="imagenet")


def test_vgg19_out_of_reach(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(VGG19_Weights, "get_state_dict", unreachable)
    with pytest.raises(WeightsError, match=r"vgg19_fcn cannot be downloaded.*pretrained: null"):
        build("vgg19_fcn", pretrained="imagenet")


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18"])
def test_imagenet_s_weights_are_asked_for_by_name(monkeypatch, encoder):
    asked = []

    def architecture(name, encoder_weights, **_):
        asked.append((name, encoder_weights))
        raise OSError("enough")

    monkeypatch.setattr("segmentation_models_pytorch.Unet", architecture)
    with pytest.raises(WeightsError):
        build(encoder=encoder, pretrained="imagenet")
    assert asked == [(encoder, True if encoder.startswith("tu-") else "imagenet")]


def problems(path, *overrides):
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    return [line.removeprefix(f"{path.parent}/") for line in error.value.problems]


def test_what_is_wrong_with_a_model_is_found_before_any_data(camvid_yaml, file):
    path = file({"x": torch.ones(1)})
    text = camvid_yaml.read_text()
    camvid_yaml.write_text(text.replace("depth: 3,", f"depth: 3, pretrained: {path},"))
    assert problems(camvid_yaml)[0].startswith(f"run.yaml:3:50: model.pretrained: {path}: weights of another network")
    camvid_yaml.write_text(text)
    for override, says in {
        "model.pretrained=nowhere.safetensors": "command line: model.pretrained: nowhere.safetensors: no such file",
        "model.pretrained=imagenett": "command line: model.pretrained: resnet18 has no weights 'imagenett'",
        "model={name: unet, init_from: nowhere}": "command line: model.init_from: nowhere: no such checkpoint",
        "model={name: unet, init_from: a, pretrained: imagenet}": "command line: model.init_from: the weights come",
        "model={name: unet, head: cosin}": "command line: model.head: unknown value 'cosin'; did you mean 'cosine'?",
        "model={name: unet, head: cosine, head_bias: prior}": "command line: model.head_bias: prior, but a cosine head",
        "model={name: vgg19_fcn, variant: 4s}": "command line: model.variant: unknown value '4s'; did you mean",
        "model={name: vgg19_fcn, width: 0}": "command line: model.width: must be ≥ 1, got 0",
        "model={name: unet, encoder: tu-swin_tiny_patch4_window7_224}": "command line: model: the network cannot take",
        "model={name: vgg_fcn}": "command line: model.name: unknown model 'vgg_fcn'; did you mean 'vgg19_fcn'?",
    }.items():
        found = problems(camvid_yaml, override)
        assert found[0].startswith(says), found


@pytest.mark.slow
def test_starting_from_another_run(program, camvid_yaml, tmp_path, camvid):
    program("train", camvid_yaml, "train.epochs=1", "model.acw=true", check=0)
    first = tmp_path / "runs/small"
    again = ["train", camvid_yaml, "train.epochs=1", f"model.init_from={first}", "optim.lr=1e-9", "model.acw=true"]
    done = program(*again, "name=same", check=0)
    assert "not taken" not in done.stdout
    ours, theirs = (torch_file(tmp_path / "runs" / name) for name in ("same", "small"))
    for key, tensor in ours.items():
        if key.startswith("model.") and "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(tensor, theirs[key], rtol=0, atol=1e-5)
    done = program(*again, "name=cosine", "model.head=cosine", check=0)
    assert "model.init_from" in done.stdout
    assert "not taken: network.segmentation_head.0" in " ".join(done.stdout.split())
    shutil.rmtree(first)
    program("evaluate", tmp_path / "runs/same", check=0)
    refused = program(*again, "name=other", check=2)
    assert "model.init_from" in refused.stderr


def torch_file(run):
    from safetensors.torch import load_file

    return load_file(run / "checkpoints/best.safetensors")


def test_head_and_class_weights_stay_where_the_classes_are_others(tmp_path):
    from engine.store.checkpoint import Checkpoint, prefixed
    from engine.store.initial import start_from

    other = build(seed=1, num_classes=7, acw=AdaptiveClassWeight(7, init=2.0))
    Checkpoint(prefixed("model", other.state_dict()), {}).save(tmp_path / "best.safetensors")
    model = build(acw=AdaptiveClassWeight(4, init=3.0))
    with pytest.warns(WeightsWarning, match=r"not taken: network.segmentation_head.0, acw$"):
        start_from(model, str(tmp_path / "best.safetensors"))
    assert model.acw.weight.tolist() == [3.0] * 4
    assert torch.equal(model.network.segmentation_head[0].weight, build().network.segmentation_head[0].weight)
    assert torch.equal(model.network.encoder.conv1.weight, other.network.encoder.conv1.weight)
    plain = build(num_classes=7)
    with pytest.warns(WeightsWarning, match=r"not taken: acw$"):
        start_from(plain, str(tmp_path / "best.safetensors"))
    assert torch.equal(plain.network.segmentation_head[0].weight, other.network.segmentation_head[0].weight)
