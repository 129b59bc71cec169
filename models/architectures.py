"""The table of the networks that segmentation-models-pytorch has, by the names that YAML uses; internal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from .network import Network
from .ranges import DEPTH, DROPOUT, WIDTH
from .smp import Architecture, Option, factory


def _width(name: str, default: int, description: str, argument: str = "decoder_channels") -> Option:
    return Option(name, int, default, description, argument, WIDTH)


def _dropout(default: float, description: str, argument: str) -> Option:
    return Option("dropout", float, default, description, argument, DROPOUT)


STRIDE = "how much smaller the deepest features are than the input."
DEPTHS = Option("depth", int, 5, "how often the encoder halves the input, 3 to 5.", "encoder_depth", DEPTH)
WIDTHS = Option(
    "decoder_channels",
    list[int] | None,
    None,
    "the width of each decoder stage, deepest first; None for 256, 128, 64, 32, 16.",
)


def _widths(values: Mapping[str, Any]) -> dict[str, Any]:
    """The widths of a U-shaped decoder, deepest first, one a level of depth."""
    depth, given = values["depth"], values["decoder_channels"]
    widths = [256, 128, 64, 32, 16][:depth] if given is None else given
    if len(widths) != depth or min(widths) < 1:
        raise ValueError(f"decoder_channels must hold {depth} widths ≥ 1 (one a level of depth), got {widths}")
    return {"decoder_channels": widths}


def _dpt_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    encoder, width = values["encoder"], values["decoder_channels"]
    if not encoder.startswith("tu-"):
        raise ValueError(
            f"encoder must be a vision transformer of timm, such as tu-vit_small_patch16_224, got {encoder!r}"
        )
    return {"decoder_intermediate_channels": [width * times for times in (1, 2, 4, 4)], "dynamic_img_size": True}


def _without_upsampling(network: Network) -> Network:
    """DPT's head ends in an upsampling that no argument turns off; without it the logits have half the input's size."""
    module: Any = network.module
    module.segmentation_head = module.segmentation_head.head
    return network._replace(stride=2 * network.stride, heads=("segmentation_head.4",))


ARCHITECTURES: dict[str, Architecture] = {
    "deeplabv3plus": Architecture(
        "DeepLabV3Plus",
        "DeepLabV3+ (Chen 2018) with logits at a quarter of the input.\n\n"
        "Differs from the paper in its encoder (ResNet or another in place of Xception), and in two separable "
        "convolutions in\nthe decoder that are one here.",
        [
            Option("output_stride", Literal[8, 16], 16, STRIDE, "encoder_output_stride"),
            _width("decoder_channels", 256, "the width of the decoder."),
        ],
        pools_image=True,
    ),
    "deeplabv3": Architecture(
        "DeepLabV3",
        "DeepLabV3 (Chen 2017) with logits at the output stride.\n\n"
        "Differs from the paper in having no multi-grid in the last block and dropout after the pyramid.",
        [
            Option(
                "output_stride",
                Literal[8, 16],
                8,
                "how much smaller the deepest features, and the logits, are than the input.",
                "encoder_output_stride",
            ),
            _width("decoder_channels", 256, "the width of the atrous pyramid."),
            _dropout(0.5, "after the atrous pyramid.", "decoder_aspp_dropout"),
        ],
        pools_image=True,
    ),
    "unet": Architecture(
        "Unet",
        "U-Net with an encoder of choice.\n\n"
        "Differs from Ronneberger 2015 in its encoder, in upsampling to the nearest neighbour in place of transposed\n"
        "convolutions, and in batch normalisation; `unet2015` is the paper's.",
        [DEPTHS, WIDTHS],
        arguments=_widths,
    ),
    "unetplusplus": Architecture(
        "UnetPlusPlus",
        "U-Net++ (Zhou 2018): a U-Net whose skip connections are dense.\n\n"
        "Differs from the paper in its encoder, and in having one output without deep supervision.",
        [DEPTHS, WIDTHS],
        arguments=_widths,
    ),
    "manet": Architecture(
        "MAnet",
        "MA-Net (Fan 2020): a U-Net with position-wise and multi-scale attention.\n\n"
        "Differs from the paper in its encoder and in working on 2D images.",
        [
            DEPTHS,
            WIDTHS,
            _width("attention_channels", 64, "the width of the position-wise attention.", "decoder_pab_channels"),
        ],
        arguments=_widths,
    ),
    "linknet": Architecture(
        "Linknet",
        "LinkNet (Chaurasia 2017): skip connections are added, not concatenated, which makes it light.",
        [DEPTHS],
        arguments=lambda _: {},
    ),
    "fpn": Architecture(
        "FPN",
        "Feature pyramid network for segmentation (Kirillov 2019) with logits at a quarter of the input.",
        [
            _width("pyramid_channels", 256, "the width of the pyramid.", "decoder_pyramid_channels"),
            _width("decoder_channels", 128, "the width of the segmentation branch.", "decoder_segmentation_channels"),
            _dropout(0.2, "of whole channels before the head.", "decoder_dropout"),
        ],
    ),
    "pspnet": Architecture(
        "PSPNet",
        "PSPNet (Zhao 2017): pooling at four scales; logits at 1/2^depth of the input.\n\n"
        "Differs from the paper in taking the encoder's first stages in place of a dilated encoder, and in having no\n"
        "auxiliary loss.",
        [
            Option(
                "depth",
                Literal[3, 4, 5],
                3,
                "how often the encoder halves the input; its deeper stages are left out.",
                "encoder_depth",
            ),
            _width("decoder_channels", 512, "the width after the pyramid.", "psp_out_channels"),
            _dropout(0.2, "of whole channels before the head.", "psp_dropout"),
        ],
    ),
    "pan": Architecture(
        "PAN",
        "Pyramid attention network (Li 2018) with logits at a quarter of the input.\n\n"
        "Its attention halves the deepest features three times, so images smaller than 8 output strides are padded to "
        "that.",
        [
            Option("output_stride", Literal[16, 32], 16, STRIDE, "encoder_output_stride"),
            _width("decoder_channels", 32, "the width of the decoder."),
        ],
        pools_image=True,
        least_strides=8,
    ),
    "upernet": Architecture(
        "UPerNet",
        "UPerNet (Xiao 2018): a feature pyramid over pooling at four scales; logits at a quarter of the input.",
        [_width("decoder_channels", 256, "the width of the decoder.")],
        encoders="an encoder of segmentation-models-pytorch, such as resnet18, resnet50, tu-convnext_tiny.",
        pools_image=True,
    ),
    "segformer": Architecture(
        "Segformer",
        "SegFormer (Xie 2021): a mix transformer under a decoder of 1×1 convolutions; logits at a quarter of the "
        "input.",
        [_width("decoder_channels", 256, "the width of the decoder.", "decoder_segmentation_channels")],
        encoder="mit_b0",
        encoders="an encoder of segmentation-models-pytorch; the paper's are mit_b0 to mit_b5.",
    ),
    "dpt": Architecture(
        "DPT",
        "Dense prediction transformer (Ranftl 2021) on a vision transformer of timm; logits at half the input.\n\n"
        "The position embeddings are resized to the image, so that any size works.",
        [
            Option(
                "readout",
                Literal["ignore", "add", "cat"],
                "cat",
                "what becomes of the class token: left out, added, or concatenated and projected.",
                "decoder_readout",
            ),
            _width(
                "decoder_channels",
                256,
                "the width of the fusion; the four levels have 1, 2, 4 and 4 times as many channels.",
                "decoder_fusion_channels",
            ),
        ],
        encoder="tu-vit_small_patch16_224",
        encoders="`tu-` and the name of a vision transformer of timm that takes `dynamic_img_size`.",
        arguments=_dpt_arguments,
        finish=_without_upsampling,
    ),
}
FACTORIES: dict[str, Callable[..., Network]] = {name: factory(name, row) for name, row in ARCHITECTURES.items()}
