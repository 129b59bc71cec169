"""Skeletons of masks, and the losses of thin structures that are made of them."""

from __future__ import annotations

import operator
from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from .labels import Pixels
from .names import NOT_NEGATIVE, check_range
from .region import RegionLoss, RegionOptions
from .tensors import at_class, ratio


def skeleton(values: Tensor, iterations: int) -> Tensor:
    """The morphological skeleton of masks, by iterated openings (Shit 2021, algorithm 1).

    A pixel belongs to it as far as it is in the mask eroded some times, and not in the opening of that. It lies in the
    middle of a tube, one or two pixels wide, and may have gaps. Beyond the edges of the map everything counts as
    inside.

    Args:
        values: `(N, C, *spatial)`: masks, bool or 0 and 1, or probabilities.
        iterations: erosions, at least the largest radius of a tube in pixels.

    Returns:
        The same shape, bool for bool, else in [0, 1], differentiable.

    Raises:
        ValueError: iterations < 0, more than three spatial axes.

    >>> bar = torch.zeros(1, 1, 5, 7).index_fill(2, torch.tensor([1, 2, 3]), 1.0)
    >>> skeleton(bar, iterations=2)[0, 0, :, 3].tolist()
    [0.0, 0.0, 1.0, 0.0, 0.0]
    """
    check_iterations(iterations)
    check_range("values", tuple(values.shape), "(N, C, *spatial) of at most 3 spatial axes", lambda v: 2 <= len(v) <= 5)
    eroded = values.float() if values.dtype == torch.bool else values
    found = (eroded - _dilated(_eroded(eroded))).relu()
    for _ in range(iterations):
        eroded = _eroded(eroded)
        rest = (eroded - _dilated(_eroded(eroded))).relu()
        found = found + (rest - found * rest).relu()
    return found > 0.5 if values.dtype == torch.bool else found


def check_iterations(iterations: int) -> None:
    """Raise a `ValueError` unless it is a number of erosions."""
    check_range("iterations", iterations, "a whole number ≥ 0", lambda v: operator.index(v) >= 0)


def _eroded(values: Tensor) -> Tensor:
    """The least of each pixel and its neighbours by side."""
    least = values
    axes = values.dim() - 2
    for axis in range(axes):
        least = torch.minimum(least, -_largest(-values, [3 if other == axis else 1 for other in range(axes)]))
    return least


def _dilated(values: Tensor) -> Tensor:
    """The largest of each pixel and its neighbours by side, edge or corner."""
    return _largest(values, [3] * (values.dim() - 2))


