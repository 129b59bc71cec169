"""A weighted sum of losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from .base import Accuracy, Activation, SegmentationLoss
from .names import check_range


class WeightedSum(nn.Module):
    """Σ_k weight_k · loss_k, each loss with its own denominator.

    Args:
        losses: the losses; the first one's activation is the sum's.
        weights: one number a loss, ≥ 0; 1 each when left out.

    Raises:
        TypeError: something that is no loss of this package.
        ValueError: no loss, weights of another length, a negative weight, a loss without reduction.

    >>> from segloss import build_loss
    >>> loss = WeightedSum([build_loss("dice"), build_loss("ce")], [1.0, 0.5])
    """

    __call__: Callable[..., Tensor]

    def __init__(self, losses: Sequence[SegmentationLoss], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(losses) if weights is None else list(weights)
        if not losses or len(weights) != len(losses):
            raise ValueError(
                f"a weighted sum needs one weight a loss, got {len(losses)} losses, {len(weights)} weights"
            )
        check_range("weight", weights, "≥ 0", lambda each: all(0 <= weight < float("inf") for weight in each))
        for loss in losses:
            if not isinstance(loss, SegmentationLoss):
                raise TypeError(f"a sum is made of losses of segloss, got {type(loss).__name__}")
            if loss.reduction == "none":
                raise ValueError("reduction must be mean or sum within a sum of losses, got 'none': their maps differ")
        self.losses = nn.ModuleList(losses)
        self.weights = weights
        self.activation: Activation = losses[0].activation
        self.follows_validation = any(loss.follows_validation for loss in losses)

    def denominator(self, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The denominators of the losses, `(K,)`; sum them over micro-batches and ranks and pass them back."""
        return torch.stack([loss.denominator(target, mask) for loss in self._each()])

    def new_epoch(self, epoch: int, class_accuracy: Accuracy | None = None) -> None:
        """Update every loss before an epoch; see `SegmentationLoss`."""
        for loss in self._each():
            loss.new_epoch(epoch, class_accuracy)

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        denominator: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """The weighted sum; arguments as of its losses, `denominator` as `denominator()` gives it."""
        total = torch.zeros((), device=logits.device)
        for index, (loss, weight) in enumerate(zip(self._each(), self.weights, strict=True)):
            share = None if denominator is None else denominator[index]
            total = total + weight * loss(logits, target, mask, share, size)
        return total

    def _each(self) -> list[SegmentationLoss]:
        return [cast(SegmentationLoss, loss) for loss in self.losses]
