"""A loss of several resolutions, and overlap losses of sums from several places."""

import pytest
import torch
import torch.nn.functional as F

import segloss
from segloss import build_loss
from segloss_tests.losses import build, sample

OVERLAPS = ["dice", "iou", "tversky", "focal_tversky", "generalized_dice", "mcc"]


def levels(sizes=((12, 20), (6, 10), (3, 5))):
    outputs = [sample(seed=n, shape=(2, 4, *size))[0].requires_grad_() for n, size in enumerate(sizes)]
    return outputs, sample(shape=(2, 4, 12, 20))[1]


def at_size(values, size):
    return F.interpolate(values.double().unsqueeze(1), size, mode="nearest-exact").squeeze(1)


def test_levels_are_weighed_and_labels_taken_by_the_nearest():
    outputs, target = levels()
    mask = torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    weight = torch.rand(target.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for weights, shares in (([1.0, 0.5, 0.0], [1.0, 0.5, 0.0]), (None, [4 / 7, 2 / 7, 1 / 7])):
        loss = segloss.DeepSupervision(build("ce"), weights)
        expected = sum(
            share * build("ce")(z, at_size(target, z.shape[2:]).long(), at_size(mask, z.shape[2:]).bool(),
                                weight=at_size(weight, z.shape[2:]))
            for share, z in zip(shares, outputs, strict=True)
        )  # fmt: skip
        found = loss(outputs, target, mask, weight=weight)
        assert found.item() == pytest.approx(expected.item(), rel=1e-6)
        gradients = [torch.autograd.grad(each, outputs[0], retain_graph=True)[0] for each in (found, expected)]
        torch.testing.assert_close(*gradients)


def test_levels_of_micro_batches_equal_one_batch():
    outputs, target = levels()
    target[0, :6] = 255
    sizes = [z.shape[2:] for z in outputs]
    loss = segloss.DeepSupervision(build_loss([{"name": "ce"}, {"name": "focal", "weight": 2.0}]))
    total = sum(loss.denominator(target[n : n + 1], sizes=sizes) for n in range(2))
    assert total.shape == (3, 2)
    parts = sum(loss([z[n : n + 1] for z in outputs], target[n : n + 1], denominator=total) for n in range(2))
    assert parts.item() == pytest.approx(loss(outputs, target).item(), rel=1e-6)


def test_deep_supervision_follows_training_and_names_mistakes():
    loss = segloss.DeepSupervision(build("cdb_ce"), [1.0, 0.5])
    assert (loss.follows_validation, loss.activation) == (True, "softmax")
    loss.new_epoch(1, [0.9, 0.2, 0.6, 0.05])
    assert loss.loss.difficulty.tolist() == segloss.difficulty_weights([0.9, 0.2, 0.6, 0.05]).tolist()
    outputs, target = levels()
    with pytest.raises(ValueError, match="has 2 weights, and the network 3 outputs"):
        loss(outputs, target)
    with pytest.raises(TypeError, match="takes a list of logits, the finest first; got Tensor"):
        loss(outputs[0], target)
    with pytest.raises(ValueError, match="weights must be numbers ≥ 0, one a level, not all 0"):
        segloss.DeepSupervision(build("ce"), [0.0, 0.0])
    with pytest.raises(TypeError, match="is of a loss of segloss, got MSELoss"):
        segloss.DeepSupervision(torch.nn.MSELoss())


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("name", OVERLAPS)
def test_the_loss_of_added_sums_is_that_of_the_batch(name, classes):
    logits, target = sample(shape=(4, 4, 5, 3))
    target[:2][target[:2] == 3] = 255
    options = {} if name == "generalized_dice" else {"classes": classes}
    loss = build(name, class_weights=[1.0, 2.0, 0.5, 3.0], **options)
    z = logits.requires_grad_()
    halves = [loss.sums(z[:2], target[:2]), loss.sums(z[2:], target[2:])]
    assert halves[0].shape == (4, 3)
    expected = loss(z, target)
    assert loss.of_sums(sum(halves)).item() == pytest.approx(expected.item(), rel=1e-12)
    assert loss.of_sums(0 * halves[0].detach()).item() == 0
    (whole,) = torch.autograd.grad(expected, z)
    for index, own in enumerate(halves):  # as on two ranks
        total = sum(halves).detach()
        (gradient,) = torch.autograd.grad(loss.of_sums((total - own).detach() + own), z, retain_graph=True)
        rows = slice(2 * index, 2 * index + 2)
        torch.testing.assert_close(gradient[rows], whole[rows])
    if name != "mcc":
        regions = torch.rand(logits.shape, generator=torch.Generator().manual_seed(3)) < 0.4
        loss = build(name, sigmoid=True)
        halves = [loss.sums(logits[:2], regions[:2]), loss.sums(logits[2:], regions[2:])]
        assert loss.of_sums(sum(halves)).item() == pytest.approx(loss(logits, regions).item(), rel=1e-12)
    with pytest.raises(ValueError, match="sums need per_image=False"):
        build(name, per_image=True).sums(logits, target)
    target[0, 0, 0] = 9
    with pytest.raises(ValueError, match=r"1 pixels with the label\(s\) 9"):
        loss.sums(logits, target)
