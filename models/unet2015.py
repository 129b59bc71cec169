"""The U-Net of Ronneberger, 2015."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segloss.names import check_range

from .network import Network
from .ranges import DROPOUT, UNPUBLISHED, WIDTH


class UNet2015(nn.Module):
    """Images `(N, channels, H, W)` to logits `(N, C, H, W)`; see `unet2015`.

    Args:
        channels: of the images.
        num_classes: C.
        width: of the first level.
        depth: how often the image is halved.
        batch_norm: after every convolution.
        dropout: after the two deepest levels.
    """

    def __init__(
        self, channels: int, num_classes: int, width: int, depth: int, batch_norm: bool, dropout: float
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        inputs = [channels, *widths[:-1]]
        self.down = nn.ModuleList(
            _block(before, after, batch_norm, dropout if level >= depth - 1 else 0)
            for level, (before, after) in enumerate(zip(inputs, widths, strict=True))
        )
        self.pool = nn.MaxPool2d(2)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(before, after, 2, stride=2) for before, after in pairs)
        self.fuse = nn.ModuleList(_block(before, after, batch_norm) for before, after in pairs)
        self.head = nn.Conv2d(width, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        skips: list[Tensor] = []
        x = images
        for block in self.down:
            x = block(x if not skips else self.pool(x))
            skips.append(x)
        skips.pop()
        for up, fuse in zip(self.up, self.fuse, strict=True):
            x = fuse(torch.cat([skips.pop(), up(x)], 1))
        logits: Tensor = self.head(x)
        return logits


def _block(before: int, after: int, batch_norm: bool, dropout: float = 0) -> nn.Sequential:
    """Twice a 3×3 convolution and ReLU."""
    layers: list[nn.Module] = []
    for width in (before, after):
        layers.append(nn.Conv2d(width, after, 3, padding=1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(after)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))


def unet2015(
    width: int = 64,
    depth: int = 4,
    batch_norm: bool = True,
    dropout: float = 0.5,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """U-Net (Ronneberger 2015), 64 to 1024 channels wide, logits as large as the input, weights drawn as in the paper.

    Differs from the paper in padding its convolutions, so that the logits have the input's size and no skip is cropped,
    and in batch normalisation, which `batch_norm: false` turns off.

    Args:
        width: of the first level; each deeper one is twice as wide.
        depth: how often the image is halved.
        batch_norm: batch normalisation after every 3×3 convolution, which then has no bias.
        dropout: after the two deepest levels.
        num_classes: C.
        channels: of the images.
        pretrained: must be None: there are no published weights.

    Raises:
        ValueError: a parameter out of its range.
    """
    check_range("width", width, *WIDTH)
    check_range("depth", depth, "in 1..6", lambda v: 1 <= v <= 6)
    check_range("dropout", dropout, *DROPOUT)
    check_range("pretrained", pretrained, *UNPUBLISHED)
    module = UNet2015(channels, num_classes, width, depth, batch_norm, dropout)
    return Network(module, stride=2**depth, heads=("head",))
