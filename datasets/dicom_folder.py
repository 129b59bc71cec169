"""Folders of DICOM: a series or a multi-frame file a case, with its mask as SEG, NIfTI, MetaImage or PNG."""

from __future__ import annotations

import re
import warnings
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .case import IGNORE, Case, Decoded, Kind, Pixels
from .dicom_options import Colour, SegRule, Spacing
from .errors import DataError
from .formats import DICOM, is_scan, without_suffix
from .labels import LabelMap, Labels, Values, background_index, label_map
from .listing import Listing
from .notes import Note
from .paired import Paired
from .patients import dicom_patient
from .pattern import Pattern, patterns_of
from .scan import SliceAxis, has_stills, in_file, turned_scan, with_scan_mask
from .volume import Volume
from .volume_io import read_series, volume_files
from .written import MOVE, refuse_predictions

if TYPE_CHECKING:
    from .dicom_index import Index
    from .dicom_series import Series


class Dicom(Paired):
    """Scans as DICOM below `root`: a folder a patient, with the series and its SEG in it, or by patterns.

    In a pattern `{name}` stands for the case's id, `*` for a part of a name and `{part}` for the folders `train`, `val`
    and `test`. A case is its own group; `data.group` groups them by a pattern on the id.

    Args:
        root: the folder.
        images: where scans lie, with `{name}`: folders, or files.
        masks: where masks lie, with `{name}`: SEG, NIfTI or MetaImage files, or folders with a PNG a slice, in
            the order of positions; null for the SEG in the scan's own folder that refers to its series.
        labels: a class name to one or several segment numbers or mask values; 0 is where there is no segment.
        ignore: mask values of voxels that do not count.
        series: which of several series: a SeriesInstanceUID, or a pattern on the description, such as `t2_tse_tra`.
        stack: which of several stacks or orientations of a series; the error lists their names.
        colour: one channel (grey) or three (rgb).
        threshold: of a fractional SEG: the least share of its largest value that is foreground.
        overlap: of segments: refuse, or labels, where the class that stands later in `labels` wins.
        slice_axis: how volumes are cut into slices: axial, coronal or sagittal, whatever order the files have.
        resample: bring a mask of another grid onto the grid of the scan instead of refusing it.
        field_of_view: of ultrasound: background outside the fan of the probe, black in every frame, does not count, in
            training or in scores.
        spacing: `data.spacing`, which is the voxels' size of images that do not say it.

    Raises:
        ValueError: no `labels`, a threshold out of range; see `LabelMap`, `Pattern`.
    """

    reads = "scans (DICOM)"
    what = "DICOM"
    assumes_spacing = True
    kind: Kind = "volume"
    normalise = "percentile"

    def __init__(
        self,
        root: str,
        images: str = "{name}",
        masks: str | None = None,
        labels: Labels | None = None,
        ignore: Values | None = None,
        series: str | None = None,
        stack: str | None = None,
        colour: Colour = "grey",
        threshold: float = 0.5,
        overlap: Literal["refuse", "labels"] = "refuse",
        slice_axis: SliceAxis = "axial",
        resample: bool = False,
        field_of_view: bool = False,
        *,
        spacing: Spacing | None = None,
    ) -> None:
        for key, pattern in (("images", images), ("masks", masks)):
            if pattern is not None and "{name}" not in pattern:
                raise ValueError(f"{key}: {pattern!r} does not hold {{name}}")
        try:
            re.compile(series or "")
        except re.error as error:
            raise ValueError(f"series: {series!r} is neither a UID nor a pattern ({error})") from error
        depths = {text: None if "**" in text else 1 for text in (images, masks) if text is not None}
        scans = Pattern("images", images, self._is_scan, depths[images])
        drawn = patterns_of("masks", masks, self._is_mask, None if masks is None else depths[masks])
        super().__init__(root, [scans], drawn, spare_masks=True)
        self.slice_axis, self.resample, self.field_of_view = slice_axis, resample, field_of_view
        self.series, self.stack, self.colour, self.spacing = series, stack, colour, spacing
        self.labels = label_map(self.own, labels, ignore, values_only=True)
        self.channels = 3 if colour == "rgb" else 1
        self._rule = SegRule(threshold, list(self.labels.codes) if overlap == "labels" else None)

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the cases by name; a `DataError` as of all pairs, and for a mask that is a prediction."""
        cases = super().cases(listing)
        if self.masks:
            refuse_predictions([case.mask for case in cases if self._index.is_prediction(case.mask)])
        return cases

    def patient(self, case: Case) -> str | None:
        """A digest of the PatientID of the scan's first file."""
        path = case.image
        if path.is_dir():
            files = (header.path for header in self._index.headers(path) if header.is_image)
            path = next(files, path)
        return dicom_patient(path)

    def is_worth_naming(self, path: Path) -> bool:
        """Whether a file is a scan or a mask by its name."""
        return is_scan(path) or path.suffix.lower() in DICOM

    def sources(self, case: Case) -> list[Path]:
        """Every file of the scan's folder, or the scan's file, and of its mask."""
        mask = case.mask
        if not self.masks and not case.image.is_dir():
            from .dicom_series import find_series

            series = find_series(case.image, self.series, self.stack, self.spacing, self._index)
            mask = self._segmentation(case.image, series)
        found = [file for path in (case.image, mask) for file in volume_files(path)]
        return list(dict.fromkeys(found))

    def is_image(self, path: Path) -> bool:
        """Whether a path is a scan: a folder of one-frame files, or of a single file; or a file of several frames."""
        if path.is_dir():
            files = filter(self._index.is_image, sorted(path.iterdir()))
            found = [*islice(files, 2)]
            single = bool(found) and (len(found) == 1 or self._index.header(found[0]).count == 1)
            return single and any(map(self._wanted, chain(found, files)))
        return self._index.is_image(path) and self._index.header(path).count > 1 and self._wanted(path)

    def output_name(self, image: Path, relative: str) -> tuple[str, str]:
        """The name of a series' folder, or of a file without a suffix of DICOM; and ".dcm", whatever its suffix."""
        named = image.is_file() and relative.lower().endswith(DICOM)
        return without_suffix(relative)[0] if named else relative, ".dcm"

    def read_image(self, path: Path) -> Pixels:
        """Decode a scan."""
        volume, series = read_series(path, self.series, self.stack, self.colour, self.spacing, self._index)
        return turned_scan(volume, self.slice_axis, series)

    def read(self, case: Case) -> Decoded:
        """Decode a scan and its mask; a `DataError` where the mask belongs to another scan."""
        image = self.read_image(case.image)
        assert image.series is not None
        mask = self._segmentation(case.image, image.series) if not self.masks else case.mask
        if self._index.is_segmentation(mask):
            self._refuse_foreign(mask, image.series)
        decoded = with_scan_mask(image, (case.image, mask), self.labels, self.resample, self._rule, self._index)
        if not self.field_of_view or self.background is None:
            return decoded
        outside = ~field_of_view(image) & (decoded.mask == background_index(self.classes))
        return Decoded(image, np.where(outside, np.uint8(IGNORE), decoded.mask))

    @cached_property
    def _index(self) -> Index:
        """The headers that have been read."""
        from .dicom_index import Index  # with pydicom, which takes time to import

        return Index()

    def _is_scan(self, path: Path) -> bool:
        return path.is_dir() or self._index.is_image(path)

    def _is_mask(self, path: Path) -> bool:
        """Whether a path may be a mask: a volume, a SEG, or a folder of stills."""
        return has_stills(path) if path.is_dir() else is_scan(path) or self._index.is_segmentation(path)

    def _wanted(self, path: Path) -> bool:
        """Whether a file is of the series that is asked for."""
        from .dicom_series import is_series

        return self.series is None or is_series(self._index.header(path).frames[0], self.series)

    def _segmentation(self, image: Path, series: Series) -> Path:
        """The SEG beside a scan that refers to its series, or, where none does, the one in its space."""
        folder = image if image.is_dir() else image.parent
        every = [header for header in self._index.headers(folder) if header.is_segmentation]
        found = [header for header in every if not header.is_prediction]
        own = [header.path for header in every if header.is_prediction]
        if own and not found:
            refuse_predictions(own)
        for path in own:
            warnings.warn(Note("SEG that this program predicted are no references", str(path), MOVE), stacklevel=2)
        uid, space = series.frames[0].series, series.frames[0].space
        fit = [header.path for header in found if uid in header.refers]
        fit = fit or [header.path for header in found if not header.refers and space and header.space == space]
        if len(fit) != 1:
            detail = f"none of {len(found)} SEG refers" if not fit else f"{len(fit)} SEG refer"
            listed = f" ({', '.join(path.name for path in fit[:5])})" if fit else ""
            raise DataError(f"{folder}: {detail} to the series {uid}{listed}; say which is the mask by data.masks")
        return fit[0]

    def _refuse_foreign(self, mask: Path, series: Series) -> None:
        """Raise a `DataError` for a SEG of another series in another space."""
        header, first = self._index.header(mask), series.frames[0]
        known = header.refers and header.space and first.space
        if known and first.series not in header.refers and header.space != first.space:
            raise DataError(
                f"{mask}: refers to the series {', '.join(sorted(header.refers))} in another space, but the scan is "
                f"{first.series}; give each scan its own mask, see data.masks and data.series"
            )


class Trus(Dicom):
    """Prostate ultrasound as in the ADFL paper: as `dicom`, with the classes background 0 and prostate 1."""

    own = LabelMap({"background": [0], "prostate": [1]})


def field_of_view(image: Pixels) -> NDArray[np.bool_]:
    """Where the probe sees: true in pixels that any frame of the file has light in, `(slices, rows, columns)`."""
    assert image.geometry is not None
    stored = in_file(np.any(image.array > 0, axis=-1), image)
    seen = np.broadcast_to(stored.array.any(axis=0), stored.array.shape)
    turned: NDArray[np.bool_] = Volume(seen, stored.affine).reordered(image.geometry.axes).array
    return turned
