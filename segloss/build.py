"""The losses by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from .base import SegmentationLoss
from .blob import BlobLoss
from .boundary import BoundaryLoss
from .cefl import CEFL2Loss, CEFLoss
from .class_balanced import ClassBalancedCrossEntropyLoss, ClassBalancedFocalLoss, ClassBalancedSigmoidLoss
from .class_weights import Counts
from .cross_entropy import CrossEntropyLoss, WeightedCrossEntropyLoss
from .dice import DiceLoss, GeneralizedDiceLoss
from .difficulty import DifficultyBalancedLoss
from .dual_cross_entropy import DualCrossEntropyLoss
from .dual_focal import DualFocalLoss
from .dual_focal_2021 import DualFocal2021Loss
from .elsewhere import unknown_loss, unknown_parameter
from .equalization import EqualizationLoss
from .focal import FocalLoss
from .ldam import LDAMLoss
from .logit_adjusted import BalancedSoftmaxLoss, LogitAdjustedLoss
from .lovasz import LovaszHingeLoss, LovaszSoftmaxLoss
from .mcc import MCCLoss
from .mse_outlying import MSELoss, OutlyingMSELoss
from .names import parameters_of
from .poly import Poly1Loss
from .recall import RecallLoss
from .sigmoid import SigmoidCrossEntropyLoss, SigmoidFocalLoss
from .skeleton import CLDiceLoss, SkeletonRecallLoss
from .topk import TopKLoss
from .tversky import FocalTverskyLoss, IoULoss, TverskyLoss
from .unified_focal import UnifiedFocalLoss
from .weighted_sum import WeightedSum

LOSSES: dict[str, type[SegmentationLoss]] = {
    "ce": CrossEntropyLoss,
    "wce": WeightedCrossEntropyLoss,
    "focal": FocalLoss,
    "sigmoid_ce": SigmoidCrossEntropyLoss,
    "sigmoid_focal": SigmoidFocalLoss,
    "dfl": DualFocalLoss,
    "dfl2021": DualFocal2021Loss,
    "dce": DualCrossEntropyLoss,
    "cefl": CEFLoss,
    "cefl2": CEFL2Loss,
    "cb_ce": ClassBalancedCrossEntropyLoss,
    "cb_sigmoid": ClassBalancedSigmoidLoss,
    "cb_focal": ClassBalancedFocalLoss,
    "mse": MSELoss,
    "mse_ol": OutlyingMSELoss,
    "ldam": LDAMLoss,
    "cdb_ce": DifficultyBalancedLoss,
    "seql": EqualizationLoss,
    "topk": TopKLoss,
    "poly1": Poly1Loss,
    "logit_adjusted": LogitAdjustedLoss,
    "balanced_softmax": BalancedSoftmaxLoss,
    "recall": RecallLoss,
    "dice": DiceLoss,
    "iou": IoULoss,
    "tversky": TverskyLoss,
    "focal_tversky": FocalTverskyLoss,
    "generalized_dice": GeneralizedDiceLoss,
    "lovasz": LovaszSoftmaxLoss,
    "lovasz_hinge": LovaszHingeLoss,
    "boundary": BoundaryLoss,
    "mcc": MCCLoss,
    "unified_focal": UnifiedFocalLoss,
    "blob": BlobLoss,
    "cldice": CLDiceLoss,
    "skeleton_recall": SkeletonRecallLoss,
}


@overload
def build_loss(
    name: str, *, num_classes: int | None = None, class_counts: Counts | None = None, **parameters: Any
) -> SegmentationLoss: ...


@overload
def build_loss(
    name: Sequence[Mapping[str, Any]],
    *,
    num_classes: int | None = None,
    class_counts: Counts | None = None,
    **parameters: Any,
) -> WeightedSum: ...


def build_loss(
    name: str | Sequence[Mapping[str, Any]],
    *,
    num_classes: int | None = None,
    class_counts: Counts | None = None,
    **parameters: Any,
) -> SegmentationLoss | WeightedSum:
    """Build a loss by its name, or the weighted sum of several.

    Args:
        name: a key of `LOSSES`; or a list of mappings `{"name": …, "weight": 1, **parameters}`, which are summed; a
            weight may follow the epochs, see `WeightedSum`.
        num_classes: the number of classes, 2 for a binary logit.
        class_counts: what the training data holds of each class: a `ClassCounts`, or its pixels as a plain list.
        **parameters: the loss's own, and `ignore_index` and `reduction`; for a list, of all of them.

    Raises:
        ValueError: an unknown name (the nearest is named), a parameter out of its range.
        TypeError: an unknown parameter (the nearest is named).

    >>> build_loss("focal", gamma=1.5).gamma
    1.5
    >>> build_loss([{"name": "dice"}, {"name": "ce", "weight": 0.5}]).weights
    [1.0, 0.5]
    """
    given = {"num_classes": num_classes, "class_counts": class_counts, **parameters}
    if isinstance(name, Mapping):
        name = [name]
    if isinstance(name, list | tuple):
        return _sum(name, given)
    if not isinstance(name, str):
        raise TypeError(f"a loss is built by its name or from a list of mappings, got {type(name).__name__}")
    if name == "adfl":
        raise ValueError(
            "'adfl' is the loss 'dfl' on a network with an adaptive class-weight layer: build_loss('dfl'), and "
            "segloss.AdaptiveClassWeight(num_classes) as the last layer of the model"
        )
    if name not in LOSSES:
        raise ValueError(unknown_loss("loss", name, LOSSES))
    allowed = parameters_of(LOSSES[name])
    for parameter in parameters:
        if parameter not in allowed:
            raise TypeError(f"{name}: {unknown_parameter('parameter', parameter, allowed)}")
    return LOSSES[name](**given)


def _sum(parts: Sequence[Mapping[str, Any]], shared: Mapping[str, Any]) -> WeightedSum:
    losses, weights = [], []
    if not parts:
        raise ValueError("a sum of losses needs at least one, such as [{'name': 'dice'}, {'name': 'ce'}]")
    for part in parts:
        if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
            raise TypeError(
                f"a sum of losses is a list of mappings with a name, such as {{'name': 'dice'}}, got {part!r}"
            )
        own = {key: value for key, value in part.items() if key not in ("name", "weight")}
        known = [*parameters_of(LOSSES[part["name"]]), "weight"] if part["name"] in LOSSES else own
        for key in own:
            if key not in known:
                raise TypeError(f"{part['name']}: {unknown_parameter('parameter', key, known)}")
        losses.append(build_loss(part["name"], **{**shared, **own}))
        weights.append(part.get("weight", 1.0))
    return WeightedSum(losses, weights)
