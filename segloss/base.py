"""What every loss has: class weights, an ignored label, a reduction, and a way to follow the training."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, TypedDict, get_args

import torch
from torch import Tensor, nn

from .class_weights import ClassCounts, ClassWeights, Counts, resolve_class_weights
from .names import check_choice, check_range

Activation = Literal["softmax", "sigmoid", "none"]
Reduction = Literal["mean", "sum", "none"]
Accuracy = Sequence[float | None] | Sequence[float] | Tensor
"""One number a class."""
OPERANDS = ("logits", "target", "sums", "pixels", "per_image")
"""What a formula is called with; every other parameter of it is an attribute of the loss."""


class LossOptions(TypedDict, total=False):
    """What every constructor passes on to `SegmentationLoss`."""

    num_classes: int | None
    class_counts: Counts | None
    ignore_index: int
    reduction: Reduction


class SegmentationLoss(nn.Module):
    """A loss of logits `(N, C, *spatial)` and a target, called `(logits, target, mask=None, denominator=None)`.

    A subclass gives its `formula`; its family (pixelwise, region, overlap) gives `function`, which masks and reduces.

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
        formula: the arithmetic alone, of `OPERANDS` and of attributes of the loss.
        takes: the names of these attributes.
        options: the names of the attributes that `function` reduces by.

    Raises:
        ValueError: a parameter out of its range; the message names it.
    """

    activation: ClassVar[Activation] = "softmax"
    follows_validation: ClassVar[bool] = False
    upsamples: ClassVar[bool] = False
    formula: ClassVar[Callable[..., Tensor]]
    takes: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ("class_weights", "ignore_index", "reduction", "num_classes")
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

    @classmethod
    def function(cls, logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """The loss as a pure function; `options` are what `takes` and `options` name, `denominator` and `size`."""
        raise NotImplementedError

    @classmethod
    def bind(cls, values: Mapping[str, Any]) -> tuple[Callable[..., Tensor], dict[str, Any]]:
        """The formula with its own parameters bound, and the values that are left for the reduction."""
        own = {name: values[name] for name in cls.takes}
        rest = {name: value for name, value in values.items() if name not in own or name in cls.options}
        return functools.partial(cls.formula, **own), rest

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        denominator: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            logits: `(N, C, *spatial)`.
            target: `(N, *spatial)` integer labels, or `(N, C, *spatial)` soft labels where the loss allows them.
            mask: `(N, *spatial)` bool, true where a pixel counts.
            denominator: what `mean` divides by, see `denominator()`; by default that of this target.
            size: see `segloss.upsampled`.

        Raises:
            TypeError, ValueError: arguments that do not fit; see `segloss.tensors.checked` and `refuse_foreign`.
        """
        values = {name: getattr(self, name) for name in (*self.takes, *self.options)}
        if size is not None:  # losses that cannot be upsampled know no size
            values["size"] = size
        return self.function(logits, target, mask, denominator=denominator, **values)

    def __init_subclass__(cls, **options: Any) -> None:
        """Find what the formula takes."""
        super().__init_subclass__(**options)
        if "formula" in vars(cls):
            bound = cls.formula.keywords if isinstance(cls.formula, functools.partial) else {}
            cls.takes = tuple(n for n in inspect.signature(cls.formula).parameters if n not in (*OPERANDS, *bound))

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
