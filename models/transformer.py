"""Networks made for transformer encoders."""

from __future__ import annotations

from typing import Any, Literal

from .network import Network
from .smp import check_encoder, check_width, wrapped


def segformer(
    encoder: str = "mit_b0",
    decoder_channels: int = 256,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """SegFormer (Xie 2021): a mix transformer under a decoder of 1×1 convolutions; logits at a quarter of the input.

    Args:
        encoder: an encoder of segmentation-models-pytorch; the paper's are mit_b0 to mit_b5.
        decoder_channels: the width of the decoder.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, a width out of range.
    """
    check_width("decoder_channels", decoder_channels)
    return wrapped(
        "Segformer",
        encoder,
        pretrained,
        num_classes,
        channels,
        decoder_segmentation_channels=decoder_channels,
        upsampling=1,
    )


def dpt(
    encoder: str = "tu-vit_small_patch16_224",
    readout: Literal["ignore", "add", "cat"] = "cat",
    decoder_channels: int = 256,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """Dense prediction transformer (Ranftl 2021) on a vision transformer of timm; logits at half the input.

    The position embeddings are resized to the image, so that any size works.

    Args:
        encoder: `tu-` and the name of a vision transformer of timm that takes `dynamic_img_size`.
        readout: what becomes of the class token: left out, added, or concatenated and projected.
        decoder_channels: the width of the fusion; the four levels have 1, 2, 4 and 4 times as many channels.
        num_classes: C.
        channels: of the images.
        pretrained: anything but None for the encoder's weights.

    Raises:
        ValueError: an encoder that is no vision transformer of timm, a width out of range.
    """
    check_width("decoder_channels", decoder_channels)
    check_encoder(encoder)
    if not encoder.startswith("tu-"):
        raise ValueError(
            f"encoder must be a vision transformer of timm, such as tu-vit_small_patch16_224, got {encoder!r}"
        )
    network = wrapped(
        "DPT",
        encoder,
        pretrained,
        num_classes,
        channels,
        decoder_readout=readout,
        decoder_fusion_channels=decoder_channels,
        decoder_intermediate_channels=[decoder_channels * times for times in (1, 2, 4, 4)],
        dynamic_img_size=True,
    )
    module: Any = network.module
    module.segmentation_head = module.segmentation_head.head  # without its upsampling
    return network._replace(stride=2 * network.stride, heads=("segmentation_head.4",))
