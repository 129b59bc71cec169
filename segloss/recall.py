"""Recall loss."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from .blocks import Plan, over_pixels
from .cross_entropy import cross_entropy_terms
from .labels import Labels, prepare
from .pixelwise import PixelwiseLoss
from .region import of_class
from .resize import Resize
from .tensors import at_class, ratio


def missed_share(logits: Tensor, labels: Labels, resize: Resize | None = None) -> Tensor:
    """1 − recall of each class on the batch, `(C,)`: the share of its pixels that argmax gives to another class.

    No gradient flows through it. A class absent from the batch gets 0.
    """

    def measure(logits: Tensor, labels: Labels) -> Tensor:
        pixels = prepare(logits, labels)
        classes, guess = pixels.logits.shape[1], pixels.logits.argmax(1)
        if not pixels.target.is_floating_point():
            wrong = pixels.valid & (guess != pixels.target)
            masks = (each.to(pixels.logits.dtype) for each in (wrong, pixels.valid))
            return torch.stack([of_class(each, pixels.target, classes).sum(0) for each in masks]) + pixels.fault
        wanted = torch.where(pixels.valid.unsqueeze(1), pixels.target, 0.0)
        missed = torch.where(at_class(guess, classes), 0.0, wanted)
        return torch.stack([each.transpose(0, 1).reshape(classes, -1).sum(1) for each in (missed, wanted)])

    weight = None if labels.weight is None else labels.weight.detach()
    labels = labels._replace(target=labels.target.detach(), weight=weight)
    missed, wanted = over_pixels(Plan(measure, "batch", resize), logits.detach(), labels)
    return ratio(missed, wanted)


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

    formula = staticmethod(partial(cross_entropy_terms, label_smoothing=0.0))
    batch_weights = staticmethod(missed_share)
