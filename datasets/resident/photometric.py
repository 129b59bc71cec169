"""Transforms of grey levels, for whole batches in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .forms import Numbers, Photometric, between, whole

Normals = Callable[[int], Tensor]
"""So many numbers of the standard normal distribution for each sample of a batch, `(n, count)`."""
GREY = (0.299, 0.587, 0.114)
"""What red, green and blue weigh in a grey level."""


class RandomBrightnessContrast(Photometric):
    """Grey levels times one number plus another."""

    draws = 2
    only: ClassVar[Mapping[str, Any]] = {"brightness_by_max": True, "ensure_safe_range": False}

    def parameters(self, numbers: Numbers, applied: NDArray[np.bool_]) -> Numbers:
        """Factor and summand."""
        factor = 1 + between(numbers[:, 0], self.transform.contrast_limit)
        summand = between(numbers[:, 1], self.transform.brightness_limit)
        return np.stack([np.where(applied, factor, 1), np.where(applied, summand, 0)], axis=1)

    def apply(self, images: Tensor, parameters: Tensor, normals: Normals) -> Tensor:  # noqa: ARG002
        """See `Photometric.apply`."""
        factor, summand = _columns(parameters)
        return (images * factor + summand).clamp(0, 1)


class RandomGamma(Photometric):
    """Grey levels to a power."""

    draws = 1

    def parameters(self, numbers: Numbers, applied: NDArray[np.bool_]) -> Numbers:
        """The exponent."""
        gamma = between(numbers[:, 0], self.transform.gamma_limit) / 100
        return np.where(applied, gamma, 1)[:, None]

    def apply(self, images: Tensor, parameters: Tensor, normals: Normals) -> Tensor:  # noqa: ARG002
        """See `Photometric.apply`."""
        return images ** _columns(parameters)[0]


class ColorJitter(Photometric):
    """Brightness, contrast, saturation and hue of images with one or three channels, in a random order."""

    draws = 8

    def parameters(self, numbers: Numbers, applied: NDArray[np.bool_]) -> Numbers:
        """The four factors, then which of them comes first, second, third and last."""
        its = self.transform
        limits, neutral = (its.brightness, its.contrast, its.saturation, its.hue), (1, 1, 1, 0)
        factors = [np.where(applied, between(numbers[:, index], limits[index]), neutral[index]) for index in range(4)]
        return np.concatenate([np.stack(factors, axis=1), numbers[:, 4:].argsort(1)], axis=1)

    def apply(self, images: Tensor, parameters: Tensor, normals: Normals) -> Tensor:  # noqa: ARG002
        """See `Photometric.apply`."""
        steps = (_brighter, _contrasted, _saturated, _hued)
        factors = _columns(parameters[:, :4])
        for order in _columns(parameters[:, 4:]):
            for index, (step, factor) in enumerate(zip(steps, factors, strict=True)):
                if images.shape[1] == 3 or index < 2:
                    images = torch.where(order == index, step(images, factor).clamp(0, 1), images)
        return images


class GaussNoise(Photometric):
    """Noise added to every grey level."""

    draws = 2
    only: ClassVar[Mapping[str, Any]] = {"noise_scale_factor": 1}

    def parameters(self, numbers: Numbers, applied: NDArray[np.bool_]) -> Numbers:
        """Deviation and mean."""
        deviation = between(numbers[:, 0], self.transform.std_range)
        mean = between(numbers[:, 1], self.transform.mean_range)
        return np.stack([deviation, mean], axis=1) * applied[:, None]

    def apply(self, images: Tensor, parameters: Tensor, normals: Normals) -> Tensor:
        """See `Photometric.apply`."""
        deviation, mean = _columns(parameters)
        channels = images.shape[1] if self.transform.per_channel else 1
        noise = normals(channels * images[0, 0].numel()).view(len(images), channels, *images.shape[2:])
        return (images + noise * deviation + mean).clamp(0, 1)


class GaussianBlur(Photometric):
    """Smoothed grey levels."""

    draws = 2

    def parameters(self, numbers: Numbers, applied: NDArray[np.bool_]) -> Numbers:
        """The weights of the neighbours, the pixel's own in the middle."""
        sigma = between(numbers[:, 0], self.transform.sigma_limit)
        size = whole(numbers[:, 1], *map(int, self.transform.blur_limit))
        size = np.where(size == 0, np.trunc(sigma * 3.5) * 2 + 1, size)
        reach = np.where(applied, size // 2, 0)
        offsets = np.arange(-reach.max(initial=0), reach.max(initial=0) + 1)
        weights = np.exp(-0.5 * (offsets / sigma[:, None].clip(1e-12)) ** 2) * (abs(offsets) <= reach[:, None])
        return np.asarray(weights / weights.sum(1, keepdims=True))

    def apply(self, images: Tensor, parameters: Tensor, normals: Normals) -> Tensor:  # noqa: ARG002
        """See `Photometric.apply`."""
        return convolved(images, parameters, "reflect")


def convolved(images: Tensor, kernels: Tensor, border: str) -> Tensor:
    """Each image of a batch along its rows and columns with a symmetric kernel of its own.

    Args:
        images: `(N, C, H, W)`.
        kernels: `(N, K)`, K odd.
        border: `reflect` or `replicate`, as of `F.pad`.
    """
    count, channels, reach = *images.shape[:2], kernels.shape[1] // 2
    weights = kernels.repeat_interleave(channels, 0)[:, None]
    planes = F.pad(images, (reach,) * 4, mode=border).flatten(0, 1)[None]
    rows = F.conv2d(planes, weights[..., None], groups=len(weights))
    return F.conv2d(rows, weights[:, :, None], groups=len(weights)).view(count, channels, *images.shape[2:])


def _columns(parameters: Tensor) -> list[Tensor]:
    """The columns of `(n, P)`, each `(n, 1, 1, 1)`."""
    return list(parameters[..., None, None, None].unbind(1))


def _grey(images: Tensor) -> Tensor:
    """`(n, 1, H, W)`."""
    if images.shape[1] == 1:
        return images
    weighted = [weight * images[:, index] for index, weight in enumerate(GREY)]
    return (weighted[0] + weighted[1] + weighted[2]).unsqueeze(1)


def _brighter(images: Tensor, factor: Tensor) -> Tensor:
    return images * factor


def _contrasted(images: Tensor, factor: Tensor) -> Tensor:
    return images * factor + _grey(images).mean((1, 2, 3), keepdim=True) * (1 - factor)


def _saturated(images: Tensor, factor: Tensor) -> Tensor:
    return images * factor + _grey(images) * (1 - factor)


def _hued(images: Tensor, factor: Tensor) -> Tensor:
    """The hue turned by a share of a circle, through HSV."""
    red, green, blue = images.split(1, dim=1)
    value, lowest = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = value - lowest
    divisor = torch.where(chroma > 0, chroma, 1.0)
    of_red, of_green, of_blue = (green - blue) / divisor, (blue - red) / divisor + 2, (red - green) / divisor + 4
    sixth = torch.where(value == red, of_red, torch.where(value == green, of_green, of_blue))
    of_channel = 5.0 - 2 * torch.arange(3, device=images.device).view(1, 3, 1, 1)
    away = (of_channel + sixth + 6 * factor) % 6
    return value - chroma * torch.minimum(away, 4 - away).clamp(0, 1)
