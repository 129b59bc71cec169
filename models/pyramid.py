"""Networks that see features at several scales: pyramids of levels, of pooling, of attention."""

from __future__ import annotations

from typing import Literal

from .network import Network
from .smp import check_dropout, check_width, wrapped


def fpn(
    encoder: str = "resnet18",
    pyramid_channels: int = 256,
    decoder_channels: int = 128,
    dropout: float = 0.2,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """Feature pyramid network for segmentation (Kirillov 2019) with logits at a quarter of the input.

    Args:
        encoder: an encoder of segmentation-models-pytorch, such as resnet18, resnet50, timm-efficientnet-b0.
        pyramid_channels: the width of the pyramid.
        decoder_channels: the width of the segmentation branch.
        dropout: of whole channels before the head.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, a width or a dropout out of range.
    """
    check_width("pyramid_channels", pyramid_channels)
    check_width("decoder_channels", decoder_channels)
    check_dropout("dropout", dropout)
    return wrapped(
        "FPN",
        encoder,
        pretrained,
        num_classes,
        channels,
        decoder_pyramid_channels=pyramid_channels,
        decoder_segmentation_channels=decoder_channels,
        decoder_dropout=dropout,
        upsampling=1,
    )


def pspnet(
    encoder: str = "resnet18",
    depth: Literal[3, 4, 5] = 3,
    decoder_channels: int = 512,
    dropout: float = 0.2,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """PSPNet (Zhao 2017): pooling at four scales; logits at 1/2^depth of the input.

    Differs from the paper in taking the encoder's first stages in place of a dilated encoder, and in having no
    auxiliary loss.

    Args:
        encoder: an encoder of segmentation-models-pytorch, such as resnet18, resnet50, timm-efficientnet-b0.
        depth: how often the encoder halves the input; its deeper stages are left out.
        decoder_channels: the width after the pyramid.
        dropout: of whole channels before the head.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, a width or a dropout out of range.
    """
    check_width("decoder_channels", decoder_channels)
    check_dropout("dropout", dropout)
    return wrapped(
        "PSPNet",
        encoder,
        pretrained,
        num_classes,
        channels,
        encoder_depth=depth,
        psp_out_channels=decoder_channels,
        psp_dropout=dropout,
        upsampling=1,
    )


def pan(
    encoder: str = "resnet18",
    output_stride: Literal[16, 32] = 16,
    decoder_channels: int = 32,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """Pyramid attention network (Li 2018) with logits at a quarter of the input.

    Its attention halves the deepest features three times, so images smaller than 8 output strides are padded to that.

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
        "PAN",
        encoder,
        pretrained,
        num_classes,
        channels,
        pools_image=True,
        smallest=8 * output_stride,
        encoder_output_stride=output_stride,
        decoder_channels=decoder_channels,
        upsampling=1,
    )


def upernet(
    encoder: str = "resnet18",
    decoder_channels: int = 256,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """UPerNet (Xiao 2018): a feature pyramid over pooling at four scales; logits at a quarter of the input.

    Args:
        encoder: an encoder of segmentation-models-pytorch, such as resnet18, resnet50, tu-convnext_tiny.
        decoder_channels: the width of the decoder.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, a width out of range.
    """
    check_width("decoder_channels", decoder_channels)
    return wrapped(
        "UPerNet",
        encoder,
        pretrained,
        num_classes,
        channels,
        pools_image=True,
        decoder_channels=decoder_channels,
        upsampling=1,
    )
