"""A loss of a network's outputs at several resolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .base import Accuracy, Activation, SegmentationLoss
from .names import check_range
from .weighted_sum import WeightedSum


class DeepSupervision(nn.Module):
    """Σ_l weight_l · loss(outputs_l, labels at their resolution), as nnU-Net trains its decoder.

    Labels, masks and weights are brought down by the nearest pixel, so no label is mixed; each level has its own
    denominator.

    Args:
        loss: of each level.
        weights: one number a level, ≥ 0, the finest first; when left out, halved from level to level and summing to 1.

    Raises:
        TypeError: a loss that is none of this package.
        ValueError: weights that are negative or all 0.

    >>> from segloss import build_loss
    >>> loss = DeepSupervision(build_loss("ce"), [1.0, 0.5])
    >>> outputs = [torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4)]
    >>> round(float(loss(outputs, torch.zeros(1, 8, 8, dtype=torch.long))), 4)  # 1.5 log 2
    1.0397
    """

    __call__: Callable[..., Tensor]

    def __init__(self, loss: SegmentationLoss | WeightedSum, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if not isinstance(loss, SegmentationLoss | WeightedSum):
            raise TypeError(f"deep supervision is of a loss of segloss, got {type(loss).__name__}")
        rule = "numbers ≥ 0, one a level, not all 0"
        check_range(
            "weights", weights, rule, lambda v: v is None or (all(0 <= w < float("inf") for w in v) and sum(v) > 0)
        )
        self.loss, self.weights = loss, weights
        self.activation: Activation = loss.activation
        self.follows_validation = loss.follows_validation

    def denominator(
        self,
        target: Tensor,
        mask: Tensor | None = None,
        *,
        sizes: Sequence[Sequence[int]],
        weight: Tensor | None = None,
        **restrictions: Any,
    ) -> Tensor:
        """The denominators of the levels, `(L,)` or `(L, K)`; sum them over micro-batches and ranks, pass them back.

        Args:
            target: `(N, *spatial)`, or `(N, C, *spatial)`.
            mask: as of the loss.
            sizes: the spatial shape of each output, `[z.shape[2:] for z in outputs]`.
            weight: as of the loss.
            **restrictions: as of the loss.
        """
        levels = []
        for size in sizes:
            labels, counted, weights = (_at_size(each, size) for each in (target, mask, weight))
            given = restrictions if weights is None else {**restrictions, "weight": weights}
            levels.append(self.loss.denominator(labels, counted, **given))
        return torch.stack(levels)

    def new_epoch(self, epoch: int, class_accuracy: Accuracy | None = None) -> None:
        """Update the loss before an epoch; see `SegmentationLoss`."""
        self.loss.new_epoch(epoch, class_accuracy)

    def forward(
        self,
        outputs: Sequence[Tensor],
        target: Tensor,
        mask: Tensor | None = None,
        denominator: Tensor | None = None,
        *,
        weight: Tensor | None = None,
        **restrictions: Any,
    ) -> Tensor:
        """The weighted sum over the levels.

        Args:
            outputs: logits of each level, `(N, C, *spatial)`, the finest first.
            target: of the finest level or larger; brought down to each.
            mask: as of the loss.
            denominator: as `denominator()` gives it.
            weight: as of the loss.
            **restrictions: as of the loss.

        Raises:
            TypeError: outputs that are no list of tensors.
            ValueError: another number of outputs than of weights.
        """
        if not isinstance(outputs, list | tuple) or not outputs:
            raise TypeError(f"deep supervision takes a list of logits, the finest first; got {type(outputs).__name__}")
        shares = self.weights
        if shares is None:
            total = 2 - 0.5 ** (len(outputs) - 1)
            shares = [0.5**level / total for level in range(len(outputs))]
        if len(shares) != len(outputs):
            raise ValueError(f"deep supervision has {len(shares)} weights, and the network {len(outputs)} outputs")
        found = torch.zeros((), device=outputs[0].device)
        for level, (logits, share) in enumerate(zip(outputs, shares, strict=True)):
            labels, counted, weights = (_at_size(each, logits.shape[2:]) for each in (target, mask, weight))
            given = restrictions if weights is None else {**restrictions, "weight": weights}
            below = None if denominator is None else denominator[level]
            found = found + share * self.loss(logits, labels, counted, below, **given)
        return found


def _at_size(values: Tensor | None, size: Sequence[int]) -> Any:
    """Values whose last axes are spatial, each pixel of the smaller map that of the nearest centre in the larger."""
    if values is None:
        return None
    for axis, length in enumerate(size, start=values.dim() - len(size)):
        whole = values.shape[axis]
        if whole != length:
            index = ((torch.arange(length, device=values.device) + 0.5) * (whole / length)).long()
            values = values.index_select(axis, index)
    return values
