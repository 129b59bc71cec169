"""A weighted sum of losses."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from .base import Accuracy, Activation, SegmentationLoss
from .names import NOT_NEGATIVE, check_range


class Ramp(NamedTuple):
    """A weight that goes in equal steps from one value in the first epoch to another, and stays there.

    Attributes:
        start: ≥ 0, in epoch 0.
        end: ≥ 0, from the last of the epochs on.
        epochs: ≥ 1; 1 is the end at once.
    """

    start: float
    end: float
    epochs: int

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Ramp:
        """From `{"from": start, "to": end, "epochs": epochs}`.

        Raises:
            ValueError: other keys, a value out of its range.
        """
        if set(given) != {"from", "to", "epochs"}:
            raise ValueError(f"weight of a loss that follows the epochs needs from, to and epochs, got {dict(given)}")
        for key in ("from", "to"):
            check_range(f"weight.{key}", given[key], *NOT_NEGATIVE)
        check_range("weight.epochs", given["epochs"], "a whole number ≥ 1", lambda v: operator.index(v) >= 1)
        return cls(given["from"], given["to"], given["epochs"])

    def at(self, epoch: int) -> float:
        """The weight of an epoch, counted from 0."""
        share = min(epoch / (self.epochs - 1), 1.0) if self.epochs > 1 else 1.0
        return self.start + share * (self.end - self.start)


class WeightedSum(nn.Module):
    """Σ_k weight_k · loss_k, each loss with its own denominator.

    Args:
        losses: the losses; the first one's activation is the sum's.
        weights: one number a loss, ≥ 0, or one that follows the epochs, `{"from": 0.01, "to": 1, "epochs": 50}`; 1 each
            when left out.

    Attributes:
        weights: the numbers of the current epoch, see `new_epoch`.

    Raises:
        TypeError: something that is no loss of this package.
        ValueError: no loss, weights of another length, a negative weight, a loss without reduction.

    >>> from segloss import build_loss
    >>> loss = WeightedSum([build_loss("dice"), build_loss("ce")], [1.0, {"from": 0.5, "to": 1.0, "epochs": 3}])
    >>> loss.new_epoch(1)
    >>> loss.weights
    [1.0, 0.75]
    """

    __call__: Callable[..., Tensor]

    def __init__(
        self, losses: Sequence[SegmentationLoss], weights: Sequence[float | Mapping[str, Any]] | None = None
    ) -> None:
        super().__init__()
        given = [1.0] * len(losses) if weights is None else list(weights)
        if not losses or len(given) != len(losses):
            raise ValueError(f"a weighted sum needs one weight a loss, got {len(losses)} losses, {len(given)} weights")
        self._ramps = {index: Ramp.of(each) for index, each in enumerate(given) if isinstance(each, Mapping)}
        numbers = [Ramp.of(each).at(0) if isinstance(each, Mapping) else each for each in given]
        check_range("weight", numbers, "≥ 0", lambda each: all(0 <= weight < float("inf") for weight in each))
        for loss in losses:
            if not isinstance(loss, SegmentationLoss):
                raise TypeError(f"a sum is made of losses of segloss, got {type(loss).__name__}")
            if loss.reduction == "none":
                raise ValueError("reduction must be mean or sum within a sum of losses, got 'none': their maps differ")
        self.losses = nn.ModuleList(losses)
        self.weights: list[float] = numbers
        self.activation: Activation = losses[0].activation
        self.ignore_index = losses[0].ignore_index
        self.follows_validation = any(loss.follows_validation for loss in losses)
        self.capturable = all(loss.capturable for loss in losses)

    def denominator(self, target: Tensor, mask: Tensor | None = None, **restrictions: Any) -> Tensor:
        """The denominators of the losses, `(K,)`; sum them over micro-batches and ranks and pass them back.

        Args:
            target: as of the losses.
            mask: as of the losses.
            **restrictions: as of the losses.
        """
        return torch.stack([loss.denominator(target, mask, **restrictions) for loss in self._each()])

    def new_epoch(self, epoch: int, class_accuracy: Accuracy | None = None) -> None:
        """Update every loss, and the weights that follow the epochs, before an epoch; see `SegmentationLoss`."""
        for index, ramp in self._ramps.items():
            self.weights[index] = ramp.at(epoch)
        for loss in self._each():
            loss.new_epoch(epoch, class_accuracy)

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        denominator: Tensor | None = None,
        size: tuple[int, int] | None = None,
        **restrictions: Tensor | None,
    ) -> Tensor:
        """The weighted sum; arguments as of its losses, `denominator` as `denominator()` gives it.

        `weight` and `labelled` go to every loss, `distance` to those that take it.
        """
        total = torch.zeros((), device=logits.device)
        for index, (loss, weight) in enumerate(zip(self._each(), self.weights, strict=True)):
            share = None if denominator is None else denominator[index]
            own = {k: v for k, v in restrictions.items() if k != "distance" or "distance" in loss.restrictions}
            total = total + weight * loss(logits, target, mask, share, size, **own)
        return total

    def _each(self) -> list[SegmentationLoss]:
        return [cast(SegmentationLoss, loss) for loss in self.losses]
