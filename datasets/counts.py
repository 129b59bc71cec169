"""What the training samples hold of each class."""

from __future__ import annotations

from collections.abc import Iterable
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


def count_classes(masks: Iterable[NDArray[np.uint8]], num_classes: int) -> Counts:
    """Count the samples, once each, before sampler and augmentation.

    Args:
        masks: `(samples, rows, columns)` of each case; see `Samples.masks`.
        num_classes: C.
    """
    total = no_counts(num_classes)
    for of_case in masks:
        add_counts(total, count_masks(of_case, num_classes))
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
