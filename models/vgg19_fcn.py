"""Fully convolutional networks on VGG-19."""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from segloss.names import check_choice, check_range
from segloss.resize import interpolate
from segloss.tensors import full

from .network import Network
from .ranges import DROPOUT, WIDTH

Variant = Literal["8s", "16s", "32s"]
STRIDES = {"8s": 8, "16s": 16, "32s": 32}


class VggFcn(nn.Module):
    """Images `(N, channels, H, W)` to logits `(N, C, H/s, W/s)`, s the variant's stride; see `vgg19_fcn`.

    Args:
        channels: of the images.
        num_classes: C.
        stride: 8, 16 or 32.
        width: of fc6 and fc7.
        batch_norm: in the features.
        dropout: after fc6 and fc7.

    Attributes:
        features: torchvision's, five stages that end in a pooling each.
        scores: a 1×1 convolution for each stride that is fused, the deepest first.
    """

    def __init__(
        self, channels: int, num_classes: int, stride: int, width: int, batch_norm: bool, dropout: float
    ) -> None:
        from torchvision.models.vgg import cfgs, make_layers

        super().__init__()
        self.features = make_layers(cfgs["E"], batch_norm=batch_norm)
        if channels != 3:
            self.features[0] = nn.Conv2d(channels, 64, 3, padding=1)
        self.fc6 = nn.Conv2d(512, width, 7, padding=3)
        self.fc7 = nn.Conv2d(width, width, 1)
        self.dropout = nn.Dropout(dropout)
        widths = {32: width, 16: 512, 8: 256}
        self.scores = nn.ModuleList(nn.Conv2d(widths[s], num_classes, 1) for s in widths if s >= stride)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(cast(Tensor, module.bias))
        for score in self.scores:
            nn.init.xavier_uniform_(cast(Tensor, score.weight))

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        x, pooled = images, []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(x)
        x = self.dropout(F.relu(self.fc6(x), inplace=True))
        x = self.dropout(F.relu(self.fc7(x), inplace=True))
        logits: Tensor = self.scores[0](x)
        for score, skip in zip(list(self.scores)[1:], (pooled[3], pooled[2]), strict=False):
            logits = interpolate(full(logits), (skip.shape[2], skip.shape[3])) + score(skip)
        return logits

    def load_imagenet(self, weights: dict[str, Tensor]) -> None:
        """Take torchvision's weights: the features, and where the width is theirs its first two linear layers."""
        first = weights["features.0.weight"]
        count = self.features[0].weight.shape[1]
        if count == 1:  # a grey image is three equal channels
            weights["features.0.weight"] = first.sum(1, keepdim=True)
        elif count != 3:
            weights["features.0.weight"] = first[:, [index % 3 for index in range(count)]] * (3 / count)
        own = self.state_dict()
        renamed = {key: value for key, value in weights.items() if key.startswith("features.")}
        for ours, theirs in (("fc6", "classifier.0"), ("fc7", "classifier.3")):
            if self.fc6.out_channels == len(weights[f"{theirs}.bias"]):
                renamed[f"{ours}.weight"] = weights[f"{theirs}.weight"].view_as(own[f"{ours}.weight"])
                renamed[f"{ours}.bias"] = weights[f"{theirs}.bias"]
        self.load_state_dict(own | renamed)


def vgg19_fcn(
    variant: Variant = "8s",
    width: int = 4096,
    batch_norm: bool = False,
    dropout: float = 0.5,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """FCN-8s, FCN-16s or FCN-32s (Long 2015) on the features of VGG-19; logits at 1/8, 1/16 or 1/32 of the input.

    Differs from the paper in VGG-19 in place of VGG-16 (as Hossain 2019 has it), in padding fc6 by 3 in place of the
    image by 100, in upsampling that is bilinear and stays so, in class scores that do not start at zero (the paper saw
    no difference), and in training every skip from the start, where the paper goes from 32s over 16s to 8s.

    Args:
        variant: the stride of the finest skip: 8s, 16s or 32s.
        width: of fc6 and fc7.
        batch_norm: take VGG-19 with batch normalisation.
        dropout: after fc6 and fc7.
        num_classes: C.
        channels: of the images.
        pretrained: `imagenet` for torchvision's weights, of fc6 and fc7 too where their width is 4096; or None.

    Raises:
        ValueError: a parameter out of its range.
        OSError: the weights cannot be downloaded.
    """
    check_choice("variant", variant, get_args(Variant))
    check_range("width", width, *WIDTH)
    check_range("dropout", dropout, *DROPOUT)
    module = VggFcn(channels, num_classes, STRIDES[variant], width, batch_norm, dropout)
    if pretrained is not None:
        from torchvision.models import VGG19_BN_Weights, VGG19_Weights

        weights = VGG19_BN_Weights.IMAGENET1K_V1 if batch_norm else VGG19_Weights.IMAGENET1K_V1
        module.load_imagenet(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    return Network(module, 32, tuple(f"scores.{index}" for index in range(len(module.scores))))
