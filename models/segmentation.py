"""The wrapper that every network gets: any input size in, logits of that size out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from segloss import AdaptiveClassWeight


class SegmentationModel(nn.Module):
    """Pad to the stride → network → adaptive class weight → resize to the padded input → crop.

    Resizing is bilinear with `align_corners=False`, for every network alike.

    Args:
        network: maps `(N, channels, H, W)`, H and W multiples of the stride, to logits at H/k × W/k for some k.
        stride: what H and W are padded to a multiple of.
        acw: a layer to put on the logits.
        pools_image: the network has batch normalisation on 1×1 maps, so it cannot train on a batch of one.
    """

    def __init__(
        self, network: nn.Module, stride: int, acw: AdaptiveClassWeight | None = None, pools_image: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.acw = acw
        self.stride, self.pools_image = stride, pools_image

    def low_resolution(self, images: Tensor) -> Tensor:
        """The logits before the resize, `(N, C, h, w)`, of the padded input."""
        rows, columns = (-size % self.stride for size in images.shape[-2:])
        if rows or columns:
            images = F.pad(images, (0, columns, 0, rows))
        logits: Tensor = self.network(images)
        return logits if self.acw is None else self.acw(logits)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, C, H, W)` for images `(N, channels, H, W)` of any size."""
        height, width = images.shape[-2:]
        padded = (height + -height % self.stride, width + -width % self.stride)
        logits = self.low_resolution(images)
        if logits.shape[-2:] != padded:
            logits = F.interpolate(logits, padded, mode="bilinear", align_corners=False)
        return logits[..., :height, :width]

    def parameter_groups(self, weight_decay: float) -> list[dict[str, object]]:
        """Groups for an optimizer: matrices and kernels decay; biases, norms and the ACW weights do not.

        Args:
            weight_decay: of the first group.
        """
        acw = [] if self.acw is None else list(self.acw.parameters())
        rest = list(self.network.parameters())
        groups = [
            ("decay", [p for p in rest if p.dim() > 1], weight_decay),
            ("no_decay", [p for p in rest if p.dim() <= 1], 0.0),
            ("acw", acw, 0.0),
        ]
        return [{"name": name, "params": params, "weight_decay": decay} for name, params, decay in groups if params]
