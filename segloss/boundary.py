"""Boundary loss, and the signed distance maps it is made of."""

from __future__ import annotations

import torch
from torch import Tensor

from .region import RegionLoss, by_unit
from .tensors import Pixels, at_class, ratio


def signed_distance(inside: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The signed Euclidean distance to the boundary of each mask, in pixels (Kervadec 2019).

    Outside it is the distance to the nearest pixel inside, ≥ 1; inside it is 1 minus the distance to the nearest pixel
    outside, so ≤ 0. A mask that is empty or full has no boundary: 0 everywhere.

    Args:
        inside: `(N, C, *spatial)` bool, one mask for each image and class.
        dtype: of the result.

    Returns:
        `(N, C, *spatial)`.

    >>> signed_distance(torch.tensor([[[False, False, True, True, True]]])).tolist()
    [[[2.0, 1.0, 0.0, -1.0, -2.0]]]
    """
    if inside.numel() == 0:
        return torch.zeros_like(inside, dtype=dtype)
    to_inside, to_outside = _squared_distance(inside).to(dtype), _squared_distance(~inside).to(dtype)
    signed = torch.where(inside, 1 - to_outside.sqrt(), to_inside.sqrt())
    flat = inside.flatten(2) if inside.dim() > 2 else inside.unsqueeze(2)
    bounded = flat.any(2) & ~flat.all(2)
    return torch.where(bounded.view(*bounded.shape, *[1] * (inside.dim() - 2)), signed, 0.0)


def _squared_distance(seeds: Tensor) -> Tensor:
    """The squared distance to the nearest true pixel, whole numbers in float32.

    One axis after the other, the least f(j) + (i − j)² over j, with f the result of the axes before.
    """
    far = float(sum(size * size for size in seeds.shape[2:]))
    squared = torch.zeros_like(seeds, dtype=torch.float32).masked_fill(~seeds, far)
    for axis in range(2, seeds.dim()):
        size = seeds.shape[axis]
        before = squared
        squared = before.clone()
        for shift in range(1, size):  # every pixel is compared with the one so far to either side of it
            if shift * shift >= float(squared.max()):  # nothing that lies farther off can be nearer
                break
            near, beyond = squared.narrow(axis, 0, size - shift), squared.narrow(axis, shift, size - shift)
            torch.minimum(near, before.narrow(axis, shift, size - shift) + shift * shift, out=near)
            torch.minimum(beyond, before.narrow(axis, 0, size - shift) + shift * shift, out=beyond)
    return squared


def boundary_of_region(pixels: Pixels, per_image: bool) -> Tensor:
    """Σ φ p over the valid pixels, divided by their number, `(units, C)`; ignored pixels lie outside of every class."""
    valid = pixels.valid.unsqueeze(1)
    distance = signed_distance(at_class(pixels.target, pixels.logits.shape[1]) & valid, pixels.logits.dtype)
    each = torch.where(valid, pixels.logits.softmax(1) * distance, 0.0)
    sums = each.flatten(2).sum(2) if each.dim() > 2 else each
    sums = sums if per_image else sums.sum(0, keepdim=True)
    return ratio(sums, by_unit(pixels.valid, per_image).sum(1, keepdim=True))


class BoundaryLoss(RegionLoss):
    """Σ φ_c p_c over the pixels, divided by their number, averaged over classes c; p = softmax(z) (Kervadec 2019).

    φ_c is the signed distance to the boundary of class c, in pixels, negative inside (`signed_distance`). The price of
    a false pixel grows with its distance from the boundary: use it in a sum with a region loss, at a small weight (the
    paper starts at 0.01), where HD95 or surface scores count. Not alone: for a small object, predicting nothing costs
    hardly more than the best prediction; nor for huge images in a hurry, since exact distances are computed for every
    batch. It is negative for a good prediction. Ignored pixels lie outside of every class.

    Args:
        per_image: see `RegionLoss`.
        classes: see `RegionLoss`; an absent class has no boundary and adds 0 under `all`.
        class_weights, num_classes, class_counts, ignore_index, reduction: see `RegionLoss`.

    Raises:
        TypeError: soft labels.

    >>> half = torch.zeros(1, 2, 5)  # p = ½; φ of class 1 (2, 1, 0, -1, -2), of class 0 (-1, 0, 1, 2, 3)
    >>> round(float(BoundaryLoss()(half, torch.tensor([[0, 0, 1, 1, 1]]))), 4)
    0.25
    """

    formula = staticmethod(boundary_of_region)
