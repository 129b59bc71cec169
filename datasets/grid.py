"""From the grid of a case to the grid of the network: by a fixed size in pixels, or by a spacing in millimetres.

Both grids cover the same field of view, edge to edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
"""(slices, rows, columns)."""
Spacing = tuple[float, float, float]
"""Millimetres between slices, rows and columns."""
CHANNELS = 4
"""That OpenCV averages at once, at most."""


def network_shape(
    shape: Shape,
    spacing: Spacing | None,
    size: tuple[int, int] | None,
    wanted: Sequence[float | None] | None,
) -> Shape:
    """The network's grid for a case.

    Args:
        shape: of the case.
        spacing: of the case; None for a still.
        size: (height, width) that every slice gets; None to keep the case's.
        wanted: millimetres between slices, rows and columns, None where the case's is kept; the nearest spacing that
            divides the field of view evenly is taken.
    """
    slices, rows, columns = shape
    if wanted is not None and spacing is not None:
        slices, rows, columns = (
            count if to is None else max(1, round(count * of / to))
            for count, of, to in zip(shape, spacing, wanted, strict=True)
        )
    if size is not None:
        rows, columns = size
    return slices, rows, columns


def resize_image(image: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Resize `(slices, rows, columns, channels)`, keeping the dtype.

    Along each axis voxels are averaged where it shrinks, and interpolated linearly where it grows: first the rows and
    columns that shrink, then those that grow, then slices.
    """
    slices, rows, columns = shape
    shrunk = min(rows, image.shape[1]), min(columns, image.shape[2])
    image = _resized(_resized(image, shrunk, cv2.INTER_AREA), (rows, columns), cv2.INTER_LINEAR)
    if slices != len(image):
        mixed = np.tensordot(_slice_weights(len(image), slices), image, axes=1)
        image = (np.rint(mixed) if image.dtype.kind in "iu" else mixed).astype(image.dtype)
    return image


def resize_mask(mask: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """Resize `(slices, rows, columns)` labels: each voxel takes the nearest one's."""
    slices, rows, columns = shape
    if slices != len(mask):
        mask = mask[nearest_slices(len(mask), slices)]
    if (rows, columns) != mask.shape[1:]:
        planes = [cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT) for plane in mask]
        mask = np.stack(planes).astype(np.uint8)
    return mask


def nearest_slices(count: int, to: int) -> NDArray[np.int64]:
    """Which of `count` slices is nearest to each of `to` slices over the same length, `(to,)`."""
    return np.floor((np.arange(to) + 0.5) * count / to).astype(np.int64)


def between_slices(count: int, to: int) -> list[tuple[int, int, float]]:
    """For each of `to` slices over the same length: its two neighbours of `count`, and the weight of the second."""
    middles = np.clip((np.arange(to) + 0.5) * count / to - 0.5, 0, count - 1)
    below = np.minimum(np.floor(middles).astype(int), max(count - 2, 0))
    return [
        (low, min(low + 1, count - 1), float(at - low))
        for low, at in zip(below.tolist(), middles.tolist(), strict=True)
    ]


def _resized(image: NDArray[Any], size: tuple[int, int], method: int) -> NDArray[Any]:
    """`(slices, rows, columns, channels)` with each slice resized by OpenCV, of which one method serves both axes.

    Where one axis shrinks and the other grows, its INTER_AREA would average two pixels at most, and beside their place.
    """
    if size == image.shape[1:3]:
        return image
    rows, columns = size
    resized = np.empty((len(image), rows, columns, image.shape[3]), image.dtype)
    for start in range(0, image.shape[3], CHANNELS):
        some = image[..., start : start + CHANNELS]
        for plane, into in zip(some, resized[..., start : start + CHANNELS], strict=True):
            found = cv2.resize(np.ascontiguousarray(plane), (columns, rows), interpolation=method)
            into[:] = found.reshape(into.shape)
    return resized


def _slice_weights(count: int, to: int) -> NDArray[np.float32]:
    """`(to, count)`: how much of each slice a new slice takes; rows sum to 1."""
    weights = np.zeros((to, count), dtype=np.float32)
    if to < count:
        edges = np.arange(to + 1) * count / to
        for new, (start, end) in enumerate(pairwise(edges.tolist())):
            inside = np.minimum(np.arange(count) + 1, end) - np.maximum(np.arange(count), start)
            weights[new] = np.maximum(inside, 0) / (end - start)
    else:
        for new, (low, high, part) in enumerate(between_slices(count, to)):
            weights[new, low] += 1 - part
            weights[new, high] += part
    return weights
