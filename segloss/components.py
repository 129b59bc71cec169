"""Connected components of label maps, and weights that keep neighbouring objects apart."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from .names import NOT_NEGATIVE, POSITIVE, check_range
from .tensors import plain


def components(values: Tensor, inside: Tensor) -> Tensor:
    """The connected components of equal values, neighbours by side, edge or corner.

    Every pixel takes the largest number among itself and its neighbours of equal value, and then the number that the
    pixel of that number has, until nothing changes: the rounds grow with the logarithm of the longest way through a
    component, nearly.

    Args:
        values: `(N, *spatial)`.
        inside: `(N, *spatial)` bool, the pixels that belong to a component.

    Returns:
        `(N, *spatial)` int64: 0 outside, otherwise the number of a pixel of the component, of all pixels from 1.
    """
    numbers = torch.arange(1, values.numel() + 1, device=values.device).view(values.shape)
    numbers = torch.where(inside, numbers, 0)
    pairs = [_neighbours(step) for step in _steps(values.dim() - 1)]
    joined = [inside[a] & inside[b] & (values[a] == values[b]) for a, b in pairs]
    while True:
        before = numbers.clone()
        for (a, b), both in zip(pairs, joined, strict=True):
            largest = torch.where(both, torch.maximum(numbers[a], numbers[b]), 0)
            numbers[a] = torch.maximum(numbers[a], largest)
            numbers[b] = torch.maximum(numbers[b], largest)
        flat = torch.cat([numbers.new_zeros(1), numbers.flatten()])
        numbers = flat[numbers]
        if torch.equal(numbers, before):
            return numbers


def border_weights(target: Tensor, w0: float = 10.0, sigma: float = 5.0, ignore_index: int = 255) -> Tensor:
    """Weights of pixels between objects, 1 + w0 exp(−(d₁ + d₂)²/(2σ²)) in the background (Ronneberger 2015, eq. 2).

    d₁ and d₂ are the distances to the nearest and to the second nearest object, in pixels. An object is a connected
    component of equal label: cells of one class that are apart, or cells numbered one by one that touch. Inside
    objects, at ignored pixels, and where there are fewer than two objects, the weight is 1. It is given to a loss with
    each call, `loss(logits, target, weight=…)`, and best computed by the loader.

    Args:
        target: `(N, *spatial)` integer labels, 0 the background; or bool.
        w0: ≥ 0.
        sigma: > 0, in pixels.
        ignore_index: the label that does not count.

    Returns:
        `(N, *spatial)` float32.

    Raises:
        TypeError: labels that are floating.
        ValueError: w0 < 0, sigma ≤ 0.

    >>> border_weights(torch.tensor([[1, 0, 0, 1]]), w0=10.0, sigma=3.0)  # distances 1 and 2: 1 + 10 exp(−½)
    tensor([[1.0000, 7.0653, 7.0653, 1.0000]])
    """
    check_range("w0", w0, *NOT_NEGATIVE)
    check_range("sigma", sigma, *POSITIVE)
    if target.is_floating_point() or target.is_complex():
        raise TypeError(f"border_weights needs integer labels (N, *spatial), got {target.dtype}: target.long()")
    target = plain(target)
    labels = target.long()
    inside = (labels != 0) & (labels != ignore_index)
    reach = sigma * math.sqrt(2 * math.log(max(w0, 1.0) / 1e-9))  # beyond it no float32 near 1 changes
    nearest, second = _two_nearest(components(labels, inside), reach)
    weights = 1 + w0 * torch.exp(-((nearest.sqrt() + second.sqrt()) ** 2) / (2 * sigma**2))
    return torch.where(labels == 0, weights, 1.0)


def _two_nearest(objects: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Squared distances to the nearest and the second nearest object, infinite beyond the reach.

    One axis after the other, as of a single distance: the two nearest objects of a pixel are among the two nearest of
    each pixel of its row.
    """
    first = torch.where(objects > 0, 0.0, torch.inf)
    nearest = [first, objects, torch.full_like(first, torch.inf), torch.zeros_like(objects)]
    for axis in range(1, objects.dim()):
        size = objects.shape[axis]
        before, nearest = nearest, [each.clone() for each in nearest]
        for step in (s for s in range(1 - size, size) if s and abs(s) <= reach):
            here = (slice(None),) * axis + (slice(max(0, -step), size - max(0, step)),)
            there = (slice(None),) * axis + (slice(max(0, step), size - max(0, -step)),)
            for distance, number in (before[:2], before[2:]):
                views = [each[here] for each in nearest]
                for view, new in zip(views, _insert(views, distance[there] + step * step, number[there]), strict=True):
                    view.copy_(new)
    return nearest[0], nearest[2]


def _insert(nearest: list[Tensor], distance: Tensor, number: Tensor) -> list[Tensor]:
    """The two nearest objects, each its distance and its number, of two that differ and another one."""
    first, first_id, second, second_id = nearest
    same, closer = number == first_id, distance < first
    moved, replaced = closer & ~same, ~closer & ~same & (distance < second)
    second = torch.where(moved, first, torch.where(replaced, distance, second))
    second_id = torch.where(moved, first_id, torch.where(replaced, number, second_id))
    return [torch.where(closer, distance, first), torch.where(closer, number, first_id), second, second_id]


def _steps(dims: int) -> list[tuple[int, ...]]:
    """From a pixel to one half of its neighbours by side, edge or corner; the other half is met from theirs."""
    steps = list(itertools.product((-1, 0, 1), repeat=dims))
    return steps[len(steps) // 2 + 1 :]


def _neighbours(step: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All pixels that have a neighbour at a step, and these neighbours."""
    here = (slice(None), *(slice(max(0, -s), -s if s > 0 else None) for s in step))
    there = (slice(None), *(slice(max(0, s), s if s < 0 else None) for s in step))
    return here, there
