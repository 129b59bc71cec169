"""Recall loss."""

from __future__ import annotations

import torch
from torch import Tensor

from .cross_entropy import cross_entropy_terms
from .pixelwise import PixelwiseLoss
from .region import by_unit
from .tensors import Pixels, at_class, one_hot, ratio


def missed_share(pixels: Pixels) -> Tensor:
    """1 − recall of each class on the batch, `(C,)`: the share of its pixels that argmax gives to another class.

    No gradient flows through it. A class absent from the batch gets 0.
    """
    classes = pixels.logits.shape[1]
    wanted = torch.where(pixels.valid.unsqueeze(1), one_hot(pixels.target, classes).to(pixels.logits.dtype), 0.0)
    missed = torch.where(at_class(pixels.logits.argmax(1), classes), 0.0, wanted)
    return ratio(by_unit(missed, per_image=False).sum(2), by_unit(wanted, per_image=False).sum(2))[0].detach()


class RecallLoss(PixelwiseLoss):
    """−(1 − R_y) log p_y per pixel, p = softmax(z), R_c the recall of class c on the batch (Tian 2022).

    Between cross entropy and its inverse-frequency form, by the batch: a class that is found loses its weight. Use it
    where weighted losses flood the image with false positives of rare classes. Not with tiny batches, whose recalls
    jump, nor over micro-batches for exactly the large batch's value: each has its own recalls. The authors' code counts
    at least one miss a class; this is the paper's formula.

    Args:
        class_weights: see `PixelwiseLoss`; multiply 1 − R.
        normalize: see `PixelwiseLoss`; 1 − R is no part of the denominator.
        **options: `num_classes`, `class_counts`, `ignore_index`, `reduction` of `PixelwiseLoss`.

    >>> logits = torch.tensor([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    >>> loss = RecallLoss(reduction="none")(logits, torch.tensor([0, 1, 1]))
    >>> [round(v, 4) for v in loss.tolist()]  # class 0 is found; half of class 1 is not
    [0.0, 2.0091, 0.0091]
    """

    def terms(self, logits: Tensor, target: Tensor) -> Tensor:
        """See `cross_entropy_terms`."""
        return cross_entropy_terms(logits, target)

    def batch_weights(self, pixels: Pixels) -> Tensor:
        """See `missed_share`."""
        return missed_share(pixels)
