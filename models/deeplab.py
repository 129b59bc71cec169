"""DeepLab: atrous convolutions in the encoder and at several rates over its last features."""

from __future__ import annotations

from typing import Literal

from .network import Network
from .smp import check_dropout, check_width, wrapped


def deeplabv3plus(
    encoder: str = "resnet18",
    output_stride: Literal[8, 16] = 16,
    decoder_channels: int = 256,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """DeepLabV3+ (Chen 2018) with logits at a quarter of the input.

    Differs from the paper in its encoder (ResNet or another in place of Xception), and in two separable convolutions in
    the decoder that are one here.

    Args:
        encoder: an encoder of segmentation-models-pytorch, such as resnet18, resnet50, timm-efficientnet-b0.
        output_stride: how much smaller the deepest features are than the input.
        decoder_channels: the width of the decoder.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, or one that cannot be dilated.
    """
    check_width("decoder_channels", decoder_channels)
    return wrapped(
        "DeepLabV3Plus",
        encoder,
        pretrained,
        num_classes,
        channels,
        pools_image=True,
        encoder_output_stride=output_stride,
        decoder_channels=decoder_channels,
        upsampling=1,
    )


def deeplabv3(
    encoder: str = "resnet18",
    output_stride: Literal[8, 16] = 8,
    decoder_channels: int = 256,
    dropout: float = 0.5,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """DeepLabV3 (Chen 2017) with logits at the output stride.

    Differs from the paper in having no multi-grid in the last block and dropout after the pyramid.

    Args:
        encoder: an encoder of segmentation-models-pytorch, such as resnet18, resnet50, timm-efficientnet-b0.
        output_stride: how much smaller the deepest features, and the logits, are than the input.
        decoder_channels: the width of the atrous pyramid.
        dropout: after the atrous pyramid.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, or one that cannot be dilated.
    """
    check_width("decoder_channels", decoder_channels)
    check_dropout("dropout", dropout)
    return wrapped(
        "DeepLabV3",
        encoder,
        pretrained,
        num_classes,
        channels,
        pools_image=True,
        encoder_output_stride=output_stride,
        decoder_channels=decoder_channels,
        decoder_aspp_dropout=dropout,
        upsampling=1,
    )
