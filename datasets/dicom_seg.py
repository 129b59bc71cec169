"""DICOM segmentations (SEG): binary, fractional or a label map, as numbers of segments on a grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from .dicom_file import load
from .dicom_frames import Frame, frames_of
from .dicom_grid import LEAST, directions, ordered, placed, refuse_tilt, tolerance
from .dicom_options import SegRule
from .dicom_pixels import stored_frames
from .errors import DataError
from .geometry import LPS_TO_RAS, TOLERANCE, Geometry
from .pixels import refuse_too_large

KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


def read(path: Path, rule: SegRule, onto: Geometry | None) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The segment numbers `(slices, rows, columns)`, and the affine to RAS+ millimetres.

    Args:
        path: the file.
        rule: about fractions and overlaps.
        onto: the grid of the scan: where the SEG lies on it, voxel on voxel, this is the grid that comes back.

    Raises:
        DataError: no SEG, one without positions, frames off a grid, segments that overlap where that is not allowed.
    """
    elements = load(path, pixels=True)
    kind = elements.text("SegmentationType")
    if kind not in KINDS:
        raise DataError(f"{path}: SegmentationType = {kind!r}; expected {', '.join(KINDS)}; damaged, or no SEG?")
    frames = frames_of(elements)
    if any(frame.position is None or frame.axes is None for frame in frames):
        raise DataError(f"{path}: frames without a position, as of a slide or a plain multi-frame; write it as NIfTI")
    geometry, slices = _grid(frames, path, onto)
    refuse_too_large(path, 2 * int(np.prod(geometry.shape)))
    stored, _ = stored_frames(elements)
    if stored.ndim != 3 or stored.dtype.kind not in "ui":
        raise DataError(f"{path}: {stored.dtype} frames of shape {stored.shape}; expected one whole number a pixel")
    if kind == "LABELMAP":
        labels = _by_slice(stored, slices, geometry, path)
    else:
        most = elements.whole("MaximumFractionalValue", 255, least=1) if kind == "FRACTIONAL" else 1
        labels = _painted(stored >= rule.threshold * most - 1e-9, frames, slices, geometry, rule, path)
    return _embedded(labels, geometry, onto)


def _grid(frames: list[Frame], path: Path, onto: Geometry | None) -> tuple[Geometry, list[int]]:
    """The grid of all frames, gaps between them filled, and each frame's slice; in steps of the scan if they fit."""
    first = frames[0]
    assert first.axes is not None
    if first.pixel is None:
        raise DataError(f"{path}: no PixelSpacing; damaged, or no SEG? Export it again")
    for frame in frames:
        assert frame.axes is not None
        turned = np.abs(np.subtract(frame.axes, first.axes)).max() > 1e-3
        if turned or (frame.size, frame.pixel) != (first.size, first.pixel):
            raise DataError(f"{path}: frames of several sizes, orientations or spacings; write a SEG for each")
    # the step between slices: the least between frames, for slices without a segment have none; or what the header or
    # the scan says, if every frame lies a whole number of such steps from the first
    _, along = ordered(frames)
    steps = np.diff(along)
    steps = steps[steps > LEAST]
    step = float(steps.min()) if steps.size else (first.apart or 0.0)
    for given in (first.apart, _step_along(directions(first)[2], onto)):
        if given and np.abs(along - along[0] - np.round((along - along[0]) / given) * given).max() <= tolerance(given):
            step = given
    if step <= 0:
        raise DataError(f"{path}: one slice, and nothing says how thick; write SpacingBetweenSlices")
    whole = np.round((along - along[0]) / step)
    if np.abs(along - along[0] - whole * step).max() > tolerance(step):
        raise DataError(
            f"{path}: its frames lie unevenly, {steps.min():.4g} to {steps.max():.4g} mm apart; resample it"
        )
    refuse_tilt(ordered(frames)[0], directions(first), path, along)
    if whole[-1] > 2**15:
        raise DataError(f"{path}: frames {along[-1] - along[0]:.4g} mm apart in steps of {step:.4g}; damaged?")
    # `whole` is in the order of positions: back to the order of the frames, by the rank of each
    normal_order = np.argsort(np.argsort([_along(frame, frames) for frame in frames], kind="stable"), kind="stable")
    slices = [int(whole[at]) for at in normal_order]
    by_slice = dict(zip(slices, frames, strict=True))
    lowest = replace(by_slice[0], apart=step)
    if len(by_slice) == 1:
        return placed([lowest], path)[1], slices
    # the grid of the two outermost slices, its step divided by the slices between
    ends = [lowest, by_slice[max(by_slice)]]
    _, two = placed(ends, path)
    affine = two.affine.copy()
    affine[:3, 2] /= max(by_slice)
    return Geometry((max(by_slice) + 1, *first.size), affine), slices


