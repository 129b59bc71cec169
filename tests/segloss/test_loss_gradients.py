"""Whom the gradient reaches: logits that want one, parameters that require one; and the transforms of torch.func."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

import segloss
from segloss import blocks, build_loss, functional
from segloss.pixelwise import pixelwise_loss
from segloss_tests.losses import COUNTS, EAGER, HARD_ONLY, NAMES, build, sample, seeded, whole_graph

VECTOR = [0.4, 1.3, 0.7, 2.0]
PARAMETERS = {
    "class_weights": (functional.ce, "class_weights", VECTOR, {}),
    "of a closed form": (functional.dfl, "class_weights", VECTOR, {"reduction": "none"}),
    "weights in the denominator": (functional.ce, "class_weights", VECTOR, {"normalize": "weights"}),
    "alpha": (functional.focal, "alpha", VECTOR, {}),
    "one alpha": (functional.focal, "alpha", 0.3, {"reduction": "sum"}),
    "margins": (functional.ldam, "margins", VECTOR, {"s": 2.0}),
    "log_prior": (functional.logit_adjusted, "log_prior", VECTOR, {"tau": 0.7}),
    "difficulty": (functional.cdb_ce, "difficulty", VECTOR, {}),
    "labels": (functional.mse_ol, "labels", VECTOR, {}),
    "gamma": (functional.sigmoid_focal, "gamma", 1.5, {}),
    "weights of hard pixels": (functional.topk, "class_weights", VECTOR, {"k": 0.5}),
    "weights of a region": (functional.dice, "class_weights", VECTOR, {}),
    "denominator": (functional.ce, "denominator", 7.0, {}),
    "denominator of a region": (functional.dice, "denominator", 7.0, {}),
}


@pytest.mark.parametrize(
    ("case", "compiled"),
    [
        *((case, False) for case in PARAMETERS),
        *(pytest.param(case, True, marks=() if case == "one alpha" else pytest.mark.slow) for case in PARAMETERS),
    ],
)
def test_parameters_get_the_gradient_that_they_want(case, compiled):
    """Against differences of the values, and whether or not the logits want one too."""
    torch.compiler.reset()
    loss, name, values, options = PARAMETERS[case]
    logits, target = sample()
    call = whole_graph(loss, backend="aot_eager") if compiled else loss
    found = []
    for wanted in (False, True):
        z, parameter = logits.clone().requires_grad_(wanted), torch.tensor(values, dtype=torch.float64).requires_grad_()
        value = call(z, target, **{name: parameter}, **options)
        gradients = torch.autograd.grad(value.sum(), [parameter, z] if wanted else [parameter])
        found.append(gradients[0])
        if not compiled:
            assert gradcheck(lambda p: loss(z.detach(), target, **{name: p}, **options), parameter)  # noqa: B023
    torch.testing.assert_close(*found)
    assert torch.count_nonzero(found[0])
    expected = torch.autograd.grad(loss(z, target, **{name: parameter.detach()}, **options).sum(), z)
    torch.testing.assert_close(gradients[1:], expected)


def test_parameters_of_modules_and_closures_get_theirs():
    logits, target = sample(ignored=0.0)
    each = F.cross_entropy(logits, target, reduction="none")
    shares = torch.stack([torch.where(target == c, each, 0.0).mean() for c in range(4)])
    loss = build("ce", class_weights=VECTOR)
    loss.class_weights.requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(loss(logits, target), loss.class_weights)[0], shares)

    large = F.interpolate(logits, (10, 6), mode="bilinear", align_corners=False)
    labels = torch.arange(120).view(2, 10, 6) % 4
    found = torch.autograd.grad(segloss.upsampled(loss, (10, 6))(logits, labels), loss.class_weights)
    torch.testing.assert_close(found, torch.autograd.grad(loss(large, labels), loss.class_weights))

    learned = torch.ones((), dtype=torch.float64, requires_grad=True)
    closed = pixelwise_loss(lambda z, t: learned * F.cross_entropy(z, t, reduction="none"), logits, target)
    torch.testing.assert_close(torch.autograd.grad(closed, learned)[0], each.mean())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_no_gradient_is_made_where_none_is_wanted(name, mode, monkeypatch):
    logits, target = sample()
    expected = seeded(build(name), logits, target)

    def refused(*_):
        raise AssertionError("a gradient is made")

    monkeypatch.setattr(blocks.Plan, "empty_like", refused)
    monkeypatch.setattr(blocks.Block, "pull_back", refused)
    wanting = logits.clone().requires_grad_()
    with mode():
        for given in (wanting, logits, 1 * wanting):
            value = seeded(build(name), given, target)
            assert not value.requires_grad
            torch.testing.assert_close(value, expected)
    if name not in ("topk", *HARD_ONLY, "seql"):
        with mode():
            value = segloss.upsampled(build(name), (5, 3))(wanting, target)
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("name", NAMES)
def test_torch_func_differentiates(name):
    logits, target = sample()
    loss = build(name)
    expected = torch.autograd.grad(seeded(loss, z := logits.clone().requires_grad_(), target), z)[0]
    found, value = torch.func.grad_and_value(lambda z: seeded(loss, z, target))(logits)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(value, seeded(loss, logits, target))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*EAGER, "seql")])
def test_torch_func_maps_over_images(name):
    """The gradient of each image by itself; `boundary` and `blob` look at labels, `seql` draws."""
    logits, target = sample()
    loss = build(name)

    def of_one(z, t):
        return loss(z.unsqueeze(0), t.unsqueeze(0))

    found = torch.func.vmap(torch.func.grad(of_one))(logits, target)
    one_by_one = [torch.func.grad(of_one)(z, t) for z, t in zip(logits, target, strict=True)]
    torch.testing.assert_close(found, torch.stack(one_by_one))


def test_torch_func_differentiates_by_weights():
    logits, target = sample(ignored=0.0)
    weights = torch.tensor(VECTOR, dtype=torch.float64)
    found = torch.func.grad(lambda w: functional.ce(logits, target, class_weights=w))(weights)
    each = F.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(found, torch.stack([torch.where(target == c, each, 0.0).mean() for c in range(4)]))
    sums = build_loss([{"name": "dice"}, {"name": "ldam"}], num_classes=4, class_counts=COUNTS)
    assert torch.func.vmap(lambda z: sums(z.unsqueeze(0), target[:1]))(logits).shape == (2,)
