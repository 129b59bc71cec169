"""The shares of the classes in a loss: in its pixels, its value and its gradient."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

import datasets
import segloss
from segloss.pixelwise import PixelwiseLoss
from segloss.tensors import full

from ..configuration.build import Loss
from .targets import Given


class ClassSums(NamedTuple):
    """What the pixels of each true class add up to, each `(C,)` float64 on the CPU; ignored pixels add nothing.

    Attributes:
        pixels: their number.
        loss: their part of the loss; None of a loss that is no sum over pixels.
        gradient: Σ |∂L/∂z| over them and their C logits.
    """

    pixels: Tensor
    loss: Tensor | None
    gradient: Tensor


def class_sums(
    logits: Tensor,
    target: Tensor,
    given: Given,
    loss: Loss,
    denominator: Tensor,
    regions: datasets.Regions | None = None,
) -> ClassSums:
    """The sums of one batch.

    Args:
        logits: `(N, C, H, W)`, where the loss sees them: after an adaptive class-weight layer and the resize.
        target: `(N, H, W)` labels.
        given: what the loss is called with, of the same.
        loss: a mean; where it draws random numbers, from torch's default generator.
        denominator: of the loss; see `SegmentationLoss.denominator`.
        regions: whose pixels are added up in place of those of the classes.
    """
    logits = full(logits.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(loss(logits, **given, denominator=denominator), logits)
    with torch.no_grad():
        each = pixel_losses(loss, logits, given, denominator)
    classes = logits.shape[1] if regions is None else regions.members.shape[1]
    maps = (torch.ones_like(target), each, slope.abs().sum(1))
    found = [None if one is None else _by_class(one, target, classes) for one in maps]
    pixels, of_loss, gradient = (one if one is None or regions is None else regions.counts(one) for one in found)
    assert pixels is not None
    assert gradient is not None
    return ClassSums(pixels, of_loss, gradient)


def pixel_losses(loss: Loss, logits: Tensor, given: Given, denominator: Tensor) -> Tensor | None:
    """What each pixel adds to the loss, `(N, *spatial)`, 0 where ignored; None of a loss that is no sum over pixels.

    A weighted sum is one over pixels where all of its parts are.
    """
    if isinstance(loss, segloss.WeightedSum):
        total: Tensor | None = torch.zeros((), device=logits.device)
        for part, weight, share in zip(loss.losses, loss.weights, denominator, strict=True):
            each = pixel_losses(cast(Loss, part), logits, given, share)
            total = None if total is None or each is None else total + weight * each
        return total
    if not isinstance(loss, PixelwiseLoss):
        return None
    by_pixel = copy.copy(loss)
    by_pixel.reduction = "none"
    found: Tensor = by_pixel(logits, **given) / denominator
    return found


def shares(batches: Sequence[ClassSums]) -> dict[str, list[float] | None]:
    """The share of each class in what the batches add up to.

    Returns:
        `{"pixels", "loss", "gradient"}`, each `(C,)` fractions that sum to 1; None for the loss of one that is no sum
        over pixels, and where a total is 0 or not finite.
    """
    return {name: _share([getattr(sums, name) for sums in batches]) for name in ClassSums._fields}


def _share(of_batches: Sequence[Tensor | None]) -> list[float] | None:
    known = [values for values in of_batches if values is not None]
    if len(known) < len(of_batches):
        return None
    total = torch.stack(known).sum(0)
    whole = float(total.sum())
    found: list[Any] | None = (total / whole).tolist() if math.isfinite(whole) and whole > 0 else None
    return found


def _by_class(values: Tensor, target: Tensor, classes: int) -> Tensor:
    """The sum of a map over the pixels of each class; on the CPU, where the order of adding is always the same."""
    labels, weights = target.flatten().cpu(), values.detach().flatten().cpu().double()
    known = (labels >= 0) & (labels < classes)
    return torch.bincount(torch.where(known, labels, classes), weights, classes + 1)[:classes]
