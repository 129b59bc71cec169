"""Files on disk to cases, parts and batches of 2D samples."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .cache import Cache
from .cached import CachedCase
from .camvid import CamVid
from .camvid701 import CamVid701
from .case import IGNORE, PARTS, Adapter, Case, Decoded, Kind, Part, Pixels, ignored_label
from .cifar import Cifar10, Cifar100
from .cityscapes import Cityscapes
from .counts import Counts, add_slices, total_pixels
from .dicom_folder import Dicom, Trus
from .dicom_options import SegRule
from .division import Split, Splitter
from .errors import DataError
from .folder import Folder
from .formats import DICOM, STILLS, VOLUMES, is_still, is_volume, volume_stem, volume_suffix
from .geometry import Geometry
from .imbalance import Imbalance
from .labels import (
    LabelMap,
    Labels,
    Values,
    as_values,
    background_index,
    background_of,
    class_index,
    looks_like_background,
)
from .listing import Exclude, Labelled, Listing
from .nifti_folder import NiftiFolder
from .normalise import NORMALISATIONS, Normalised
from .notes import Note, noted
from .partial_labels import labelled_classes, labelled_parts, read_labelled, refuse_unlabelled
from .phantom import Phantom
from .pictures import Pictures
from .prepare import Data, Division, LeakageWarning, Track, divide, list_cases, prepare, refuse_mixed_sizes
from .promise12 import Promise12
from .samplers import SAMPLERS, Sampler
from .shapes import Shapes
from .slices import SliceRule, evenly_spaced, kept_slices
from .split_file import FromFile, Recorded
from .splits import SPLITS
from .volume import Volume
from .volume_io import place_doubt, read_mask_volume, read_volume, volume_files, write_volume

if TYPE_CHECKING:
    from .augment import TRANSFORMS, Augmentation, build_transform
    from .loaders import end_workers, evaluation_batches, evaluation_loader, training_loader, unwrap_worker_errors
    from .mixing import Mixing
    from .regions import Regions
    from .resident import (
        BatchAugmentation,
        ResidentLoader,
        ResidentSamples,
        device_form,
        resident_bytes,
        why_not_resident,
    )
    from .samples import (
        PADDING,
        Draw,
        PackedSample,
        Sample,
        Samples,
        TrainingBatches,
        centre,
        unpacked,
    )
else:
    _LATER = dict.fromkeys(("TRANSFORMS", "Augmentation", "build_transform"), "augment")
    _LATER |= dict.fromkeys(("PADDING", "Draw", "PackedSample", "Sample", "Samples"), "samples")
    _LATER |= dict.fromkeys(("TrainingBatches", "centre", "unpacked"), "samples")
    _LATER |= dict.fromkeys(("end_workers", "evaluation_batches", "evaluation_loader", "training_loader"), "loaders")
    _LATER |= dict.fromkeys(("BatchAugmentation", "ResidentLoader", "ResidentSamples", "device_form"), "resident")
    _LATER |= dict.fromkeys(("resident_bytes", "why_not_resident"), "resident")
    _LATER |= {"unwrap_worker_errors": "loaders", "Mixing": "mixing", "Regions": "regions"}

    def __getattr__(name: str) -> Any:
        """What needs torch or albumentations, which take seconds to import, when it is first asked for."""
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{_LATER[name]}", __name__), name)


ADAPTERS: dict[str, Callable[..., Adapter]] = {
    "camvid": CamVid,
    "camvid701": CamVid701,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "cityscapes": Cityscapes,
    "dicom": Dicom,
    "folder": Folder,
    "nifti": NiftiFolder,
    "phantom": Phantom,
    "pictures": Pictures,
    "promise12": Promise12,
    "shapes": Shapes,
    "trus": Trus,
}

__all__ = [
    "ADAPTERS",
    "DICOM",
    "IGNORE",
    "NORMALISATIONS",
    "PADDING",
    "PARTS",
    "SAMPLERS",
    "SPLITS",
    "STILLS",
    "TRANSFORMS",
    "VOLUMES",
    "Adapter",
    "Augmentation",
    "BatchAugmentation",
    "Cache",
    "CachedCase",
    "CamVid",
    "CamVid701",
    "Case",
    "Cifar10",
    "Cifar100",
    "Cityscapes",
    "Counts",
    "Data",
    "DataError",
    "Decoded",
    "Dicom",
    "Division",
    "Draw",
    "Exclude",
    "Folder",
    "FromFile",
    "Geometry",
    "Imbalance",
    "Kind",
    "LabelMap",
    "Labelled",
    "Labels",
    "LeakageWarning",
    "Listing",
    "Mixing",
    "NiftiFolder",
    "Normalised",
    "Note",
    "PackedSample",
    "Part",
    "Phantom",
    "Pictures",
    "Pixels",
    "Promise12",
    "Recorded",
    "Regions",
    "ResidentLoader",
    "ResidentSamples",
    "Sample",
    "Sampler",
    "Samples",
    "SegRule",
    "Shapes",
    "SliceRule",
    "Split",
    "Splitter",
    "Track",
    "TrainingBatches",
    "Trus",
    "Values",
    "Volume",
    "add_slices",
    "as_values",
    "background_index",
    "background_of",
    "build_transform",
    "centre",
    "class_index",
    "device_form",
    "divide",
    "end_workers",
    "evaluation_batches",
    "evaluation_loader",
    "evenly_spaced",
    "ignored_label",
    "is_still",
    "is_volume",
    "kept_slices",
    "labelled_classes",
    "labelled_parts",
    "list_cases",
    "looks_like_background",
    "noted",
    "place_doubt",
    "prepare",
    "read_labelled",
    "read_mask_volume",
    "read_volume",
    "refuse_mixed_sizes",
    "refuse_unlabelled",
    "resident_bytes",
    "total_pixels",
    "training_loader",
    "unpacked",
    "unwrap_worker_errors",
    "volume_files",
    "volume_stem",
    "volume_suffix",
    "why_not_resident",
    "write_volume",
]
