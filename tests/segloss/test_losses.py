"""What every loss keeps to: gradients, ignored pixels, extremes, precision, reductions, compilation, clear errors."""

import copy
import pickle
import shutil

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch.autograd import gradcheck

import segloss
from segloss import build_loss
from segloss_tests.losses import (
    BY_BATCH,
    EAGER,
    FOREGROUND,
    HARD_ONLY,
    NAMES,
    ONE_VS_REST,
    OWN_WEIGHTS,
    PIXELWISE,
    REGION,
    SOFT,
    build,
    sample,
    seeded,
    soft_labels,
    whole_graph,
)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_the_value(name):
    logits, target = sample(shape=(2, 4, 3))
    loss = build(name).double()
    assert gradcheck(lambda z: seeded(loss, z, target), logits.requires_grad_())


@pytest.mark.parametrize("name", SOFT)
def test_gradient_with_soft_labels(name):
    logits, soft = sample(shape=(2, 4, 3))[0], soft_labels(shape=(2, 4, 3))
    loss = build(name).double()
    assert gradcheck(lambda z: seeded(loss, z, soft), logits.requires_grad_())


@pytest.mark.parametrize("name", NAMES)
def test_ignored_pixels_change_nothing_even_with_nan(name):
    logits, target = sample()
    loss = build(name).double()
    poisoned = torch.where((target == 255).unsqueeze(1), torch.nan, logits).requires_grad_()
    value = seeded(loss, poisoned, target)
    (gradient,) = torch.autograd.grad(value, poisoned)
    assert value.item() == seeded(loss, logits, target).item()
    assert (gradient[(target == 255).unsqueeze(1).expand_as(gradient)] == 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(2, 4, 3, 3), (0, 4, 3, 3)])
def test_no_valid_pixel_gives_zero(name, shape):
    logits = torch.randn(shape, requires_grad=True)
    value = build(name)(logits, torch.full((shape[0], 3, 3), 255))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits_stay_finite(name, dtype):
    logits = torch.tensor([[1e4, -1e4, 0, 5], [-1e4, -1e4, -1e4, 1e4], [0, 0, 0, 0], [1e4, 1e4, 0, 0]], dtype=dtype)
    for label in range(4):
        z = logits.clone().requires_grad_()
        value = build(name)(z, torch.full((4,), label))
        (gradient,) = torch.autograd.grad(value, z)
        assert value.isfinite()
        assert value.dtype == torch.float32
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", SOFT)
def test_soft_labels_that_are_one_hot_give_the_same(name):
    logits, target = sample(ignored=0.0)
    one_hot = torch.nn.functional.one_hot(target, 4).movedim(-1, 1).double()
    loss = build(name).double()
    z = logits.requires_grad_()
    hard, soft = seeded(loss, z, target), seeded(loss, z, one_hot)
    assert soft.item() == pytest.approx(hard.item())
    for one, other in zip(torch.autograd.grad(hard, z), torch.autograd.grad(soft, z), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", HARD_ONLY)
def test_losses_of_hard_labels_say_so(name):
    with pytest.raises(TypeError, match="needs integer labels"):
        build(name)(sample()[0], soft_labels())


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ONE_VS_REST])
def test_a_binary_logit_is_two_classes(name):
    x, target = sample(shape=(2, 1, 3, 3))
    loss = build_loss(name, num_classes=2, class_counts=[9, 1])
    assert seeded(loss, x, target).item() == pytest.approx(seeded(loss, torch.cat([0 * x, x], 1), target).item())


@pytest.mark.parametrize("name", [n for n in ONE_VS_REST if n != "lovasz_hinge"])
def test_a_binary_logit_of_one_vs_rest_losses_is_itself(name):
    """Two classes [-x, x] are the same problem twice, but for alpha, which then weighs them the other way round."""
    x, target = sample(shape=(2, 1, 3, 3))
    own = {"alpha": 0.5} if name == "sigmoid_focal" else {}
    loss = build_loss(name, num_classes=2, class_counts=[9, 1], **own)
    assert 2 * loss(x, target).item() == pytest.approx(loss(torch.cat([-x, x], 1), target).item())
    soft = torch.where(target == 255, 0.3, target.double()).unsqueeze(1)
    two = torch.cat([1 - soft, soft], 1)
    assert 2 * loss(x, soft).item() == pytest.approx(loss(torch.cat([-x, x], 1), two).item())


