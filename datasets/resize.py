"""From the grid of a case to the grid of the network."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def resize_image(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize `(slices, rows, columns, channels)` to `size` = (height, width), keeping the dtype.

    Pixel areas are averaged where the image shrinks, and interpolated bilinearly where it grows.
    """
    height, width = size
    shrinks = height < image.shape[1] or width < image.shape[2]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = [cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=method) for plane in image]
    return np.stack(resized).reshape(len(image), height, width, image.shape[3]).astype(image.dtype)


def resize_mask(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize `(slices, rows, columns)` labels to `size` = (height, width): each pixel takes the nearest one's."""
    height, width = size
    resized = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for plane in mask]
    return np.stack(resized).astype(np.uint8)
