"""The losses as pure functions, under the names that `build_loss` knows.

`functional.focal(logits, target, mask=None, gamma=2.0, …)`: arithmetic alone, nothing is stored. What a class computes
once from the class counts is a parameter here, one number a class: `class_weights` (of `segloss.CLASS_WEIGHTS`),
`labels` of `outlying_labels`, `margins` of `ldam_margins`, `log_prior`, `difficulty` of `difficulty_weights`. Ranges of
scalars such as gamma are checked by the classes alone.

Other keywords are those of `segloss.pixelwise.pixelwise_loss` for losses that are means over pixels, of
`segloss.overlap.overlap_loss` for Dice and its kin, of `segloss.region.region_loss` for `lovasz`, `lovasz_hinge` and
`boundary`, of `segloss.topk.topk_loss` for `topk`, of `segloss.unified_focal.unified_focal_loss` for `unified_focal`.

Gradients flow to the logits, and to soft labels, `denominator` and any of these parameters that require one: the batch
is then computed in one piece, as it is under `torch.func`, which holds more than blocks do.
"""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import Any, Protocol, cast

from torch import Tensor

from .build import LOSSES
from .names import parameters_of


class LossFunction(Protocol):
    """A loss of logits `(N, C, *spatial)`, target and mask; its own parameters and those of the reduction by name."""

    def __call__(self, logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """The loss."""
        ...


def _function(name: str) -> LossFunction:
    """The function of a loss, with the defaults of its class; the class weights that a class makes are needed here."""
    loss = LOSSES[name]
    given = parameters_of(loss)
    needed = ["class_weights"] if "class_weights" not in given or given["class_weights"].default is not None else []
    taken = [each for each in loss.takes if each not in needed]
    defaults = {each: given[each].default for each in taken if each in given}
    needed += [each for each in taken if each not in defaults]

    def function(logits: Tensor, target: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        for each in needed:
            if each not in options:
                raise TypeError(f"{name}() needs {each}, one number a class")
        return loss.function(logits, target, mask, **{**defaults, **options})

    own = [Parameter(each, Parameter.KEYWORD_ONLY) for each in needed]
    own += [Parameter(each, Parameter.KEYWORD_ONLY, default=value) for each, value in defaults.items()]
    first, second, third, options = Signature.from_callable(function).parameters.values()
    described: Any = function
    described.__signature__ = Signature([first, second, third, *own, options])
    described.__name__ = described.__qualname__ = name
    described.__doc__ = f"See `segloss.{loss.__name__}`."
    return cast(LossFunction, described)


__all__ = list(LOSSES)
ce = _function("ce")
wce = _function("wce")
focal = _function("focal")
sigmoid_ce = _function("sigmoid_ce")
sigmoid_focal = _function("sigmoid_focal")
dfl = _function("dfl")
dfl2021 = _function("dfl2021")
dce = _function("dce")
cefl = _function("cefl")
cefl2 = _function("cefl2")
cb_ce = _function("cb_ce")
cb_sigmoid = _function("cb_sigmoid")
cb_focal = _function("cb_focal")
mse = _function("mse")
mse_ol = _function("mse_ol")
ldam = _function("ldam")
cdb_ce = _function("cdb_ce")
seql = _function("seql")
topk = _function("topk")
poly1 = _function("poly1")
logit_adjusted = _function("logit_adjusted")
balanced_softmax = _function("balanced_softmax")
recall = _function("recall")
dice = _function("dice")
iou = _function("iou")
tversky = _function("tversky")
focal_tversky = _function("focal_tversky")
generalized_dice = _function("generalized_dice")
lovasz = _function("lovasz")
lovasz_hinge = _function("lovasz_hinge")
boundary = _function("boundary")
mcc = _function("mcc")
unified_focal = _function("unified_focal")
blob = _function("blob")
cldice = _function("cldice")
skeleton_recall = _function("skeleton_recall")
