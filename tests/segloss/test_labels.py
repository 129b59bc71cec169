"""Labels of every kind: overlapping, partial and weighed; regions learnt, and wrong calls."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage

import segloss
from segloss import build_loss
from segloss.components import components
from segloss_tests import reference as ref
from segloss_tests.losses import BY_BATCH, NAMES, build, sample, seeded, soft_labels, whole_graph

OVERLAPS = ["dice", "iou", "tversky", "focal_tversky", "generalized_dice"]
SIGMOID = ["sigmoid_ce", "sigmoid_focal", "cb_sigmoid", "cb_focal"]
RESTRICTED = [name for name in NAMES if "weight" in segloss.LOSSES[name].restrictions]
MERGING = [
    name
    for name in RESTRICTED
    if "labelled" in segloss.LOSSES[name].restrictions
    and name not in (*SIGMOID, "mse", "mse_ol", "ldam", "seql", "logit_adjusted", "balanced_softmax")
]
KNOWN = torch.tensor([[True, False, True, True], [True, True, True, False]])


def regions(shape=(2, 4, 5, 3)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(5)) < 0.4


def of_overlaps(name, q, t, counted, weight=None):
    """The loss of overlapping classes, averaged over those in the target, from sums by NumPy."""
    w = np.broadcast_to(1.0 if weight is None else weight[:, None], q.shape)
    sums = [
        [(w * part * counted)[:, c].sum() for c in range(q.shape[1])]
        for part in (np.minimum(q, t), np.maximum(q - t, 0), np.maximum(t - q, 0))
    ]
    tp, fp, fn = (np.array(each) for each in sums)
    there = tp + fn > 0
    if name == "generalized_dice":
        v = np.where(there, 1 / np.maximum(tp + fn, 1e-300) ** 2, 0)
        return 1 - 2 * (v * tp).sum() / (v * (2 * tp + fp + fn)).sum()
    a, b = {"dice": (0.5, 0.5), "iou": (1, 1)}.get(name, (0.3, 0.7))
    each = 1 - tp / (tp + a * fp + b * fn)
    return (each ** (0.75 if name == "focal_tversky" else 1))[there].mean()


@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 1, 6), (5, 3)], ids=str)
@pytest.mark.parametrize("name", OVERLAPS)
def test_overlapping_classes_follow_the_formula(name, shape):
    logits, t = sample(shape=shape)[0], regions(shape)
    counted = torch.rand(shape, generator=torch.Generator().manual_seed(6)) < 0.8
    expected = of_overlaps(name, ref.sigmoid(logits.numpy()), t.numpy(), counted.numpy())
    loss = build_loss(name, sigmoid=True)
    as_integers = torch.where(counted, t.long(), 255)
    for target, mask in ((t, counted), (t.long(), counted), (t.double(), counted), (as_integers, None)):
        if shape[1] > 1 or target.is_floating_point():  # one channel of integers is labels without a class axis
            assert loss(logits, target, mask).item() == pytest.approx(expected, rel=1e-12)
    assert loss.activation == "sigmoid"
    soft = torch.rand(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    weight = torch.rand((shape[0], *shape[2:]), generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    expected = of_overlaps(name, ref.sigmoid(logits.numpy()), soft.numpy(), counted.numpy(), weight.numpy())
    assert loss(logits, soft, counted, weight=weight).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", OVERLAPS)
def test_overlap_losses_of_sigmoid_take_labels_and_one_logit(name):
    logits, target = sample()
    one_hot = torch.nn.functional.one_hot(target.clamp(max=3), 4).movedim(-1, 1)
    loss = build(name, sigmoid=True)
    assert loss(logits, target).item() == pytest.approx(loss(logits, one_hot, target != 255).item(), rel=1e-12)
    x, binary = sample(shape=(2, 1, 5, 3))
    alone = build_loss(name, sigmoid=True, num_classes=2)(x, binary)
    assert alone.item() == pytest.approx(
        of_overlaps(name, ref.sigmoid(x.numpy()), (binary == 1)[:, None].numpy(), (binary != 255)[:, None].numpy()),
        rel=1e-12,
    )


@pytest.mark.parametrize("name", SIGMOID)
def test_pixelwise_losses_of_sigmoid_sum_over_the_classes_that_count(name):
    logits, t = sample()[0], regions()
    counted = torch.rand(t.shape, generator=torch.Generator().manual_seed(6)) < 0.5
    loss = build(name, **({} if name.startswith("cb") else {"class_weights": [1.0, 2.0, 3.0, 4.0]}))
    own = {"gamma": 0.5, "alpha": None} if name == "cb_focal" else {}
    term = ref.sigmoid_focal if "focal" in name else ref.sigmoid_ce
    weights, total, pixels = loss.class_weights.numpy(), 0.0, 0
    for n, h, w in np.ndindex(2, 5, 3):
        here = counted[n, :, h, w].numpy()
        if here.any():
            z, P = logits[n, :, h, w].numpy()[here], t[n, :, h, w].double().numpy()[here]
            total += (weights[here] * P).sum() * term(z, P, **own)
            pixels += 1
    assert loss(logits, t, counted).item() == pytest.approx(total / pixels, rel=1e-10)
    assert loss.denominator(t, counted, overlapping=True).item() == pixels
    poisoned = torch.where(counted, logits, torch.nan).requires_grad_()
    value = loss(poisoned, t.long(), counted)
    assert value.item() == pytest.approx(total / pixels, rel=1e-10)
    (gradient,) = torch.autograd.grad(value, poisoned)
    assert (gradient[~counted] == 0).all()
    assert torch.count_nonzero(gradient[counted])


@pytest.mark.parametrize("name", ["ce", "dfl", "recall", "topk", "lovasz", "lovasz_hinge", "boundary", "dice", "mse"])
def test_losses_of_exclusive_classes_refuse_regions(name):
    for target in (regions(), regions().long()):
        with pytest.raises(ValueError, match=r"overlapping classes need a loss with sigmoid \(sigmoid_ce, dice"):
            build(name)(sample()[0], target)
    with pytest.raises(
        ValueError, match=r"mask must be bool .* of shape \(2, 5, 3\), got torch.bool of \(2, 4, 5, 3\)"
    ):
        build(name)(*sample(), regions())


def test_nested_regions_are_learnt():
    """Whole, core and enhancing tumour, one inside the other, as in BraTS."""
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    far = ((rows - 12) ** 2 + (columns - 12) ** 2).sqrt()
    target = torch.stack([far < r for r in (9, 6, 3)]).unsqueeze(0)
    for loss in (
        build_loss("dice", sigmoid=True),
        build_loss([{"name": "dice", "sigmoid": True}, {"name": "sigmoid_ce"}]),
    ):
        logits = torch.zeros(target.shape, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.3)
        for _ in range(60):
            optimizer.zero_grad()
            loss(logits, target).backward()
            optimizer.step()
        found = logits > 0
        assert all(2 * (found & target)[0, c].sum() == (found[0, c].sum() + target[0, c].sum()) for c in range(3))


@pytest.mark.parametrize("name", RESTRICTED)
def test_a_mask_is_the_weight_of_0_and_1(name):
    logits, target = sample()
    mask = torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    loss = build(name)
    results = []
    for options in ({"mask": mask}, {"weight": mask.double()}, {"weight": mask.unsqueeze(1).float()}):
        z = torch.where(mask.unsqueeze(1), logits, torch.nan).requires_grad_()
        value = seeded(loss, z, target, **options)
        results.append((value.detach(), torch.autograd.grad(value, z)[0]))
        denominator = loss.denominator(target, **options)
        assert seeded(loss, z, target, denominator=denominator, **options).item() == pytest.approx(value.item())
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("normalize", ["pixels", "weights"])
@pytest.mark.parametrize("name", ["ce", "focal", "dfl", "sigmoid_ce", "mse"])
def test_a_weight_multiplies_its_pixel(name, normalize):
    logits, target = sample()
    weight = torch.rand(target.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weight[0, 0] = 0
    each = build(name, reduction="none", class_weights=[1.0, 2.0, 3.0, 4.0])(logits, target)
    classes = torch.where(target == 255, 0, target + 1)
    below = {"pixels": ((weight > 0) & (target != 255)).sum(), "weights": (weight * classes).sum()}[normalize]
    loss = build(name, class_weights=[1.0, 2.0, 3.0, 4.0], normalize=normalize)
    assert loss(logits, target, weight=weight).item() == pytest.approx(
        ((each * weight).sum() / below).item(), rel=1e-10
    )
    plain = build(name, normalize=normalize)(logits, target, weight=weight)
    unweighed = build(name, reduction="none")(logits, target)
    below = below if normalize == "pixels" else (weight * (target != 255)).sum()
    assert plain.item() == pytest.approx(((unweighed * weight).sum() / below).item(), rel=1e-10)
    learnt = weight.clone().requires_grad_()
    assert torch.count_nonzero(torch.autograd.grad(loss(logits, target, weight=learnt), learnt)[0])


@pytest.mark.parametrize("name", OVERLAPS)
def test_a_weight_multiplies_what_a_pixel_adds_to_the_sums(name):
    """A whole number is that many copies of the pixel."""
    logits, target = sample(shape=(2, 4, 12))
    weight = torch.randint(0, 4, target.shape, generator=torch.Generator().manual_seed(3))
    copies = [torch.repeat_interleave(torch.arange(12), weight[n]) for n in range(2)]
    z = torch.cat([logits[n][:, copies[n]] for n in range(2)], 1).unsqueeze(0)
    t = torch.cat([target[n][copies[n]] for n in range(2)]).unsqueeze(0)
    found = build(name)(logits, target, weight=weight.double())
    assert found.item() == pytest.approx(build(name)(z, t).item(), rel=1e-10)


def merged(logits, target, known):
    """Logits and labels of one image over the classes that it was labelled for, class 0 holding the others."""
    together = torch.logsumexp(logits[[0, *(c for c in range(4) if c and not known[c])]], 0)
    kept = [c for c in range(1, 4) if known[c]]
    table = torch.zeros(256, dtype=torch.long)
    table[255] = 255
    table[torch.tensor(kept)] = torch.arange(1, len(kept) + 1)
    return torch.cat([together.unsqueeze(0), logits[kept]]).unsqueeze(0), table[target].unsqueeze(0)


@pytest.mark.parametrize("name", ["ce", "focal", "dfl", "cefl", "cefl2", "poly1", "recall", "topk"])
def test_classes_that_an_image_was_not_labelled_for_are_background(name):
    logits, target = sample()
    for n, c in itertools.product(range(2), range(4)):
        if not KNOWN[n, c]:
            target[n][target[n] == c] = 0
    loss = build_loss(name, reduction="sum")
    for n in range(2):
        z = logits[n : n + 1].clone().requires_grad_()
        found = loss(z, target[n : n + 1], labelled=KNOWN[n : n + 1])
        expected = loss(*merged(z[0], target[n], KNOWN[n]))
        assert found.item() == pytest.approx(expected.item(), rel=1e-10)
        gradients = [torch.autograd.grad(each, z)[0] for each in (found, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", MERGING)
def test_partial_labels_stay_finite_and_equal_full_ones(name):
    logits, target = sample()
    everything = torch.ones(2, 4, dtype=torch.bool)
    full = seeded(build(name), logits, target).item()
    assert seeded(build(name), logits, target, labelled=everything).item() == pytest.approx(full, rel=1e-12)
    for scale in (1.0, 5e3):
        for labels in (torch.where(target == 255, 255, 0), torch.zeros(2, 4, 5, 3).index_fill(1, torch.tensor(0), 1.0)):
            z = (scale * logits).float().requires_grad_()
            value = seeded(build(name), z, labels, labelled=KNOWN)
            assert value.isfinite()
            assert torch.autograd.grad(value, z)[0].isfinite().all()


@pytest.mark.parametrize("name", OVERLAPS)
def test_overlap_losses_leave_out_what_was_not_labelled(name):
    logits, t = sample()[0], regions()
    counted = KNOWN.view(2, 4, 1, 1).expand(t.shape)
    loss = build_loss(name, sigmoid=True)
    assert loss(logits, t, labelled=KNOWN).item() == pytest.approx(loss(logits, t, counted).item(), rel=1e-12)
    target = torch.zeros(2, 5, 3, dtype=torch.long)
    target[0, 1:3], target[1, 2:] = 2, 1
    per_image = build_loss(name, per_image=True)
    found = per_image(logits, target, labelled=KNOWN)
    expected = [per_image(*merged(logits[n], target[n], KNOWN[n])).item() for n in range(2)]
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-10)


def test_wrong_restrictions_are_named():
    logits, target = sample()
    weight = torch.ones(target.shape)
    weight[0, 0, :2] = -1.0
    target[(target == 1) | (target == 3)] = 0
    target[0, 0, :2] = 1
    cases = {
        "weight must be finite and not negative, got -1 at 2 pixels": {"weight": weight},
        r"weight must be floating \(weight.float\(\)\) of shape \(2, 5, 3\)": {"weight": weight.long()},
        r"labelled must be bool of shape \(2, 4\)": {"labelled": KNOWN[:, :3]},
        "target holds 2 pixels of classes that, by labelled, their images": {"labelled": KNOWN},
        "logits are on cpu, weight on meta": {"weight": weight.to("meta")},
    }
    for message, options in cases.items():
        with pytest.raises(ValueError, match=message):
            build("ce", num_classes=4)(logits, target, **options)
    with pytest.raises(ValueError, match="label_smoothing must be 0 with partial labels"):
        build("ce", label_smoothing=0.1)(logits, target, labelled=KNOWN)
    with pytest.raises(ValueError, match="LogitAdjustedLoss takes no partial labels"):
        build("logit_adjusted")(logits, target, labelled=KNOWN)
    for name in ("lovasz", "lovasz_hinge", "boundary"):
        with pytest.raises(ValueError, match="takes no weight: it ranks pixels or looks at their places"):
            build(name)(logits, target, weight=weight)


@pytest.mark.parametrize("name", [n for n in RESTRICTED if n not in BY_BATCH and n != "topk"])
def test_restrictions_work_in_sums_upsampled_and_compiled(name):
    torch.compiler.reset()
    logits, target = sample(shape=(2, 4, 3, 5))[0], sample(shape=(2, 4, 12, 20))[1]
    weight = torch.rand(target.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    large = torch.nn.functional.interpolate(logits, (12, 20), mode="bilinear", align_corners=False)
    loss = build_loss([{"name": name, "weight": 2.0}, {"name": "ce"}], num_classes=4, class_counts=[500, 20, 100, 3])
    expected = 2 * build(name)(large, target, weight=weight) + build("ce")(large, target, weight=weight)
    assert loss(large, target, weight=weight).item() == pytest.approx(expected.item(), rel=1e-6)
    small = segloss.upsampled(loss, (12, 20))(logits, target, weight=weight)
    assert small.item() == pytest.approx(expected.item(), rel=1e-6)
    compiled = whole_graph(build(name), backend="eager")
    found = compiled(large, target, weight=weight)
    assert found.item() == pytest.approx(build(name)(large, target, weight=weight).item(), rel=1e-9)


def test_soft_labels_of_partial_images():
    logits, soft = sample()[0], soft_labels()
    for n, c in itertools.product(range(2), range(4)):
        if not KNOWN[n, c]:
            soft[n, 0] += soft[n, c]
            soft[n, c] = 0
    found = build_loss("ce")(logits, soft, labelled=KNOWN)
    total = 0.0
    for n, h, w in np.ndindex(2, 5, 3):
        p = ref.softmax(logits[n, :, h, w].numpy())
        known = KNOWN[n].numpy()
        q = np.where(known, p, 0)
        q[0] += p[~known].sum()
        P = soft[n, :, h, w].numpy()
        total -= (P[known] * np.log(q[known])).sum()
    assert found.item() == pytest.approx(total / 30, rel=1e-10)


@pytest.mark.parametrize("shape", [(2, 40), (2, 23, 31), (2, 7, 8, 9)], ids=str)
def test_components_are_those_of_scipy(shape):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 2, shape, generator=generator)
    inside = torch.rand(shape, generator=generator) < 0.6
    found = components(values, inside)
    neighbours = np.ones((3,) * (len(shape) - 1))
    for n in range(2):
        expected, count = np.zeros(shape[1:], int), 0
        for value in (0, 1):
            numbers, more = ndimage.label((inside[n] & (values[n] == value)).numpy(), neighbours)
            expected += np.where(numbers > 0, numbers + count, 0)
            count += more
        pairs = set(zip(found[n].flatten().tolist(), expected.ravel().tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == count + 1


def test_components_of_a_long_way_round():
    spiral = torch.zeros(1, 61, 61, dtype=torch.long)
    row = column = 30
    for side in range(60):
        for _ in range(side + 1 + side % 2):
            if 0 <= row < 61 and 0 <= column < 61:
                spiral[0, row, column] = 1
            step = ((0, 1), (1, 0), (0, -1), (-1, 0))[side % 4]
            row, column = row + step[0], column + step[1]
    expected = ndimage.label(spiral[0].numpy(), np.ones((3, 3)))[1]
    assert len(components(spiral, spiral > 0).unique()) == expected + 1


def test_border_weights_are_ronnebergers():
    target = torch.zeros(2, 30, 34, dtype=torch.long)
    target[0, 3:8, 3:9] = 1
    target[0, 10:15, 4:12] = 1
    target[0, 4:20, 20:25] = 2
    target[0, 10:15, 12:14] = 3  # another cell that touches
    target[0, 25, 2] = 255
    target[1, 3:8, 3:9] = 1  # alone
    found = segloss.border_weights(target, w0=8.0, sigma=4.0)
    objects = [target[0].numpy() == 2, target[0].numpy() == 3]
    numbers, count = ndimage.label(target[0].numpy() == 1)
    objects += [numbers == k for k in range(1, count + 1)]
    distances = np.sort([ndimage.distance_transform_edt(~each) for each in objects], 0)
    expected = np.where(target[0].numpy() == 0, 1 + 8 * np.exp(-((distances[0] + distances[1]) ** 2) / 32), 1.0)
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-5)
    assert (found[1] == 1).all()
    assert segloss.border_weights(torch.tensor([[True, False, False, True]]), sigma=3.0)[0, 1].item() == pytest.approx(
        1 + 10 * np.exp(-0.5)
    )
    with pytest.raises(ValueError, match="sigma must be > 0, got 0"):
        segloss.border_weights(target, sigma=0)
    with pytest.raises(TypeError, match=r"needs integer labels .*got torch.float32: target.long\(\)"):
        segloss.border_weights(target.float())
