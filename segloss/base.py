"""What every loss has: class weights, an ignored label, a reduction, and a way to follow the training."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypedDict, get_args

import torch
from torch import Tensor, nn

from .arguments import warn_of_input
from .class_weights import ClassCounts, ClassWeights, Counts, deferral, resolve_class_weights
from .closed_form import transformed
from .elsewhere import unknown_parameter
from .names import check_choice, check_range, parameters_of

Activation = Literal["softmax", "sigmoid", "none"]
Reduction = Literal["mean", "sum", "none"]
Accuracy = Sequence[float | None] | Sequence[float] | Tensor
"""One number a class."""
OPERANDS = ("logits", "target", "sums", "pixels", "per_image", "distance")
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
            `{"name": scheme, **parameters}`; schemes need `class_counts`. With `from_epoch` in the mapping all weights
            are 1 before that epoch, counted from 0 (deferred re-weighting).
        num_classes: the number of classes, 2 for a binary logit; when left out, that of the counts, if there are any.
        class_counts: what the training data holds of each class.
        ignore_index: the label that does not count.
        reduction: `mean`, `sum`, or `none`: a map `(N, *spatial)` of pixelwise losses, `(C,)` or `(N, C)` of region
            losses.

    Attributes:
        given: the parameters that data and training decide, and that YAML does not set.
        activation: what makes probabilities of the logits that this loss trains: `softmax`, `sigmoid`, or `none`.
        follows_validation: whether `new_epoch` needs the class accuracies of the last validation.
        upsamples: whether `segloss.upsampled` can compute it slab by slab.
        capturable: whether a CUDA graph can hold it: what it does follows from shapes, and never from values.
        formula: the arithmetic alone, of `OPERANDS` and of attributes of the loss.
        takes: the names of these attributes.
        options: the names of the attributes that `function` reduces by.
        restrictions: which of `weight`, `labelled` and `distance` a call may give.
        without: why not all of them.

    Raises:
        ValueError: a parameter out of its range; the message names it.
    """

    given: ClassVar[tuple[str, ...]] = tuple(LossOptions.__annotations__)
    activation: Activation = "softmax"
    follows_validation: ClassVar[bool] = False
    upsamples: ClassVar[bool] = False
    capturable: ClassVar[bool] = True
    formula: ClassVar[Callable[..., Tensor]]
    takes: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ("class_weights", "ignore_index", "reduction", "num_classes")
    restrictions: ClassVar[tuple[str, ...]] = ("weight", "labelled")
    without: ClassVar[str] = "that is for boundary alone"
    class_weights: Tensor | None
    deferred: Tensor

    def __init__(
        self,
        *,
        class_weights: ClassWeights = None,
        num_classes: int | None = None,
        class_counts: Counts | None = None,
        ignore_index: int = 255,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self._counts: ClassCounts | None = None
        self._unchecked = True
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
        self._counts = counts
        weights, from_epoch = deferral(class_weights)
        self.register_buffer("class_weights", resolve_class_weights(weights, counts, num_classes))
        self._defer(from_epoch)

    def denominator(
        self,
        target: Tensor,
        mask: Tensor | None = None,  # noqa: ARG002
        *,
        weight: Tensor | None = None,  # noqa: ARG002
        labelled: Tensor | None = None,  # noqa: ARG002
        overlapping: bool = False,  # noqa: ARG002
    ) -> Tensor:
        """What `mean` divides by: 1, for a loss that can only be averaged over micro-batches and ranks.

        Sum it over micro-batches and ranks and pass it back as `denominator`. Arguments as of `forward`.
        """
        return torch.ones((), device=target.device)

    def new_epoch(self, epoch: int, class_accuracy: Accuracy | None = None) -> None:
        """Update what depends on the progress of the training; call it before each epoch.

        Class weights with a `from_epoch` join here; of most losses nothing else changes.

        Args:
            epoch: of the epoch that begins, from 0.
            class_accuracy: recall of each class in the last validation, in [0, 1], None or NaN where the class was
                absent; None for all before the first.
        """
        del class_accuracy  # of the losses that follow it
        if self.from_epoch is not None and self.class_weights is not None:
            self.class_weights.copy_(self.deferred if epoch >= self.from_epoch else torch.ones_like(self.deferred))

    def _defer(self, from_epoch: int | None) -> None:
        """Let the class weights hold from an epoch on, and be 1 before; None where they hold from the start."""
        self.from_epoch = from_epoch if self.class_weights is not None else None
        if self.from_epoch is not None and self.class_weights is not None:
            self.register_buffer("deferred", self.class_weights.clone())
            self.new_epoch(0)

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
        *,
        weight: Tensor | None = None,
        labelled: Tensor | None = None,
        distance: Tensor | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            logits: `(N, C, *spatial)`.
            target: `(N, *spatial)` integer labels, or `(N, C, *spatial)` soft labels where the loss allows them; of a
                loss with sigmoid also overlapping labels `(N, C, *spatial)`, integer, bool or floating.
            mask: `(N, *spatial)` bool, true where a pixel counts; of a loss with sigmoid also `(N, C, *spatial)`.
            denominator: what `mean` divides by, see `denominator()`; by default that of this target.
            size: see `segloss.upsampled`.
            weight: `(N, *spatial)` floating, ≥ 0: multiplies what a pixel adds to the loss or to the sums of an overlap
                loss; 0 is a pixel that does not count. Not for losses that rank pixels or measure distances.
            labelled: `(N, C)` bool, the classes that each image was labelled for. Softmax losses merge the others into
                class 0, the background, by adding up their probabilities (marginal loss); losses with sigmoid leave
                them out, and overlap losses leave them out of the mean over classes.
            distance: `(N, C, *spatial)` floating, signed distances that the loader has made, of `boundary` alone.

        Raises:
            TypeError, ValueError: arguments that do not fit; see `segloss.arguments.checked` and `refuse_foreign`.

        Warns:
            LossInputWarning: probabilities in place of logits, or labels 0 and 255 of which 255 is ignored; once an
                object, on a CPU.
        """
        self._refuse_other_device(logits)
        values = {name: getattr(self, name) for name in (*self.takes, *self.options)}
        if size is not None:  # losses that cannot be upsampled know no size
            values["size"] = size
        for name, given in (("weight", weight), ("labelled", labelled), ("distance", distance)):
            if given is not None and name not in self.restrictions:
                raise ValueError(f"{type(self).__name__} takes no {name}: {self.without}")
            if given is not None:
                values[name] = given
        found = self.function(logits, target, mask, denominator=denominator, **values)
        self._warn_of_input(logits, target)
        return found

    if TYPE_CHECKING:  # what `forward` takes and gives, which nn.Module does not tell

        def __call__(
            self,
            logits: Tensor,
            target: Tensor,
            mask: Tensor | None = None,
            denominator: Tensor | None = None,
            size: tuple[int, int] | None = None,
            *,
            weight: Tensor | None = None,
            labelled: Tensor | None = None,
            distance: Tensor | None = None,
        ) -> Tensor:
            """See `forward`."""
            ...

    def __init_subclass__(cls, **options: Any) -> None:
        """Find what the formula takes; refuse unknown parameters of the constructor with a hint."""
        super().__init_subclass__(**options)
        if "__init__" in vars(cls) and cls.__module__.startswith(f"{__package__}."):
            _refuse_unknown(cls)
        if "formula" in vars(cls):
            bound = cls.formula.keywords if isinstance(cls.formula, functools.partial) else {}
            cls.takes = tuple(n for n in inspect.signature(cls.formula).parameters if n not in (*OPERANDS, *bound))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move with the module (`to`, `cuda`), but keep float64: half of a weight's digits make another weight."""
        own, self._buffers = self._buffers, {}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # parameters and child modules
        self._buffers = own
        device = fn(torch.empty(0)).device
        exact = torch.float32 if device.type == "mps" else torch.float64
        for name, value in self.named_buffers(recurse=False):
            setattr(self, name, value.to(device, exact if value.is_floating_point() else value.dtype))
        return self

    def extra_repr(self) -> str:
        """The parameters of the constructor, as they are now: class weights as numbers, counts of pixels as a list."""
        shown = {name: getattr(self, name, None) for name in parameters_of(type(self)) if name != "class_counts"}
        if self._counts is not None:
            shown["class_counts"] = list(self._counts.pixels)
        plain = {name: value.tolist() if isinstance(value, Tensor) else value for name, value in shown.items()}
        return ", ".join(f"{name}={value!r}" for name, value in plain.items())

    def _refuse_other_device(self, logits: Any) -> None:
        """Refuse logits of another device than that of the buffers: a copy a step would go unnoticed."""
        if torch.compiler.is_compiling() or not isinstance(logits, Tensor):
            return
        for name, value in self.named_buffers(recurse=False):
            if value.device != logits.device:
                raise ValueError(
                    f"the loss holds {name} on {value.device}, logits are on {logits.device}: loss.to(logits.device)"
                )

    def _warn_of_input(self, logits: Tensor, target: Tensor) -> None:
        """Look once at what a CPU was given, see `segloss.arguments.warn_of_input`."""
        if torch.compiler.is_compiling() or not self._unchecked or logits.device.type != "cpu" or transformed():
            return
        self._unchecked = not warn_of_input(logits.detach(), target, self.ignore_index)


def _refuse_unknown(loss: type[SegmentationLoss]) -> None:
    """Let a constructor name what it does not take, and what that is here."""
    init = loss.__init__

    @functools.wraps(init)
    def checked(self: SegmentationLoss, *arguments: Any, **given: Any) -> None:
        cls = type(self)
        if cls.__init__ is checked:
            known = parameters_of(cls)
            if arguments and all(parameter.kind is parameter.KEYWORD_ONLY for parameter in known.values()):
                raise TypeError(
                    f"{cls.__name__} takes its parameters by name, such as {next(iter(known))}=…, got {arguments[0]!r}"
                )
            for name in given:
                if name not in known:
                    raise TypeError(f"{cls.__name__}: {unknown_parameter('parameter', name, known)}")
        init(self, *arguments, **given)

    loss.__init__ = checked  # type: ignore[method-assign]
