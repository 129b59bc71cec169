"""From images to logits at test time: the whole image or overlapping windows, as it is or averaged over flips."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .config import ScoresSection

WINDOWS_AT_ONCE = 4


def infer(model: Any, images: Tensor, scores: ScoresSection) -> Tensor:
    """Logits `(N, C, H, W)` in float32 of images `(N, channels, H, W)`.

    Args:
        model: maps images to logits, in evaluation mode.
        images: on the model's device.
        scores: `window` and `overlap` of the windows, `flip` for the mean with the mirrored image's logits.
    """
    logits = _logits(model, images, scores)
    if scores.flip:
        logits = (logits + _logits(model, images.flip(-1), scores).flip(-1)) / 2
    return logits


def describe(scores: ScoresSection) -> str:
    """How logits come about, in words."""
    windows = "whole image"
    if scores.window is not None:
        windows = f"windows of {scores.window[0]}x{scores.window[1]}, overlap {scores.overlap:g}"
    return f"{windows}, with its mirror image" if scores.flip else windows


def _logits(model: Any, images: Tensor, scores: ScoresSection) -> Tensor:
    images = images.contiguous(memory_format=torch.channels_last)
    if scores.window is None:
        whole: Tensor = model(images).float()
        return whole
    from monai.inferers.utils import sliding_window_inference

    blended: Tensor = sliding_window_inference(  # weighted by a Gaussian around the centre of each window
        images, scores.window, WINDOWS_AT_ONCE, lambda window: model(window).float(), scores.overlap, mode="gaussian"
    )
    return blended
