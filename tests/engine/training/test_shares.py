"""Shares of the classes in pixels, loss and gradient: the arithmetic, and how a run logs them."""

import math

import numpy as np
import pytest
import torch
from scipy import sparse

from engine.training.shares import class_sums, pixel_losses, shares
from engine.training.shares_probe import representative
from segloss import build_loss
from segloss_tests.losses import BY_BATCH, HARD_ONLY, NAMES, PIXELWISE, build, sample, seeded
from segloss_tests.runs import log, trainer
from segloss_tests.stills import make_camvid


def of(loss, *batches):
    denominator = sum(loss.denominator(target) for _, target in batches)
    return shares([class_sums(logits, target, {"target": target}, loss, denominator) for logits, target in batches])


def test_cross_entropy_by_hand():
    """Three pixels of class 0, one of class 1, all with even odds: the loss of each is log 2, its gradient ½ twice."""
    logits, target = torch.zeros(1, 2, 1, 5), torch.tensor([[[0, 0, 0, 1, 255]]])
    even = {"pixels": [0.75, 0.25], "loss": [0.75, 0.25], "gradient": [0.75, 0.25]}
    assert of(build_loss("ce"), (logits, target)) == even
    weighted = of(build_loss("ce", class_weights=[1.0, 9.0]), (logits, target))
    assert weighted == {"pixels": [0.75, 0.25], "loss": [0.25, 0.75], "gradient": [0.25, 0.75]}
    logits[0, 1, 0, 3] = math.log(3)  # log 4/3 and ¼ twice in place of log 2 and ½ twice
    found = of(build_loss("ce"), (logits, target))
    loss, rest = math.log(4 / 3), 3 * math.log(2)
    assert found["loss"] == pytest.approx([rest / (rest + loss), loss / (rest + loss)])
    assert found["gradient"] == pytest.approx([3 / 3.5, 0.5 / 3.5])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*BY_BATCH, "lovasz", "lovasz_hinge")])
def test_gradients_are_those_of_finite_differences(name):
    """∂L/∂z logit by logit, in float64; recall weighs by what argmax finds, seql draws, Lovász has kinks."""
    logits, target = sample(shape=(2, 4, 3, 3))
    loss, step = build(name), 1e-6
    slopes = torch.zeros_like(logits)
    for place in range(logits.numel()):
        moved = [logits.clone() for _ in range(2)]
        for one, sign in zip(moved, (1, -1), strict=True):
            one.view(-1)[place] += sign * step
        slopes.view(-1)[place] = (loss(moved[0], target) - loss(moved[1], target)) / (2 * step)
    expected = torch.stack([slopes.abs().sum(1)[target == index].sum() for index in range(4)])
    found = of(loss, (logits, target))
    assert found["gradient"] == pytest.approx((expected / expected.sum()).tolist(), rel=1e-4)
    assert found["pixels"] == [int((target == index).sum()) / int((target < 4).sum()) for index in range(4)]


@pytest.mark.parametrize("name", PIXELWISE)
def test_the_parts_of_the_loss_add_up_to_it(name):
    logits, target = sample()
    loss = build(name)
    each = seeded(pixel_losses, loss, logits, {"target": target}, loss.denominator(target))
    assert float(each.sum()) == pytest.approx(float(seeded(loss, logits, target)), rel=1e-5)
    assert loss.reduction == "mean"


def test_weighted_sums_and_losses_of_regions():
    logits, target = sample()
    both = build_loss([{"name": "ce", "weight": 2}, {"name": "focal"}])
    each = pixel_losses(both, logits, {"target": target}, both.denominator(target))
    assert float(each.sum()) == pytest.approx(float(both(logits, target)), rel=1e-5)
    for loss in (build_loss("dice"), build_loss("topk"), build_loss([{"name": "ce"}, {"name": "dice"}])):
        found = of(loss, (logits, target))
        assert found["loss"] is None
        assert sum(found["gradient"]) == pytest.approx(1)


