"""Segmentation networks with an optional adaptive class-weight layer.

Public are the names in `__all__`. The modules of this package are internal and may change.
"""

from .build import MODELS, build, check_pretrained
from .heads import CosineHead, Head, HeadBias
from .network import Network
from .segmentation import SegmentationModel
from .weights import WeightsError, WeightsWarning, is_file, load_weights

__all__ = [
    "MODELS",
    "CosineHead",
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
]
