"""What every loss has: class weights, an ignored label, a reduction, and a way to follow the training."""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self, get_args

import torch
from torch import Tensor, nn

from .class_weights import ClassCounts, ClassWeights, Counts, resolve_class_weights
from .names import check_choice, check_range

Activation = Literal["softmax", "sigmoid", "none"]
Reduction = Literal["mean", "sum", "none"]
Accuracy = Sequence[float | None] | Sequence[float] | Tensor
"""One number a class."""


class SegmentationLoss(nn.Module):
    """A loss of logits `(N, C, *spatial)` and a target, called `(logits, target, mask=None, denominator=None)`.

    Args:
        class_weights: a list of one weight a class, the name of a scheme of `segloss.CLASS_WEIGHTS`, or a mapping
            `{"name": scheme, **parameters}`; schemes need `class_counts`.
        num_classes: the number of classes, 2 for a binary logit; when left out, that of the counts, if there are any.
        class_counts: what the training data holds of each class.
        ignore_index: the label that does not count.
        reduction: `mean`, `sum`, or `none`: a map `(N, *spatial)` of pixelwise losses, `(C,)` or `(N, C)` of region
            losses.

    Attributes:
        activation: what makes probabilities of the logits that this loss trains: `softmax`, `sigmoid`, or `none`.
        follows_validation: whether `new_epoch` needs the class accuracies of the last validation.
        upsamples: whether `segloss.upsampled` can compute it slab by slab.

    Raises:
        ValueError: a parameter out of its range; the message names it.
    """

    activation: ClassVar[Activation] = "softmax"
    follows_validation: ClassVar[bool] = False
    upsamples: ClassVar[bool] = False
    class_weights: Tensor | None

    def __init__(
        self,
        class_weights: ClassWeights = None,
        *,
        num_classes: int | None = None,
        class_counts: Counts | None = None,
        ignore_index: int = 255,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_choice("reduction", reduction, get_args(Reduction))
        check_range("ignore_index", ignore_index, "a whole number", lambda v: operator.index(v) == v)
        check_range(
            "num_classes",
            num_classes,
            "a whole number ≥ 2 (a binary logit has 2)",
            lambda v: v is None or operator.index(v) >= 2,
        )
        counts = None if class_counts is None else ClassCounts.of(class_counts, num_classes)
        num_classes = len(counts.pixels) if num_classes is None and counts is not None else num_classes
        self.ignore_index, self.reduction, self.num_classes = ignore_index, reduction, num_classes
        self.register_buffer("class_weights", resolve_class_weights(class_weights, counts, num_classes))

    def denominator(self, target: Tensor, mask: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """What `mean` divides by: 1, for a loss that can only be averaged over micro-batches and ranks.

        Sum it over micro-batches and ranks and pass it back as `denominator`.
        """
        return torch.ones((), device=target.device)

    def new_epoch(self, epoch: int, class_accuracy: Accuracy | None = None) -> None:
        """Update what depends on the progress of the training; call it before each epoch. Most losses ignore it.

        Args:
            epoch: of the epoch that begins, from 0.
            class_accuracy: recall of each class in the last validation, in [0, 1], None or NaN where the class was
                absent; None for all before the first.
        """

    def __init_subclass__(cls, **options: Any) -> None:
        """Give each loss a `forward` of its own: dynamo counts its versions by code object, and stops at eight."""
        super().__init_subclass__(**options)
        if "forward" not in vars(cls):
            shared = cls.forward
            code = shared.__code__.replace(co_name=f"forward_of_{cls.__name__}")
            own = types.FunctionType(code, shared.__globals__, "forward", shared.__defaults__, shared.__closure__)
            cls.forward = functools.update_wrapper(own, shared)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: ARG002
        """Move with the module (`to`, `cuda`), but keep float64: half of a weight's digits make another weight."""
        device = fn(torch.empty(0)).device
        exact = torch.float32 if device.type == "mps" else torch.float64
        for name, value in self.named_buffers(recurse=False):
            setattr(self, name, value.to(device, exact if value.is_floating_point() else value.dtype))
        return self

    def extra_repr(self) -> str:
        """The parameters that the representation shows."""
        shown = {k: v for k, v in vars(self).items() if not k.startswith("_") and k != "training"}
        return ", ".join(f"{k}={v!r}" for k, v in shown.items())
