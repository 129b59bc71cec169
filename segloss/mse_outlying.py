"""Mean squared error with outlying labels."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from .class_weights import ClassCounts, ClassWeights, Counts
from .pixelwise import Activation, Normalize, PixelwiseLoss
from .tensors import at_class, per_class


def squared_error_terms(logits: Tensor, target: Tensor, labels: Tensor) -> Tensor:
    """Σ_k ½ (z_k − P_k·label_k)² on raw logits (Kato, eq. 4); `labels` is `(C,)`, 1 for plain MSE."""
    one_hot = target if target.is_floating_point() else at_class(target, logits.shape[1])
    return 0.5 * (logits - one_hot * per_class(labels, logits)).square().sum(1)


def outlying_labels(counts: Counts, alpha: float = 1.0) -> Tensor:
    """The target of each class at its own logit: α·(rank + 1), rank 0 the largest class, ties by index (Kato, Alg. 1).

    Returns:
        `(C,)` float32; the rarest class lies farthest out.

    Raises:
        ValueError: alpha ≤ 0, no counts.

    >>> outlying_labels([500, 20, 100], alpha=2.0)
    tensor([2., 6., 4.])
    """
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha must be > 0, got {alpha}")
    pixels = ClassCounts.of(counts).get("pixels")
    order = torch.argsort(pixels, descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order))
    return alpha * (ranks + 1).float()


class OutlyingMSELoss(PixelwiseLoss):
    """Σ_k ½ (z_k − t_k)² per pixel on raw logits, t_k the outlying label of the true class, else 0 (Kato, Alg. 1).

    Args:
        alpha: > 0, the distance between the labels of neighbouring ranks.
        class_weights: see `PixelwiseLoss`.
        normalize: see `PixelwiseLoss`.
        num_classes: see `PixelwiseLoss`.
        class_counts: pixels of each class in the training data; needed, they rank the classes.
        **options: `ignore_index`, `reduction` of `PixelwiseLoss`.

    Raises:
        ValueError: alpha ≤ 0; class_counts missing or of the wrong length.
    """

    activation: ClassVar[Activation] = "none"
    labels: Tensor

    def __init__(
        self,
        alpha: float = 1.0,
        class_weights: ClassWeights = None,
        normalize: Normalize = "pixels",
        *,
        num_classes: int | None = None,
        class_counts: Counts | None = None,
        **options: Any,
    ) -> None:
        if class_counts is None:
            raise ValueError("mse_ol needs class_counts to rank the classes: pass the pixels of each training class")
        labels = outlying_labels(class_counts, alpha)
        if num_classes is not None and len(labels) != num_classes:
            raise ValueError(f"class_counts must hold {num_classes} classes, got {len(labels)}")
        super().__init__(class_weights, normalize, num_classes=num_classes, class_counts=class_counts, **options)
        self.alpha = alpha
        self.register_buffer("labels", labels)

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        """See `squared_error_terms`."""
        return squared_error_terms(logits, target, self.labels.to(logits))
