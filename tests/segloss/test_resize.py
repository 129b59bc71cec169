"""Resizing by matrix products, as on a GPU, against torch's own; forced onto the CPU."""

import pytest
import torch
import torch.nn.functional as F

from segloss import build_loss, resize, upsampled


@pytest.fixture(autouse=True)
def by_matrix(monkeypatch):
    monkeypatch.setattr(resize, "BY_MATRIX", {"cpu"})


def assert_same(found, expected, source):
    """To 5e-7 of the largest value, forward and backward, in the same memory order."""
    assert found.dtype == expected.dtype
    assert found.stride() == expected.stride()
    assert float((found - expected).abs().max() / expected.abs().max()) <= 5e-7
    cotangent = torch.randn_like(expected)
    slopes = [torch.autograd.grad(each, source, cotangent)[0] for each in (found, expected)]
    assert float((slopes[0] - slopes[1]).abs().max() / slopes[1].abs().max()) <= 2e-6


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("mode", "antialias"), [("bilinear", False), ("bicubic", False), ("bicubic", True)])
@pytest.mark.parametrize("size", [(56, 28), (33, 20), (5, 3)])
def test_interpolation(order, align_corners, mode, antialias, size):
    x = torch.randn(2, 3, 14, 9, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=order)
    x.requires_grad_()
    options = {"mode": mode, "align_corners": align_corners, "antialias": antialias}
    assert_same(resize.interpolate(x, size, **options), F.interpolate(x, size, **options), x)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 6)])
def test_pooling(size):
    x = torch.randn(2, 4, 14, 9, requires_grad=True)
    assert_same(resize.adaptive_avg_pool(x, size), F.adaptive_avg_pool2d(x, size), x)


def test_half_precision_is_resized_in_float32():
    """Rounded once, at the end, under autocast too."""
    x = torch.randn(2, 3, 6, 7).bfloat16()
    expected = F.interpolate(x.float(), (24, 21), mode="bilinear")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = resize.interpolate(x, (24, 21))
    assert found.dtype == torch.bfloat16
    assert float((found.float() - expected.bfloat16().float()).abs().max()) <= 2**-8 * float(expected.abs().max())
    assert torch.equal(resize.interpolate(x.float(), (24, 21)).bfloat16(), found)


def test_weights_made_under_inference_serve_training():
    with torch.inference_mode():
        resize.interpolate(torch.ones(1, 1, 19, 23), (31, 37))
    x = torch.ones(1, 1, 19, 23, requires_grad=True)
    resize.interpolate(x, (31, 37)).sum().backward()
    assert float(x.grad.sum()) == pytest.approx(31 * 37, rel=1e-5)


@pytest.mark.parametrize("name", ["dfl", "dice"])
def test_a_loss_of_an_upsampled_map(name, monkeypatch):
    """In blocks of a few rows, cropped, one label ignored."""
    monkeypatch.setattr("segloss.blocks.BLOCK", {"cpu": 16 * 40 * 3, "other": 2**24})
    x = torch.randn(2, 3, 9, 10, requires_grad=True)
    target = torch.randint(0, 3, (2, 34, 39))
    target[0, :3] = 255
    loss = build_loss(name)
    found = upsampled(loss, (36, 40))(x, target)
    expected = loss(F.interpolate(x, (36, 40), mode="bilinear")[..., :34, :39], target)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    slopes = [torch.autograd.grad(each, x)[0] for each in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-8)
