"""Scans and their masks, read for an adapter: one orientation inside, one grid for all that belongs to a case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from .case import Decoded, Pixels
from .errors import DataError
from .labels import LabelMap
from .volume import Volume, read_mask_volume, read_volume, volume_suffix

SliceAxis = Literal["axial", "coronal", "sagittal"]
AXES: dict[SliceAxis, str] = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}
"""Where columns, rows and slices grow to: as radiologists look at slices, the patient's right on the left."""


def is_scan(path: Path) -> bool:
    """Whether a file is a volume by its name: the header where header and voxels are two files."""
    suffix = volume_suffix(path)
    return suffix is not None and not path.name.startswith(".") and not suffix.startswith(".img")


def read_scan(files: Sequence[Path], slice_axis: SliceAxis, resample: bool) -> Pixels:
    """Read the channels of a scan as float32, in the orientation of the slices.

    Args:
        files: one a channel, or one with all channels.
        slice_axis: how the slices lie.
        resample: bring further channels onto the first one's grid, linearly, instead of refusing another grid.

    Raises:
        DataError: an unreadable file, a channel on another grid.
    """
    first = read_volume(files[0])
    arrays = [first.array]
    for file in files[1:]:
        volume = read_volume(file)
        volume = _on_grid(volume, file, first, files[0], resample, labels=False)
        arrays.append(volume.array)
    planes = [array if array.ndim == 4 else array[..., np.newaxis] for array in arrays]
    scan = Volume(np.concatenate(planes, axis=-1).astype(np.float32, copy=False), first.affine)
    turned = scan.reordered(AXES[slice_axis])
    return Pixels(np.ascontiguousarray(turned.array), turned.geometry, first.geometry)


def with_scan_mask(image: Pixels, files: tuple[Path, Path], labels: LabelMap, resample: bool) -> Decoded:
    """A scan with its mask on the same grid.

    Args:
        image: as `read_scan` gives it.
        files: of the image, for errors, and of the mask.
        labels: what the mask's values mean.
        resample: bring the mask onto the image's grid by nearest neighbours instead of refusing another grid.

    Raises:
        DataError: an unreadable mask, one on another grid, values that are no class.
    """
    assert image.geometry is not None
    path, mask_path = files
    mask = read_mask_volume(mask_path)
    turned = mask.reordered(image.geometry.axes)
    here = Volume(image.array, image.geometry.affine)
    turned = _on_grid(turned, mask_path, here, path, resample, labels=True)
    return Decoded(image, labels(np.ascontiguousarray(turned.array), mask_path))


def in_file(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], image: Pixels) -> Volume:
    """An array `(slices, rows, columns[, channels])` on a scan's own grid, brought back to the grid of its file."""
    assert image.geometry is not None
    assert image.source is not None
    back = Volume(array, image.geometry.affine).reordered(image.source.axes)
    return Volume(np.ascontiguousarray(back.array), image.source.affine)


def _on_grid(volume: Volume, path: Path, onto: Volume, other: Path, resample: bool, labels: bool) -> Volume:
    difference = volume.geometry.difference(onto.geometry)
    if difference is None:
        return volume
    if not resample:
        raise DataError(
            f"{path}: does not lie on the grid of {other}: {difference}; check that the two belong together, then set "
            "data.resample: true to bring it onto that grid"
        )
    return volume.resampled(onto.geometry, labels=labels)
