"""Segmentation networks with an optional adaptive class-weight layer."""

from .build import MODELS, WeightsError, build
from .segmentation import SegmentationModel

__all__ = ["MODELS", "SegmentationModel", "WeightsError", "build"]
