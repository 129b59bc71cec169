"""Unified focal loss: a focal loss of pixels and one of overlaps, with one set of parameters."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Unpack, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import LossOptions, Reduction, SegmentationLoss
from .class_weights import ClassWeights
from .names import NOT_NEGATIVE, SHARE, check_choice, check_range
from .overlap import Overlap, overlap_loss
from .pixelwise import pixelwise_loss
from .region import Classes
from .tensors import pick
from .true_class import log_not, near_one, true_class
from .tversky import tversky_of_overlap


def asymmetric_focal_terms(
    logits: Tensor, target: Tensor, delta: float = 0.6, gamma: float = 0.5, symmetric: bool = False
) -> Tensor:
    """−δ_y (1−p_y)^γ log p_y (Yeung 2022, eq. 11); unless symmetric, the foreground's without (1−p)^γ (eq. 16).

    δ_y is δ for the foreground and 1 − δ for the background, class 0.
    """
    if target.is_floating_point():
        log_p = F.log_softmax(logits, dim=1)
        log_rest = log_not(log_p)
        log_p = near_one(log_p, log_rest)
        background = torch.zeros_like(log_p, dtype=torch.bool)
        background[:, 0] = True
        return pick(_focal(log_p, log_rest, background, delta, gamma, symmetric), target)
    log_p, log_rest = true_class(logits, target)
    return _focal(log_p, log_rest, target == 0, delta, gamma, symmetric)


def _focal(log_p: Tensor, log_rest: Tensor, background: Tensor, delta: float, gamma: float, symmetric: bool) -> Tensor:
    share = delta + (1 - 2 * delta) * background.to(log_p.dtype)
    suppressed = torch.exp(gamma * log_rest)
    return -share * (suppressed if symmetric else torch.where(background, suppressed, 1.0)) * log_p


def asymmetric_focal_tversky(
    sums: Overlap, delta: float = 0.6, gamma: float = 0.5, smooth: float = 0.0, symmetric: bool = False
) -> Tensor:
    """(1 − Tversky index)^(1−γ), `(units, C)`, fn at δ and fp at 1 − δ; unless symmetric, the background's without γ.

    Yeung 2022, eq. 12 and 17. At an index of 1 the power has no gradient, and gets 0.
    """
    loss = tversky_of_overlap(sums, 1 - delta, delta, smooth)
    raised = torch.where(loss > 0, torch.where(loss > 0, loss, 1.0).pow(1 - gamma), 0.0)
    return raised if symmetric else torch.cat([loss[:, :1], raised[:, 1:]], 1)


def unified_focal_loss(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    lambda_: float = 0.5,
    delta: float = 0.6,
    gamma: float = 0.5,
    symmetric: bool = False,
    smooth: float = 0.0,
    reduction: Reduction = "mean",
    ignore_index: int = 255,
    **options: Any,
) -> Tensor:
    """λ times the focal Tversky loss plus 1 − λ times the focal loss; see `UnifiedFocalLoss`.

    Args:
        logits: `(N, C, *spatial)`.
        target: `(N, *spatial)` labels or `(N, C, *spatial)` soft labels.
        mask: `(N, *spatial)` bool, true where a pixel counts.
        lambda_: λ.
        delta: δ.
        gamma: γ.
        symmetric: of both parts.
        smooth: of the Tversky index.
        reduction: `mean`, or the `sum` over pixels and over units and classes.
        ignore_index: the label that does not count.
        **options: `per_image`, `classes`, `class_weights`, `denominator`, `num_classes`, `size`, `weight` of
            `segloss.overlap.overlap_loss`.

    Raises:
        ValueError: the reduction `none`, since pixels and classes share no map.
    """
    if reduction == "none":
        raise ValueError("reduction must be mean or sum of unified_focal, whose two parts have different maps")
    shared: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}
    of_overlap = partial(asymmetric_focal_tversky, delta=delta, gamma=gamma, smooth=smooth, symmetric=symmetric)
    overlaps = overlap_loss(of_overlap, logits, target, mask, **shared, **options)
    terms = partial(asymmetric_focal_terms, delta=delta, gamma=gamma, symmetric=symmetric)
    denominator = options.get("denominator")
    own = {name: options[name] for name in ("size", "weight", "num_classes") if name in options}
    pixels = pixelwise_loss(terms, logits, target, mask, **shared, **own)
    if denominator is not None and reduction == "mean":
        pixels = pixels / torch.as_tensor(denominator).to(pixels)
    return lambda_ * overlaps + (1 - lambda_) * pixels


class UnifiedFocalLoss(SegmentationLoss):
    """λ Σ_c (1 − TI_c)^(1−γ)/C + (1 − λ) mean of −δ_y (1−p_y)^γ log p_y, p = softmax(z) (Yeung 2022).

    TI = tp/(tp + δ fn + (1−δ) fp); δ_y is δ for the foreground and 1 − δ for the background, class 0. In the asymmetric
    form, the default, easy pixels of the background alone lose their say in the second part, and the first part of the
    foreground alone is raised. Use it for one small foreground in place of a hand-tuned sum of `focal` and `tversky`.
    Not for overlapping classes. Over micro-batches and ranks it can only be averaged.

    Args:
        lambda_: the share λ of the part of overlaps, in [0, 1].
        delta: the share δ of missed pixels, in [0, 1]; above ½ a missed pixel costs more than a false one.
        gamma: the exponent γ, in [0, 1): 0 gives the sum of a weighed cross entropy and `tversky`.
        symmetric: treat all classes alike in the powers.
        smooth: ≥ 0, added to numerator and denominator of TI.
        per_image: one fraction an image instead of one for the batch, in the part of overlaps.
        classes: those that the part of overlaps averages over: `present` in the reference, or `all`.
        class_weights, num_classes, class_counts, ignore_index: see `RegionLoss`, of the part of overlaps.
        reduction: `mean` or `sum`.

    Raises:
        ValueError: lambda_ or delta outside [0, 1], gamma outside [0, 1), smooth < 0, reduction `none`.

    >>> half = torch.zeros(1, 2, 4)  # p = ½, TI = ½ of both: ½ (½ + √½)/2 + ½ (0.4 √½ + 0.6)/2 · log 2
    >>> round(float(UnifiedFocalLoss()(half, torch.tensor([[0, 0, 1, 1]]))), 4)
    0.4548
    """

    takes: ClassVar[tuple[str, ...]] = ("lambda_", "delta", "gamma", "symmetric", "smooth")
    options: ClassVar[tuple[str, ...]] = (*SegmentationLoss.options, "per_image", "classes")
    upsamples: ClassVar[bool] = True
    restrictions: ClassVar[tuple[str, ...]] = ("weight",)
    without: ClassVar[str] = "its two parts would treat partial labels in different ways"

    def __init__(
        self,
        *,
        lambda_: float = 0.5,
        delta: float = 0.6,
        gamma: float = 0.5,
        symmetric: bool = False,
        smooth: float = 0.0,
        per_image: bool = False,
        classes: Classes = "present",
        class_weights: ClassWeights = None,
        **options: Unpack[LossOptions],
    ) -> None:
        check_range("lambda_", lambda_, *SHARE)
        check_range("delta", delta, *SHARE)
        check_range("gamma", gamma, "in [0, 1)", lambda v: 0 <= v < 1)
        check_range("smooth", smooth, *NOT_NEGATIVE)
        check_choice("classes", classes, get_args(Classes))
        super().__init__(class_weights=class_weights, **options)
        check_range("reduction", self.reduction, "mean or sum", lambda v: v != "none")
        self.lambda_, self.delta, self.gamma, self.symmetric = lambda_, delta, gamma, symmetric
        self.smooth, self.per_image, self.classes = smooth, per_image, classes

    @classmethod
    def function(cls, logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """See `unified_focal_loss`."""
        return unified_focal_loss(logits, target, mask, **options)
