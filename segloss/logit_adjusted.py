"""Cross entropy of logits shifted by the class priors."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Unpack

import torch.nn.functional as F
from torch import Tensor

from .class_weights import ClassCounts, Counts, seen_pixels
from .cross_entropy import cross_entropy_terms
from .names import NOT_NEGATIVE, check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions
from .tensors import per_class
from .true_class import margin


def logit_adjusted_terms(logits: Tensor, target: Tensor, log_prior: Tensor, tau: float = 1.0) -> Tensor:
    """Cross entropy of z + τ log π (Menon 2021); `log_prior` is `(C,)`."""
    shift = tau * per_class(log_prior, logits, "log_prior")
    if target.is_floating_point():
        return cross_entropy_terms(logits + shift, target)
    return -F.logsigmoid(margin(logits, target, shift=shift))


def log_prior(counts: Counts) -> Tensor:
    """The logarithm of each class's share of the training pixels, `(C,)` float64.

    Raises:
        ValueError: counts that are all zero.

    >>> log_prior([750, 250]).exp()
    tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    pixels = seen_pixels(ClassCounts.of(counts))
    return (pixels / pixels.sum()).log()


class LogitAdjustedLoss(PixelwiseLoss):
    """Cross entropy of z + τ log π per pixel, π the shares of the classes in the training pixels (Menon 2021).

    The network learns logits without the prior, so that rare classes are predicted more often: consistent for the mean
    of the class recalls. Use it where recall of every class counts the same. Not where precision does, nor with IoU of
    very rare classes in mind, which it floods with false positives; and shift nothing at inference.

    Args:
        tau: ≥ 0; 0 gives cross entropy, 1 is `balanced_softmax`.
        class_weights, normalize, num_classes: see `PixelwiseLoss`.
        class_counts: pixels of each class in the training data; needed.
        **options: `ignore_index`, `reduction` of `PixelwiseLoss`.

    Raises:
        ValueError: tau < 0; class_counts missing or of the wrong length.

    >>> import torch
    >>> loss = LogitAdjustedLoss(class_counts=[3, 1])
    >>> round(float(loss(torch.zeros(1, 2), torch.tensor([1]))), 4)  # −log ¼
    1.3863
    """

    formula = staticmethod(logit_adjusted_terms)
    merges: ClassVar[bool] = False
    log_prior: Tensor
    _named = "logit_adjusted"

    def __init__(self, *, tau: float = 1.0, **options: Unpack[PixelwiseOptions]) -> None:
        check_range("tau", tau, *NOT_NEGATIVE)
        counts = ClassCounts.needed(options.get("class_counts"), self._named, options.get("num_classes"))
        options["class_counts"] = counts
        prior = log_prior(counts)
        super().__init__(**options)
        self.tau = tau
        self.register_buffer("log_prior", prior)


class BalancedSoftmaxLoss(LogitAdjustedLoss):
    """−log(n_y e^{z_y} / Σ_k n_k e^{z_k}) per pixel, n the training pixels of the classes (Ren 2020).

    The same as `logit_adjusted` with τ = 1, reached from another side; when to use it and when not is the same.

    Args:
        class_weights, normalize: see `PixelwiseLoss`.
        **options: `num_classes`, `class_counts` (needed), `ignore_index`, `reduction` of `PixelwiseLoss`.

    Raises:
        ValueError: class_counts missing or of the wrong length.

    >>> import torch
    >>> loss = BalancedSoftmaxLoss(class_counts=[3, 1])
    >>> round(float(loss(torch.zeros(1, 2), torch.tensor([1]))), 4)  # −log ¼
    1.3863
    """

    formula = staticmethod(partial(logit_adjusted_terms, tau=1.0))
    _named = "balanced_softmax"

    def __init__(self, **options: Unpack[PixelwiseOptions]) -> None:
        super().__init__(tau=1.0, **options)
