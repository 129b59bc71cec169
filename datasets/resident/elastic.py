"""Elastic deformation: every pixel is moved by a smooth random field."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import torch
from torch import Tensor

from .forms import DRAWN_FIRST, Form
from .philox import normals, numbers
from .photometric import convolved


class ElasticTransform(Form):
    """Noise of deviation `sigma` pixels' smoothness, times `alpha`, says by how much each pixel is moved."""

    only: ClassVar[dict[str, Any]] = {**DRAWN_FIRST, "approximate": False}

    def field(self, seed: int, epoch: int, positions: Tensor, stream: int, size: tuple[int, int]) -> Tensor:
        """By how many columns and rows each pixel is moved, `(N, 2, rows, columns)` float32, on the positions' device.

        Args:
            seed: as of `numbers`.
            epoch: as of `numbers`.
            positions: `(N,)`.
            stream: as of `numbers`.
            size: rows and columns.
        """
        axes = 1 if self.transform.same_dxdy else 2
        count = axes * size[0] * size[1]
        if self.transform.noise_distribution == "gaussian":
            noise = normals(seed, epoch, positions, count, stream)
            noise = noise / noise.abs().amax(1, keepdim=True).clamp_min(1e-6)
        else:
            noise = 2 * numbers(seed, epoch, positions, count, stream) - 1
        return self.smoothed(noise.view(-1, axes, *size)).expand(-1, 2, -1, -1)

    def smoothed(self, noise: Tensor) -> Tensor:
        """The field that noise `(N, axes, rows, columns)` makes."""
        sigma = self.transform.sigma
        kernel = torch.from_numpy(cv2.getGaussianKernel(round(8 * sigma + 1) | 1, sigma, cv2.CV_32F)[:, 0])
        kernels = kernel.to(noise.device, non_blocking=True).expand(len(noise), -1)
        return float(self.transform.alpha) * convolved(noise, kernels, "replicate")
