"""What the training samples hold of each class."""

from __future__ import annotations

from typing import Literal, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

KEYS: tuple[Literal["pixels", "pixels_of_images", "images", "components"], ...]
KEYS = ("pixels", "pixels_of_images", "images", "components")


class Counts(TypedDict):
    """One number a class; see `segloss.ClassCounts`."""

    pixels: list[int]
    pixels_of_images: list[int]
    images: list[int]
    components: list[int]


def no_counts(num_classes: int) -> Counts:
    """Zero of everything."""
    zeros = [0] * num_classes
    return {"pixels": zeros, "pixels_of_images": [*zeros], "images": [*zeros], "components": [*zeros]}


def add_counts(total: Counts, more: Counts) -> None:
    """Add to the total, in place."""
    for into, values in ((total[key], more[key]) for key in KEYS):
        into[:] = [a + b for a, b in zip(into, values, strict=True)]


def slice_counts(masks: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """The pixels and the connected components (8 neighbours) of each class in each slice, `(2, slices, classes)`.

    Args:
        masks: `(slices, rows, columns)` class indices.
        num_classes: C.
    """
    counts = np.zeros((2, len(masks), num_classes), dtype=np.int64)
    for pixels, components, mask in zip(*counts, masks, strict=True):
        pixels[:] = np.bincount(mask.ravel(), minlength=num_classes)[:num_classes]
        for index in np.flatnonzero(pixels):
            components[index] = cv2.connectedComponents((mask == index).view(np.uint8), connectivity=8)[0] - 1
    return counts


def add_slices(counts: NDArray[np.int64]) -> Counts:
    """What some slices hold together; see `slice_counts`."""
    pixels, components = counts
    return {
        "pixels": pixels.sum(0).tolist(),
        "pixels_of_images": ((pixels > 0) * pixels.sum(1, keepdims=True)).sum(0).tolist(),
        "images": (pixels > 0).sum(0).tolist(),
        "components": components.sum(0).tolist(),
    }
