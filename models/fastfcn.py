"""FastFCN: joint pyramid upsampling in place of a dilated encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from segloss.names import check_range
from segloss.resize import interpolate

from .network import Network
from .ranges import DROPOUT, WIDTH
from .smp import check_encoder, weights_argument


class JointPyramidUpsampling(nn.Module):
    """Features at strides 8, 16 and 32 to features `(N, 4 width, H/8, W/8)` (Wu 2019, 3.3).

    Each level is convolved to one width and resized to stride 8; what they are together is seen at four dilations by
    separable convolutions, as a dilated encoder would.

    Args:
        channels: of the features, the finest first.
        width: of each level and each dilation.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_convolution(count, width) for count in channels)
        self.dilated = nn.ModuleList(_separable(width * len(channels), width, dilation) for dilation in (1, 2, 4, 8))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The joint features."""
        size = features[0].shape[-2:]
        levels = [level(x) for level, x in zip(self.levels, features, strict=True)]
        levels = [levels[0], *(interpolate(x, (size[0], size[1])) for x in levels[1:])]
        joint = torch.cat(levels, 1)
        return torch.cat([branch(joint) for branch in self.dilated], 1)


class FastFcn(nn.Module):
    """Images `(N, channels, H, W)` to logits `(N, C, H/8, W/8)`; see `fastfcn`.

    Args:
        encoder: gives features at strides 1, 2, 4, 8, 16, 32.
        decoder: from the joint features to those of the head, and their width.
        jpu: joins the features of the last three strides.
        width: of the decoder's output.
        num_classes: C.
        dropout: of whole channels before the head.
    """

    def __init__(
        self, encoder: nn.Module, jpu: nn.Module, decoder: nn.Module, width: int, num_classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.encoder, self.jpu, self.decoder = encoder, jpu, decoder
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.head(self.dropout(self.decoder(self.jpu(self.encoder(images)[-3:]))))
        return logits


def _convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def _separable(before: int, after: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, before, 3, padding=dilation, dilation=dilation, groups=before, bias=False),
        nn.BatchNorm2d(before),
        nn.Conv2d(before, after, 1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def fastfcn(
    encoder: str = "resnet50",
    decoder: Literal["fcn", "aspp"] = "fcn",
    width: int = 512,
    dropout: float = 0.1,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """FastFCN (Wu 2019): an encoder without dilation, joint pyramid upsampling, a small decoder; logits at stride 8.

    Differs from the paper in its ResNet, whose first convolution is the usual 7×7, not three of 3×3; in its decoders,
    of which the context encoding one is left out; and in having no auxiliary loss.

    Args:
        encoder: an encoder of segmentation-models-pytorch with features at strides 8, 16 and 32, such as resnet50.
        decoder: `fcn`: a 3×3 convolution; `aspp`: DeepLabV3's atrous pyramid at rates 12, 24 and 36.
        width: of the joint pyramid's levels and of the FCN decoder; the atrous pyramid has half of it.
        dropout: of whole channels before the head.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, a parameter out of its range.
    """
    check_range("width", width, *WIDTH)
    check_range("dropout", dropout, *DROPOUT)
    check_encoder(encoder)

    from segmentation_models_pytorch.encoders import get_encoder

    weights = weights_argument(encoder, pretrained)
    features: Any = get_encoder(encoder, in_channels=channels, depth=5, weights=weights)
    jpu = JointPyramidUpsampling(features.out_channels[-3:], width)
    inner = width if decoder == "fcn" else max(width // 2, 1)
    last = _convolution(4 * width, inner) if decoder == "fcn" else _aspp(4 * width, inner)
    module = FastFcn(features, jpu, last, inner, num_classes, dropout)
    return Network(module, features.output_stride, ("head",), "encoder", pools_image=decoder == "aspp")


def _aspp(before: int, after: int) -> nn.Sequential:
    from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP

    pyramid: nn.Module = ASPP(before, after, [12, 24, 36], separable=False, dropout=0.5)
    return nn.Sequential(pyramid, _convolution(after, after))
