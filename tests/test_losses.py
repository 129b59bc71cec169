import math

import numpy as np
import pytest
import reference
import torch
from torch.autograd import gradcheck

import segloss
from segloss import LOSSES, build_loss

COUNTS = [500, 20, 100, 3]
NAMES = list(LOSSES)
WCE = np.array([1 / n for n in COUNTS]) / sum(1 / n for n in COUNTS)


def sample(seed=0, shape=(2, 4, 5, 3), scale=2.0, dtype=torch.float64, ignored=0.3):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(shape, generator=generator, dtype=dtype)
    pixels = (shape[0], *shape[2:])
    target = torch.randint(0, shape[1], pixels, generator=generator)
    target[torch.rand(pixels, generator=generator) < ignored] = 255
    return logits, target


def build(name, **parameters):
    return build_loss(name, num_classes=4, class_counts=COUNTS, **parameters)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("ce", {}, lambda z, t: reference.mean(reference.ce, z, t)),
        ("wce", {}, lambda z, t: reference.mean(reference.ce, z, t, WCE)),
        ("focal", {}, lambda z, t: reference.mean(reference.focal, z, t)),
        (
            "focal",
            {"gamma": 0.5, "alpha": 0.25},
            lambda z, t: reference.mean(reference.focal, z, t, gamma=0.5, alpha=0.25),
        ),
        (
            "focal",
            {"alpha": [0.1, 0.2, 0.3, 0.4], "class_weights": [1.0, 2.0, 3.0, 4.0]},
            lambda z, t: reference.mean(reference.focal, z, t, [1, 2, 3, 4], alpha=[0.1, 0.2, 0.3, 0.4]),
        ),
        ("dfl", {}, lambda z, t: reference.mean(reference.dfl, z, t)),
        ("dfl", {"class_weights": "inverse_frequency"}, lambda z, t: reference.mean(reference.dfl, z, t, WCE)),
        ("mse_ol", {}, lambda z, t: reference.mean(reference.mse_ol, z, t, counts=COUNTS)),
        ("mse_ol", {"alpha": 3.0}, lambda z, t: reference.mean(reference.mse_ol, z, t, counts=COUNTS, alpha=3.0)),
        ("dice", {}, reference.dice),
        ("dice", {"smooth": 1.0, "squared": True}, lambda z, t: reference.dice(z, t, 1.0, True)),
        ("dice", {"classes": "all"}, lambda z, t: reference.dice(z, t, classes="all")),
    ],
)
@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (6, 4), (3, 4, 7), (1, 4, 2, 3, 2)])
def test_value_is_the_papers_formula(name, parameters, expected, shape):
    logits, target = sample(shape=shape)
    found = build(name, **parameters).double()(logits, target)
    assert found.item() == pytest.approx(expected(logits.numpy(), target.numpy()), rel=1e-6)


def test_hand_worked_values():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64))
    target = torch.tensor([0])
    assert build_loss("ce")(logits, target).item() == pytest.approx(math.log(2))
    assert build_loss("focal")(logits, target).item() == pytest.approx(0.25 * math.log(2))
    dfl = -(math.log(0.75) + math.log(0.91) + math.log(0.96))
    assert build_loss("dfl")(logits, target).item() == pytest.approx(dfl)
    assert build_loss("dice")(logits, target).item() == pytest.approx(1 - 1.0 / 1.5)
    raw = torch.tensor([[2.0, -1.0, 0.5]])
    found = build_loss("mse_ol", num_classes=3, class_counts=[9, 5, 7])(raw, torch.tensor([1]))  # its label is 3
    assert found.item() == pytest.approx(0.5 * (4 + 16 + 0.25))


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_the_value(name):
    logits, target = sample(shape=(2, 4, 3))
    loss = build(name).double()
    assert gradcheck(lambda z: loss(z, target), logits.requires_grad_())


@pytest.mark.parametrize("name", NAMES)
def test_ignored_pixels_change_nothing_even_with_nan(name):
    logits, target = sample()
    loss = build(name).double()
    poisoned = torch.where((target == 255).unsqueeze(1), torch.nan, logits).requires_grad_()
    value = loss(poisoned, target)
    (gradient,) = torch.autograd.grad(value, poisoned)
    assert value.item() == loss(logits, target).item()
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


@pytest.mark.parametrize("gap", [20.0, 60.0, 300.0])
def test_dfl_of_a_sure_mistake_keeps_value_and_gradient(gap):
    logits = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)
    value = build_loss("dfl")(logits, torch.tensor([1]))
    (gradient,) = torch.autograd.grad(value, logits)
    # p = (1 - 2e, e, e) with e = exp(-gap): -log e - log 2 for the true class, gap - 2 log 2 for the false top
    assert value.item() == pytest.approx(gap - math.log(2) + gap - 2 * math.log(2), rel=1e-5)
    assert gradient[0].tolist() == pytest.approx([2.0, -1.5, -0.5], rel=1e-4)


