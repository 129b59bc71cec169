"""What the training samples hold of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import cv2
import numpy as np

from .cache import CachedCase


class Counts(TypedDict):
    """One number a class; see `segloss.ClassCounts`."""

    pixels: list[int]
    pixels_of_images: list[int]
    images: list[int]
    components: list[int]


def count_classes(cases: Sequence[CachedCase], num_classes: int) -> Counts:
    """Count each slice of each case once, on the network's grid, before sampler and augmentation."""
    pixels = np.zeros(num_classes, dtype=np.int64)
    shared, images, components = pixels.copy(), pixels.copy(), pixels.copy()
    for case in cases:
        for mask in case.masks():
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
