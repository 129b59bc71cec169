"""What the training samples hold of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from .leakage import Known

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


def add_slices(pixels: Any, components: Any) -> Counts:
    """What some slices hold together.

    Args:
        pixels: `(slices, classes)` of each class in each slice, an array or a sparse one.
        components: of the same, as `pixels`.
    """
    held = pixels > 0
    return {
        "pixels": pixels.sum(0).tolist(),
        "pixels_of_images": (held.T @ pixels.sum(1)).tolist(),
        "images": held.sum(0).tolist(),
        "components": components.sum(0).tolist(),
    }


def total_pixels(cases: Sequence[Known], classes: int) -> list[int]:
    """The pixels of each of C classes over some cases, on their own grids."""
    labels = [one.case.label for one in cases]
    if labels and labels[0] is not None:
        found = np.bincount(np.array(labels, np.int64), minlength=classes)
    else:
        found = np.array([one.pixels for one in cases], np.int64).reshape(-1, classes).sum(0)
    return [int(count) for count in found]
