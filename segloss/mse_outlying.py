"""Squared error on raw logits, plain and with outlying labels."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from .base import Activation
from .class_weights import ClassCounts, Counts
from .names import POSITIVE, check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions
from .tensors import one_hot, per_class


def squared_error_terms(logits: Tensor, target: Tensor, labels: Tensor | None = None) -> Tensor:
    """Σ_k ½ (z_k − P_k·label_k)² on raw logits (Kato, eq. 4); `labels` is `(C,)`, 1 for plain MSE."""
    wanted = one_hot(target, logits.shape[1]).to(logits.dtype)
    return 0.5 * (logits - (wanted if labels is None else wanted * per_class(labels, logits, "labels"))).square().sum(1)


def outlying_labels(counts: Counts, alpha: float = 1.0) -> Tensor:
    """The target of each class at its own logit: α·(rank + 1), rank 0 the largest class, ties by index (Kato, Alg. 1).

    Returns:
        `(C,)` float64; the rarest class lies farthest out.

    Raises:
        ValueError: alpha ≤ 0, no counts.

    >>> outlying_labels([500, 20, 100], alpha=2.0)
    tensor([2., 6., 4.], dtype=torch.float64)
    """
    check_range("alpha", alpha, *POSITIVE)
    pixels = ClassCounts.of(counts).get("pixels")
    order = torch.argsort(pixels, descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order))
    return alpha * (ranks + 1).double()


class MSELoss(PixelwiseLoss):
    """Σ_k ½ (z_k − P_k)² per pixel on raw logits (Kato, eq. 4).

    The other end of the comparison for `mse_ol`. Use it to see what the outlying labels do. Not for probabilities: none
    are trained, and the class is the argmax of the logits.

    Args:
        class_weights, normalize, **options: see `PixelwiseLoss`.

    >>> float(MSELoss()(torch.tensor([[0.5, 2.0]]), torch.tensor([0])))  # ½ (¼ + 4)
    2.125
    """

    formula = staticmethod(partial(squared_error_terms, labels=None))
    merges: ClassVar[bool] = False
    activation: Activation = "none"


class OutlyingMSELoss(PixelwiseLoss):
    """Σ_k ½ (z_k − t_k)² per pixel on raw logits, t_k the outlying label of the true class, else 0 (Kato, Alg. 1).

    The rarer a class, the farther out its target lies, so the larger its error and gradient. Use it with the paper's
    networks, on logits that no softmax follows. Not with many classes: the labels grow with the rank, to C·α, and so
    does the loss; nor where probabilities are wanted.

    Args:
        alpha: > 0, the distance between the labels of neighbouring ranks.
        class_weights, normalize, num_classes: see `PixelwiseLoss`.
        class_counts: pixels of each class in the training data; needed.
        **options: `ignore_index`, `reduction` of `PixelwiseLoss`.

    Raises:
        ValueError: alpha ≤ 0; class_counts missing or of the wrong length.

    >>> loss = OutlyingMSELoss(class_counts=[9, 5])  # targets 1 and 2
    >>> float(loss(torch.tensor([[0.5, 1.0]]), torch.tensor([1])))  # ½ (¼ + 1)
    0.625
    """

    formula = staticmethod(squared_error_terms)
    merges: ClassVar[bool] = False
    activation: Activation = "none"
    labels: Tensor

    def __init__(self, *, alpha: float = 1.0, **options: Unpack[PixelwiseOptions]) -> None:
        counts = ClassCounts.needed(options.get("class_counts"), "mse_ol", options.get("num_classes"))
        options["class_counts"] = counts
        labels = outlying_labels(counts, alpha)
        super().__init__(**options)
        self.alpha = alpha
        self.register_buffer("labels", labels)
