"""segloss: losses, class weights and scores for semantic segmentation with rare classes.

Losses, weights and the adaptive class-weight layer need torch alone; scores need torchmetrics (extra `scores`).

Public are the names in `__all__`, those of `segloss.functional`, and the modules `segloss.compare`,
`segloss.adjustment`, `segloss.calibration` and `segloss.surface`. All other modules are internal and may change.
"""

from importlib import import_module
from typing import Any

from . import functional
from .acw import AdaptiveClassWeight
from .arguments import LossInputWarning
from .base import SegmentationLoss
from .blob import BlobLoss
from .boundary import BoundaryLoss, signed_distance
from .build import LOSSES, build_loss
from .cefl import CEFL2Loss, CEFLoss
from .class_balanced import ClassBalancedCrossEntropyLoss, ClassBalancedFocalLoss, ClassBalancedSigmoidLoss
from .class_weights import CLASS_WEIGHTS, ClassCounts, ClassWeightWarning
from .components import border_weights
from .cross_entropy import CrossEntropyLoss, WeightedCrossEntropyLoss
from .deep_supervision import DeepSupervision
from .dice import DiceLoss, GeneralizedDiceLoss
from .difficulty import DifficultyBalancedLoss, difficulty_weights
from .dual_cross_entropy import DualCrossEntropyLoss
from .dual_focal import DualFocalLoss
from .dual_focal_2021 import DualFocal2021Loss
from .equalization import EqualizationLoss
from .focal import FocalLoss
from .ldam import LDAMLoss, ldam_margins
from .logit_adjusted import BalancedSoftmaxLoss, LogitAdjustedLoss, log_prior
from .lovasz import LovaszHingeLoss, LovaszSoftmaxLoss
from .mcc import MCCLoss
from .mse_outlying import MSELoss, OutlyingMSELoss, outlying_labels
from .poly import Poly1Loss
from .recall import RecallLoss
from .sigmoid import SigmoidCrossEntropyLoss, SigmoidFocalLoss, prior_bias_
from .skeleton import CLDiceLoss, SkeletonRecallLoss, skeleton
from .topk import TopKLoss
from .tversky import FocalTverskyLoss, IoULoss, TverskyLoss
from .unified_focal import UnifiedFocalLoss
from .upsampled import Upsampled, upsampled
from .weighted_sum import WeightedSum

__version__ = "0.1.0"

__all__ = [
    "CLASS_WEIGHTS",
    "LOSSES",
    "AdaptiveClassWeight",
    "BalancedSoftmaxLoss",
    "BlobLoss",
    "BoundaryLoss",
    "CEFL2Loss",
    "CEFLoss",
    "CLDiceLoss",
    "ClassBalancedCrossEntropyLoss",
    "ClassBalancedFocalLoss",
    "ClassBalancedSigmoidLoss",
    "ClassCounts",
    "ClassWeightWarning",
    "ClassificationScores",
    "CrossEntropyLoss",
    "DeepSupervision",
    "DiceLoss",
    "DifficultyBalancedLoss",
    "DualCrossEntropyLoss",
    "DualFocal2021Loss",
    "DualFocalLoss",
    "EqualizationLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "GeneralizedDiceLoss",
    "IoULoss",
    "LDAMLoss",
    "LogitAdjustedLoss",
    "LossInputWarning",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "MCCLoss",
    "MSELoss",
    "OutlyingMSELoss",
    "Poly1Loss",
    "RecallLoss",
    "SegmentationLoss",
    "SegmentationScores",
    "SigmoidCrossEntropyLoss",
    "SigmoidFocalLoss",
    "SkeletonRecallLoss",
    "TopKLoss",
    "TverskyLoss",
    "UnifiedFocalLoss",
    "Upsampled",
    "WeightedCrossEntropyLoss",
    "WeightedSum",
    "border_weights",
    "build_loss",
    "difficulty_weights",
    "functional",
    "ldam_margins",
    "log_prior",
    "outlying_labels",
    "prior_bias_",
    "signed_distance",
    "skeleton",
    "upsampled",
]


_SCORES = {"SegmentationScores": ".scores", "ClassificationScores": ".classification"}


def __getattr__(name: str) -> Any:
    """Import what needs more than torch only when it is asked for."""
    if name in _SCORES:
        try:
            return getattr(import_module(_SCORES[name], __name__), name)
        except ModuleNotFoundError as error:
            raise ImportError(f"segloss.{name} needs {error.name}: pip install 'segloss[scores]'") from error
    raise AttributeError(f"module 'segloss' has no attribute {name!r}")
