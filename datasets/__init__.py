"""Files on disk to cases, parts and batches of 2D samples."""

from collections.abc import Callable

from .augment import TRANSFORMS, Augmentation, build_transform
from .cache import Cache, CachedCase
from .camvid import CamVid
from .camvid701 import CamVid701
from .case import IGNORE, PARTS, Adapter, Case, Decoded, Part
from .cityscapes import Cityscapes, to_label_ids
from .counts import Counts, count_classes
from .errors import DataError
from .folder import Folder
from .normalise import NORMALISATIONS
from .phantom import Phantom
from .prepare import Data, LeakageWarning, Track, prepare, refuse_mixed_sizes
from .promise12 import Promise12
from .samplers import SAMPLERS, Sampler, class_pixels
from .samples import Draw, Sample, Samples, TrainingBatches, evaluation_loader, plainly, training_loader
from .splits import SPLITS, Recorded, Split, Splitter
from .volume import Volume, read_volume, write_volume

ADAPTERS: dict[str, Callable[..., Adapter]] = {
    "camvid": CamVid,
    "camvid701": CamVid701,
    "cityscapes": Cityscapes,
    "folder": Folder,
    "phantom": Phantom,
    "promise12": Promise12,
}

__all__ = [
    "ADAPTERS",
    "IGNORE",
    "NORMALISATIONS",
    "PARTS",
    "SAMPLERS",
    "SPLITS",
    "TRANSFORMS",
    "Adapter",
    "Augmentation",
    "Cache",
    "CachedCase",
    "CamVid",
    "CamVid701",
    "Case",
    "Cityscapes",
    "Counts",
    "Data",
    "DataError",
    "Decoded",
    "Draw",
    "Folder",
    "LeakageWarning",
    "Part",
    "Phantom",
    "Promise12",
    "Recorded",
    "Sample",
    "Sampler",
    "Samples",
    "Split",
    "Splitter",
    "Track",
    "TrainingBatches",
    "Volume",
    "build_transform",
    "class_pixels",
    "count_classes",
    "evaluation_loader",
    "plainly",
    "prepare",
    "read_volume",
    "refuse_mixed_sizes",
    "to_label_ids",
    "training_loader",
    "write_volume",
]
