"""Folders of DICOM: a series or a multi-frame file a case, with its mask as SEG, NIfTI, MetaImage or PNG."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .case import IGNORE, Case, Decoded, Kind, Pixels
from .dicom_options import Colour, SegRule, Spacing
from .dicom_rule import Rule, SeriesRule
from .errors import DataError
from .formats import DICOM, is_read_as_dicom, is_scan, without_suffix
from .labels import LabelMap, Labels, Values, background_index
from .layers import Overlap, class_map
from .listing import Listing
from .notes import Note
from .paired import Missing, Paired
from .patients import dicom_patient
from .pattern import Pattern, patterns_of
from .scan import GridRule, SliceAxis, has_stills, in_file, read_scan, stacked_channels, turned_scan, with_scan_masks
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
        masks: where masks lie, with `{name}`: SEG, RTSTRUCT, NIfTI or MetaImage files, or folders with a PNG a slice,
            in the order of positions; with a `*` besides the ending several of a scan are united. Or a mapping of
            classes to such patterns, whose masks are 0 where the class is not. Null for the SEG, or else the RTSTRUCT,
            in the scan's own folder that refers to its series.
        labels: a class name to one or several segment numbers or mask values; 0 is where there is no segment.
        ignore: mask values of voxels that do not count.
        series: which of several series: a SeriesInstanceUID; a regular expression on the description, such as
            `t2_tse_tra`; or a rule for all patients, `{SeriesDescription: 't2_tse_tra*', orientation: axial, prefer:
            latest}`: any keyword of DICOM with a pattern, a number or a list of which one must fit; prefer decides
            between equals: latest, earliest, most_slices, or several in order. `check` lists what was chosen. A list
            has one a channel, such as T2, ADC and DWI; they are brought onto the grid of the first with `resample`.
        stack: which of several stacks or orientations of a series; the error lists their names.
        colour: one channel (grey) or three (rgb).
        threshold: of a fractional SEG: the least share of its largest value that is foreground.
        structures: a class to patterns on the names of its structures in an RTSTRUCT, or on the labels of its segments
            in a SEG, `{prostate: 'CTV*', lesion: ['GTV*', 'les*']}`; null where their numbers are values of `labels`.
            Others are background.
        overlap: of segments, structures or masks of several classes: refuse, or labels, where the class that stands
            later in `labels` wins.
        slice_axis: how volumes are cut into slices: axial, coronal or sagittal, whatever order the files have.
        resample: bring a mask, or a further channel, of another grid onto the grid of the scan instead of refusing it.
        copy_affine: a mask with as many slices, rows and columns as its scan lies on the scan's voxels, whatever place
            its own header gives it.
        field_of_view: of ultrasound: background outside the fan of the probe, black in every frame, does not count, in
            training or in scores.
        missing: of a patient without one of the further series: refuse; zeros, a channel of zeros; or exclude, which
            leaves the patient out. What is done is said.
        spacing: `data.spacing`, which is the voxels' size of images that do not say it.

    Raises:
        ValueError: no `labels`, a threshold out of range; see `LabelMap`, `Pattern`.
    """

    reads = "scans (DICOM)"
    what = "DICOM"
    unites = True
    kind: Kind = "volume"
    normalise = "percentile"

    def __init__(
        self,
        root: str,
        images: str = "{name}",
        masks: str | dict[str, str] | None = None,
        labels: Labels | None = None,
        ignore: Values | None = None,
        series: Rule | list[Rule] | None = None,
        stack: str | None = None,
        colour: Colour = "grey",
        threshold: float = 0.5,
        overlap: Overlap = "refuse",
        slice_axis: SliceAxis = "axial",
        resample: bool = False,
        field_of_view: bool = False,
        structures: dict[str, str | list[str]] | None = None,
        missing: Missing = "refuse",
        copy_affine: bool = False,
        *,
        spacing: Spacing | None = None,
    ) -> None:
        scans = Pattern("images", images, self._is_scan, 1)
        drawn = patterns_of("masks", masks, self._is_mask, 1)
        for one in (scans, *drawn.values()):
            if "{name}" not in one.text:
                raise ValueError(f"{one.key}: {one.text!r} does not hold {{name}}")
        super().__init__(root, [scans], drawn, spare_masks=True, missing=missing)
        self.slice_axis, self.field_of_view = slice_axis, field_of_view
        self._grid = GridRule(resample, copy_affine, spacing)
        listed = series if isinstance(series, list) else [series]
        if not listed or (len(listed) > 1 and colour == "rgb"):
            raise ValueError(
                "series: a list has one a channel, each of them grey" if listed else "series: an empty list"
            )
        self.rules, self.colour = [SeriesRule.of(one, stack) for one in listed], colour
        self._headers: Path | None = None
        self.labels = class_map(self.own, masks, labels, ignore, values_only=True)
        self.overlap: Overlap = overlap
        self.channels = 3 if colour == "rgb" else len(self.rules)
        order = list(self.labels.codes) if overlap == "labels" else None
        self._rule = SegRule(threshold, order, None if structures is None else self._named(structures))

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the cases by name; a `DataError` as of all pairs, and for a mask that is a prediction."""
        cases = super().cases(listing)
        if len(self.rules) > 1 and self.missing != "refuse":
            cases = [case for case in cases if not self.lacks(case.image, self._missing(case.image))]
        if self.masks:
            drawn = [path for case in cases for path in case.references]
            refuse_predictions([path for path in drawn if self._index.is_prediction(path)])
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
        masks = case.references
        if not self.masks and not case.image.is_dir():
            from .dicom_series import find_series

            series = find_series(case.image, self.rules[0], None, self._grid.spacing, self._index)
            masks = [self._segmentation(case.image, series)]
        found = [file for path in (case.image, *masks) for file in volume_files(path)]
        return list(dict.fromkeys(found))

    def is_image(self, path: Path) -> bool:
        """Whether a path is a scan: a folder of one-frame files, or of a single file; or a file of several frames.

        Of several channels it is a folder that holds all of them, in sub-folders too, and has no sub-folder that does.
        """
        if len(self.rules) > 1:
            return path.is_dir() and self._holds_all(path) and not any(map(self._holds_all, _folders(path)))
        if path.is_dir():
            files = filter(self._index.is_image, sorted(path.iterdir()))
            found = [*islice(files, 2)]
            single = bool(found) and (len(found) == 1 or self._index.header(found[0]).count == 1)
            return single and any(map(self._wanted, chain(found, files)))
        return self._index.is_image(path) and self._index.header(path).count > 1 and self._wanted(path)

    def is_foreign_image(self, path: Path) -> bool:
        """Whether a file is a scan of one channel in another format."""
        return self.channels == 1 and is_scan(path)

    def output_name(self, image: Path, relative: str) -> tuple[str, str]:
        """The name of a series' folder, or of a file without a suffix of DICOM; and ".dcm", whatever its suffix."""
        if not is_read_as_dicom(image):
            return without_suffix(relative)
        named = image.is_file() and relative.lower().endswith(DICOM)
        return without_suffix(relative)[0] if named else relative, ".dcm"

    def read_image(self, path: Path) -> Pixels:
        """Decode a scan."""
        if not is_read_as_dicom(path):
            return read_scan([path], self.slice_axis, self._grid)
        volumes: list[tuple[Volume, Path] | None] = []
        found: list[Series] = []
        for rule, is_missing in zip(self.rules, self._missing(path), strict=True):
            if is_missing:
                volumes.append(None)
                continue
            volume, series = read_series(path, rule, None, self.colour, self._grid.spacing, self._index)
            volumes.append((volume, Path(f"{path} ({series.frames[0].described})")))
            found.append(series)
        image = turned_scan(stacked_channels(volumes, self._grid), self.slice_axis, found[0])
        return replace(image, choices=tuple(series.choice for series in found if series.choice))

    def read(self, case: Case) -> Decoded:
        """Decode a scan and its mask; a `DataError` where the mask belongs to another scan."""
        image = self.read_image(case.image)
        assert image.series is not None
        if not self.masks:
            case = replace(case, mask=self._segmentation(case.image, image.series))
        for mask in case.references:
            if self._index.is_segmentation(mask) or self._index.is_structures(mask):
                self._refuse_foreign(mask, image.series)
        decoded = with_scan_masks(image, case, self.labels, self._grid, self.overlap, self._rule, self._index)
        if not self.field_of_view or self.background is None:
            return decoded
        outside = ~field_of_view(image) & (decoded.mask == background_index(self.classes))
        return Decoded(image, np.where(outside, np.uint8(IGNORE), decoded.mask), decoded.remarks)

    def keep_headers(self, folder: Path) -> None:
        """Keep the headers of files in a folder, by path, size and time, so that the next command need not read them.

        To be called before the first case is listed or read.
        """
        self._headers = folder

    @cached_property
    def _index(self) -> Index:
        """The headers that have been read."""
        from .dicom_index import Index  # with pydicom, which takes time to import

        return Index([keyword for rule in self.rules for keyword in rule.keywords], self._headers)

    def _named(self, structures: dict[str, str | list[str]]) -> dict[int, tuple[str, ...]]:
        """The patterns of structures by the first value of their class."""
        for name in structures:
            if name not in self.classes or name == self.background:
                raise ValueError(f"structures: {name} is no class of labels that is drawn: {', '.join(self.classes)}")
        values = self.labels.values_of(np.arange(len(self.classes)))
        return {
            int(values[self.classes.index(name)]): (given,) if isinstance(given, str) else tuple(given)
            for name, given in structures.items()
        }

    def _is_scan(self, path: Path) -> bool:
        return path.is_dir() or self._index.is_image(path)

    def _is_mask(self, path: Path, ending: str = "") -> bool:
        """Whether a path may be a mask: a volume, a SEG, contours, or a folder of stills."""
        if path.is_dir():
            return has_stills(path)
        return is_scan(path, ending) or self._index.is_segmentation(path) or self._index.is_structures(path)

    def _wanted(self, path: Path) -> bool:
        """Whether a file is of the series that is asked for."""
        header = self._index.header(path)
        return self.rules[0].fits(header.frames[0], header.said)

    def _holds_all(self, folder: Path) -> bool:
        """Whether a folder has a series of each channel, or of the first where others may be missing."""
        images = [header for header in self._index.headers(folder) if header.is_image and header.frames]
        needed = self.rules[:1] if self.missing == "zeros" else self.rules
        return all(any(rule.fits(header.frames[0], header.said) for header in images) for rule in needed)

    def _missing(self, path: Path) -> list[bool]:
        """Whether the series of each channel is missing where it may be."""
        from .dicom_series import NoSeriesError, find_series

        found = [False]
        for rule in self.rules[1:]:
            found.append(False)
            if self.missing != "refuse":
                with suppress(DataError):  # others are refused when it is read
                    try:
                        find_series(path, rule, None, self._grid.spacing, self._index)
                    except NoSeriesError:
                        found[-1] = True
        return found

    def _segmentation(self, image: Path, series: Series) -> Path:
        """The SEG beside a scan that refers to its series, or is in its space; where there is none, the contours."""
        folder = image if image.is_dir() else image.parent
        headers = list(self._index.headers(folder))
        every = [header for header in headers if header.is_segmentation]
        found = [header for header in every if not header.is_prediction]
        own = [header.path for header in every if header.is_prediction]
        if own and not found:
            refuse_predictions(own)
        for path in own:
            warnings.warn(Note("SEG that this program predicted are no references", str(path), MOVE), stacklevel=2)
        uid, space = series.frames[0].series, series.frames[0].space
        fit = [header.path for header in found if uid in header.refers]
        fit = fit or [header.path for header in found if not header.refers and space and header.space == space]
        kind = "SEG"
        if not found and any(header.is_structures for header in headers):
            kind, found = "RTSTRUCT", [header for header in headers if header.is_structures]
            fit = [header.path for header in found if uid in header.refers]
        if len(fit) != 1:
            detail = f"none of {len(found)} {kind} refers" if not fit else f"{len(fit)} {kind} refer"
            listed = f" ({', '.join(path.name for path in fit[:5])})" if fit else ""
            raise DataError(f"{folder}: {detail} to the series {uid}{listed}; say which is the mask by data.masks")
        return fit[0]

    def _refuse_foreign(self, mask: Path, series: Series) -> None:
        """Raise a `DataError` for a SEG or contours of another series in another space."""
        header, first = self._index.header(mask), series.frames[0]
        known = header.refers and header.space and first.space
        if known and first.series not in header.refers and header.space != first.space:
            raise DataError(
                f"{mask}: refers to the series {', '.join(sorted(header.refers))} in another space, but the scan is "
                f"{first.series}; give each scan its own mask, see data.masks and data.series"
            )


def _folders(path: Path) -> list[Path]:
    """The folders below a folder, themselves in folders too."""
    return [folder for folder in path.rglob("*") if folder.is_dir()]


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
