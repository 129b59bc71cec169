"""Segmentation networks with an optional adaptive class-weight layer.

Public are the names in `__all__`. The modules of this package are internal and may change.
"""

from .build import LABEL_MODELS, MODELS, build, check_pretrained
from .heads import CosineHead, Head, HeadBias
from .network import Network
from .segmentation import Decay, SegmentationModel
from .unused import unused_parameters, without_left_out
from .weights import WeightsError, WeightsWarning, is_file, load_weights

__all__ = [
    "LABEL_MODELS",
    "MODELS",
    "CosineHead",
    "Decay",
    "Head",
    "HeadBias",
    "Network",
    "SegmentationModel",
    "WeightsError",
    "WeightsWarning",
    "build",
    "check_pretrained",
    "is_file",
    "load_weights",
    "unused_parameters",
    "without_left_out",
]
