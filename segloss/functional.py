"""The losses as pure functions: logits and target in, loss out, nothing stored.

All take `logits` `(N, C, *spatial)`, `target` and `mask`. The other keywords are those of the engine: of
`segloss.pixelwise.pixelwise_loss` for losses that are means over pixels, of `segloss.region.region_loss` for Dice.
`class_weights` is a `(C,)` tensor.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from .cross_entropy import cross_entropy_terms
from .dice import dice_of_overlap
from .dual_focal import dual_focal_terms
from .focal import focal_terms
from .mse_outlying import outlying_labels, squared_error_terms
from .pixelwise import pixelwise_loss
from .region import region_loss


def cross_entropy(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, label_smoothing: float = 0.0, **options: Any
) -> Tensor:
    """See `segloss.CrossEntropyLoss`."""
    return pixelwise_loss(
        partial(cross_entropy_terms, label_smoothing=label_smoothing), logits, target, mask, **options
    )


def focal(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    gamma: float = 2.0,
    alpha: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """See `segloss.FocalLoss`; `alpha` is a `(C,)` tensor."""
    return pixelwise_loss(partial(focal_terms, gamma=gamma, alpha=alpha), logits, target, mask, **options)


def dual_focal(logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    """See `segloss.DualFocalLoss`."""
    return pixelwise_loss(dual_focal_terms, logits, target, mask, **options)


def mse_outlying(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, labels: Tensor, **options: Any
) -> Tensor:
    """See `segloss.OutlyingMSELoss`; `labels` is `(C,)`, from `outlying_labels`."""
    return pixelwise_loss(partial(squared_error_terms, labels=labels), logits, target, mask, **options)


def dice(logits: Tensor, target: Tensor, mask: Tensor | None = None, *, smooth: float = 0.0, **options: Any) -> Tensor:
    """See `segloss.DiceLoss`; the other keywords are those of `segloss.region.region_loss`."""
    return region_loss(partial(dice_of_overlap, smooth=smooth), logits, target, mask, **options)


__all__ = ["cross_entropy", "dice", "dual_focal", "focal", "mse_outlying", "outlying_labels"]