def test_a_binary_logit_takes_the_weights_of_two_classes():
    x, target = sample(shape=(2, 1, 3, 3))
    for name in ("sigmoid_ce", "ce"):
        each = build_loss(name, reduction="none")(x, target)
        expected = (each * torch.where(target == 1, 5.0, 2.0)).sum() / (target != 255).sum()
        loss = build_loss(name, num_classes=2, class_weights=[2.0, 5.0])
        assert loss(x, target).item() == pytest.approx(expected.item())
        by_weights = build_loss(name, class_weights=[2.0, 5.0], normalize="weights")
        soft = torch.rand(2, 1, 3, 3, dtype=torch.float64)
        assert by_weights.denominator(soft).item() == pytest.approx((2 + 3 * soft).sum().item())


@pytest.mark.parametrize("name", NAMES)
def test_mask_is_the_same_as_ignoring(name):
    logits, target = sample()
    loss = build(name).double()
    mask = target != 255
    masked = seeded(loss, logits, torch.where(mask, target, 0), mask)
    assert masked.item() == pytest.approx(seeded(loss, logits, target).item())


@pytest.mark.parametrize("name", [n for n in PIXELWISE if n not in BY_BATCH])
@pytest.mark.parametrize("normalize", ["pixels", "weights"])
def test_micro_batches_with_one_denominator_equal_one_batch(name, normalize):
    logits, target = sample(shape=(4, 4, 5, 3))
    target[0] = 255  # unevenly spread
    weights = {} if name in OWN_WEIGHTS else {"class_weights": [1.0, 2.0, 3.0, 4.0]}
    loss = build(name, **weights, normalize=normalize).double()
    total = sum(loss.denominator(target[i : i + 1]) for i in range(4))
    parts = sum(loss(logits[i : i + 1], target[i : i + 1], denominator=total) for i in range(4))
    assert parts.item() == pytest.approx(loss(logits, target).item())


@pytest.mark.parametrize("name", [*REGION, "topk", "unified_focal"])
def test_other_losses_are_averaged_over_micro_batches(name):
    logits, target = sample(shape=(4, 4, 5, 3))
    loss = build(name).double()
    halves = [(logits[:2], target[:2]), (logits[2:], target[2:])]
    total = sum(loss.denominator(t) for _, t in halves)
    found = sum(loss(z, t, denominator=total) for z, t in halves)
    assert total.item() == 2
    assert found.item() == pytest.approx(np.mean([loss(z, t).item() for z, t in halves]))


@pytest.mark.parametrize("name", PIXELWISE)
def test_reductions_of_pixels_agree(name):
    logits, target = sample()
    each = seeded(build(name, reduction="none").double(), logits, target)
    assert each.shape == target.shape
    assert (each[target == 255] == 0).all()
    assert seeded(build(name, reduction="sum").double(), logits, target).item() == pytest.approx(each.sum().item())
    mean = each.sum() / (target != 255).sum()
    assert seeded(build(name).double(), logits, target).item() == pytest.approx(mean.item())


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("name", [n for n in REGION if n not in FOREGROUND])
def test_reductions_of_regions_agree(name, per_image):
    logits, target = sample()
    target[0][target[0] == 3] = 255  # absent from the first image
    each = build(name, reduction="none", per_image=per_image).double()(logits, target)
    classes = 1 if name == "generalized_dice" else 4
    assert each.shape == ((2, classes) if per_image else (classes,))
    total = build(name, reduction="sum", per_image=per_image).double()(logits, target)
    assert total.item() == pytest.approx(each.sum().item())
    alike = not per_image or classes == 1 or name == "lovasz_hinge"  # which counts absent classes too
    mean = each.mean() if alike else (each[0].sum() / 3 + each[1].mean()) / 2
    assert build(name, per_image=per_image).double()(logits, target).item() == pytest.approx(mean.item())


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("name", [n for n in REGION if n in FOREGROUND])
def test_reductions_of_the_foreground_agree(name, per_image):
    logits, target = sample()
    each = build(name, reduction="none", per_image=per_image).double()(logits, target)
    assert each.shape == ((2, 4) if per_image else (4,))
    assert (each[..., 0] == 0).all()
    assert (each[..., 1:] > 0).all()
    total = build(name, reduction="sum", per_image=per_image).double()(logits, target)
    assert total.item() == pytest.approx(each.sum().item())
    mean = build(name, per_image=per_image).double()(logits, target)
    assert mean.item() == pytest.approx(each[..., 1:].mean().item())


