"""segloss: losses, class weights and scores for semantic segmentation with rare classes.

Losses, weights and the adaptive class-weight layer need torch alone; scores need torchmetrics (extra `scores`).
"""

from typing import Any

from . import functional
from .acw import AdaptiveClassWeight
from .build import LOSSES, build_loss
from .class_weights import CLASS_WEIGHTS, ClassCounts, ClassWeightWarning
from .cross_entropy import CrossEntropyLoss, WeightedCrossEntropyLoss
from .dice import DiceLoss
from .dual_focal import DualFocalLoss
from .focal import FocalLoss
from .mse_outlying import OutlyingMSELoss, outlying_labels
from .weighted_sum import WeightedSum

__all__ = [
    "CLASS_WEIGHTS",
    "LOSSES",
    "AdaptiveClassWeight",
    "ClassCounts",
    "ClassWeightWarning",
    "CrossEntropyLoss",
    "DiceLoss",
    "DualFocalLoss",
    "FocalLoss",
    "OutlyingMSELoss",
    "SegmentationScores",
    "WeightedCrossEntropyLoss",
    "WeightedSum",
    "build_loss",
    "functional",
    "outlying_labels",
]


def __getattr__(name: str) -> Any:
    """Import what needs more than torch only when it is asked for."""
    if name == "SegmentationScores":
        try:
            from .scores import SegmentationScores
        except ModuleNotFoundError as error:
            raise ImportError(f"segloss.{name} needs {error.name}: pip install 'segloss[scores]'") from error
        return SegmentationScores
    raise AttributeError(f"module 'segloss' has no attribute {name!r}")
