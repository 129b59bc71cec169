"""The losses as pure functions, under the names that `build_loss` knows.

`functional.focal(logits, target, mask=None, gamma=2.0, …)`: arithmetic alone, nothing is stored. What a class computes
once from the class counts is a parameter here, one number a class: `class_weights` (of `segloss.CLASS_WEIGHTS`),
`labels` of `outlying_labels`, `margins` of `ldam_margins`, `log_prior`, `difficulty` of `difficulty_weights`. Ranges of
scalars such as gamma are checked by the classes alone.

Other keywords are those of `segloss.pixelwise.pixelwise_loss` for losses that are means over pixels, of
`segloss.overlap.overlap_loss` for Dice and its kin, of `segloss.region.region_loss` for `lovasz`, `lovasz_hinge` and
`boundary`, of `segloss.topk.topk_loss` for `topk`.

Gradients flow to the logits, and to soft labels, `denominator` and any of these parameters that require one: the batch
is then computed in one piece, as it is under `torch.func`, which holds more than blocks do.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from .boundary import boundary_of_region
from .cefl import cefl2_terms, cefl_terms
from .cross_entropy import cross_entropy_terms
from .dice import dice_of_overlap, generalized_dice_of_overlap
from .difficulty import difficulty_terms
from .dual_cross_entropy import dual_cross_entropy_terms
from .dual_focal import dual_focal_terms
from .dual_focal_2021 import dual_focal_2021_terms
from .equalization import equalization_terms
from .focal import focal_terms
from .ldam import ldam_terms
from .logit_adjusted import logit_adjusted_terms
from .lovasz import lovasz_hinge_of_region, lovasz_softmax_of_region
from .mse_outlying import squared_error_terms
from .overlap import overlap_loss
from .pixelwise import pixelwise_loss
from .poly import poly1_terms
from .recall import missed_share
from .region import region_loss
from .sigmoid import sigmoid_ce_terms, sigmoid_focal_terms
from .topk import topk_loss as topk
from .tversky import focal_tversky_of_overlap, tversky_of_overlap

__all__ = [
    "balanced_softmax",
    "boundary",
    "cb_ce",
    "cb_focal",
    "cb_sigmoid",
    "cdb_ce",
    "ce",
    "cefl",
    "cefl2",
    "dce",
    "dfl",
    "dfl2021",
    "dice",
    "focal",
    "focal_tversky",
    "generalized_dice",
    "iou",
    "ldam",
    "logit_adjusted",
    "lovasz",
    "lovasz_hinge",
    "mse",
    "mse_ol",
    "poly1",
    "recall",
    "seql",
    "sigmoid_ce",
    "sigmoid_focal",
    "topk",
    "tversky",
    "wce",
]


def ce(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, label_smoothing: float = 0.0, **options: Any
) -> Tensor:
    """See `segloss.CrossEntropyLoss`."""
    terms = partial(cross_entropy_terms, label_smoothing=label_smoothing)
    return pixelwise_loss(terms, logits, target, mask, **options)


def wce(logits: Tensor, target: Tensor, mask: Tensor | None = None, *, class_weights: Tensor, **options: Any) -> Tensor:
    """See `segloss.WeightedCrossEntropyLoss`: `ce`, which needs weights."""
    return ce(logits, target, mask, class_weights=class_weights, **options)


def cb_ce(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, class_weights: Tensor, **options: Any
) -> Tensor:
    """See `segloss.ClassBalancedCrossEntropyLoss`: `ce` with weights of `effective_number`."""
    return ce(logits, target, mask, class_weights=class_weights, **options)


def focal(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    gamma: float = 2.0,
    alpha: Tensor | float | None = None,
    **options: Any,
) -> Tensor:
    """See `segloss.FocalLoss`."""
    return pixelwise_loss(partial(focal_terms, gamma=gamma, alpha=alpha), logits, target, mask, **options)


def sigmoid_ce(logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    """See `segloss.SigmoidCrossEntropyLoss`."""
    return pixelwise_loss(sigmoid_ce_terms, logits, target, mask, one_vs_rest=True, **options)


def sigmoid_focal(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    **options: Any,
) -> Tensor:
    """See `segloss.SigmoidFocalLoss`."""
    terms = partial(sigmoid_focal_terms, gamma=gamma, alpha=alpha)
    return pixelwise_loss(terms, logits, target, mask, one_vs_rest=True, **options)


def cb_sigmoid(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, class_weights: Tensor, **options: Any
) -> Tensor:
    """See `segloss.ClassBalancedSigmoidLoss`: `sigmoid_ce` with weights of `effective_number`."""
    return sigmoid_ce(logits, target, mask, class_weights=class_weights, **options)


def cb_focal(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    class_weights: Tensor,
    gamma: float = 0.5,
    **options: Any,
) -> Tensor:
    """See `segloss.ClassBalancedFocalLoss`: `sigmoid_focal` without α, with weights of `effective_number`."""
    return sigmoid_focal(logits, target, mask, gamma=gamma, alpha=None, class_weights=class_weights, **options)


def dfl(logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    """See `segloss.DualFocalLoss`."""
    return pixelwise_loss(dual_focal_terms, logits, target, mask, **options)


def dfl2021(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    rho: float = 1.0,
    **options: Any,
) -> Tensor:
    """See `segloss.DualFocal2021Loss`."""
    terms = partial(dual_focal_2021_terms, alpha=alpha, beta=beta, gamma=gamma, rho=rho)
    return pixelwise_loss(terms, logits, target, mask, **options)


def dce(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    alpha: float = 2.0,
    beta: float = 1.5,
    **options: Any,
) -> Tensor:
    """See `segloss.DualCrossEntropyLoss`."""
    return pixelwise_loss(partial(dual_cross_entropy_terms, alpha=alpha, beta=beta), logits, target, mask, **options)


def cefl(logits: Tensor, target: Tensor, mask: Tensor | None = None, *, gamma: float = 2.0, **options: Any) -> Tensor:
    """See `segloss.CEFLoss`."""
    return pixelwise_loss(partial(cefl_terms, gamma=gamma), logits, target, mask, **options)


def cefl2(logits: Tensor, target: Tensor, mask: Tensor | None = None, *, gamma: float = 2.0, **options: Any) -> Tensor:
    """See `segloss.CEFL2Loss`."""
    return pixelwise_loss(partial(cefl2_terms, gamma=gamma), logits, target, mask, **options)


def mse(logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    """See `segloss.MSELoss`."""
    return pixelwise_loss(squared_error_terms, logits, target, mask, **options)


def mse_ol(logits: Tensor, target: Tensor, mask: Tensor | None = None, *, labels: Tensor, **options: Any) -> Tensor:
    """See `segloss.OutlyingMSELoss`."""
    return pixelwise_loss(partial(squared_error_terms, labels=labels), logits, target, mask, **options)


def ldam(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, margins: Tensor, s: float = 30.0, **options: Any
) -> Tensor:
    """See `segloss.LDAMLoss`."""
    return pixelwise_loss(partial(ldam_terms, margins=margins, s=s), logits, target, mask, **options)


def cdb_ce(logits: Tensor, target: Tensor, mask: Tensor | None = None, *, difficulty: Tensor, **options: Any) -> Tensor:
    """See `segloss.DifficultyBalancedLoss`."""
    return pixelwise_loss(partial(difficulty_terms, difficulty=difficulty), logits, target, mask, **options)


def seql(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, rare: Tensor, gamma: float = 0.9, **options: Any
) -> Tensor:
    """See `segloss.EqualizationLoss`; `rare` is `(C,)` bool."""
    terms = partial(equalization_terms, rare=rare, gamma=gamma)
    return pixelwise_loss(terms, logits, target, mask, draws=True, **options)


def poly1(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, epsilon: float = 1.0, **options: Any
) -> Tensor:
    """See `segloss.Poly1Loss`."""
    return pixelwise_loss(partial(poly1_terms, epsilon=epsilon), logits, target, mask, **options)


def logit_adjusted(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, log_prior: Tensor, tau: float = 1.0, **options: Any
) -> Tensor:
    """See `segloss.LogitAdjustedLoss`."""
    return pixelwise_loss(partial(logit_adjusted_terms, log_prior=log_prior, tau=tau), logits, target, mask, **options)


def balanced_softmax(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, *, log_prior: Tensor, **options: Any
) -> Tensor:
    """See `segloss.BalancedSoftmaxLoss`: `logit_adjusted` with τ = 1."""
    return logit_adjusted(logits, target, mask, log_prior=log_prior, tau=1.0, **options)


def recall(logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    """See `segloss.RecallLoss`."""
    return pixelwise_loss(cross_entropy_terms, logits, target, mask, batch_weights=missed_share, **options)


def dice(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    squared: bool = False,
    smooth: float = 0.0,
    **options: Any,
) -> Tensor:
    """See `segloss.DiceLoss`."""
    return overlap_loss(partial(dice_of_overlap, smooth=smooth), logits, target, mask, squared=squared, **options)


def iou(logits: Tensor, target: Tensor, mask: Tensor | None = None, *, smooth: float = 0.0, **options: Any) -> Tensor:
    """See `segloss.IoULoss`."""
    return tversky(logits, target, mask, alpha=1.0, beta=1.0, smooth=smooth, **options)


def tversky(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 0.0,
    **options: Any,
) -> Tensor:
    """See `segloss.TverskyLoss`."""
    loss = partial(tversky_of_overlap, alpha=alpha, beta=beta, smooth=smooth)
    return overlap_loss(loss, logits, target, mask, **options)


def focal_tversky(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
    smooth: float = 0.0,
    **options: Any,
) -> Tensor:
    """See `segloss.FocalTverskyLoss`."""
    loss = partial(focal_tversky_of_overlap, alpha=alpha, beta=beta, gamma=gamma, smooth=smooth)
    return overlap_loss(loss, logits, target, mask, **options)


def generalized_dice(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    smooth: float = 0.0,
    class_weights: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """See `segloss.GeneralizedDiceLoss`."""
    loss = partial(generalized_dice_of_overlap, smooth=smooth, class_weights=class_weights)
    return overlap_loss(loss, logits, target, mask, class_weights=class_weights, **options)


def lovasz(logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    """See `segloss.LovaszSoftmaxLoss`."""
    return region_loss(lovasz_softmax_of_region, logits, target, mask, **options)


def lovasz_hinge(logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    """See `segloss.LovaszHingeLoss`."""
    return region_loss(lovasz_hinge_of_region, logits, target, mask, one_vs_rest=True, **options)


def boundary(logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    """See `segloss.BoundaryLoss`."""
    return region_loss(boundary_of_region, logits, target, mask, **options)
