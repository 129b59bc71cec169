"""The residual encoder U-Net against MONAI's DynUNet, its deep supervision against torch, level by level."""

import pytest
import torch
from monai.networks.nets import DynUNet
from torch import nn

from engine.configuration.checking import load_config
from engine.errors import ConfigError
from segloss import AdaptiveClassWeight
from segloss_tests.networks import build
from segloss_tests.runs import small_yaml, trainer

SMALL = "model={name: resenc_unet, width: 4, depth: 3, blocks: [1, 2, 1, 1], acw: true}"


def test_with_one_block_a_stage_it_is_monai_s():
    """But for shortcuts that pool first, the same weights give the same logits, those of the coarser levels too."""
    widths = [4, 8, 16, 32]
    theirs = DynUNet(2, 3, 4, [3] * 4, [1, 2, 2, 2], [2] * 3, widths, deep_supervision=True, res_block=True)
    for block in (*theirs.downsamples, theirs.bottleneck):
        project = block.conv3.conv
        project.stride = (1, 1)
        block.conv3 = nn.Sequential(nn.AvgPool2d(2), project)
    model = build("resenc_unet", width=4, depth=3, blocks=[1] * 4)
    ours = model.network
    pairs = list(zip((stage[0] for stage in ours.stages), [theirs.input_block, *theirs.downsamples], strict=False))
    pairs += [(ours.stages[3][0], theirs.bottleneck), *zip(ours.up, theirs.upsamples, strict=True)]
    heads = [theirs.output_block, *theirs.deep_supervision_heads]
    pairs += [(one, other.conv.conv) for one, other in zip(ours.heads, heads, strict=True)]
    for one, other in pairs:
        one.load_state_dict(other.state_dict())
    assert sum(p.numel() for one, _ in pairs for p in one.parameters()) == sum(p.numel() for p in model.parameters())
    images = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected = theirs.eval()(images)
        torch.testing.assert_close(model.eval()(images), expected)
        fine, coarse = model(images, supervised=True)
    torch.testing.assert_close(fine, expected)
    torch.testing.assert_close(coarse, theirs.heads[0])


def test_stages_are_those_of_nnunet():
    network = build("resenc_unet", width=2, depth=5, blocks=None).network
    assert [len(stage) for stage in network.stages] == [1, 3, 4, 6, 6, 6]
    assert [stage[0].conv1.conv.out_channels for stage in network.stages] == [2, 4, 8, 16, 32, 64]
    assert len(network.heads) == 4
    assert len(build("resenc_unet", deep_supervision=False).network.heads) == 1


def test_each_level_has_the_size_of_its_part_of_the_image():
    model = build("resenc_unet", acw=AdaptiveClassWeight(4, init=[1.0, 2.0, 3.0, 4.0]))
    for size in ((64, 64), (33, 70)):
        images = torch.randn(1, 3, *size)
        found = model(images, supervised=True)
        assert [tuple(one.shape[2:]) for one in found] == model.supervised_sizes(images)
        torch.testing.assert_close(found[0], model(images))
    plain = build("resenc_unet")
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    for one, other in zip(found, plain(images, supervised=True), strict=True):
        torch.testing.assert_close(one, other * weight)


@pytest.fixture(scope="module")
def yaml(tmp_path_factory):
    return small_yaml(tmp_path_factory.mktemp("supervised"))


def test_a_step_trains_every_level(yaml):
    """Σ over levels of 2/3, 1/3 times the cross entropy with the labels of every, of every second pixel."""
    made = trainer(yaml, "name=levels", SMALL)
    image, mask = torch.randn(2, 3, 24, 32), torch.randint(0, 11, (2, 24, 32))
    mask[0, 5:9] = 255
    fine, coarse = made.stepper.model(image, supervised=True)
    expected = nn.functional.cross_entropy(fine, mask, ignore_index=255) * 2 / 3
    expected = expected + nn.functional.cross_entropy(coarse, mask[:, 1::2, 1::2], ignore_index=255) / 3
    given = {"target": mask}
    found, _ = made.stepper.loss_of(image, given, made.stepper.denominator(image, given))
    torch.testing.assert_close(found, expected)
    made.fabric.backward(found)
    assert all(float(head.weight.grad.abs().sum()) > 0 for head in made.stepper.model.network.heads)
    made.stepper.optimizer.zero_grad()
    made.fit(1)
    assert made.run.history()[0]["score"] is not None


def test_heads_of_all_levels_start_and_end_alike():
    cosine = build("resenc_unet", head="cosine")
    assert [type(head).__name__ for head in cosine.network.heads] == ["CosineHead"] * len(cosine.network.heads)
    prior = build("resenc_unet", head_bias="prior").network.heads
    assert all(torch.equal(head.bias, prior[0].bias) for head in prior)
    assert prior[0].bias[0] < 0


def saved(model, images):
    """The bytes that a forward pass keeps for the backward pass, and the gradient."""
    sizes = {}

    def keep(tensor):
        sizes[tensor.data_ptr()] = tensor.nbytes
        return tensor

    parameters = {p.data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(images).square().mean()
    kept = sum(size for place, size in sizes.items() if place not in parameters)
    loss.backward()
    return kept, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("name", "options"), [("resenc_unet", {"width": 8}), ("unet", {"encoder": "tu-resnet18"})])
def test_recomputed_stages_give_the_same_gradient_and_keep_less(name, options):
    images = torch.randn(2, 3, 64, 64)
    kept, plain = saved(build(name, **options).train(), images)
    less, found = saved(build(name, gradient_checkpointing=True, **options).train(), images)
    assert less < 0.9 * kept
    assert found.keys() == plain.keys()
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, plain[key], msg=key)


def test_what_does_not_go_together_is_said(yaml):
    for overrides, says in [
        (["model={name: unet2015, gradient_checkpointing: true}"], "model.gradient_checkpointing: unet2015 cannot"),
        (
            ["model={name: unet2015}", "optim.layer_decay=0.8"],
            "optim.layer_decay: is of the layers of an encoder",
        ),
        ([SMALL, "train.upsampled_loss=true"], "train.upsampled_loss: does not go with deep supervision"),
        (["model={name: resenc_unet, depth: 7}"], "model.depth: must be in 2..6, got 7"),
        (["model={name: resenc_unet, blocks: [1, 1]}"], "model.blocks: must hold 6 numbers ≥ 1"),
    ]:
        with pytest.raises(ConfigError) as raised:
            load_config(yaml, overrides)
        assert [problem.split(": ", 1)[1].startswith(says) for problem in raised.value.problems] == [True]