def test_reductions_of_topk_agree():
    name, k = "topk", 0.3
    logits, target = sample()
    each = build(name, k=k, reduction="none").double()(logits, target)
    ce = build("ce", reduction="none").double()(logits, target)
    chosen = each > 0
    assert chosen.sum() == round(k * int((target != 255).sum()))
    assert torch.equal(each[chosen], ce[chosen])
    assert ce[chosen].min() >= ce[~chosen].max()
    assert build(name, k=k, reduction="sum").double()(logits, target).item() == pytest.approx(each.sum().item())


@pytest.mark.parametrize("name", REGION)
@pytest.mark.parametrize("shape", [(3, 4, 5, 3), (6, 4)])
def test_per_image_is_the_mean_over_images_with_a_valid_pixel(name, shape):
    logits, target = sample(shape=shape)
    target[1] = 255
    counted = (target != 255) & ((target > 0) | (name not in FOREGROUND))
    seen = [i for i in range(len(target)) if counted[i].any()]
    one_by_one = [build(name)(logits[i : i + 1], target[i : i + 1]).item() for i in seen]
    assert build(name, per_image=True)(logits, target).item() == pytest.approx(np.mean(one_by_one), abs=1e-12)


@pytest.mark.parametrize("name", SOFT)
def test_soft_labels_a_rounding_outside_the_interval(name):
    soft = torch.tensor([[1.0000001, -1e-8, 0.0, 0.0]], requires_grad=False)
    logits = torch.randn(1, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(build(name)(logits, soft), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_another_number_of_classes_is_refused(name):
    with pytest.raises(ValueError, match="logits have 3 classes, but the loss was made for 4"):
        build(name)(torch.zeros(2, 3, 5), torch.zeros(2, 5).long())


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_monai_is_a_batch(name):
    """Its tensors know that they are a batch, as MONAI's loader leaves them, and follow each operation item by item."""
    plain = sample()
    followed = [MetaTensor(part) for part in plain]
    for part in followed:
        part.is_batch = True
    found = []
    for logits, target in (plain, followed):
        logits.requires_grad_()
        loss = build(name)
        value = seeded(loss, logits, target, denominator=loss.denominator(target))
        (gradient,) = torch.autograd.grad(value, logits)
        found.append((value.item(), gradient.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", NAMES)
def test_autocast_does_not_touch_the_arithmetic(name):
    logits, target = sample(dtype=torch.float32)
    weights = {} if name in OWN_WEIGHTS else {"class_weights": [0.1, 0.3, 0.7, 0.9]}
    loss = build(name, **weights)
    targets = [target] if name in HARD_ONLY else [target, soft_labels().float()]
    for labels in targets:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = seeded(loss, logits, labels).item()
        assert found == seeded(loss, logits, labels).item()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in EAGER])  # slow at this size
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(name, dtype):
    """600×600 pixels: a sum of so many in float16 overflows (Dice 1.0 where 0.5 is right, in today's libraries)."""
    logits = torch.randn(1, 4, 600, 600, generator=torch.Generator().manual_seed(0)).to(dtype)
    target = torch.randint(0, 4, (1, 600, 600), generator=torch.Generator().manual_seed(1))
    loss = build(name)
    found = seeded(loss, logits, target)
    assert found.dtype == torch.float32
    torch.manual_seed(0)
    exact = (
        build(name).double()(logits.double(), target).item() if name != "seql" else seeded(loss, logits.float(), target)
    )
    assert found.item() == pytest.approx(float(exact), rel=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_foreign_labels_are_refused_by_name(name):
    logits, target = sample(ignored=0)
    target[0, 0, :2] = 7
    with pytest.raises(ValueError, match=r"2 pixels with the label\(s\) 7.*0\.\.3"):
        build(name)(logits, target)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in EAGER])
def test_compiles_whole_and_gives_nan_for_foreign_labels(name):
    torch.compiler.reset()
    logits, target = sample(dtype=torch.float32)
    loss = build(name)
    compiled = whole_graph(loss, backend="eager")
    assert seeded(compiled, logits, target).item() == pytest.approx(seeded(loss, logits, target).item(), rel=1e-5)
    assert compiled(logits, torch.where(target == 255, 9, target)).isnan()


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler on the CPU")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in ("dfl", "dice", "topk") else pytest.mark.slow)
        for n in NAMES
        if n not in (*EAGER, "lovasz", "lovasz_hinge")
    ],
)
def test_inductor_gives_the_same_value_and_gradient(name):
    torch.compiler.reset()
    logits, target = sample(dtype=torch.float32)
    loss = build(name, **({"gamma": 1.0} if name == "seql" else {}))  # whose draws inductor makes in its own way
    results = []
    for call in (loss, whole_graph(loss)):
        z = logits.clone().requires_grad_()
        value = call(z, target)
        results.append((value.detach(), *torch.autograd.grad(value, z)))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_weighted_sum_keeps_a_denominator_for_each():
    logits, target = sample(shape=(4, 4, 5, 3))
    both = segloss.WeightedSum([build("ce"), build("dice")], [0.5, 2.0])
    expected = 0.5 * build("ce")(logits, target) + 2 * build("dice")(logits, target)
    assert both(logits, target).item() == pytest.approx(expected.item(), rel=1e-6)
    halves = [(logits[:2], target[:2]), (logits[2:], target[2:])]
    total = torch.stack([both.denominator(t) for _, t in halves]).sum(0)
    found = sum(both(z, t, denominator=total) for z, t in halves)
    dice = np.mean([build("dice")(z, t).item() for z, t in halves])
    assert found.item() == pytest.approx(0.5 * build("ce")(logits, target).item() + 2 * dice, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_pickles_and_keeps_its_state(name):
    logits, target = sample()
    loss = build(name)
    loss.new_epoch(3, [0.9, 0.2, 0.6, 0.05])
    expected = seeded(loss, logits, target).item()
    assert seeded(pickle.loads(pickle.dumps(loss)), logits, target).item() == expected
    assert seeded(copy.deepcopy(loss), logits, target).item() == expected
    fresh = build(name)
    fresh.load_state_dict(loss.state_dict())
    assert seeded(fresh, logits, target).item() == expected


@pytest.mark.parametrize("name", NAMES)
def test_half_a_model_leaves_the_numbers_of_its_loss_alone(name):
    logits, target = sample()
    loss = build(name)
    expected = seeded(loss, logits, target).item()
    assert seeded(torch.nn.Sequential(loss).half()[0], logits, target).item() == expected
    assert str(loss.to("meta").class_weights) == "None" or loss.class_weights.device.type == "meta"


@pytest.mark.parametrize("name", [n for n in NAMES if n not in OWN_WEIGHTS])
def test_the_weights_given_stay_the_callers(name):
    given = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    own = {"drw_epoch": 2} if name == "ldam" else {}
    loss = build(name, class_weights=given, **own)
    logits, target = sample()
    before = seeded(loss, logits, target)
    assert not before.requires_grad
    assert given.tolist() == [1.0, 2.0, 3.0, 4.0]
    with torch.no_grad():
        given.mul_(10)
    assert seeded(loss, logits, target).item() == before.item()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in OWN_WEIGHTS])
