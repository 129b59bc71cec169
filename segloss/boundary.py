"""Boundary loss, and the signed distance maps it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from .labels import Pixels
from .names import check_range
from .region import RegionLoss, RegionOptions, by_unit, region_loss
from .tensors import at_class, ratio


def signed_distance(
    inside: Tensor, dtype: torch.dtype = torch.float32, spacing: Sequence[float] | None = None
) -> Tensor:
    """The signed Euclidean distance to the boundary of each mask, in pixels or the units of `spacing` (Kervadec 2019).

    Outside it is the distance to the nearest pixel inside; inside it is the smallest side of a pixel minus the distance
    to the nearest pixel outside, so ≤ 0. A mask that is empty or full has no boundary: 0 everywhere.

    Args:
        inside: `(N, C, *spatial)` bool, one mask for each image and class.
        dtype: of the result.
        spacing: the sides of a pixel along each spatial axis; 1 each when left out.

    Returns:
        `(N, C, *spatial)`.

    Raises:
        ValueError: a spacing that is not one positive number an axis.

    >>> signed_distance(torch.tensor([[[False, False, True, True, True]]])).tolist()
    [[[2.0, 1.0, 0.0, -1.0, -2.0]]]
    """
    axes = inside.dim() - 2
    sides = [1.0] * axes if spacing is None else [float(side) for side in spacing]
    if len(sides) != axes or not all(0 < side < float("inf") for side in sides):
        raise ValueError(f"spacing must be one positive number for each of {axes} spatial axes, got {spacing}")
    if inside.numel() == 0:
        return torch.zeros_like(inside, dtype=dtype)
    to_inside, to_outside = _squared_distance(inside, sides).to(dtype), _squared_distance(~inside, sides).to(dtype)
    signed = torch.where(inside, min(sides, default=1.0) - to_outside.sqrt(), to_inside.sqrt())
    flat = inside.flatten(2) if inside.dim() > 2 else inside.unsqueeze(2)
    bounded = flat.any(2) & ~flat.all(2)
    return torch.where(bounded.view(*bounded.shape, *[1] * axes), signed, 0.0)


def _squared_distance(seeds: Tensor, sides: Sequence[float]) -> Tensor:
    """The squared distance to the nearest true pixel, in float32; larger than any where there is none.

    Along the first axis it is that to the nearest seed before or behind, and then, one axis after the other, the least
    f(j) + (i − j)² over j, with f the result of the axes before. On a CPU it is looked at once in a while whether any
    pixel can still gain; elsewhere that would wait for the device.
    """
    far = float(sum((size * side) ** 2 for size, side in zip(seeds.shape[2:], sides, strict=True))) + 1.0
    if seeds.dim() == 2:
        return torch.where(seeds, 0.0, far)
    squared = _squared_along(seeds, sides[0], far)
    for axis, side in enumerate(sides[1:], start=3):
        size = seeds.shape[axis]
        before = squared
        squared = before.clone()
        for shift in range(1, size):  # every pixel is compared with the one so far to either side of it
            step = (shift * side) ** 2
            if shift % 4 == 1 and seeds.device.type == "cpu" and step >= float(squared.max()):
                break  # nothing that lies farther off can be nearer
            near, beyond = squared.narrow(axis, 0, size - shift), squared.narrow(axis, shift, size - shift)
            torch.minimum(near, before.narrow(axis, shift, size - shift) + step, out=near)
            torch.minimum(beyond, before.narrow(axis, 0, size - shift) + step, out=beyond)
    return squared


def _squared_along(seeds: Tensor, side: float, far: float) -> Tensor:
    """The squared distance to the nearest true pixel along the first spatial axis."""
    size = seeds.shape[2]
    place = torch.arange(size, device=seeds.device, dtype=torch.float32).view(-1, *[1] * (seeds.dim() - 3))
    before = torch.where(seeds, place, -torch.inf).cummax(2).values
    behind = torch.where(seeds, place, torch.inf).flip(2).cummin(2).values.flip(2)
    return (torch.minimum(place - before, behind - place) * side).square_().clamp_max_(far)


def boundary_of_region(
    pixels: Pixels, per_image: bool, distance: Tensor | None = None, spacing: Sequence[float] | None = None
) -> Tensor:
    """Σ φ p over the valid pixels, divided by their number, `(units, C)`; ignored pixels lie outside of every class."""
    counted, logits = pixels.counted, pixels.logits
    if distance is None:
        distance = signed_distance(at_class(pixels.target, logits.shape[1]) & counted, logits.dtype, spacing)
    elif distance.shape != logits.shape or distance.device != logits.device or not distance.is_floating_point():
        raise ValueError(
            f"distance must be floating of shape {tuple(logits.shape)} on {logits.device}, got {distance.dtype} of "
            f"{tuple(distance.shape)} on {distance.device}: segloss.signed_distance of one mask a class"
        )
    each = torch.where(counted, logits.softmax(1) * distance.to(logits.dtype), 0.0)
    sums = each.flatten(2).sum(2) if each.dim() > 2 else each
    sums = sums if per_image else sums.sum(0, keepdim=True)
    return ratio(sums, by_unit(pixels.valid, per_image).sum(1, keepdim=True))


class BoundaryLoss(RegionLoss):
    """Σ φ_c p_c over the pixels, divided by their number, averaged over classes c; p = softmax(z) (Kervadec 2019).

    φ_c is the signed distance to the boundary of class c, in pixels, negative inside (`signed_distance`). The price of
    a false pixel grows with its distance from the boundary: use it in a sum with a region loss, at a small weight that
    grows with the epochs (the paper starts at 0.01), where HD95 or surface scores count. Not alone: for a small object,
    predicting nothing costs hardly more than the best prediction; nor for huge images in a hurry, since exact distances
    are computed for every batch, unless the loader makes them: `loss(logits, target, distance=…)`. It is negative for a
    good prediction. Ignored pixels lie outside of every class.

    Args:
        spacing: the sides of a voxel along each spatial axis, in mm, so that φ is in mm; null: pixels.
        per_image: see `RegionLoss`.
        classes: see `RegionLoss`; an absent class has no boundary and adds 0 under `all`.
        class_weights, num_classes, class_counts, ignore_index, reduction: see `RegionLoss`.

    Raises:
        TypeError: soft labels.
        ValueError: a spacing that is not positive, or not one number an axis.

    >>> half = torch.zeros(1, 2, 5)  # p = ½; φ of class 1 (2, 1, 0, -1, -2), of class 0 (-1, 0, 1, 2, 3)
    >>> round(float(BoundaryLoss()(half, torch.tensor([[0, 0, 1, 1, 1]]))), 4)
    0.25
    """

    formula = staticmethod(boundary_of_region)
    restrictions: ClassVar[tuple[str, ...]] = ("distance",)

    def __init__(self, *, spacing: Sequence[float] | None = None, **options: Unpack[RegionOptions]) -> None:
        rule = "positive numbers, one a spatial axis, or None"
        check_range("spacing", spacing, rule, lambda v: v is None or all(0 < side < float("inf") for side in v))
        super().__init__(**options)
        self.spacing = spacing

    @classmethod
    def function(cls, logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """See `region_loss`; `distance` is that of `forward`."""
        distance = options.pop("distance", None)
        of_region, options = cls.bind(options)
        return region_loss(partial(of_region, distance=distance), logits, target, mask, **options)
