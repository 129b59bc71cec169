"""U-shaped networks with an encoder of choice: logits as large as the input."""

from __future__ import annotations

from segloss.names import check_range

from .network import Network
from .smp import check_width, widths_of, wrapped


def unet(
    encoder: str = "resnet18",
    depth: int = 5,
    decoder_channels: list[int] | None = None,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """U-Net with an encoder of choice.

    Differs from Ronneberger 2015 in its encoder, in upsampling to the nearest neighbour in place of transposed
    convolutions, and in batch normalisation; `unet2015` is the paper's.

    Args:
        encoder: an encoder of segmentation-models-pytorch, such as resnet18, resnet50, timm-efficientnet-b0.
        depth: how often the encoder halves the input, 3 to 5.
        decoder_channels: the width of each decoder stage, deepest first; None for 256, 128, 64, 32, 16.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, a depth or a number of widths that does not fit.
    """
    return wrapped(
        "Unet",
        encoder,
        pretrained,
        num_classes,
        channels,
        encoder_depth=depth,
        decoder_channels=widths_of(depth, decoder_channels),
    )


def unetplusplus(
    encoder: str = "resnet18",
    depth: int = 5,
    decoder_channels: list[int] | None = None,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """U-Net++ (Zhou 2018): a U-Net whose skip connections are dense.

    Differs from the paper in its encoder, and in having one output without deep supervision.

    Args:
        encoder: an encoder of segmentation-models-pytorch, such as resnet18, resnet50, timm-efficientnet-b0.
        depth: how often the encoder halves the input, 3 to 5.
        decoder_channels: the width of each decoder stage, deepest first; None for 256, 128, 64, 32, 16.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, a depth or a number of widths that does not fit.
    """
    return wrapped(
        "UnetPlusPlus",
        encoder,
        pretrained,
        num_classes,
        channels,
        encoder_depth=depth,
        decoder_channels=widths_of(depth, decoder_channels),
    )


def manet(
    encoder: str = "resnet18",
    depth: int = 5,
    decoder_channels: list[int] | None = None,
    attention_channels: int = 64,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """MA-Net (Fan 2020): a U-Net with position-wise and multi-scale attention.

    Differs from the paper in its encoder and in working on 2D images.

    Args:
        encoder: an encoder of segmentation-models-pytorch, such as resnet18, resnet50, timm-efficientnet-b0.
        depth: how often the encoder halves the input, 3 to 5.
        decoder_channels: the width of each decoder stage, deepest first; None for 256, 128, 64, 32, 16.
        attention_channels: the width of the position-wise attention.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, a depth or a number of widths that does not fit.
    """
    check_width("attention_channels", attention_channels)
    return wrapped(
        "MAnet",
        encoder,
        pretrained,
        num_classes,
        channels,
        encoder_depth=depth,
        decoder_channels=widths_of(depth, decoder_channels),
        decoder_pab_channels=attention_channels,
    )


def linknet(
    encoder: str = "resnet18",
    depth: int = 5,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """LinkNet (Chaurasia 2017): skip connections are added, not concatenated, which makes it light.

    Args:
        encoder: an encoder of segmentation-models-pytorch, such as resnet18, resnet50, timm-efficientnet-b0.
        depth: how often the encoder halves the input, 3 to 5.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, a depth that does not fit.
    """
    check_range("depth", depth, "in 3..5", lambda v: 3 <= v <= 5)
    return wrapped("Linknet", encoder, pretrained, num_classes, channels, encoder_depth=depth)
