"""Architectures of segmentation-models-pytorch."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal

import segmentation_models_pytorch as smp
import timm
from segmentation_models_pytorch.encoders import encoders as encoder_settings
from torch import nn

Pretrained = Literal["imagenet"]


def deeplabv3plus(
    encoder: str = "resnet18",
    output_stride: Literal[8, 16] = 16,
    decoder_channels: int = 256,
    pretrained: Pretrained | None = None,
    *,
    num_classes: int,
    channels: int,
) -> nn.Module:
    """DeepLabV3+ (Chen 2018) with logits at a quarter of the input.

    Args:
        encoder: an encoder of segmentation-models-pytorch, such as resnet18, resnet50, timm-efficientnet-b0.
        output_stride: how much smaller the deepest features are than the input.
        decoder_channels: the width of the decoder.
        pretrained: `imagenet`, or None for random weights.
        num_classes: C.
        channels: of the images.

    Raises:
        ValueError: an unknown encoder, or one that cannot be dilated.
    """
    _check_encoder(encoder)
    if decoder_channels < 1:
        raise ValueError(f"decoder_channels must be ≥ 1, got {decoder_channels}")
    network: nn.Module = smp.DeepLabV3Plus(
        encoder,
        encoder_weights=pretrained,
        encoder_output_stride=output_stride,
        decoder_channels=decoder_channels,
        in_channels=channels,
        classes=num_classes,
        upsampling=1,
    )
    return network


def unet(
    encoder: str = "resnet18",
    depth: int = 5,
    decoder_channels: list[int] | None = None,
    pretrained: Pretrained | None = None,
    *,
    num_classes: int,
    channels: int,
) -> nn.Module:
    """U-Net with an encoder of choice.

    Args:
        encoder: an encoder of segmentation-models-pytorch, such as resnet18, resnet50, timm-efficientnet-b0.
        depth: how often the encoder halves the input, 3 to 5.
        decoder_channels: the width of each decoder stage, deepest first; None for 256, 128, 64, 32, 16.
        pretrained: `imagenet`, or None for random weights.
        num_classes: C.
        channels: of the images.

    Raises:
        ValueError: an unknown encoder, a depth or a number of widths that does not fit.
    """
    _check_encoder(encoder)
    if not 3 <= depth <= 5:
        raise ValueError(f"depth must be in 3..5, got {depth}")
    widths = [256, 128, 64, 32, 16][:depth] if decoder_channels is None else decoder_channels
    if len(widths) != depth or min(widths) < 1:
        raise ValueError(f"decoder_channels must hold {depth} widths ≥ 1 (one a level of depth), got {widths}")
    network: nn.Module = smp.Unet(
        encoder,
        encoder_depth=depth,
        encoder_weights=pretrained,
        decoder_channels=widths,
        in_channels=channels,
        classes=num_classes,
    )
    return network


def encoders() -> list[str]:
    """The names of the encoders."""
    return sorted(smp.encoders.get_encoder_names())


def check_pretrained(encoder: str, pretrained: str | None) -> None:
    """Raise a `ValueError` where an encoder of segmentation-models-pytorch has no such weights; fetches nothing."""
    known = encoder_settings.get(encoder)
    offered = known["pretrained_settings"] if known else {}
    if pretrained is not None and known is not None and pretrained not in offered:
        raise ValueError(f"pretrained: {encoder} has no weights {pretrained!r}, only {', '.join(offered) or 'none'}")


def _check_encoder(encoder: str) -> None:
    if encoder in encoders() or (encoder.startswith("tu-") and timm.is_model(encoder[3:])):
        return
    near = get_close_matches(encoder, encoders(), n=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"encoder {encoder!r} is none of segmentation-models-pytorch{hint}")
