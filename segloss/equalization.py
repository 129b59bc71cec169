"""Softmax equalization loss."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from .class_weights import ClassCounts
from .names import SHARE, check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions
from .tensors import one_hot, per_class, pick


def equalization_terms(logits: Tensor, target: Tensor, rare: Tensor, gamma: float = 0.9) -> Tensor:
    """Σ_i P_i [logsumexp_{k kept} z_k − z_i]; a rare class k with P_k = 0 is left out with probability γ (Tan 2020).

    Args:
        logits: `(N, C, *spatial)`.
        target: `(N, *spatial)` labels or `(N, C, *spatial)` soft labels.
        rare: `(C,)` bool.
        gamma: the draws come from torch's default generator, one for each pixel and class.
    """
    wanted = one_hot(target, logits.shape[1])
    drawn = torch.rand(logits.shape, device=logits.device) < gamma
    dropped = drawn & (per_class(rare, logits, "rare") > 0) & (wanted == 0)
    kept = logits.masked_fill(dropped, -torch.inf).logsumexp(1, keepdim=True)
    return pick(kept - logits, target)


class EqualizationLoss(PixelwiseLoss):
    """−log(e^{z_y} / Σ_k w_k e^{z_k}) per pixel, w_k = 0 with probability γ for a rare class k ≠ y, else 1 (Tan 2020).

    Pixels of other classes stop pushing the rare ones down: use it for long tails of many classes. Not for two classes,
    where a rare foreground would hardly ever be told apart from the background. Class k is rare when its share of the
    pixels is below λ. The loss draws random numbers (torch's default generator), in evaluation too.

    Args:
        gamma: in [0, 1]; 0 gives cross entropy.
        lambda_: in [0, 1], the share of the training pixels below which a class is rare.
        class_weights, normalize, num_classes: see `PixelwiseLoss`.
        class_counts: pixels of each class in the training data; needed.
        **options: `ignore_index`, `reduction` of `PixelwiseLoss`.

    Raises:
        ValueError: gamma or lambda_ outside [0, 1]; class_counts missing or of the wrong length.

    >>> loss = EqualizationLoss(gamma=1.0, class_counts=[900, 98, 2])  # class 2 is rare
    >>> round(float(loss(torch.zeros(1, 3), torch.tensor([0]))), 4)  # log 2, not log 3
    0.6931
    """

    formula = staticmethod(equalization_terms)
    merges: ClassVar[bool] = False
    draws: ClassVar[bool] = True
    upsamples: ClassVar[bool] = False
    rare: Tensor

    def __init__(self, *, gamma: float = 0.9, lambda_: float = 0.005, **options: Unpack[PixelwiseOptions]) -> None:
        check_range("gamma", gamma, *SHARE)
        check_range("lambda_", lambda_, *SHARE)
        counts = ClassCounts.needed(options.get("class_counts"), "seql", options.get("num_classes"))
        options["class_counts"] = counts
        pixels = counts.get("pixels")
        check_range("class_counts", pixels.tolist(), "positive for some class", lambda _: (pixels > 0).any())
        super().__init__(**options)
        self.gamma, self.lambda_ = gamma, lambda_
        self.register_buffer("rare", pixels / pixels.sum() < lambda_)
