"""Normalisation: what an image is scaled by when it is decoded, and shifted and divided by before the network.

A normalisation splits in two because augmentation stands between: the transforms of albumentations want uint8, or
float32 in [0, 1]. The network sees (x/255 or x − mean)/deviation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError


@dataclass(frozen=True)
class Normalised:
    """An image ready to be augmented, and the numbers for the last step.

    Attributes:
        image: `(slices, rows, columns, channels)`, uint8, or float32 in [0, 1].
        mean: one number a channel, in units of the image scaled to [0, 1].
        deviation: one number a channel, > 0.
    """

    image: NDArray[Any]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


Normalisation = Callable[[NDArray[Any]], Normalised]
"""From `(slices, rows, columns, channels)` as decoded."""


class ImageNet:
    """RGB of 8 or 16 bits by the mean and deviation of ImageNet: stills, pretrained encoders."""

    keeps_bytes = True
    mean = (0.485, 0.456, 0.406)
    deviation = (0.229, 0.224, 0.225)

    def __call__(self, image: NDArray[Any]) -> Normalised:
        """Leave 8-bit pixels as they are, scale 16-bit ones to [0, 1].

        Raises:
            DataError: not RGB of 8 or 16 bits; 16 bits of which an image uses 12 at most, since dividing by 65535
                would leave it black.
        """
        if image.shape[-1] != 3 or image.dtype not in (np.uint8, np.uint16):
            raise DataError(
                f"data.normalise: imagenet is for RGB of 8 or 16 bits, got {image.dtype} of {image.shape[-1]} "
                "channel(s); use percentile or min_max"
            )
        if image.dtype == np.uint16:
            if image.size and image.max() < 2**12:
                raise DataError(
                    f"data.normalise: imagenet divides 16-bit pixels by 65535, but the brightest here is {image.max()} "
                    "(12 bits or fewer in a 16-bit file?); use percentile"
                )
            image = image.astype(np.float32) / np.float32(65535)
        return Normalised(image, self.mean, self.deviation)


class Percentile:
    """Clip a case to its percentiles, then mean 0 and deviation 1 over the case: MRI, ultrasound.

    Args:
        low: the percentile that becomes 0.
        high: the percentile that becomes 1.
        nonzero: percentiles, mean and deviation of the voxels that are not 0 alone: for scans whose surroundings have
            been set to 0, as after skull stripping.

    Raises:
        ValueError: not 0 ≤ low < high ≤ 100.
    """

    keeps_bytes = False

    def __init__(self, low: float = 0.5, high: float = 99.5, nonzero: bool = False) -> None:
        if not 0 <= low < 100:
            raise ValueError(f"low must be in [0, 100), got {low}")
        if not low < high <= 100:
            raise ValueError(f"high must be in ({low}, 100], got {high}")
        self.low, self.high, self.nonzero = low, high, nonzero

    def __call__(self, image: NDArray[Any]) -> Normalised:
        """Scale to [0, 1] and measure."""
        scaled, mean, deviation = np.empty(image.shape, np.float32), [], []
        for channel in range(image.shape[-1]):
            values = image[..., channel].astype(np.float32)
            counted = values != 0 if self.nonzero and values.any() else np.ones(values.shape, dtype=bool)
            bottom, top = np.percentile(values[counted], (self.low, self.high))
            scaled[..., channel] = np.clip((values - bottom) / max(top - bottom, 1e-6), 0, 1)
            measured = scaled[..., channel][counted]
            mean.append(float(measured.mean(dtype=np.float64)))
            deviation.append(max(float(measured.std(dtype=np.float64)), 1e-6))
        return Normalised(scaled, tuple(mean), tuple(deviation))


class Window:
    """Clip every case to the same two intensities and scale to [0, 1]: CT, in Hounsfield units.

    Args:
        low: the intensity that becomes 0.
        high: the intensity that becomes 1.

    Raises:
        ValueError: not low < high.
    """

    keeps_bytes = False

    def __init__(self, low: float, high: float) -> None:
        if not low < high:
            raise ValueError(f"high must be above low, {low}, got {high}")
        self.low, self.high = low, high

    def __call__(self, image: NDArray[Any]) -> Normalised:
        """Scale by the window."""
        return _unshifted(np.clip((image.astype(np.float32) - self.low) / (self.high - self.low), 0, 1))


class MinMax:
    """Scale a case to [0, 1]; nothing else."""

    keeps_bytes = False

    def __call__(self, image: NDArray[Any]) -> Normalised:
        """Scale by the case's own extremes."""
        values = image.astype(np.float32)
        bottom, top = values.min(axis=(0, 1, 2)), values.max(axis=(0, 1, 2))
        return _unshifted((values - bottom) / np.maximum(top - bottom, 1e-6))


def _unshifted(scaled: NDArray[Any]) -> Normalised:
    channels = scaled.shape[-1]
    return Normalised(scaled.astype(np.float32), (0.0,) * channels, (1.0,) * channels)


NORMALISATIONS: dict[str, type[ImageNet] | type[Percentile] | type[MinMax] | type[Window]] = {
    "imagenet": ImageNet,
    "percentile": Percentile,
    "min_max": MinMax,
    "window": Window,
}