def test_micro_batches_are_those_of_one_step():
    logits, target = sample()
    parts = [(logits[:1], target[:1]), (logits[1:], target[1:])]
    loss = build_loss("ce", class_weights=[1.0, 2.0, 3.0, 4.0], normalize="weights")
    whole, split = of(loss, (logits, target)), of(loss, *parts)
    assert all(whole[name] == pytest.approx(split[name]) for name in whole)


def test_what_is_undefined_is_null():
    nothing = torch.full((1, 2, 2), 255)
    assert of(build_loss("ce"), (torch.zeros(1, 3, 2, 2), nothing)) == dict.fromkeys(("pixels", "loss", "gradient"))
    broken = torch.full((1, 3, 2, 2), torch.nan)
    found = of(build_loss("ce"), (broken, torch.zeros(1, 2, 2, dtype=torch.long)))
    assert found == {"pixels": [1, 0, 0], "loss": None, "gradient": None}


def test_the_probe_holds_what_is_rare():
    """Three volumes of four slices; every fourth slice is empty, one holds a class that no other does."""
    gland = [0, 5, 9, 2] * 3
    pixels = np.array([[100 - n, n, 0] for n in gland])
    pixels[9, 2] = 1
    assert representative(sparse.csr_array(pixels), 3) == [0, 1, 9]
    assert representative(sparse.csr_array(pixels), 20) == list(range(12))


def test_a_run_logs_them_where_it_validates(camvid_yaml):
    made = trainer(camvid_yaml, "train.epochs=3", "train.validate_every=2", "train.batch_size=4")
    made.fit()
    entries = log(made.run.path)
    assert [entry["shares"] is None for entry in entries] == [True, False, False]
    assert all(len(values) == 11 for entry in entries[1:] for values in entry["shares"].values())
    pixels = torch.stack([made.probe.samples[index]["mask"] for index in range(6)])
    wanted = [float((pixels == index).sum() / (pixels < 11).sum()) for index in range(11)]
    assert entries[1]["shares"]["pixels"] == entries[2]["shares"]["pixels"] == pytest.approx(wanted)


@pytest.mark.parametrize("loss", ["seql", *HARD_ONLY])
def test_to_look_changes_nothing(camvid_yaml, loss):
    """Neither running statistics, nor weights, nor random generators, nor the mode."""
    made = trainer(camvid_yaml, f"loss.name={loss}", "train.batch_size=4")
    before = {name: tensor.clone() for name, tensor in made.stepper.model.state_dict().items()}
    made.stepper.forward.train()
    state = torch.get_rng_state()
    found = made.probe.shares(made.stepper.forward, made.stepper.loss)
    assert found == made.probe.shares(made.stepper.forward, made.stepper.loss)
    assert torch.equal(torch.get_rng_state(), state)
    assert made.stepper.forward.training
    assert all(torch.equal(before[name], tensor) for name, tensor in made.stepper.model.state_dict().items())
    assert all(parameter.grad is None for parameter in made.stepper.model.parameters())


def test_images_of_two_sizes_are_looked_at_whole(camvid_yaml, camvid):
    make_camvid(camvid, (("train", "Y", 2),), size=(48, 40))
    made = trainer(camvid_yaml, "data.size=null", "data.augment=[{name: RandomCrop, height: 16, width: 24}]")
    found = made.probe.shares(made.stepper.forward, made.stepper.loss)
    masks = torch.cat([made.probe.samples[index]["mask"].flatten() for index in range(8)])
    assert found["pixels"] == pytest.approx([float((masks == index).sum() / (masks < 11).sum()) for index in range(11)])


def test_with_windows_the_centres_are_looked_at(camvid_yaml):
    made = trainer(camvid_yaml, "scores.window=[16, 16]")
    assert all(masks.shape[1:] == (16, 16) for _, masks, _ in made.probe._batches())
