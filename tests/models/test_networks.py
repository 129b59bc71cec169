"""The networks against independent numbers: layer by layer, torchvision's and segmentation-models-pytorch's."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torchvision.models import VGG19_Weights, vgg19, vgg19_bn

from segloss_tests.networks import build


def count(module):
    return sum(p.numel() for p in module.parameters())


def on_meta(factory):
    """A network of torchvision as shapes alone, which is quick."""
    with torch.device("meta"):
        return factory()


def convolution(before, after, size, bias=True):
    return before * after * size * size + (after if bias else 0)


def ronneberger(channels, classes, width=64, depth=4, norm=False):
    """The weights of the U-Net's layers, as the figure of the paper lists them."""
    total, before, bias, extra = 0, channels, not norm, 2 if norm else 0
    widths = [width * 2**level for level in range(depth + 1)]
    for after in widths:
        total += convolution(before, after, 3, bias) + convolution(after, after, 3, bias) + 2 * extra * after
        before = after
    for after in widths[-2::-1]:
        total += convolution(2 * after, after, 2)  # up-convolution
        total += convolution(2 * after, after, 3, bias) + convolution(after, after, 3, bias) + 2 * extra * after
    return total + convolution(width, classes, 1)


def test_unet2015_has_the_weights_of_the_paper():
    plain = build("unet2015", width=64, channels=1, num_classes=2, batch_norm=False, shapes_only=True)
    assert count(plain) == ronneberger(1, 2)
    assert 31_000_000 < count(plain) < 31_100_000
    assert count(build("unet2015", width=64, channels=3, num_classes=11, shapes_only=True)) == ronneberger(
        3, 11, norm=True
    )
    assert count(build("unet2015", width=8, depth=2, channels=3)) == ronneberger(3, 4, 8, 2, norm=True)


def test_unet2015_starts_as_in_the_paper():
    """Gaussian weights of deviation √(2/N), N the inputs of a unit."""
    weight = build("unet2015", width=64).network.down[2][3].weight
    assert float(weight.detach().std()) == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)


@pytest.mark.parametrize(("variant", "stride"), [("8s", 8), ("16s", 16), ("32s", 32)])
def test_vgg19_fcn_has_the_features_of_torchvision_and_the_head_of_long(variant, stride):
    model = build("vgg19_fcn", variant=variant, width=32, shapes_only=True).eval()
    scores = sum(convolution(width, 4, 1) for width, s in ((32, 32), (512, 16), (256, 8)) if s >= stride)
    head = convolution(512, 32, 7) + convolution(32, 32, 1) + scores
    assert count(model) == count(on_meta(vgg19).features) + head
    assert model.low_resolution(torch.zeros(1, 3, 64, 96, device="meta")).shape == (1, 4, 64 // stride, 96 // stride)


def test_vgg19_fcn_of_full_width():
    features, fc6, fc7 = 20_024_384, convolution(512, 4096, 7), convolution(4096, 4096, 1)
    scores = convolution(4096, 11, 1) + convolution(512, 11, 1) + convolution(256, 11, 1)
    assert count(build("vgg19_fcn", width=4096, num_classes=11, shapes_only=True)) == features + fc6 + fc7 + scores
    normalised = build("vgg19_fcn", batch_norm=True, shapes_only=True)
    assert count(normalised.network.features) == count(on_meta(vgg19_bn).features)


@pytest.mark.parametrize(("width", "channels"), [(4096, 3), (16, 1)])
def test_vgg19_fcn_takes_torchvision_s_weights(monkeypatch, width, channels):
    """With them, fc6 and fc7 give on 7×7 features what torchvision's classifier gives."""
    torch.manual_seed(0)
    theirs = vgg19().eval()
    weights = {key: tensor.clone() for key, tensor in theirs.state_dict().items()}
    monkeypatch.setattr(VGG19_Weights, "get_state_dict", lambda *_, **__: dict(weights))
    ours = build("vgg19_fcn", width=width, channels=channels, pretrained="imagenet").eval().network
    grey = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            ours.features(grey.expand(1, channels, 32, 32)), theirs.features(grey.expand(1, 3, 32, 32))
        )
        if width == 4096:
            features = torch.rand(1, 512, 7, 7)
            expected = theirs.classifier[:5](features.flatten(1))
            found = ours.fc7(ours.fc6(features)[:, :, 3:4, 3:4].relu()).relu()
            torch.testing.assert_close(found.flatten(1), expected)


