"""Segmentation networks with an optional adaptive class-weight layer."""

from .build import MODELS, WeightsError, build
from .segmentation import SegmentationModel
from .smp import check_pretrained

__all__ = ["MODELS", "SegmentationModel", "WeightsError", "build", "check_pretrained"]