def test_deferred_weights_are_ones_until_their_epoch(name):
    """Also where a training is resumed: the epoch alone decides."""
    logits, target = sample()
    scheme = {"name": "inverse_sqrt"}
    late, ones, full = (build(name, class_weights=w) for w in (scheme | {"from_epoch": 2}, [1.0] * 4, scheme))
    values = [seeded(loss, logits, target).item() for loss in (ones, full)]
    for epoch, weighs in ((None, False), (1, False), (2, True), (9, True), (0, False)):
        if epoch is not None:
            late.new_epoch(epoch)
        assert seeded(late, logits, target).item() == values[weighs]


@pytest.mark.parametrize("name", NAMES)
def test_the_default_dtype_does_not_matter(name):
    logits, target = sample(dtype=torch.float32)
    expected = seeded(build(name), logits, target)
    torch.set_default_dtype(torch.float64)
    try:
        found = seeded(build(name), logits, target) if name != "seql" else expected  # whose draws have that dtype
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
    assert found.item() == expected.item()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("right", [True, False])
def test_a_perfect_and_a_hopeless_prediction_have_finite_gradients(name, right):
    target = torch.arange(4).repeat(3).view(1, 12)
    sure = torch.nn.functional.one_hot(target if right else (target + 1) % 4, 4).movedim(-1, 1)
    logits = (2e4 * sure - 1e4).float().requires_grad_()
    value = build(name)(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("margin", [4.0, 8.0, 12.0, 16.0])
@pytest.mark.parametrize("name", ["dfl", "dfl2021", "focal", "cefl", "cefl2", "poly1", "sigmoid_ce", "sigmoid_focal"])
def test_single_precision_holds_where_the_prediction_is_sure(name, margin):
    """Differences of nearly equal numbers would make the loss noise, or negative, long before it is 0."""
    logits, labels = torch.tensor([[margin, 0.1, 0.2, -0.3], [0.1, margin, -0.2, 0.3]]), torch.tensor([0, 1])
    results = []
    for dtype in (torch.float32, torch.float64):
        z = logits.to(dtype).requires_grad_()
        value = build(name)(z, labels)
        results.append((value.detach().double(), torch.autograd.grad(value, z)[0].double()))
    torch.testing.assert_close(*results, rtol=1e-5, atol=0)


@pytest.mark.parametrize("margin", [4.0, 8.0, 12.0])
def test_soft_dual_focal_loss_holds_near_its_labels(margin):
    """P = p of a slightly other margin, so that every |P − p| is a small difference."""
    name = "dfl"
    logits = torch.tensor([[margin, 0.1, 0.2, -0.3]])
    soft = (logits.double() * 0.9).softmax(1)
    results = []
    for dtype in (torch.float32, torch.float64):
        z = logits.to(dtype).requires_grad_()
        value = build(name)(z, soft.to(dtype))
        results.append((value.detach().double(), torch.autograd.grad(value, z)[0].double()))
    torch.testing.assert_close(*results, rtol=2e-2, atol=1e-12)


def test_focal_tversky_in_single_precision():
    """The root of a small loss: what is subtracted from 1 before it would be noise."""
    name = "focal_tversky"
    logits, labels = torch.tensor([[9.0, 0.1, 0.2], [0.1, 9.0, -0.2]]), torch.tensor([0, 1])
    results = []
    for dtype in (torch.float32, torch.float64):
        z = logits.to(dtype).requires_grad_()
        value = build_loss(name, gamma=3.0)(z, labels)
        results.append((value.detach().double(), torch.autograd.grad(value, z)[0].double()))
    torch.testing.assert_close(*results, rtol=2e-3, atol=0)


def test_soft_labels_compile_for_any_power():
    torch.compiler.reset()
    logits, soft = sample(dtype=torch.float32)[0], soft_labels().float()
    for gamma in (0.0, 1.0, 2.0):
        loss = build("dfl2021", gamma=gamma)
        compiled = whole_graph(loss, backend="aot_eager")
        assert compiled(logits, soft).item() == pytest.approx(loss(logits, soft).item())


def test_generalized_dice_of_a_hardly_present_class_is_finite():
    name = "generalized_dice"
    soft = torch.zeros(1, 3, 100, 100)
    soft[:, 0], soft[:, 1] = 1.0, 1e-24
    logits = torch.zeros(1, 3, 100, 100, requires_grad=True)
    value = build_loss(name)(logits, soft)
    assert value.isfinite()
    assert torch.autograd.grad(value, logits)[0].isfinite().all()


def test_a_binary_hinge_has_no_class_to_weigh_against():
    x, target = sample(shape=(2, 1, 3, 3))
    plain = build_loss("lovasz_hinge")(x, target)
    for weights in ([1.0, 0.0], [0.0, 1.0]):
        assert build_loss("lovasz_hinge", class_weights=weights)(x, target).item() == plain.item()


def test_the_hinge_of_an_image_without_foreground_is_its_worst_false_positive():
    x = torch.tensor([[[-3.0, 0.5, -0.5, 2.0]]], requires_grad=True)
    value = build_loss("lovasz_hinge")(x, torch.zeros(1, 4, dtype=torch.long))
    (slope,) = torch.autograd.grad(value, x)
    assert (value.item(), slope.tolist()) == (3.0, [[[0.0, 0.0, 0.0, 1.0]]])


@pytest.mark.parametrize("name", ["ce", "dice", "lovasz"])
@pytest.mark.parametrize(("dtype", "ignored", "stray"), [(torch.int8, 255, -1), (torch.uint8, -100, 156)])
def test_an_ignored_label_that_the_dtype_cannot_hold_is_absent(name, dtype, ignored, stray):
    """And what it would wrap to is a foreign label, not a silent NaN."""
    torch.compiler.reset()
    logits, target = sample(ignored=0.0)
    loss = build(name, ignore_index=ignored)
    assert loss(logits, target.to(dtype)).item() == loss(logits, target).item()
    target[0, 0, :2] = stray
    with pytest.raises(ValueError, match=rf"2 pixels with the label\(s\) {stray}: "):
        loss(logits, target.to(dtype))
    compiled = whole_graph(loss, backend="eager")
    assert compiled(logits, target.to(dtype)).isnan()
