"""Cross entropy and weighted cross entropy."""

from __future__ import annotations

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor

from .class_weights import ClassWeights
from .names import SHARE, check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions, UnweightedOptions
from .tensors import pick
from .true_class import margin


def cross_entropy_terms(logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """−Σ_i P_i log p_i, with P_i mixed with 1/C by `label_smoothing` (Hossain 2019, eq. 3)."""
    if label_smoothing == 0 and not target.is_floating_point():
        return -F.logsigmoid(margin(logits, target))
    log_p = F.log_softmax(logits, dim=1)
    return -(1 - label_smoothing) * pick(log_p, target) - label_smoothing * log_p.mean(1)


class CrossEntropyLoss(PixelwiseLoss):
    """−Σ_i P_i log p_i per pixel, p = softmax(z) (Hossain 2019, eq. 3).

    The baseline, and a proper scoring rule: its probabilities are the calibrated ones. Use it first, and wherever
    classes are about equal. Not where the rare class is the point: a mean over pixels is a mean over the large classes.

    Args:
        label_smoothing: in [0, 1], the share of the target that is spread evenly over the classes.
        class_weights: see `PixelwiseLoss`; multiplies the pixel's whole loss, smoothing included (torch weighs each
            smoothed term by its own class).
        normalize, **options: see `PixelwiseLoss`.

    Raises:
        ValueError: label_smoothing outside [0, 1].

    >>> import torch
    >>> float(CrossEntropyLoss()(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)))
    1.3862943649291992
    """

    formula = staticmethod(cross_entropy_terms)

    def __init__(self, *, label_smoothing: float = 0.0, **options: Unpack[PixelwiseOptions]) -> None:
        check_range("label_smoothing", label_smoothing, *SHARE)
        super().__init__(**options)
        self.label_smoothing = label_smoothing


class WeightedCrossEntropyLoss(CrossEntropyLoss):
    """−w_y log p_y per pixel, p = softmax(z), by default w_c ∝ 1/n_c, summing to 1 (Hossain 2019, eq. 4 and 5).

    Use it where a missed pixel of a rare class is worse than false alarms: it buys recall with precision. Not for
    classes of a few hundred pixels, whose weight dwarfs all others; `inverse_sqrt` or `cb_ce` are milder. The weights
    sum to 1 while the sum over pixels is still divided by their number: the loss is C times smaller than `ce` where
    classes are equal and more where they are not, which under SGD is a disguised lower learning rate (`normalize:
    weights` undoes that).

    Args:
        label_smoothing: see `CrossEntropyLoss`.
        class_weights, normalize, **options: see `PixelwiseLoss`.

    Raises:
        ValueError: label_smoothing outside [0, 1], class_counts missing.

    >>> loss = WeightedCrossEntropyLoss(class_counts=[3, 1])  # weights ¼ and ¾
    >>> import torch
    >>> round(float(loss(torch.zeros(1, 2), torch.tensor([1]))), 4)  # ¾ log 2
    0.5199
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        class_weights: ClassWeights = "inverse_frequency",
        **options: Unpack[UnweightedOptions],
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, class_weights=class_weights, **options)
