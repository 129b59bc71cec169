"""What the training samples hold of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .cache import CachedCase

KEYS: tuple[Literal["pixels", "pixels_of_images", "images", "components"], ...]
KEYS = ("pixels", "pixels_of_images", "images", "components")


class Counts(TypedDict):
    """One number a class; see `segloss.ClassCounts`."""

    pixels: list[int]
    pixels_of_images: list[int]
    images: list[int]
    components: list[int]


def count_classes(cases: Sequence[CachedCase], num_classes: int) -> Counts:
    """Count each slice of each case once, on the network's grid, before sampler and augmentation."""
    total = no_counts(num_classes)
    for case in cases:
        add_counts(total, case.counts)
    return total


def no_counts(num_classes: int) -> Counts:
    """Zero of everything."""
    zeros = [0] * num_classes
    return {"pixels": zeros, "pixels_of_images": [*zeros], "images": [*zeros], "components": [*zeros]}


def add_counts(total: Counts, more: Counts) -> None:
    """Add to the total, in place."""
    for into, values in ((total[key], more[key]) for key in KEYS):
        into[:] = [a + b for a, b in zip(into, values, strict=True)]


def count_masks(masks: NDArray[np.uint8], num_classes: int) -> Counts:
    """Count the slices `(slices, rows, columns)` of one case."""
    pixels = np.zeros(num_classes, dtype=np.int64)
    shared, images, components = pixels.copy(), pixels.copy(), pixels.copy()
    for mask in masks:
        here = np.bincount(mask.ravel(), minlength=num_classes)[:num_classes]
        pixels += here
        shared[here > 0] += here.sum()
        images += here > 0
        for index in np.flatnonzero(here):
            components[index] += cv2.connectedComponents((mask == index).view(np.uint8), connectivity=8)[0] - 1
    return {
        "pixels": pixels.tolist(),
        "pixels_of_images": shared.tolist(),
        "images": images.tolist(),
        "components": components.tolist(),
    }
