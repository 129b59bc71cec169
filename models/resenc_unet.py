"""The residual encoder U-Net of nnU-Net, made of MONAI's blocks."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from segloss.names import check_range

from .network import Network
from .ranges import UNPUBLISHED, WIDTH

NORM = ("INSTANCE", {"affine": True})
ACTIVATION = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})
WIDEST = 512
BLOCKS = (1, 3, 4, 6, 6, 6, 6)
"""Of nnU-Net's stages, the finest first."""
DEPTHS = ("in 2..6", lambda depth: 2 <= depth <= 6)


class ResEncUNet(nn.Module):
    """Images `(N, channels, H, W)` to logits `(N, C, H, W)`, in training to those of coarser levels too.

    Args:
        channels: of the images.
        num_classes: C.
        widths: of the stages, the finest first.
        blocks: residual blocks of each stage.
        levels: how many resolutions have logits.
    """

    def __init__(self, channels: int, num_classes: int, widths: list[int], blocks: list[int], levels: int) -> None:
        from monai.networks.blocks.dynunet_block import UnetResBlock, UnetUpBlock  # takes seconds to import

        super().__init__()
        stages = []
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            before, stride = (channels, 1) if level == 0 else (widths[level - 1], 2)
            first = UnetResBlock(2, before, width, 3, stride, NORM, ACTIVATION)
            if stride > 1:
                first.conv3 = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(before, width, 1, bias=False))
            more = [UnetResBlock(2, width, width, 3, 1, NORM, ACTIVATION) for _ in range(count - 1)]
            stages.append(nn.Sequential(first, *more))
        self.stages = nn.ModuleList(stages)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(UnetUpBlock(2, deep, fine, 3, 1, 2, NORM, ACTIVATION) for deep, fine in pairs)
        self.heads = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for width in widths[:levels])
        self.recomputes = False
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def set_grad_checkpointing(self, enable: bool) -> None:
        """Compute stages again in the backward pass."""
        self.recomputes = enable

    def forward(self, images: Tensor, supervised: bool = False) -> Tensor | list[Tensor]:
        """The logits; with `supervised` a list of those of every level, the finest first."""
        x, skips = images, []
        for stage in self.stages:
            x = self._run(stage, x)
            skips.append(x)
        skips.pop()
        decoded = []
        for up in self.up:
            x = self._run(up, x, skips.pop())
            decoded.append(x)
        count = len(self.heads) if supervised else 1
        logits = [head(features) for head, features in zip(self.heads, decoded[::-1][:count], strict=False)]
        return logits if supervised else cast(Tensor, logits[0])

    def _run(self, part: nn.Module, *inputs: Tensor) -> Tensor:
        if not self.recomputes or not torch.is_grad_enabled():
            return cast(Tensor, part(*inputs))
        found: Any = checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)  # nothing is drawn
        return cast(Tensor, found)


def resenc_unet(
    width: int = 32,
    depth: int = 5,
    blocks: list[int] | None = None,
    deep_supervision: bool = True,
    *,
    num_classes: int,
    channels: int,
    pretrained: str | None = None,
) -> Network:
    """The residual encoder U-Net of nnU-Net (Isensee 2024): instance normalisation, leaky ReLU, deep supervision.

    Made of the blocks of MONAI's DynUNet, with transposed convolutions and one block a stage in the decoder. Instance
    normalisation does not depend on the batch, so batches may be small. A shortcut to half the size pools before it
    projects, as nnU-Net's does; unlike there, no stem comes before the first block.

    Args:
        width: of the first stage; each deeper one is twice as wide, up to 512.
        depth: how often the image is halved, 2 to 6.
        blocks: residual blocks of each of the depth + 1 stages, the finest first; None for nnU-Net's (1, 3,
            4, then 6).
        deep_supervision: train the logits of every resolution but the two coarsest, each with half the weight of the
            finer one, by `segloss.DeepSupervision`; only the finest predict.
        num_classes: C.
        channels: of the images.
        pretrained: must be None: there are no published weights.

    Raises:
        ValueError: a parameter out of its range.
    """
    check_range("width", width, *WIDTH)
    check_range("depth", depth, *DEPTHS)
    counts = list(BLOCKS[: depth + 1]) if blocks is None else blocks
    if len(counts) != depth + 1 or min(counts) < 1:
        raise ValueError(f"blocks must hold {depth + 1} numbers ≥ 1 (depth + 1 stages), got {counts}")
    check_range("pretrained", pretrained, *UNPUBLISHED)
    widths = [min(width * 2**level, max(width, WIDEST)) for level in range(depth + 1)]
    levels = depth - 1 if deep_supervision else 1
    module = ResEncUNet(channels, num_classes, widths, counts, levels)
    return Network(
        module,
        stride=2**depth,
        heads=("heads.0",),
        smallest=2 ** (depth + 1),  # a map of one pixel has no deviation to be normalised by
        coarse_heads=tuple(f"heads.{level}" for level in range(1, levels)),
    )
