"""Class-balanced losses: cross entropy, sigmoid cross entropy and sigmoid focal loss, weighed by effective numbers."""

from __future__ import annotations

from functools import partial
from typing import Any, Unpack

from .class_weights import Unit
from .cross_entropy import CrossEntropyLoss
from .pixelwise import UnweightedOptions
from .sigmoid import SigmoidCrossEntropyLoss, SigmoidFocalLoss, sigmoid_focal_terms


class ClassBalancedCrossEntropyLoss(CrossEntropyLoss):
    """−w_y log p_y per pixel, p = softmax(z), w_c ∝ (1−β)/(1−β^n_c), divided by the number of pixels (Cui 2019, eq. 8).

    Between no weights (β = 0) and inverse frequency (β → 1): use it where inverse frequency over-corrects. Not on pixel
    counts at the default β: every class of more than a few times 1/(1−β) pixels gets the same weight, as a warning
    says; take `unit: image`, or a β nearer to 1.

    Args:
        beta: in [0, 1).
        unit: what counts as one sample: a `pixel`, an `image`, or a connected `component`.
        label_smoothing: see `CrossEntropyLoss`.
        normalize: see `PixelwiseLoss`.
        **options: `num_classes`, `class_counts` (needed), `ignore_index`, `reduction` of `PixelwiseLoss`.

    Raises:
        ValueError: beta outside [0, 1), the unit's counts missing.

    >>> import torch
    >>> loss = ClassBalancedCrossEntropyLoss(beta=0.9, class_counts=[1000, 1])
    >>> loss.class_weights  # 1/(1−0) to 1/(1−0.9), summing to 2
    tensor([0.1818, 1.8182], dtype=torch.float64)
    """

    def __init__(
        self,
        *,
        beta: float = 0.9999,
        unit: Unit = "pixel",
        label_smoothing: float = 0.0,
        **options: Unpack[UnweightedOptions],
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, class_weights=_effective(beta, unit), **options)
        self.beta, self.unit = beta, unit


class ClassBalancedSigmoidLoss(SigmoidCrossEntropyLoss):
    """Sigmoid cross entropy times w_y, w_c ∝ (1−β)/(1−β^n_c), divided by the number of pixels (Cui 2019, eq. 11).

    The weight is that of the pixel's true class, for all its one-vs-rest terms. When to use it and when not: see
    `cb_ce` on the weights, `sigmoid_ce` on the loss.

    Args:
        beta: in [0, 1).
        unit: what counts as one sample: a `pixel`, an `image`, or a connected `component`.
        normalize: see `PixelwiseLoss`.
        **options: `num_classes`, `class_counts` (needed), `ignore_index`, `reduction` of `PixelwiseLoss`.

    Raises:
        ValueError: beta outside [0, 1), the unit's counts missing.

    >>> import torch
    >>> loss = ClassBalancedSigmoidLoss(beta=0.9, class_counts=[1000, 1])
    >>> round(float(loss(torch.zeros(1, 2), torch.tensor([1]))), 4)  # 1.8182 · 2 log 2
    2.5205
    """

    def __init__(self, *, beta: float = 0.9999, unit: Unit = "pixel", **options: Unpack[UnweightedOptions]) -> None:
        super().__init__(class_weights=_effective(beta, unit), **options)
        self.beta, self.unit = beta, unit


class ClassBalancedFocalLoss(SigmoidFocalLoss):
    """Sigmoid focal loss (no α) times w_y, w_c ∝ (1−β)/(1−β^n_c), divided by the number of pixels (Cui 2019, eq. 13).

    The paper's choice on large data sets, with γ = 0.5. When to use it and when not: see `cb_ce` on the weights,
    `sigmoid_focal` on the loss.

    Args:
        gamma: ≥ 0; 0 gives `cb_sigmoid`.
        beta: in [0, 1).
        unit: what counts as one sample: a `pixel`, an `image`, or a connected `component`.
        normalize: see `PixelwiseLoss`.
        **options: `num_classes`, `class_counts` (needed), `ignore_index`, `reduction` of `PixelwiseLoss`.

    Raises:
        ValueError: gamma < 0, beta outside [0, 1), the unit's counts missing.

    >>> import torch
    >>> loss = ClassBalancedFocalLoss(gamma=2.0, beta=0.9, class_counts=[1000, 1])
    >>> round(float(loss(torch.zeros(1, 2), torch.tensor([1]))), 4)  # 1.8182 · 2 · ¼ log 2
    0.6301
    """

    formula = staticmethod(partial(sigmoid_focal_terms, alpha=None))

    def __init__(
        self, *, gamma: float = 0.5, beta: float = 0.9999, unit: Unit = "pixel", **options: Unpack[UnweightedOptions]
    ) -> None:
        super().__init__(gamma=gamma, alpha=None, class_weights=_effective(beta, unit), **options)
        self.beta, self.unit = beta, unit


def _effective(beta: float, unit: Unit) -> dict[str, Any]:
    return {"name": "effective_number", "beta": beta, "unit": unit}
