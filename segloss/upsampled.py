"""A loss of logits that are upsampled on the way, slab by slab."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from .base import Accuracy, Activation, SegmentationLoss
from .names import check_range
from .weighted_sum import WeightedSum


class Upsampled(nn.Module):
    """A loss on bilinearly upsampled logits; see `upsampled`."""

    __call__: Callable[..., Tensor]

    def __init__(self, loss: SegmentationLoss | WeightedSum, size: tuple[int, int]) -> None:
        super().__init__()
        self.loss, self.size = loss, size
        self.activation: Activation = loss.activation
        self.follows_validation = loss.follows_validation

    def denominator(self, target: Tensor, mask: Tensor | None = None, **restrictions: Any) -> Tensor:
        """What the loss divides by; arguments as of the loss itself."""
        return self.loss.denominator(target, mask, **restrictions)

    def new_epoch(self, epoch: int, class_accuracy: Accuracy | None = None) -> None:
        """Update the loss before an epoch; see `SegmentationLoss`."""
        self.loss.new_epoch(epoch, class_accuracy)

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        denominator: Tensor | None = None,
        **restrictions: Tensor | None,
    ) -> Tensor:
        """The loss; arguments as of the loss itself, with logits `(N, C, h, w)`."""
        return self.loss(logits, target, mask, denominator, size=self.size, **restrictions)


def upsampled(loss: SegmentationLoss | WeightedSum, size: tuple[int, int]) -> Upsampled:
    """The same loss, of logits `(N, C, h, w)` that stand for their bilinear upsampling to `size`.

    Value and gradient are those of `loss(F.interpolate(logits, size, mode="bilinear", align_corners=False), target)`,
    but the large map is made and dropped slab by slab: what is held is the gradient of the small one. Region losses
    pass over the slabs twice. In a compiled graph the map is left to the compiler. The weights of the rows are exact
    here; torch rounds them in float32, which at odd ratios to thousands of rows can make a difference of 1e-4.

    Args:
        loss: a mean over pixels, or a function of overlaps; or a sum of such losses.
        size: (H, W) of the upsampled map. The target may be smaller: the map is then cropped to its upper left part, as
            networks do that pad their input.

    Raises:
        ValueError: a loss that cannot be computed slab by slab, since it sorts or draws over all pixels; a size that
            is no pair of whole numbers ≥ 1.

    >>> import torch
    >>> from segloss import build_loss
    >>> loss = upsampled(build_loss("dfl"), (64, 64))
    >>> value = loss(torch.zeros(1, 3, 16, 16), torch.zeros(1, 64, 64, dtype=torch.long))
    """
    parts = loss.losses if isinstance(loss, WeightedSum) else [loss]
    for part in parts:
        if not getattr(part, "upsamples", False):
            raise ValueError(
                f"{type(part).__name__} cannot be computed slab by slab, since it ranks or draws over all pixels; "
                "upsample the logits yourself, or take another loss"
            )
    rule = "(height, width), whole numbers ≥ 1"
    check_range("size", size, rule, lambda v: len(v) == 2 and all(operator.index(side) >= 1 for side in v))
    return Upsampled(loss, (operator.index(size[0]), operator.index(size[1])))
