"""What holds for every loss on any input that Hypothesis thinks of."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segloss import build_loss
from segloss_tests.losses import HARD_ONLY, NAMES, PIXELWISE, REGION, seeded

LEVELS = [0.0, 1e-3, -0.5, 2.0, -7.0, 30.0, -100.0, 1e4, -1e4]


@st.composite
def inputs(draw, dtypes=(torch.float64, torch.float32, torch.float16, torch.bfloat16)):
    """Logits of any rank and dtype, with ties and saturation; labels, some of them ignored; perhaps nothing at all."""
    classes = draw(st.integers(2, 6))
    space = draw(st.lists(st.integers(1, 4), max_size=3))
    images = draw(st.integers(0, 3))
    count = images * math.prod(space)
    dtype = draw(st.sampled_from(dtypes))
    values = draw(
        st.lists(st.sampled_from(LEVELS) | st.floats(-20, 20), min_size=count * classes, max_size=count * classes)
    )
    labels = draw(st.lists(st.sampled_from([*range(classes), 255]), min_size=count, max_size=count))
    logits = torch.tensor(values, dtype=torch.float64).reshape(images, *space, classes).movedim(-1, 1).to(dtype)
    return logits, torch.tensor(labels, dtype=torch.long).reshape(images, *space)


def build(name, classes, **parameters):
    counts = [10.0**k for k in range(classes)]
    return build_loss(name, num_classes=classes, class_counts=counts, **parameters)


@pytest.mark.filterwarnings("ignore::segloss.ClassWeightWarning")
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(inputs())
def test_value_and_gradient_are_finite_and_blind_to_what_is_ignored(name, data):
    logits, labels = data
    loss = build(name, logits.shape[1])
    ignored = (labels == 255).unsqueeze(1)
    z = torch.where(ignored, torch.nan, logits).requires_grad_()
    value = seeded(loss, z, labels)
    (gradient,) = torch.autograd.grad(value, z)
    assert value.shape == ()
    assert value.dtype == (torch.float64 if logits.dtype == torch.float64 else torch.float32)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert (gradient[ignored.expand_as(gradient)] == 0).all()
    if name != "boundary":
        assert value >= 0
    if not (labels != 255).any():
        assert value == 0


@pytest.mark.filterwarnings("ignore::segloss.ClassWeightWarning")
@pytest.mark.parametrize("name", [n for n in NAMES if n not in HARD_ONLY])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(inputs(dtypes=(torch.float64,)))
def test_one_hot_labels_are_labels(name, data):
    logits, labels = data
    labels = labels.clamp(max=logits.shape[1] - 1)
    soft = torch.nn.functional.one_hot(labels, logits.shape[1]).movedim(-1, 1).double()
    loss = build(name, logits.shape[1])
    expected = pytest.approx(seeded(loss, logits, labels).item(), rel=1e-9, abs=1e-12)
    assert seeded(loss, logits, soft).item() == expected


@pytest.mark.filterwarnings("ignore::segloss.ClassWeightWarning")
@pytest.mark.parametrize("name", PIXELWISE)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(inputs(dtypes=(torch.float64,)))
def test_the_mean_is_the_sum_over_the_count(name, data):
    logits, labels = data
    total, mean, each = (
        seeded(build(name, logits.shape[1], reduction=how), logits, labels) for how in ("sum", "mean", "none")
    )
    count = max(int((labels != 255).sum()), 1)
    assert mean.item() == pytest.approx(total.item() / count)
    assert total.item() == pytest.approx(each.sum().item())


@pytest.mark.parametrize("name", [n for n in REGION if n not in ("boundary", "lovasz_hinge", "mcc")])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(inputs(dtypes=(torch.float64,)))
def test_region_losses_lie_in_the_unit_interval(name, data):
    logits, labels = data
    value = build(name, logits.shape[1])(logits, labels)
    assert -1e-9 <= value.item() <= 1 + 1e-9
