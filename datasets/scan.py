"""Scans and their masks, read for an adapter: one orientation inside, one grid for all that belongs to a case."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .case import Case, Decoded, Pixels, Remark
from .dicom_options import WHOLE, SegRule, Spacing
from .errors import DataError
from .formats import is_still
from .geometry import Geometry
from .labels import LabelMap
from .layers import Overlap, counted, united
from .still import read_mask
from .volume import Volume
from .volume_io import label_scale, lacks, read_mask_volume, read_volume

if TYPE_CHECKING:
    from .dicom_index import Index
    from .dicom_series import Series


@dataclass(frozen=True)
class GridRule:
    """What becomes of files that lie on another grid than their scan, or do not say on which.

    Attributes:
        resample: they are brought onto the scan's grid, further channels linearly, masks by nearest neighbours; else
            they are refused.
        copy_affine: a mask with as many slices, rows and columns as its scan lies on the scan's voxels, wherever its
            own header places it.
        spacing: millimetres between slices, rows and columns where a file does not say.
        image_key: of the arrays of an `.npz` or `.mat` file the scan.
        mask_key: of such a file the mask.
    """

    resample: bool = False
    copy_affine: bool = False
    spacing: Spacing | None = None
    image_key: str | None = None
    mask_key: str | None = None


STRICT = GridRule()
"""Whatever differs is refused."""
SliceAxis = Literal["axial", "coronal", "sagittal"]
AXES: dict[SliceAxis, str] = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}
"""Where columns, rows and slices grow to: as radiologists look at slices, the patient's right on the left."""


def read_scan(files: Sequence[Path | None], slice_axis: SliceAxis, grid: GridRule = STRICT) -> Pixels:
    """Read the channels of a scan as float32, in the orientation of the slices.

    Args:
        files: one a channel, or one with all channels; None for a channel of zeros, but the first.
        slice_axis: how the slices lie.
        grid: about further channels, and voxel sizes.

    Raises:
        DataError: an unreadable file, a channel on another grid.
    """
    read = partial(read_volume, spacing=grid.spacing, key=grid.image_key)
    channels = [None if file is None else (read(file), file) for file in files]
    return turned_scan(stacked_channels(channels, grid), slice_axis)


def stacked_channels(channels: Sequence[tuple[Volume, Path] | None], grid: GridRule) -> Volume:
    """Volumes as the channels of one, on the grid of the first; arguments as `read_scan`, with each volume's file."""
    assert channels[0] is not None
    first, path = channels[0]
    if len(channels) == 1:
        return first
    arrays = [first.array]
    for one in channels[1:]:
        if one is None:
            arrays.append(np.zeros(first.array.shape[:3], np.float32))
            continue
        arrays.append(_on_grid(*one, first, path, grid, labels=False).array)
    planes = [array if array.ndim == 4 else array[..., np.newaxis] for array in arrays]
    return Volume(np.concatenate(planes, axis=-1), first.affine)


def turned_scan(volume: Volume, slice_axis: SliceAxis, series: Series | None = None) -> Pixels:
    """A volume as float32 with channels, in the orientation of the slices; `series` is where DICOM comes from."""
    array = volume.array if volume.array.ndim == 4 else volume.array[..., np.newaxis]
    turned = Volume(array.astype(np.float32, copy=False), volume.affine).reordered(AXES[slice_axis])
    return Pixels(np.ascontiguousarray(turned.array), turned.geometry, volume.geometry, series)


def with_scan_masks(
    image: Pixels,
    case: Case,
    labels: LabelMap,
    grid: GridRule = STRICT,
    overlap: Overlap = "refuse",
    rule: SegRule = WHOLE,
    index: Index | None = None,
) -> Decoded:
    """A scan with the mask that the files of a case make together, on the scan's grid.

    Args:
        image: as `read_scan` gives it.
        case: names the files of the mask: volumes, DICOM SEG or RTSTRUCT, or folders with a picture for each slice of
            the scan's file.
        labels: what the masks' values mean.
        grid: about masks on another grid, and voxel sizes.
        overlap: of two classes that several masks draw at one voxel.
        rule: about fractions, overlaps and names in a SEG or RTSTRUCT.
        index: the headers of DICOM files that have been read before.

    Raises:
        DataError: an unreadable mask, one on another grid, values that are no class.
    """
    moved: list[Path] = []

    def read(path: Path) -> NDArray[Any]:
        found, is_moved = _scan_mask(image, (case.image, path), grid, rule, index)
        moved.extend([path] * is_moved)
        return found

    mask = united([(drawn, read(drawn.path)) for drawn in case.masks], labels, overlap)
    if case.valid is not None:
        mask = counted(mask, read(case.valid), case.valid)
    return Decoded(image, mask, tuple(_remarks(image, case, moved, grid)))


