"""The losses by name."""

from __future__ import annotations

from typing import Any

from .class_weights import Counts
from .cross_entropy import CrossEntropyLoss, WeightedCrossEntropyLoss
from .dice import DiceLoss
from .dual_focal import DualFocalLoss
from .focal import FocalLoss
from .mse_outlying import OutlyingMSELoss
from .names import unknown
from .pixelwise import PixelwiseLoss
from .region import RegionLoss

LOSSES: dict[str, type[PixelwiseLoss] | type[RegionLoss]] = {
    "ce": CrossEntropyLoss,
    "wce": WeightedCrossEntropyLoss,
    "focal": FocalLoss,
    "dfl": DualFocalLoss,
    "mse_ol": OutlyingMSELoss,
    "dice": DiceLoss,
}


def build_loss(
    name: str, *, num_classes: int | None = None, class_counts: Counts | None = None, **parameters: Any
) -> PixelwiseLoss | RegionLoss:
    """Build a loss by its name.

    Args:
        name: a key of `LOSSES`.
        num_classes: the number of classes, 2 for a binary logit.
        class_counts: what the training data holds of each class: a `ClassCounts`, or its pixels as a plain list.
        **parameters: the loss's own.

    Raises:
        ValueError: an unknown name (the nearest is named), a parameter out of its range.
        TypeError: an unknown parameter.

    >>> build_loss("focal", gamma=1.5).gamma
    1.5
    """
    if name == "adfl":
        raise ValueError(
            "'adfl' is the loss 'dfl' on a network with an adaptive class-weight layer: build_loss('dfl'), and "
            "segloss.AdaptiveClassWeight(num_classes) as the last layer of the model"
        )
    if name not in LOSSES:
        raise ValueError(unknown("loss", name, LOSSES))
    return LOSSES[name](num_classes=num_classes, class_counts=class_counts, **parameters)
