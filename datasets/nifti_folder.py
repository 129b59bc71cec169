"""Folders of scans, NIfTI or MetaImage: found by patterns, or described by a `dataset.json`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from .case import Case, Decoded, Kind, Pixels
from .dataset_json import MASKS, NAME, DatasetJson, channel_files, is_further
from .errors import DataError
from .formats import is_scan, without_suffix
from .labels import LabelMap, Labels, Values, label_map
from .layers import Overlap, class_map
from .listing import Listing
from .paired import Paired
from .pattern import Pattern, patterns_of
from .scan import SliceAxis, read_scan, with_scan_masks
from .volume_io import volume_files


class NiftiFolder(Paired):
    """Scans and masks below `root`: as the Decathlon or nnU-Net lays them out, or found by patterns.

    Without `images` and `masks`, `root/dataset.json` says where scans and masks are, what the mask values mean and how
    many channels a scan has. In a pattern `{name}` stands for the case's id, `*` for a part of a file name and `{part}`
    for the folders `train`, `val` and `test`. A case is its own group; `data.group` groups them by a pattern on the id.

    Args:
        root: the folder.
        images: where scans lie, with `{name}`; a list of patterns for several channels.
        masks: where masks lie, with `{name}`; with a `*` besides the ending several of a scan are united. Or a mapping
            of classes to such patterns, whose masks are 0 where the class is not.
        labels: a class name to one or several mask values; null for those of `dataset.json`.
        ignore: mask values of voxels that do not count.
        channels: the channels of a scan that is found by one pattern; several in one file are its fourth axis. Null:
            1, or as many as `dataset.json` says.
        slice_axis: how volumes are cut into slices: axial, coronal or sagittal, whatever order the file has.
        resample: bring a mask, or a further channel, of another grid onto the grid of the scan instead of refusing it.
        valid: where files lie, with `{name}`, that are 0 where voxels do not count.
        overlap: of two classes that several masks draw at one voxel: refuse, or labels, where the class that stands
            later in `labels` wins.

    Raises:
        ValueError: one of `images` and `masks` without the other, patterns without `labels`; see `LabelMap`, `Pattern`.
    """

    reads = "scans (.nii, .nii.gz, .hdr, .mha, .mhd)"
    unites = True
    what = "scan"
    kind: Kind = "volume"
    normalise = "percentile"
    depth: int | None = None
    """How many folders and file names `{name}` reaches over; None for any number."""

    def __init__(
        self,
        root: str,
        images: str | list[str] | None = None,
        masks: str | dict[str, str] | None = None,
        labels: Labels | None = None,
        ignore: Values | None = None,
        channels: int | None = None,
        slice_axis: SliceAxis = "axial",
        resample: bool = False,
        valid: str | None = None,
        overlap: Overlap = "refuse",
    ) -> None:
        if (images is None) != (masks is None):
            raise ValueError("masks: images and masks go together; leave out both where root has a dataset.json")
        given = [] if images is None else [images] if isinstance(images, str) else images
        if images is not None and not given:
            raise ValueError("images: an empty list; give one pattern a channel")
        if len(given) > 1 and "*" in "".join(given):
            raise ValueError("images: a list of patterns, one a channel, holds no *")
        if channels is not None and (channels < 1 or len(given) > 1):
            raise ValueError(f"channels: {channels}, but it is for a single pattern, and at least 1")
        if valid is not None and images is None:
            raise ValueError("valid: for scans that patterns find; see images and masks")
        scans = [Pattern("images", pattern, self.accepts, self.depth) for pattern in given]
        drawn = patterns_of("masks", masks, is_scan, self.depth)
        says = None if valid is None else Pattern("valid", valid, is_scan, self.depth)
        for one in (*scans, *drawn.values(), *([] if says is None else [says])):
            if "{name}" not in one.text:
                raise ValueError(f"{one.key}: {one.text!r} does not hold {{name}}")
        super().__init__(root, scans, drawn, spare_masks=self.layout is not None, valid=says)
        self.slice_axis, self.resample, self.overlap = slice_axis, resample, overlap
        self._own_channels, self._ignore, self._given = channels, ignore, None
        if labels is not None or drawn:
            self._given = class_map(self.own, masks, labels, ignore, values_only=True)

    @cached_property
    def _json(self) -> DatasetJson:
        return DatasetJson(self.root)

    @cached_property
    def labels(self) -> LabelMap:  # type: ignore[override]  # worked out when it is asked for
        """What the values of a mask mean; a `DataError` where `dataset.json` cannot say."""
        if self._given is not None:
            return self._given
        try:
            return label_map(self._json.labels, None, self._ignore, values_only=True)
        except ValueError as error:
            raise DataError(f"{self._json.path}: {error}") from error

    @property
    def channels(self) -> int:
        """The channels of a scan."""
        return self._own_channels or len(self.images) or len(self._json.channels)

    def resolved(self) -> dict[str, Any]:
        """The arguments `labels`, `ignore` and `channels` that `dataset.json` gives; none where patterns find scans."""
        if self.images:
            return {}
        labels = {"labels": self.labels.values, "ignore": self.labels.ignored()} if self._given is None else {}
        return labels | ({"channels": self.channels} if self._own_channels is None else {})

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the cases by name.

        Raises:
            DataError: a missing folder, no scan, a scan without its mask or with two, a mask without a scan, a channel
                that is missing; see `DatasetJson`.
        """
        if self.masks:
            return super().cases(listing)
        self._refuse_other_channels()
        return self._json.cases(listing or Listing())

    def is_worth_naming(self, path: Path) -> bool:
        """Whether a file is a scan or a mask by its name."""
        return is_scan(path)

    def accepts(self, path: Path) -> bool:
        """Whether a file may be a scan, by its name."""
        return is_scan(path)

    def sources(self, case: Case) -> list[Path]:
        """Every file of the scan and of its mask, and the `dataset.json` that names the classes."""
        described = [self._json.path] if self._given is None else []
        return described + [
            file for path in (*self._channel_files(case.image), *case.references) for file in volume_files(path)
        ]

    def is_image(self, path: Path) -> bool:
        """Whether a file is a scan, or the first channel of one, by its name."""
        if not is_scan(path):
            return False
        if not self.masks:
            if path.parent.name in MASKS or is_further(path, self.channels):
                return False
            return not (self.root / NAME).is_file() or path.resolve() not in self._json.masks
        if len(self.images) > 1:
            return self.images[0].fits(path)
        here = self.images[0]
        others = [*self.masks.values(), *([] if self.valid is None else [self.valid])]
        closer = max((len(other.text) for other in others if other.fits(path)), default=0)
        return not closer or (here.fits(path) and len(here.text) >= closer)

    def output_name(self, image: Path, relative: str) -> tuple[str, str]:  # noqa: ARG002
        """The scan's name; as nnU-Net names files without the channel, `_0000`."""
        name, suffix = without_suffix(relative)
        return name.removesuffix("_0000") if not self.masks else name, suffix

    def read_image(self, path: Path) -> Pixels:
        """Decode a scan with all of its channels; a `DataError` where they are not as many as expected."""
        files = self._channel_files(path)
        scan = read_scan(files, self.slice_axis, self.resample)
        if scan.array.shape[-1] != self.channels:
            says = "" if self.layout else " (dataset.json, data.images or data.channels)"
            raise DataError(f"{path}: {scan.array.shape[-1]} channel(s); expected {self.channels}{says}")
        return scan

    def read(self, case: Case) -> Decoded:
        """Decode a scan and its mask."""
        return with_scan_masks(self.read_image(case.image), case, self.labels, self.resample, self.overlap)

    def _refuse_other_channels(self) -> None:
        named = self._json.channels
        if len(named) != self.channels:
            raise DataError(
                f"{self._json.path}: names {len(named)} channel(s), {', '.join(named)}, but data.channels is "
                f"{self.channels}; leave it out"
            )

    def _channel_files(self, path: Path) -> list[Path]:
        """The files of the channels of the scan whose first is given."""
        if not self.masks:
            return channel_files(path, self.channels)
        found = [path]
        for pattern in self.images[1:]:
            sibling = self.images[0].sibling(path, pattern)
            if sibling is None:
                raise DataError(f"{path}: does not end as data.images says: {self.images[0].text}")
            found.append(sibling)
        return found
