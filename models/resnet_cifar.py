"""The residual networks for CIFAR of He 2016."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from segloss.names import check_range

from .network import Network
from .ranges import UNPUBLISHED

WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut without weights: every second pixel, and zeros for the new channels.

    Args:
        before: channels that come in.
        after: channels that go out; the image is halved where they are more.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.stride, self.more = (1 if before == after else 2), after - before
        self.conv1 = nn.Conv2d(before, after, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        """The sum, rectified."""
        shortcut = x
        if self.more:
            left = self.more // 2
            shortcut = F.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, left, self.more - left))
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + shortcut, inplace=True)


class ResNetCifar(nn.Module):
    """Images `(N, channels, H, W)` to logits `(N, C, 1, 1)`; see `resnet_cifar`.

    Args:
        channels: of the images.
        num_classes: C.
        blocks: of each of the three stages.
    """

    def __init__(self, channels: int, num_classes: int, blocks: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, WIDTHS[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(WIDTHS[0])
        widths = [WIDTHS[0], *(width for width in WIDTHS for _ in range(blocks))]
        self.blocks = nn.Sequential(*map(Block, widths, widths[1:]))
        self.head = nn.Conv2d(WIDTHS[-1], num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        x = self.blocks(F.relu(self.bn(self.conv(images)), inplace=True))
        logits: Tensor = self.head(F.adaptive_avg_pool2d(x, 1))
        return logits


def resnet_cifar(depth: int = 32, *, num_classes: int, channels: int, pretrained: str | None = None) -> Network:
    """ResNet-20, 32, 44, 56 or 110 for pictures of 32×32 pixels (He 2016, section 4.2): one label a picture.

    Three stages of (depth − 2)/6 blocks with 16, 32 and 64 channels, and shortcuts without weights (option A); weights
    are drawn as in He 2015. ResNet-32 has 464,154 weights with 10 classes.

    Args:
        depth: layers with weights: 6n + 2, from 8 to 1202.
        num_classes: C.
        channels: of the images.
        pretrained: must be None: there are no published weights.

    Raises:
        ValueError: a parameter out of its range.
    """
    check_range("depth", depth, "6n + 2, such as 20, 32, 44, 56 or 110", lambda v: 8 <= v <= 1202 and v % 6 == 2)
    check_range("pretrained", pretrained, *UNPUBLISHED)
    module = ResNetCifar(channels, num_classes, (depth - 2) // 6)
    return Network(module, stride=1, heads=("head",), whole_image=True)