def _remarks(image: Pixels, case: Case, moved: Sequence[Path], grid: GridRule) -> Iterator[Remark]:
    """What the headers of a scan and of its masks say that one should know."""
    unsaid = zip(lacks(case.image), grid.spacing or (None, None, None), strict=True)
    if any(lacking and given is None for lacking, given in unsaid):
        yield Remark(
            "scan(s) that do not say how large a voxel is, or 0, taken as 1 mm",
            "distances are in mm: data.spacing: [slice, row, column] gives it",
        )
    if moved:
        yield Remark("scan(s) with a mask that lies elsewhere by its header", "laid on the scan by data.copy_affine")
    if image.series is None and any(path.is_dir() for path in case.references):
        yield Remark(
            "scan(s) with a picture a slice as their mask, in the order of the numbers in their names",
            "columns, rows and slices are taken to be those of the scan's file: look at samples.png",
        )
    for slope, intercept in filter(lambda scale: scale != (1.0, 0.0), map(label_scale, case.references)):
        yield Remark(
            f"scan(s) with a mask whose header multiplies what is stored by {slope:g} and adds {intercept:g}",
            "labels are the results; where they are the stored numbers, set the slope in the files to 1",
        )


def _scan_mask(
    image: Pixels, files: tuple[Path, Path], grid: GridRule, rule: SegRule, index: Index | None
) -> tuple[NDArray[Any], bool]:
    """The values of a mask on the grid of its scan, and whether its header places it elsewhere."""
    assert image.geometry is not None
    assert image.source is not None
    path, mask_path = files
    if mask_path.is_dir() and has_stills(mask_path):
        mask = _stacked(mask_path, image.source, path)
    else:
        mask = read_mask_volume(mask_path, rule, image.source, index, grid.spacing, grid.mask_key)
    is_moved = grid.copy_affine and mask.array.shape == image.source.shape
    is_moved = is_moved and mask.geometry.difference(image.source) is not None
    if is_moved:
        mask = Volume(mask.array, image.source.affine)
    turned = mask.reordered(image.geometry.axes)
    here = Volume(image.array, image.geometry.affine)
    turned = _on_grid(turned, mask_path, here, path, grid, labels=True)
    return np.ascontiguousarray(turned.array), is_moved


def in_file(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], image: Pixels) -> Volume:
    """An array `(slices, rows, columns[, channels])` on a scan's own grid, brought back to the grid of its file."""
    assert image.geometry is not None
    assert image.source is not None
    back = Volume(array, image.geometry.affine).reordered(image.source.axes)
    return Volume(np.ascontiguousarray(back.array), image.source.affine)


def has_stills(folder: Path) -> bool:
    """Whether images lie in a folder, as in one with a mask a slice."""
    return any(is_still(path) for path in folder.iterdir())


def _stacked(folder: Path, onto: Geometry, path: Path) -> Volume:
    """The masks of a folder, in the order of the numbers in their names, as the slices of a grid."""
    files = sorted(filter(is_still, folder.iterdir()), key=_by_numbers)
    if len(files) != onto.shape[0]:
        raise DataError(f"{folder}: {len(files)} masks for the {onto.shape[0]} slices of {path}; expected one a slice")
    planes = [read_mask(file, coloured=False)[0] for file in files]
    for file, plane in zip(files, planes, strict=True):
        if plane.shape != onto.shape[1:]:
            raise DataError(
                f"{file}: {plane.shape[1]}x{plane.shape[0]} pixels; expected {onto.shape[2]}x{onto.shape[1]}, as {path}"
            )
    return Volume(np.stack(planes), onto.affine)


def _by_numbers(path: Path) -> list[tuple[int, str]]:
    """Names as people sort them: slice9 before slice10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", path.name)]


def _on_grid(volume: Volume, path: Path, onto: Volume, other: Path, grid: GridRule, labels: bool) -> Volume:
    difference = volume.geometry.difference(onto.geometry)
    if difference is None:
        return volume
    if grid.resample:
        return volume.resampled(onto.geometry, labels=labels)
    if volume.geometry.shape == onto.geometry.shape:
        copied = "data.copy_affine: true takes the scan's" if labels else "copy the scan's into it"
        raise DataError(
            f"{path}: does not lie on the grid of {other}, though it has as many voxels: {difference}; if it was "
            f"made on these voxels its header is wrong, so {copied}; only where its place is right bring it onto that "
            "grid by data.resample: true"
        )
    raise DataError(
        f"{path}: does not lie on the grid of {other}: {difference}; check that the two belong together, then set "
        "data.resample: true to bring it onto that grid"
    )
