"""A weighted sum of losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from .pixelwise import Activation, PixelwiseLoss
from .region import RegionLoss

Loss = PixelwiseLoss | RegionLoss


class WeightedSum(nn.Module):
    """Σ_k weight_k · loss_k, each loss with its own denominator.

    Args:
        losses: the losses; the first one's activation is the sum's.
        weights: one number a loss, ≥ 0; 1 each when left out.

    Raises:
        ValueError: no loss, something that is none, weights of another length, a negative weight.

    >>> from segloss import build_loss
    >>> loss = WeightedSum([build_loss("dice"), build_loss("ce")], [1.0, 0.5])
    """

    def __init__(self, losses: Sequence[Loss], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(losses) if weights is None else list(weights)
        if not losses or len(weights) != len(losses):
            raise ValueError(
                f"a weighted sum needs one weight a loss, got {len(losses)} losses, {len(weights)} weights"
            )
        if any(not 0 <= weight < float("inf") for weight in weights):
            raise ValueError(f"weight must be ≥ 0, got {weights}")
        for loss in losses:
            if not isinstance(loss, PixelwiseLoss | RegionLoss):
                raise ValueError(f"a sum is made of losses of segloss, got {type(loss).__name__}")
        self.losses = nn.ModuleList(losses)
        self.weights = weights
        self.activation: Activation = losses[0].activation

    def denominator(self, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The denominators of the losses, `(K,)`; sum them over micro-batches and ranks and pass them back."""
        return torch.stack([loss.denominator(target, mask) for loss in self._each()])

    def forward(
        self, logits: Tensor, target: Tensor, mask: Tensor | None = None, denominator: Tensor | None = None
    ) -> Tensor:
        """The weighted sum; arguments as of its losses, `denominator` as `denominator()` gives it."""
        total = torch.zeros((), device=logits.device)
        for index, (loss, weight) in enumerate(zip(self._each(), self.weights, strict=True)):
            total = total + weight * loss(logits, target, mask, None if denominator is None else denominator[index])
        return total

    def _each(self) -> list[Loss]:
        return [cast(Loss, loss) for loss in self.losses]
