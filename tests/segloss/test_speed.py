"""What makes the losses fast changes no number: closed forms, blocks, early gradients, upsampling slab by slab."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

import segloss
from segloss import blocks, build_loss, lovasz
from segloss.dual_focal import dual_focal_definition, dual_focal_terms
from segloss.labels import Pixels
from segloss.lovasz import extension, extension_definition
from segloss.overlap import overlaps, overlaps_definition
from segloss.sigmoid import sigmoid_focal_definition, sigmoid_focal_terms
from segloss.tensors import of_valid
from segloss.true_class import margin, margin_definition
from segloss_tests.losses import HARD_ONLY, NAMES, NO_MAP, SOFT, build, sample, seeded, soft_labels, whole_graph

UPSAMPLED = [name for name in NAMES if segloss.LOSSES[name].upsamples]
SHIFT = torch.tensor([0.3, -1.0, 0.0, 2.0], dtype=torch.float64).view(1, 4, 1, 1)
HANDICAP = torch.linspace(-1, 1, 30, dtype=torch.float64).view(2, 5, 3)
VALID = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(8)) < 0.7


def of_two(call):
    """Of the first two of the classes."""
    return lambda z, t: call(z[:, :2], t.clamp(max=1))


CLOSED_FORMS = {
    "margin": (margin, margin_definition),
    "scaled margin": (
        lambda z, t: margin(z, t, 1.7, SHIFT, HANDICAP),
        lambda z, t: margin_definition(z, t, 1.7, SHIFT) - HANDICAP,
    ),
    "margin of two": (of_two(margin), of_two(margin_definition)),
    "dual focal of two": (of_two(dual_focal_terms), of_two(dual_focal_definition)),
    "dual focal": (dual_focal_terms, dual_focal_definition),
    **{
        f"sigmoid focal {gamma} {alpha}": (
            lambda z, t, g=gamma, a=alpha: sigmoid_focal_terms(z, t, g, a),
            lambda z, t, g=gamma, a=alpha: sigmoid_focal_definition(z, t, g, a),
        )
        for gamma, alpha in ((0.0, None), (0.5, 0.25), (2.0, 1.0), (3.0, 0.0))
    },
    **{
        f"lovasz {offset} {per_image}": (
            lambda z, t, o=offset, i=per_image: extension(z, t, VALID, i, o),
            lambda z, t, o=offset, i=per_image: extension_definition(z, t, VALID, i, o),
        )
        for offset in ((1.0, 0.0), (1.0, 1.0))
        for per_image in (False, True)
    },
    **{
        f"overlaps{of}": (
            over(
                lambda z, t: overlaps(
                    Pixels(of_valid(z, VALID[:, None]), t, VALID, torch.zeros(()), VALID[:, None], None)
                )
            ),
            over(lambda z, t: overlaps_definition(z, t, VALID[:, None])),
        )
        for of, over in (("", lambda call: call), (" of two", of_two))
    },
}


@pytest.mark.parametrize("form", CLOSED_FORMS)
@pytest.mark.parametrize("kind", ["usual", "sure", "tied"])
def test_closed_forms_are_their_definitions(form, kind):
    closed, definition = CLOSED_FORMS[form]
    logits, target = sample(ignored=0.0, scale=12.0 if kind == "sure" else 2.0)
    if kind == "tied":
        logits = logits.round()
    found = []
    for call in (closed, definition):
        z = logits.clone().requires_grad_()
        value = call(z, target)
        weights = torch.rand(value.shape, generator=torch.Generator().manual_seed(3), dtype=value.dtype)
        found.append((value.detach(), torch.autograd.grad(value, z, weights)[0]))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("name", ["lovasz", "lovasz_hinge"])
def test_classes_that_are_sorted_together_are_as_if_sorted_alone(name, per_image, monkeypatch):
    """In float32, whose keys leave room for the class; equal errors, ignored pixels and an absent class among them."""
    logits, target = sample(shape=(3, 4, 5, 3))
    logits, target = logits.round().float(), torch.where(target == 2, 1, target)
    loss, found = build(name, per_image=per_image, classes="all"), []
    for together in (lovasz.TOGETHER, 30, 1):
        monkeypatch.setattr(lovasz, "TOGETHER", together)
        found.append(value_and_gradient(loss, logits, target))
    assert all(torch.equal(*pair) for other in found[1:] for pair in zip(found[0], other, strict=True))
    assert found[0][0].item() == pytest.approx(loss(logits.double(), target).item(), rel=1e-5)


def in_both(monkeypatch, call):
    """Value and gradient whole and in blocks of one row."""
    found = []
    for whole in (blocks.WHOLE, 0):
        monkeypatch.setattr(blocks, "WHOLE", whole)
        monkeypatch.setitem(blocks.BLOCK, "cpu", 1)
        found.append(call())
    return found


def value_and_gradient(loss, logits, *arguments, **options):
    z = logits.clone().requires_grad_()
    value = seeded(loss, z, *arguments, **options)
    weights = torch.rand(value.shape, generator=torch.Generator().manual_seed(3), dtype=value.dtype)
    return value.detach(), torch.autograd.grad(value, z, weights)[0]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", [n for n in NAMES if n not in NO_MAP])
def test_blocks_change_nothing(name, reduction, monkeypatch):
    logits, target = sample(shape=(3, 4, 5, 3))
    loss = build(name, reduction=reduction)
    torch.testing.assert_close(*in_both(monkeypatch, lambda: value_and_gradient(loss, logits, target)))


@pytest.mark.parametrize("shape", [(7, 4), (3, 4, 6), (2, 4, 3, 2, 2)])
@pytest.mark.parametrize("name", ["dfl", "dice", "recall"])
def test_blocks_of_any_rank_layout_and_dtype(name, shape, monkeypatch):
    logits, target = sample(shape=shape)
    target[0] = 255
    mask = torch.rand(target.shape, generator=torch.Generator().manual_seed(4)) < 0.8
    moved = logits.transpose(0, -1).contiguous().transpose(0, -1)
    for given in (logits, moved, logits.half(), torch.where((target == 255).unsqueeze(1), torch.nan, logits)):
        torch.testing.assert_close(
            *in_both(monkeypatch, lambda z=given: value_and_gradient(build(name), z, target, mask))
        )
    ours = value_and_gradient(build(name), moved, target, mask)[1]
    torch.testing.assert_close(ours, value_and_gradient(build(name), logits, target, mask)[1])


@pytest.mark.parametrize("name", ["ce", "dfl", "sigmoid_focal", "dice"])
def test_blocks_of_soft_labels_and_images(name, monkeypatch):
    logits, soft = sample()[0], soft_labels()
    options = {"per_image": True} if name == "dice" else {"class_weights": [1.0, 2.0, 3.0, 4.0]}
    torch.testing.assert_close(*in_both(monkeypatch, lambda: value_and_gradient(build(name, **options), logits, soft)))


@pytest.mark.parametrize("name", NAMES)
def test_a_second_backward_pass_gives_the_same(name):
    logits, target = sample()
    z = logits.requires_grad_()
    value = 3 * seeded(build(name), z, target)
    first, second, third = (torch.autograd.grad(value, z, retain_graph=True)[0] for _ in range(3))
    assert torch.count_nonzero(first)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first, third)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_can_be_differentiated(name):
    logits, target = sample(shape=(2, 4, 2))
    loss = build(name)
    assert gradgradcheck(lambda z: seeded(loss, z, target), logits.requires_grad_())


@pytest.mark.parametrize("name", SOFT)
def test_soft_labels_may_require_a_gradient(name):
    logits, soft = sample(shape=(2, 4, 2))[0], soft_labels(shape=(2, 4, 2)).requires_grad_()
    loss = build(name, reduction="sum") if name == "recall" else build(name)
    if name != "recall":  # whose weights are measured on the labels, without a gradient
        assert gradcheck(lambda t: seeded(loss, logits, t), soft)
    assert torch.autograd.grad(seeded(loss, logits, soft), soft)[0].isfinite().all()


@pytest.mark.parametrize("scale", [1.0, 2.0**16])
def test_half_precision_gradients_survive_a_loss_scale(scale):
    logits, target = sample(shape=(1, 4, 300, 300), dtype=torch.float32)
    z = logits.half().requires_grad_()
    (gradient,) = torch.autograd.grad(scale * build("ce")(z, target), z)
    exact = logits.half().double().requires_grad_()
    (expected,) = torch.autograd.grad(scale * build("ce")(exact, target), exact)
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-3, atol=1e-7)


def enlarged(logits, size, target):
    large = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return large[..., : target.shape[-2], : target.shape[-1]]


@pytest.mark.parametrize("name", UPSAMPLED)
@pytest.mark.parametrize("shape", [(12, 20), (11, 17)])
def test_upsampled_is_the_loss_of_the_upsampled_map(name, shape, monkeypatch):
    logits = sample(shape=(2, 4, 3, 5))[0]
    target = sample(shape=(2, 4, *shape))[1]
    loss = build(name)
    expected = value_and_gradient(lambda z, t: loss(enlarged(z, (12, 20), t), t), logits, target)
    for found in in_both(monkeypatch, lambda: value_and_gradient(segloss.upsampled(loss, (12, 20)), logits, target)):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_upsampled_takes_sums_masks_denominators_and_compiles():
    loss = build_loss([{"name": "dice"}, {"name": "ce", "weight": 0.5}])
    logits, target = sample(shape=(2, 4, 3, 5))[0], sample(shape=(2, 4, 12, 20))[1]
    large = F.interpolate(logits, (12, 20), mode="bilinear", align_corners=False)
    mask = torch.rand(target.shape, generator=torch.Generator().manual_seed(4)) < 0.8
    total = 2 * loss.denominator(target, mask)
    found = segloss.upsampled(loss, (12, 20))(logits, target, mask, denominator=total)
    assert found.item() == pytest.approx(loss(large, target, mask, denominator=total).item())
    compiled = whole_graph(segloss.upsampled(build("dfl"), (12, 20)), backend="eager")
    assert compiled(logits, target).item() == pytest.approx(build("dfl")(large, target).item())


def test_upsampled_follows_training_as_its_loss_does():
    loss = build_loss([{"name": "cdb_ce", "tau": 1.0}, {"name": "mse"}], num_classes=4)
    found = segloss.upsampled(loss, (np.int64(12), 20))
    assert (found.follows_validation, found.activation) == (True, loss.activation)
    found.new_epoch(1, [0.9, 0.6, 0.5, 1.0])
    assert loss.losses[0].difficulty.tolist() == pytest.approx([0.4, 1.6, 2.0, 0.0])
    logits, target = sample(shape=(2, 4, 3, 5))[0], sample(shape=(2, 4, 12, 20))[1]
    assert found(logits, target).item() == pytest.approx(loss(enlarged(logits, (12, 20), target), target).item())


def test_upsampled_says_where_it_cannot_work():
    assert set(NAMES) - set(UPSAMPLED) == {*HARD_ONLY, "topk", "seql"}
    for loss in (build("lovasz"), build_loss([{"name": "ce"}, {"name": "topk"}])):
        with pytest.raises(ValueError, match="cannot be computed slab by slab"):
            segloss.upsampled(loss, (8, 8))
    with pytest.raises(ValueError, match=r"size must be \(height, width\), whole numbers ≥ 1, got \(8, 0\)"):
        segloss.upsampled(build("ce"), (8, 0))
    with pytest.raises(ValueError, match=r"upsampled to \(8, 8\) must cover the target's"):
        segloss.upsampled(build("ce"), (8, 8))(torch.zeros(1, 4, 2, 2), torch.zeros(1, 9, 8).long())
