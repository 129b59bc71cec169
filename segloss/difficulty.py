"""Cross entropy balanced by the difficulty of the classes."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Unpack

import torch
from torch import Tensor

from .base import Accuracy
from .cross_entropy import cross_entropy_terms
from .names import check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions, pixel_weights
from .tensors import per_class

Tau = float | Literal["dynamic"]


def difficulty_terms(logits: Tensor, target: Tensor, difficulty: Tensor) -> Tensor:
    """w_y times cross entropy; `difficulty` is `(C,)`, from `difficulty_weights` (Sinha 2020)."""
    weights = per_class(difficulty, logits, "difficulty").flatten()
    return pixel_weights(weights, target) * cross_entropy_terms(logits, target)


def difficulty_weights(class_accuracy: Accuracy, tau: Tau = "dynamic") -> Tensor:
    """w_c = (1 − accuracy_c)^τ, summing to the number of classes (Sinha 2020).

    Args:
        class_accuracy: recall of each class in a validation, in [0, 1]; one that is None or NaN (absent there) gets 1.
        tau: ≥ 0, or `dynamic`: 2 sigmoid(b − 1), b = max accuracy / (min accuracy + 0.01).

    Returns:
        `(C,)` float64; all 1 where every class is perfect.

    Raises:
        ValueError: an accuracy outside [0, 1], a tau that is negative or no number.

    >>> difficulty_weights([0.9, 0.5, 0.4], tau=1.0)
    tensor([0.2500, 1.2500, 1.5000], dtype=torch.float64)
    """
    values = [math.nan if value is None else float(value) for value in class_accuracy]
    accuracy = torch.tensor(values, dtype=torch.float64)
    measured = ~accuracy.isnan()
    known = accuracy[measured]
    check_range("class_accuracy", accuracy.tolist(), "in [0, 1]", lambda _: ((known >= 0) & (known <= 1)).all())
    _check_tau(tau)
    weights = torch.ones_like(accuracy)
    if known.numel() and bool((known < 1).any()):
        difficulty = (1 - known).pow(_power(known, tau))
        weights[measured] = known.numel() * difficulty / difficulty.sum()
    return weights


def _check_tau(tau: Tau) -> None:
    check_range("tau", tau, "≥ 0, or dynamic", lambda v: v == "dynamic" or 0 <= v < float("inf"))


def _power(accuracy: Tensor, tau: Tau) -> float:
    if tau == "dynamic":
        bias = float(accuracy.max() / (accuracy.min() + 0.01))
        return 2 / (1 + math.exp(1 - bias))
    return float(tau)


class DifficultyBalancedLoss(PixelwiseLoss):
    """−w_y log p_y per pixel, w_c = (1 − accuracy_c)^τ from the last validation, summing to C (Sinha 2020).

    Classes weigh by how badly they are found, not by how rare they are; until the first validation all weigh 1. The
    training loop calls `new_epoch(epoch, class_accuracy)` before each epoch. Use it where rare and hard are not the
    same. Not without a validation part of its own, nor where some class is so noisy that it can never be found: it
    would get all the weight. The weights of its CIFAR code (τ = sigmoid(b)) differ from the paper's, which are these.

    Args:
        tau: ≥ 0, or `dynamic`: between 0.5 and 2, the larger the more the accuracies differ.
        class_weights: see `PixelwiseLoss`; multiply these weights.
        normalize: see `PixelwiseLoss`.
        **options: `num_classes` (or `class_counts`) needed; `ignore_index`, `reduction` of `PixelwiseLoss`.

    Raises:
        ValueError: a negative tau, num_classes and class_counts missing.

    >>> import torch
    >>> loss = DifficultyBalancedLoss(tau=1.0, num_classes=2)
    >>> loss.new_epoch(1, class_accuracy=[0.9, 0.6])  # weights 0.4 and 1.6
    >>> round(float(loss(torch.zeros(1, 2), torch.tensor([1]))), 4)  # 1.6 log 2
    1.109
    """

    formula = staticmethod(difficulty_terms)
    follows_validation: ClassVar[bool] = True
    difficulty: Tensor

    def __init__(self, *, tau: float | Literal["dynamic"] = "dynamic", **options: Unpack[PixelwiseOptions]) -> None:
        _check_tau(tau)
        super().__init__(**options)
        if self.num_classes is None:
            raise ValueError("cdb_ce needs num_classes, the number of classes of the logits")
        self.tau: Tau = tau
        self.register_buffer("difficulty", torch.ones(self.num_classes, dtype=torch.float64))

    def new_epoch(self, epoch: int, class_accuracy: Accuracy | None = None) -> None:
        """Take the weights from the last validation's accuracies; see `SegmentationLoss`.

        Raises:
            ValueError: not one accuracy a class, or one outside [0, 1].
        """
        super().new_epoch(epoch)
        if class_accuracy is None:
            return
        if len(class_accuracy) != self.num_classes:
            raise ValueError(f"class_accuracy must hold {self.num_classes} classes, got {len(class_accuracy)}")
        self.difficulty.copy_(difficulty_weights(class_accuracy, self.tau))