def test_fastfcn_has_the_layers_of_the_paper():
    """JPU: three 3×3 convolutions, four separable ones of dilation 1, 2, 4, 8; then a 3×3 convolution and the head."""
    width, norm = 512, 2
    levels = sum(convolution(c, width, 3, False) + norm * width for c in (512, 1024, 2048))
    joint = 3 * width
    separable = joint * 9 + norm * joint + convolution(joint, width, 1, False) + norm * width
    head = convolution(4 * width, width, 3, False) + norm * width + convolution(width, 4, 1)
    encoder = smp.encoders.get_encoder("resnet50", weights=None)
    model = build("fastfcn", encoder="resnet50", width=512)
    assert count(model) == count(encoder) + levels + 4 * separable + head
    dilated = [m.dilation for m in model.network.jpu.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert dilated == [(1, 1), (2, 2), (4, 4), (8, 8)]
    low = build("fastfcn", decoder="aspp").eval().low_resolution(torch.zeros(1, 3, 64, 96))
    assert low.shape == (1, 4, 8, 12)


@pytest.mark.parametrize(
    ("name", "theirs", "stride"),
    [
        ("deeplabv3plus", smp.DeepLabV3Plus, 4),
        ("deeplabv3", smp.DeepLabV3, 8),
        ("unet", smp.Unet, 1),
        ("unetplusplus", smp.UnetPlusPlus, 1),
        ("manet", smp.MAnet, 1),
        ("linknet", smp.Linknet, 1),
        ("fpn", smp.FPN, 4),
        ("pspnet", smp.PSPNet, 8),
        ("pan", smp.PAN, 4),
        ("upernet", smp.UPerNet, 4),
        ("segformer", smp.Segformer, 4),
    ],
)
def test_the_architectures_are_smp_s(name, theirs, stride):
    """The same weights, and with them the same logits: only the last resize is ours."""
    encoder = "mit_b0" if name == "segformer" else "resnet18"
    ours = build(name, encoder=encoder).eval()
    theirs = theirs(encoder, encoder_weights=None, classes=4).eval()
    missing, foreign = theirs.load_state_dict(ours.network.state_dict(), strict=False)
    assert (foreign, [key for key in missing if not key.startswith(("encoder.layer3", "encoder.layer4"))]) == ([], [])
    images = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        low = ours.low_resolution(images)
        expected = nn.functional.interpolate(low, (128, 128), mode="bilinear", align_corners=True)
        assert low.shape[-1] == 128 // stride
        torch.testing.assert_close(theirs(images), expected, rtol=1e-4, atol=1e-5)


def test_dpt_is_smp_s():
    encoder = "tu-vit_tiny_patch16_224"
    theirs = smp.DPT(encoder, encoder_weights=None, classes=4, dynamic_img_size=True).eval()
    ours = build("dpt", decoder_channels=256).eval()
    weights = {key.replace("head.head", "head"): tensor for key, tensor in theirs.state_dict().items()}
    ours.network.load_state_dict(weights)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = nn.functional.interpolate(ours.low_resolution(images), (64, 96), mode="bilinear", align_corners=True)
        torch.testing.assert_close(theirs(images), expected, rtol=1e-4, atol=1e-5)


def test_unet2015_sees_a_neighbourhood_and_no_more():
    """Four levels see 92 pixels to each side: the paper's tiles lose that much (572 to 388)."""
    model = build("unet2015", width=2, depth=4, batch_norm=False, dropout=0.0).eval().double()
    images = torch.zeros(1, 3, 256, 256, dtype=torch.float64, requires_grad=True)
    model(images + 1)[0, 0, 128, 128].backward()
    rows = images.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert 92 - 16 <= 128 - int(rows.min()) <= 92 + 16
    assert 92 - 16 <= int(rows.max()) - 128 <= 92 + 16