def _largest(values: Tensor, window: list[int]) -> Tensor:
    """The largest within a window of odd sizes around each pixel."""
    if not window:
        return values
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(window) - 1]
    found: Tensor = pool(values, window, stride=1, padding=[size // 2 for size in window])
    return found


def _masks(pixels: Pixels) -> tuple[Tensor, Tensor]:
    """Probabilities and labels of each class, `(N, C, *spatial)`, 0 where a pixel does not count."""
    p = torch.where(pixels.counted, pixels.logits.softmax(1), 0.0)
    t = (at_class(pixels.target, p.shape[1]) & pixels.counted).to(p.dtype)
    return p, t


def _summed(values: Tensor, per_image: bool) -> Tensor:
    """`(N, C, *spatial)` summed over the pixels of each unit, `(units, C)`."""
    sums = values.flatten(2).sum(2) if values.dim() > 2 else values
    return sums if per_image else sums.sum(0, keepdim=True)


def cldice_of_region(pixels: Pixels, per_image: bool, iterations: int = 3, smooth: float = 1.0) -> Tensor:
    """1 − 2ab/(a + b), `(units, C)`, a and b the shares of each skeleton that lie in the other mask (Shit 2021)."""
    p, t = _masks(pixels)
    of_p, of_t = skeleton(p, iterations), skeleton(t, iterations)
    precision = ratio(_summed(of_p * t, per_image) + smooth, _summed(of_p, per_image) + smooth)
    recall = ratio(_summed(of_t * p, per_image) + smooth, _summed(of_t, per_image) + smooth)
    return 1 - ratio(2 * precision * recall, precision + recall)


def skeleton_recall_of_region(
    pixels: Pixels, per_image: bool, iterations: int = 10, tube: int = 2, smooth: float = 0.0
) -> Tensor:
    """1 − (Σ p·s + ε)/(Σ s + ε), `(units, C)`, s the skeleton of a class, dilated within it (Kirchhoff 2024)."""
    p, t = _masks(pixels)
    line = skeleton(t, iterations)
    for _ in range(tube):
        line = _dilated(line)
    line = line * t
    missed, whole = _summed((1 - p) * line, per_image), _summed(line, per_image)
    return ratio(missed, whole + smooth)


class CLDiceLoss(RegionLoss):
    """1 − 2ab/(a + b) per foreground class, a = (Σ s(p)·t + ε)/(Σ s(p) + ε), b = (Σ s(t)·p + ε)/(Σ s(t) + ε).

    Centreline Dice (Shit 2021): s is the skeleton (`segloss.skeleton`), p = softmax(z), ε = `smooth`; of 2D and 3D
    maps. It counts how much of the line of a tube is found and not how thick it is: use it for vessels, roads and
    nerves, beside `dice` (the paper takes up to ½ of clDice). Not alone, since it does not see the width; nor for
    blobs. The background, class 0, is left out; ignored pixels lie outside of every class.

    Args:
        iterations: ≥ 0, erosions: at least the largest radius of a tube in pixels.
        smooth: ≥ 0, ε, in pixels.
        per_image: see `RegionLoss`.
        classes: see `RegionLoss`, of the foreground.
        class_weights, num_classes, class_counts, ignore_index, reduction: see `RegionLoss`; `none` gives 0 for class 0.

    Raises:
        TypeError: soft labels.
        ValueError: iterations or smooth < 0.

    >>> line = torch.tensor([[[0, 0, 0], [1, 1, 1], [0, 0, 0]]])
    >>> half = torch.zeros(1, 2, 3, 3)  # p = ½ everywhere, whose skeleton is empty: a = 1, b = (½·3 + 1)/(3 + 1)
    >>> round(float(CLDiceLoss()(half, line)), 4)
    0.2308
    """

    formula = staticmethod(cldice_of_region)
    foreground: ClassVar[bool] = True

    def __init__(self, *, iterations: int = 3, smooth: float = 1.0, **options: Unpack[RegionOptions]) -> None:
        check_iterations(iterations)
        check_range("smooth", smooth, *NOT_NEGATIVE)
        super().__init__(**options)
        self.iterations, self.smooth = iterations, smooth


class SkeletonRecallLoss(RegionLoss):
    """1 − (Σ p·s + ε)/(Σ s + ε) per foreground class, s the skeleton of the class in the target, p = softmax(z).

    Skeleton recall (Kirchhoff 2024): s is `segloss.skeleton` of the labels, dilated `tube` times within the class. It
    asks that the line of a tube is found, at the price of a mean over its pixels: use it for thin structures beside
    `dice`, where clDice is too slow. Not alone: a false pixel costs nothing. The background, class 0, is left out.

    Args:
        iterations: ≥ 0, erosions: at least the largest radius of a tube in pixels.
        tube: ≥ 0, by how many pixels the skeleton is dilated.
        smooth: ≥ 0, ε, in pixels.
        per_image: see `RegionLoss`.
        classes: see `RegionLoss`, of the foreground.
        class_weights, num_classes, class_counts, ignore_index, reduction: see `RegionLoss`; `none` gives 0 for class 0.

    Raises:
        TypeError: soft labels.
        ValueError: iterations, tube or smooth < 0.

    >>> line = torch.tensor([[[0, 0, 0], [1, 1, 1], [0, 0, 0]]])
    >>> float(SkeletonRecallLoss()(torch.zeros(1, 2, 3, 3), line))  # p = ½ along the line
    0.5
    """

    formula = staticmethod(skeleton_recall_of_region)
    foreground: ClassVar[bool] = True

    def __init__(
        self, *, iterations: int = 10, tube: int = 2, smooth: float = 0.0, **options: Unpack[RegionOptions]
    ) -> None:
        check_iterations(iterations)
        check_range("tube", tube, "a whole number ≥ 0", lambda v: operator.index(v) >= 0)
        check_range("smooth", smooth, *NOT_NEGATIVE)
        super().__init__(**options)
        self.iterations, self.tube, self.smooth = iterations, tube, smooth