def _step_along(normal: NDArray[np.float64], onto: Geometry | None) -> float | None:
    """Millimetres between the voxels of a grid along an LPS direction, where one of its axes lies so."""
    if onto is None:
        return None
    sizes = np.linalg.norm(onto.affine[:3, :3], axis=0)
    fits = np.abs((LPS_TO_RAS[:3, :3] @ normal) @ (onto.affine[:3, :3] / sizes)) > 0.999
    return float(sizes[fits][0]) if fits.any() else None


def _along(frame: Frame, frames: list[Frame]) -> float:
    return float(ordered([replace(frame, axes=frames[0].axes)])[1][0])


def _by_slice(stored: NDArray[Any], slices: list[int], geometry: Geometry, path: Path) -> NDArray[Any]:
    if len(set(slices)) < len(slices):
        raise DataError(f"{path}: two frames of a label map lie at one position; remove one")
    labels = np.zeros(geometry.shape, stored.dtype)
    labels[slices] = stored
    return labels


def _painted(
    inside: NDArray[np.bool_],
    frames: list[Frame],
    slices: list[int],
    geometry: Geometry,
    rule: SegRule,
    path: Path,
) -> NDArray[np.uint16]:
    """One label a voxel of a frame for each segment and slice."""
    numbers = [frame.segment for frame in frames]
    if min(numbers) < 1 or max(numbers) >= 2**16:
        raise DataError(f"{path}: ReferencedSegmentNumber = {min(numbers)} to {max(numbers)}; expected 1 to 65535")
    if len({*zip(slices, numbers, strict=True)}) < len(slices):
        raise DataError(f"{path}: two frames of one segment lie at one position; remove one")
    # segments are painted one over the other, the last in the order wins; without an order every overlap is counted
    rank = {number: at for at, number in enumerate(rule.order or ())}
    labels = np.zeros(geometry.shape, np.uint16)
    overlaps: dict[tuple[int, int], int] = {}
    for at in sorted(range(len(frames)), key=lambda at: (rank.get(numbers[at], -1), numbers[at])):
        plane = labels[slices[at]]
        if rule.order is None:
            taken = plane[inside[at]]
            for other in np.unique(taken[taken > 0]).tolist():
                pair = (other, numbers[at])
                overlaps[pair] = overlaps.get(pair, 0) + int((taken == other).sum())
        plane[inside[at]] = numbers[at]
    if overlaps:
        detail = ", ".join(f"{one} and {two} in {count} voxels" for (one, two), count in sorted(overlaps.items())[:3])
        raise DataError(
            f"{path}: segments overlap, {detail}; a voxel has one class: set data.overlap: labels, and the class that "
            "stands later in data.labels wins"
        )
    return labels


def _embedded(labels: NDArray[Any], geometry: Geometry, onto: Geometry | None) -> tuple[Any, NDArray[np.float64]]:
    """The labels on the whole grid of the scan, where they lie on its voxels; else as they are."""
    if onto is None:
        return labels, geometry.affine
    # from the SEG's voxels, turned to the axes of the scan, to the scan's: a shift by whole voxels where it fits
    turned = geometry.reordered(onto.axes)
    change = np.linalg.inv(onto.affine) @ turned.affine
    start = np.round(change[:3, 3])
    last = np.array(turned.shape[::-1]) - 1
    # its corners in voxels of the scan against those that the shift gives, apart in millimetres
    corners = turned.corners()
    meant = (np.vstack([corners.T, np.ones(len(corners))]).T @ np.linalg.inv(onto.affine).T)[:, :3]
    steps = np.array([[c, r, s] for c in (0, last[0]) for r in (0, last[1]) for s in (0, last[2])])
    sizes = np.array(onto.spacing)[::-1]
    if (np.abs(meant - (start + steps)) * sizes).max() > max(TOLERANCE, LEAST):
        return labels, geometry.affine
    stop = start + last + 1
    if (start < 0).any() or (stop > np.array(onto.shape[::-1])).any():
        return labels, geometry.affine
    by_column = orientations.apply_orientation(np.moveaxis(labels, (0, 2), (2, 0)), geometry.change(onto.axes))
    whole = np.zeros(onto.shape, labels.dtype)
    (c0, r0, s0), (c1, r1, s1) = start.astype(int), stop.astype(int)
    whole[s0:s1, r0:r1, c0:c1] = np.moveaxis(by_column, (0, 2), (2, 0))
    return whole, onto.affine
