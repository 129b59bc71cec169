"""Resizing of maps: whole, as torch does it or as two matrix products; and of logits row by row, without holding all.

On a GPU torch adds the gradient of a resized map atomically, in an order that varies from run to run. As the products
U_h x U_wᵀ, with one row of weights for each row and column of the result, forward and backward repeat bit for bit.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .tensors import full

BY_MATRIX = {"cuda"}
"""Types of devices on which maps are resized by matrix products; a CPU repeats itself, and is faster without them."""


def interpolate(
    x: Tensor, size: tuple[int, int], mode: str = "bilinear", align_corners: bool = False, antialias: bool = False
) -> Tensor:
    """What `F.interpolate` gives, repeatable on every device.

    Args:
        x: `(N, C, h, w)`.
        size: (H, W) of the result.
        mode: `bilinear` or `bicubic`.
        align_corners: whether the centres of the corner pixels stay where they are.
        antialias: of `F.interpolate`.

    Returns:
        `(N, C, H, W)` in the dtype of x; computed in float32 where that is a half precision.
    """
    if x.device.type not in BY_MATRIX:
        return F.interpolate(x, size, mode=mode, align_corners=align_corners, antialias=antialias)
    return _products(x, size, mode, align_corners, antialias)


def adaptive_avg_pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """What `F.adaptive_avg_pool2d` gives, repeatable on every device; arguments as of `interpolate`."""
    return _products(x, size, "pool") if x.device.type in BY_MATRIX else F.adaptive_avg_pool2d(x, size)


def _products(
    x: Tensor, size: tuple[int, int], mode: str, align_corners: bool = False, antialias: bool = False
) -> Tensor:
    """U_h x U_wᵀ, in the memory order of x."""
    dtype = full(x).dtype
    rows: Tensor
    columns: Tensor
    rows, columns = (
        weights(before, after, mode, align_corners, antialias, dtype, x.device)
        for before, after in zip(x.shape[2:], size, strict=True)
    )
    return _product(rows, x, columns).to(x.dtype)


def _product(rows: Tensor, x: Tensor, columns: Tensor) -> Tensor:
    """`rows` x `columns`ᵀ of each channel, in the memory order of x, in the dtype of the weights under autocast too."""
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(rows.dtype)
        if x.is_contiguous(memory_format=torch.channels_last):
            pixels = x.permute(0, 2, 3, 1)
            of_rows: Tensor = (rows @ pixels.flatten(2)).unflatten(2, pixels.shape[2:])
            return (columns @ of_rows).permute(0, 3, 1, 2)
        return rows @ x @ columns.T


@cache
def weights(
    before: int, after: int, mode: str, align_corners: bool, antialias: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The weights `(after, before)` of the source pixels along one axis, kept for every size that has been asked for.

    Args:
        before: pixels of the source.
        after: pixels of the result.
        mode: as of `interpolate`, or `pool`.
        align_corners: as of `interpolate`.
        antialias: as of `interpolate`.
        dtype: of the weights.
        device: of the weights.
    """
    with torch.inference_mode(False), torch.no_grad():
        identity = torch.eye(before, dtype=dtype)[None, None]  # column i holds source pixel i alone; columns stay
        size = (after, before)
        if mode == "pool":
            found = F.adaptive_avg_pool2d(identity, size)
        else:
            found = F.interpolate(identity, size, mode=mode, align_corners=align_corners, antialias=antialias)
        return found[0, 0].to(device)


# what `torch.compiler.assume_constant_result` does, which would import the compiler: seconds, for everyone
weights._dynamo_marked_constant = True  # type: ignore[attr-defined]


class Resize:
    """From logits `(N, C, h, w)` to those of `size`, `align_corners=False`, cropped to the target's height and width.

    Args:
        height: h.
        size: (H, W) of the upsampled map, of which the target covers the upper left part.
    """

    def __init__(self, height: int, size: tuple[int, int]) -> None:
        self.height, self.size = height, size
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
        source, logits = self.source(rows), full(logits)
        if logits.device.type in BY_MATRIX:
            of_rows = _exact_rows(self.height, self.size[0], logits.dtype, logits.device)[rows, source]
            of_columns = weights(logits.shape[3], self.size[1], "bilinear", False, False, logits.dtype, logits.device)
            return _product(of_rows, logits, of_columns)[..., : target.shape[-1]]
        upper, lower = (index[rows] - source.start for index in (self.upper, self.lower))
        narrow = torch.lerp(logits[:, :, upper], logits[:, :, lower], self.share[rows].to(logits).unsqueeze(1))
        wide = F.interpolate(narrow, (narrow.shape[2], self.size[1]), mode="bilinear", align_corners=False)
        return wide[..., : target.shape[-1]]

    def whole(self, logits: Tensor, target: Tensor) -> Tensor:
        """The large map."""
        return interpolate(full(logits), self.size)[..., : target.shape[-2], : target.shape[-1]]


@cache
def _exact_rows(height: int, rows: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The weights `(rows, height)` of the source rows in each row of `Resize`."""
    exact, row = Resize(height, (rows, 1)), torch.arange(rows)
    with torch.inference_mode(False):
        found = torch.zeros(rows, height, dtype=torch.float64)
        found[row, exact.upper] += 1 - exact.share
        found[row, exact.lower] += exact.share
        return found.to(dtype).to(device)