def test_focal_with_a_root_is_smooth_at_a_saturated_pixel():
    logits = torch.tensor([[60.0, -60.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(build_loss("focal", gamma=0.5)(logits, torch.tensor([0])), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_soft_labels_that_are_one_hot_give_the_same(name):
    logits, target = sample(ignored=0.0)
    one_hot = torch.nn.functional.one_hot(target, 4).movedim(-1, 1).double()
    loss = build(name).double()
    z = logits.requires_grad_()
    hard, soft = loss(z, target), loss(z, one_hot)
    assert soft.item() == pytest.approx(hard.item())
    for one, other in zip(torch.autograd.grad(hard, z), torch.autograd.grad(soft, z), strict=True):
        torch.testing.assert_close(one, other)


def test_soft_dfl_is_the_formula():
    logits, _ = sample(shape=(3, 4))
    soft = torch.softmax(torch.randn(3, 4, dtype=torch.float64), 1)
    expected = -torch.log(1 - (soft - logits.softmax(1)) ** 2).sum(1).mean()
    assert build_loss("dfl")(logits, soft).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("name", ["ce", "focal", "dfl", "dice"])
def test_a_binary_logit_is_two_classes(name):
    x = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    target = torch.randint(0, 2, (2, 3, 3))
    loss = build_loss(name, num_classes=2, class_counts=[9, 1])
    assert loss(x, target).item() == pytest.approx(loss(torch.cat([0 * x, x], 1), target).item())


@pytest.mark.parametrize("name", NAMES)
def test_mask_is_the_same_as_ignoring(name):
    logits, target = sample()
    loss = build(name).double()
    mask = target != 255
    assert loss(logits, torch.where(mask, target, 0), mask).item() == pytest.approx(loss(logits, target).item())


@pytest.mark.parametrize("name", [n for n in NAMES if n != "dice"])
@pytest.mark.parametrize("normalize", ["pixels", "weights"])
def test_micro_batches_with_one_denominator_equal_one_batch(name, normalize):
    logits, target = sample(shape=(4, 4, 5, 3))
    target[0] = 255  # unevenly spread
    loss = build(name, class_weights=[1.0, 2.0, 3.0, 4.0], normalize=normalize).double()
    total = sum(loss.denominator(target[i : i + 1]) for i in range(4))
    parts = sum(loss(logits[i : i + 1], target[i : i + 1], denominator=total) for i in range(4))
    assert parts.item() == pytest.approx(loss(logits, target).item())


def test_normalize_weights_is_torch_s_mean():
    logits, target = sample()
    weights = [1.0, 2.0, 3.0, 4.0]
    expected = torch.nn.functional.cross_entropy(
        logits, target, torch.tensor(weights, dtype=torch.float64), ignore_index=255, label_smoothing=0.0
    )
    assert build("ce", class_weights=weights, normalize="weights")(logits, target).item() == pytest.approx(
        expected.item()
    )


def test_label_smoothing_is_torch_s():
    logits, target = sample()
    expected = torch.nn.functional.cross_entropy(logits, target, ignore_index=255, label_smoothing=0.1)
    assert build("ce", label_smoothing=0.1)(logits, target).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("name", [n for n in NAMES if n != "dice"])
def test_reductions_agree(name):
    logits, target = sample()
    each = build(name, reduction="none").double()(logits, target)
    assert each.shape == target.shape
    assert (each[target == 255] == 0).all()
    assert build(name, reduction="sum").double()(logits, target).item() == pytest.approx(each.sum().item())
    mean = each.sum() / (target != 255).sum()
    assert build(name).double()(logits, target).item() == pytest.approx(mean.item())


def test_dice_per_image_is_the_mean_over_images_with_a_valid_pixel():
    logits, target = sample(shape=(3, 4, 5, 3))
    target[1] = 255
    one_by_one = [build("dice")(logits[i : i + 1], target[i : i + 1]).item() for i in (0, 2)]
    assert build("dice", per_image=True)(logits, target).item() == pytest.approx(np.mean(one_by_one))


def test_dice_per_image_without_space():
    logits, target = sample(shape=(6, 4))
    one_by_one = [build("dice")(logits[i : i + 1], target[i : i + 1]).item() for i in range(6) if target[i] != 255]
    assert build("dice", per_image=True)(logits, target).item() == pytest.approx(np.mean(one_by_one))


@pytest.mark.parametrize("name", NAMES)
def test_soft_labels_a_rounding_outside_the_interval(name):
    soft = torch.tensor([[1.0000001, -1e-8, 0.0, 0.0]], requires_grad=False)
    logits = torch.randn(1, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(build(name)(logits, soft), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_another_number_of_classes_is_refused(name):
    with pytest.raises(ValueError, match="logits have 3 classes, but the loss was made for 4"):
        build(name)(torch.zeros(2, 3, 5), torch.zeros(2, 5).long())


def test_autocast_does_not_touch_the_arithmetic():
    logits, target = sample(dtype=torch.float32)
    soft = torch.softmax(torch.randn(2, 4, 5, 3), 1)
    for name in NAMES:
        loss = build(name, class_weights=[0.1, 0.3, 0.7, 0.9])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hard_found, soft_found = loss(logits, target).item(), loss(logits, soft).item()
        assert hard_found == loss(logits, target).item()
        assert soft_found == loss(logits, soft).item()


def test_an_absent_class_counts_one_without_gradient():
    logits = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 2, (1, 4, 4))
    each = build_loss("dice", classes="all", reduction="none")(logits, target)
    assert each[2].item() == 1
    (gradient,) = torch.autograd.grad(each[2], logits)
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_foreign_labels_are_refused_by_name(name):
    logits, target = sample(ignored=0)
    target[0, 0, :2] = 7
    with pytest.raises(ValueError, match=r"2 pixels with the label\(s\) 7.*0\.\.3"):
        build(name)(logits, target)


@pytest.mark.parametrize("name", NAMES)
def test_compiles_whole_and_gives_nan_for_foreign_labels(name):
    logits, target = sample(dtype=torch.float32)
    loss = build(name)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    assert compiled(logits, target).item() == pytest.approx(loss(logits, target).item(), rel=1e-5)
    assert compiled(logits, torch.where(target == 255, 9, target)).isnan()


def test_dfl_true_class_lies_below_ce_by_at_most_log_2():
    logits, target = sample(shape=(50, 2), ignored=0)
    term = build_loss("dfl", reduction="none")(logits, target)
    p_false = logits.softmax(1).gather(1, 1 - target[:, None])[:, 0]
    true_class = term + torch.log1p(-(p_false**2))
    ce = build_loss("ce", reduction="none")(logits, target)
    assert ((true_class <= ce + 1e-12) & (true_class >= ce - math.log(2) - 1e-12)).all()


def test_focal_without_gamma_is_ce():
    logits, target = sample()
    assert build("focal", gamma=0.0)(logits, target).item() == pytest.approx(build("ce")(logits, target).item())


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


def test_outlying_labels_put_the_rarest_farthest():
    assert segloss.outlying_labels([500, 20, 100, 20], alpha=2.0).tolist() == [2.0, 6.0, 4.0, 8.0]


def test_functional_is_the_same():
    logits, target = sample()
    f = segloss.functional
    labels = segloss.outlying_labels(COUNTS).double()
    pairs = [
        (f.cross_entropy(logits, target), build("ce")),
        (f.focal(logits, target, gamma=1.0), build("focal", gamma=1.0)),
        (f.dual_focal(logits, target), build("dfl")),
        (f.mse_outlying(logits, target, labels=labels), build("mse_ol")),
        (f.dice(logits, target, smooth=1.0), build("dice", smooth=1.0)),
    ]
    for value, loss in pairs:
        assert value.item() == pytest.approx(loss(logits, target).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("focal", {"gamma": -1.0}, "gamma must be ≥ 0, got -1"),
        ("focal", {"alpha": -0.1}, "alpha must be finite and not negative"),
        ("focal", {"alpha": [0.5, 0.5]}, r"one number a class \(4\), got 2"),
        ("mse_ol", {"alpha": 0.0}, "alpha must be > 0, got 0"),
        ("ce", {"label_smoothing": 1.5}, r"label_smoothing must be in \[0, 1\]"),
        ("ce", {"class_weights": [1.0, 2.0]}, r"one weight a class \(4\)"),
        ("ce", {"normalize": "pixel"}, "normalize must be one of pixels, weights"),
        ("dice", {"smooth": -1.0}, "smooth must be ≥ 0"),
        ("dice", {"classes": "some"}, "classes must be one of present, all"),
        ("focl", {}, "did you mean 'focal'"),
        ("adfl", {}, "AdaptiveClassWeight"),
    ],
)
def test_bad_parameters_are_named(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        build(name, **parameters)


@pytest.mark.parametrize(
    ("logits", "target", "error", "message"),
    [
        (torch.zeros(2, 3, 4, dtype=torch.long), torch.zeros(2, 4).long(), TypeError, "logits must be floating"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 5).long(), ValueError, r"shape \(2, 4\).*got \(2, 5\)"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 4, dtype=torch.bool), TypeError, "integer labels"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 2, 4), ValueError, "soft labels"),
        (torch.zeros(3), torch.zeros(3).long(), ValueError, r"\(N, C, \*spatial\)"),
    ],
)
def test_bad_tensors_are_named(logits, target, error, message):
    with pytest.raises(error, match=message):
        build_loss("ce")(logits, target)


def test_mse_ol_says_where_counts_come_from():
    with pytest.raises(ValueError, match="class_counts"):
        build_loss("mse_ol", num_classes=3)
