"""Folders of scans, NIfTI or MetaImage: found by patterns, or described by a `dataset.json`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from .case import Case, Decoded, Kind, Pixels
from .dataset_json import MASKS, NAME, DatasetJson, channel_files, is_further
from .dicom_folder import Dicom
from .dicom_options import Spacing
from .errors import DataError
from .files import first_of
from .formats import DICOM, UNPLACED, VOLUMES, is_dicom, is_read_as_dicom, is_scan, without_suffix
from .labels import LabelMap, Labels, Values, label_map
from .layers import Overlap, class_map
from .listing import Listing
from .paired import Missing, Paired
from .pattern import pattern_of, patterns_of
from .scan import GridRule, SliceAxis, has_stills, read_scan, with_scan_masks
from .volume_io import volume_files


class NiftiFolder(Paired):
    """Scans and masks below `root`: as the Decathlon or nnU-Net lays them out, or found by patterns.

    Without `images` and `masks`, `root/dataset.json` says where scans and masks are, what the mask values mean and how
    many channels a scan has. In a pattern `{name}` stands for the case's id, `*` for a part of a file name and `{part}`
    for the folders `train`, `val` and `test`. A case is its own group; `data.group` groups them by a pattern on the id.

    Args:
        root: the folder.
        images: where scans lie, with `{name}`; a list of patterns for several channels, of which each finds one file a
            scan.
        masks: where masks lie, with `{name}`; with a `*` besides the ending several of a scan are united. Or a mapping
            of classes to such patterns, whose masks are 0 where the class is not.
        labels: a class name to one or several mask values; null for those of `dataset.json`.
        ignore: mask values of voxels that do not count.
        channels: the channels of a scan that is found by one pattern; several in one file are its fourth axis. Null:
            1, or as many as `dataset.json` says.
        slice_axis: how volumes are cut into slices: axial, coronal or sagittal, whatever order the file has.
        resample: bring a mask, or a further channel, of another grid onto the grid of the scan instead of refusing it.
        copy_affine: a mask with as many slices, rows and columns as its scan lies on the scan's voxels, whatever place
            its own header gives it.
        valid: where files lie, with `{name}`, that are 0 where voxels do not count.
        missing: of a scan without one of its further channels: refuse; zeros, a channel of zeros; or exclude, which
            leaves the scan out. What is done is said.
        overlap: of two classes that several masks draw at one voxel: refuse, or labels, where the class that stands
            later in `labels` wins.
        image_key: of `.npz` and `.mat` files the array that is the scan; null: the only one.
        mask_key: of such files the array that is the mask; null: the only one.
        spacing: `data.spacing`, which is the voxels' size of files that do not say it.

    Raises:
        ValueError: one of `images` and `masks` without the other, patterns without `labels`; see `LabelMap`, `Pattern`.
    """

    endings = (*VOLUMES, *UNPLACED)
    reads = "scans (.nii, .nii.gz, .hdr, .mha, .mhd, .nrrd)"
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
        missing: Missing = "refuse",
        copy_affine: bool = False,
        image_key: str | None = None,
        mask_key: str | None = None,
        *,
        spacing: Spacing | None = None,
    ) -> None:
        if (images is None) != (masks is None):
            raise ValueError("masks: images and masks go together; leave out both where root has a dataset.json")
        given = [] if images is None else [images] if isinstance(images, str) else images
        if images is not None and not given:
            raise ValueError("images: an empty list; give one pattern a channel")
        if channels is not None and (channels < 1 or len(given) > 1):
            raise ValueError(f"channels: {channels}, but it is for a single pattern, and at least 1")
        if valid is not None and images is None:
            raise ValueError("valid: for scans that patterns find; see images and masks")
        scans = [pattern_of("images", pattern, self.accepts, self.depth) for pattern in given]
        drawn = patterns_of("masks", masks, _is_mask, self.depth)
        says = None if valid is None else pattern_of("valid", valid, is_scan, self.depth)
        for one in (*scans, *drawn.values(), *([] if says is None else [says])):
            if "{name}" not in one.text:
                raise ValueError(f"{one.key}: {one.text!r} does not hold {{name}}")
        super().__init__(root, scans, drawn, spare_masks=self.layout is not None, valid=says, missing=missing)
        self.slice_axis, self.overlap = slice_axis, overlap
        self._grid = GridRule(resample, copy_affine, spacing, image_key, mask_key)
        self.one_file = image_key != mask_key
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
        return is_scan(path) or any(one.accepts(path) for one in (*self.images, *self.masks.values()))

    def accepts(self, path: Path, ending: str = "") -> bool:
        """Whether a file may be a scan, by its name and by the ending that its pattern names."""
        return is_scan(path, ending)

    def sources(self, case: Case) -> list[Path]:
        """Every file of the scan and of its mask, and the `dataset.json` that names the classes."""
        described = [self._json.path] if self._given is None else []
        channels = filter(None, self._channel_files(case.image))
        return described + [file for path in (*channels, *case.references) for file in volume_files(path)]

    def is_image(self, path: Path) -> bool:
        """Whether a file is a scan, or the first channel of one, by its name."""
        if not self.masks:
            if not is_scan(path) or path.parent.name in MASKS or is_further(path, self.channels):
                return False
            return not (self.root / NAME).is_file() or path.resolve() not in self._json.masks
        here = self.images[0]
        if not here.accepts(path) or len(self.images) > 1:
            return here.accepts(path) and here.fits(path)
        others = [*self.masks.values(), *([] if self.valid is None else [self.valid])]
        closer = max((len(other.text) for other in others if other.fits(path)), default=0)
        return not closer or (here.fits(path) and len(here.text) >= closer)

    def is_foreign_image(self, path: Path) -> bool:
        """Whether a path is a scan of one channel as DICOM."""
        return self.channels == 1 and self._dicom.is_image(path)

    @cached_property
    def _dicom(self) -> Dicom:
        """Reads scans as DICOM."""
        return Dicom(
            str(self.root),
            labels={"background": 0, "foreground": 1},
            slice_axis=self.slice_axis,
            spacing=self._grid.spacing,
        )

    def output_name(self, image: Path, relative: str) -> tuple[str, str]:
        """The scan's name; as nnU-Net names files without the channel, `_0000`."""
        if is_read_as_dicom(image):
            return self._dicom.output_name(image, relative)
        name, suffix = without_suffix(relative)
        return name.removesuffix("_0000") if not self.masks else name, suffix

    def read_image(self, path: Path) -> Pixels:
        """Decode a scan with all of its channels; a `DataError` where they are not as many as expected."""
        if is_read_as_dicom(path):
            return self._dicom.read_image(path)
        files = self._channel_files(path)
        scan = read_scan(files, self.slice_axis, self._grid)
        if scan.array.shape[-1] != self.channels:
            says = "" if self.layout else " (dataset.json, data.images or data.channels)"
            raise DataError(f"{path}: {scan.array.shape[-1]} channel(s); expected {self.channels}{says}")
        return scan

    def read(self, case: Case) -> Decoded:
        """Decode a scan and its mask."""
        return with_scan_masks(self.read_image(case.image), case, self.labels, self._grid, self.overlap)

    def _refuse_other_channels(self) -> None:
        named = self._json.channels
        if len(named) != self.channels:
            raise DataError(
                f"{self._json.path}: names {len(named)} channel(s), {', '.join(named)}, but data.channels is "
                f"{self.channels}; leave it out"
            )

    def _channel_files(self, path: Path) -> list[Path | None]:
        """The files of the channels of the scan whose first is given; None for one that is missing, and may be."""
        if not self.masks:
            return [*channel_files(path, self.channels)]
        found: list[Path | None] = [path]
        for pattern in self.images[1:]:
            siblings = self.images[0].siblings(path, pattern)
            if siblings is None:
                raise DataError(f"{path}: does not end as data.images says: {self.images[0].text}")
            if len(siblings) > 1:
                listed = first_of([one.name for one in siblings])
                raise DataError(f"{path}: {len(siblings)} files of {pattern.text}: {listed}; narrow data.images")
            there = bool(siblings) and (self.missing != "zeros" or siblings[0].is_file())
            if not there and self.missing != "zeros":
                raise DataError(f"{path}: no file of {pattern.text} belongs to it; add it, or see data.missing")
            found.append(siblings[0] if there else None)
        return found


def _is_mask(path: Path, ending: str = "") -> bool:
    """Whether a path may be a mask: a scan by its name, a SEG or RTSTRUCT, or a folder with a picture a slice."""
    if path.is_dir():
        return has_stills(path)
    return is_scan(path, ending) or (path.suffix.lower() in DICOM and is_dicom(path))
