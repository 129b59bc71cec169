"""A classifier on any encoder of segmentation-models-pytorch or timm."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from segloss.names import check_choice, check_range

from .network import Network
from .ranges import DROPOUT
from .smp import check_encoder, weights_argument

Stem = Literal["imagenet", "cifar"]


class Classifier(nn.Module):
    """Images `(N, channels, H, W)` to logits `(N, C, 1, 1)`: the deepest features, their mean, a linear layer.

    Args:
        encoder: gives features, the deepest last.
        num_classes: C.
        dropout: before the last layer.
    """

    def __init__(self, encoder: Any, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(encoder.out_channels[-1], num_classes, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        pooled = F.adaptive_avg_pool2d(self.encoder(images)[-1], 1)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


def classifier(
    encoder: str = "resnet18",
    stem: Stem = "imagenet",
    dropout: float = 0.0,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """An encoder of choice under global average pooling and a linear layer: one label a picture.

    Args:
        encoder: an encoder of segmentation-models-pytorch or timm, such as resnet18, resnet50, tu-convnext_tiny.
        stem: `imagenet` leaves the encoder as it is, with images of 32×32 pixels reduced to one value; `cifar` begins a
            ResNet with a 3×3 convolution that does not reduce the image, without pooling, as is usual for 32×32 pixels.
        dropout: before the last layer.
        num_classes: C.
        channels: of the images.
        pretrained: the name of the encoder's weights, or None.

    Raises:
        ValueError: an unknown encoder, one that has no such stem, weights for a stem that is replaced.
    """
    check_choice("stem", stem, get_args(Stem))
    check_range("dropout", dropout, *DROPOUT)
    check_encoder(encoder)
    if stem == "cifar" and pretrained is not None:
        raise ValueError(f"stem: cifar replaces the first layer, which the weights {pretrained} are for; use imagenet")

    from segmentation_models_pytorch.encoders import get_encoder

    made: Any = get_encoder(encoder, in_channels=channels, weights=weights_argument(encoder, pretrained))
    if stem == "cifar":
        first = getattr(made, "conv1", None)
        if not isinstance(first, nn.Conv2d) or not hasattr(made, "maxpool"):
            raise ValueError(f"stem: cifar is for ResNets, such as resnet18; {encoder} has another first layer")
        made.conv1 = nn.Conv2d(channels, first.out_channels, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(made.conv1.weight, mode="fan_out", nonlinearity="relu")
        made.maxpool = nn.Identity()
    module = Classifier(made, num_classes, dropout)
    return Network(module, 1, ("head",), "encoder", whole_image=True)
