"""Label-distribution-aware margins, with deferred re-weighting."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch.nn.functional as F
from torch import Tensor

from .class_weights import ClassCounts, Counts, inverse_frequency, seen_pixels
from .cross_entropy import cross_entropy_terms
from .names import POSITIVE, check_range
from .pixelwise import PixelwiseLoss, PixelwiseOptions
from .tensors import per_class
from .true_class import margin


def ldam_terms(logits: Tensor, target: Tensor, margins: Tensor, s: float = 30.0) -> Tensor:
    """−Σ_i P_i log softmax(s·(z − m ⊙ P))_i (Cao 2019); `margins` is `(C,)`."""
    margins = per_class(margins, logits, "margins")
    if target.is_floating_point():
        return cross_entropy_terms(s * (logits - target * margins), target)
    return -F.logsigmoid(margin(logits, target, s, handicap=s * margins.flatten()[target]))


def ldam_margins(counts: Counts, max_m: float = 0.5) -> Tensor:
    """The margin of each class, m_c ∝ n_c^(−1/4), the rarest one's `max_m` (Cao 2019).

    Returns:
        `(C,)` float64.

    Raises:
        ValueError: max_m ≤ 0, counts that are all zero.

    >>> ldam_margins([160_000, 10_000, 10_000], max_m=0.5)
    tensor([0.2500, 0.5000, 0.5000], dtype=torch.float64)
    """
    check_range("max_m", max_m, *POSITIVE)
    pixels = seen_pixels(ClassCounts.of(counts))
    return max_m * (pixels / pixels.min()).pow(-0.25)


class LDAMLoss(PixelwiseLoss):
    """Cross entropy of s·(z − m ⊙ P) per pixel, margins m_c ∝ n_c^(−1/4), the largest `max_m` (Cao 2019).

    Rare classes have to win by a larger margin; with `drw_epoch` class weights join from that epoch on (deferred
    re-weighting), and the training loop calls `new_epoch(epoch)` before each epoch. Use it with a cosine head, for
    whose logits in [−1, 1] s = 30 and margins up to 0.5 are made; for a plain linear head take s near 1. Not with
    pixel counts of one size, when all margins are about equal.

    Args:
        s: > 0, the scale of the logits.
        max_m: > 0, the margin of the rarest class.
        drw_epoch: the first epoch, counted from 0, with class weights; null: they hold from the start.
        class_weights: as of `PixelwiseLoss`; with a drw_epoch null stands for the paper's 1/n, summing to the number of
            classes, and until that epoch all are 1.
        normalize, num_classes: see `PixelwiseLoss`.
        class_counts: pixels of each class in the training data; needed.
        **options: `ignore_index`, `reduction` of `PixelwiseLoss`.

    Raises:
        ValueError: s ≤ 0, max_m ≤ 0, drw_epoch < 0; class_counts missing or of the wrong length.

    >>> import torch
    >>> loss = LDAMLoss(s=1.0, class_counts=[16, 1])  # margins ¼ and ½
    >>> round(float(loss(torch.zeros(1, 2), torch.tensor([1]))), 4)  # log(1 + e^½)
    0.9741
    """

    formula = staticmethod(ldam_terms)
    merges: ClassVar[bool] = False
    margins: Tensor

    def __init__(
        self, *, s: float = 30.0, max_m: float = 0.5, drw_epoch: int | None = None, **options: Unpack[PixelwiseOptions]
    ) -> None:
        check_range("s", s, *POSITIVE)
        check_range("drw_epoch", drw_epoch, "≥ 0, or None", lambda v: v is None or v >= 0)
        counts = ClassCounts.needed(options.get("class_counts"), "ldam", options.get("num_classes"))
        options["class_counts"] = counts
        margins = ldam_margins(counts, max_m)
        if drw_epoch is not None and options.get("class_weights") is None:
            options["class_weights"] = (len(margins) * inverse_frequency(counts)).tolist()
        super().__init__(**options)
        if drw_epoch is not None and self.from_epoch is not None:
            raise ValueError("class_weights: from_epoch says what drw_epoch does; give one of them")
        self.s, self.max_m, self.drw_epoch = s, max_m, drw_epoch
        self.register_buffer("margins", margins)
        if drw_epoch is not None:
            self._defer(drw_epoch)
