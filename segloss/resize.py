"""Bilinear upsampling of logits, row by row: what `F.interpolate` gives, without holding it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .tensors import full


class Resize:
    """From logits `(N, C, h, w)` to those of `size`, `align_corners=False`, cropped to the target's height and width.

    Args:
        height: h.
        size: (H, W) of the upsampled map, of which the target covers the upper left part.
    """

    def __init__(self, height: int, size: tuple[int, int]) -> None:
        self.size = size
        # Row i of the large map is centred at (i + ½) h/H − ½, counted in rows of the small one: `share` of the way
        # from its row `upper` to the next. Beyond the first and the last centre the edge row is repeated.
        centre = ((torch.arange(size[0], dtype=torch.float64) + 0.5) * (height / size[0]) - 0.5).clamp_min(0)
        self.upper = centre.long().clamp_max(height - 1)
        self.lower = (self.upper + 1).clamp_max(height - 1)
        self.share = centre - self.upper

    def source(self, rows: slice) -> slice:
        """The rows of the small map that the rows of the large one are made of."""
        if rows.stop <= rows.start:
            return slice(0, 0)
        return slice(int(self.upper[rows.start]), int(self.lower[rows.stop - 1]) + 1)

    def slab(self, logits: Tensor, rows: slice, target: Tensor) -> Tensor:
        """Some rows of the large map from their source rows: first along the height, where the map is still narrow."""
        first = self.source(rows).start
        upper, lower = (index[rows].to(logits.device) - first for index in (self.upper, self.lower))
        share = self.share[rows].to(logits.device, full(logits).dtype).unsqueeze(1)
        narrow = torch.lerp(full(logits)[:, :, upper], full(logits)[:, :, lower], share)
        wide = F.interpolate(narrow, (narrow.shape[2], self.size[1]), mode="bilinear", align_corners=False)
        return wide[..., : target.shape[-1]]

    def whole(self, logits: Tensor, target: Tensor) -> Tensor:
        """The large map."""
        large = F.interpolate(full(logits), self.size, mode="bilinear", align_corners=False)
        return large[..., : target.shape[-2], : target.shape[-1]]
