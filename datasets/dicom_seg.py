"""DICOM segmentations (SEG): binary, fractional or a label map, as numbers of segments on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dicom_file import Elements, load
from .dicom_frames import Frame, frames_of
from .dicom_grid import LEAST, directions, placed, refuse_tilt, tolerance
from .dicom_options import SegRule
from .dicom_pixels import stored_frames
from .errors import DataError
from .geometry import LPS_TO_RAS, Geometry
from .pixels import refuse_too_large
from .volume import Volume

KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


def read(path: Path, rule: SegRule, onto: Geometry | None) -> Volume:
    """The segment numbers `(slices, rows, columns)` in space.

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
    values = _values(elements, rule) if rule.structures is not None else None
    refuse_too_large(path, 2 * int(np.prod(geometry.shape)))
    stored, _ = stored_frames(elements)
    if stored.ndim != 3 or stored.dtype.kind not in "ui":
        raise DataError(f"{path}: {stored.dtype} frames of shape {stored.shape}; expected one whole number a pixel")
    if kind == "LABELMAP":
        labels = _by_slice(stored, slices, geometry, path)
        if values is not None:
            labels = _valued(labels, values)
    else:
        most = elements.whole("MaximumFractionalValue", 255, least=1) if kind == "FRACTIONAL" else 1
        inside = stored >= rule.threshold * most - 1e-9
        labels = _painted(inside, frames, slices, geometry, rule, path, values)
    return _embedded(Volume(labels, geometry.affine), onto)


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
    axes = directions(first)
    along = np.array([axes[2] @ np.array(frame.position) for frame in frames])
    along -= along.min()
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    steps = steps[steps > LEAST]
    step = float(steps.min()) if steps.size else (first.apart or 0.0)
    for given in (first.apart, _step_along(axes[2], onto)):
        if given and np.abs(along - np.round(along / given) * given).max() <= tolerance(given):
            step = given
    if step <= 0:
        raise DataError(f"{path}: one slice, and nothing says how thick; write SpacingBetweenSlices")
    whole = np.round(along / step)
    if np.abs(along - whole * step).max() > tolerance(step):
        raise DataError(
            f"{path}: its frames lie unevenly, {steps.min():.4g} to {steps.max():.4g} mm apart; resample it"
        )
    refuse_tilt([frames[at] for at in order], axes, path, along[order])
    if whole.max() > 2**15:
        raise DataError(f"{path}: frames {along.max():.4g} mm apart in steps of {step:.4g}; damaged?")
    slices = whole.astype(int).tolist()
    # the grid of the two outermost slices, its step divided by the slices between
    by_slice, last = dict(zip(slices, frames, strict=True)), max(slices)
    lowest = replace(by_slice[0], apart=step)
    _, ends = placed([lowest, by_slice[last]] if last else [lowest], path)
    affine = ends.affine.copy()
    affine[:3, 2] /= max(1, last)
    return Geometry((last + 1, *first.size), affine), slices


def _step_along(normal: NDArray[np.float64], onto: Geometry | None) -> float | None:
    """Millimetres between the voxels of a grid along an LPS direction, where one of its axes lies so."""
    if onto is None:
        return None
    sizes = np.linalg.norm(onto.affine[:3, :3], axis=0)
    fits = np.abs((LPS_TO_RAS[:3, :3] @ normal) @ (onto.affine[:3, :3] / sizes)) > 0.999
    return float(sizes[fits][0]) if fits.any() else None


def _by_slice(stored: NDArray[Any], slices: list[int], geometry: Geometry, path: Path) -> NDArray[Any]:
    if len(set(slices)) < len(slices):
        raise DataError(f"{path}: two frames of a label map lie at one position; remove one")
    labels = np.zeros(geometry.shape, stored.dtype)
    labels[slices] = stored
    return labels


def _values(elements: Elements, rule: SegRule) -> dict[int, int]:
    """The value of each segment by the label that the file gives it; the number 0 of a label map is no segment."""
    labels = {one.whole("SegmentNumber", 0): one.text("SegmentLabel") for one in elements.items("SegmentSequence")}
    return rule.values({number: label for number, label in labels.items() if number}, elements.path)


def _valued(labels: NDArray[Any], values: Mapping[int, int]) -> NDArray[np.uint16]:
    """The values of segment numbers; 0 for those without."""
    found = np.zeros(labels.shape, np.uint16)
    for number, value in values.items():
        found[labels == number] = value
    return found


def _painted(
    inside: NDArray[np.bool_],
    frames: list[Frame],
    slices: list[int],
    geometry: Geometry,
    rule: SegRule,
    path: Path,
    values: Mapping[int, int] | None,
) -> NDArray[np.uint16]:
    """One label a voxel of a frame for each segment and slice: of the segments that have a value, None for all."""
    numbers = [frame.segment for frame in frames]
    if min(numbers) < 1 or max(numbers) >= 2**16:
        raise DataError(f"{path}: ReferencedSegmentNumber = {min(numbers)} to {max(numbers)}; expected 1 to 65535")
    if len({*zip(slices, numbers, strict=True)}) < len(slices):
        raise DataError(f"{path}: two frames of one segment lie at one position; remove one")
    # segments are painted one over the other, the last in the order wins; without an order every overlap is counted
    rank = {number: at for at, number in enumerate(rule.order or ())}
    labels = np.zeros(geometry.shape, np.uint16)
    overlaps: dict[tuple[int, int], int] = {}
    drawn = [(number if values is None else values.get(number, 0), number) for number in numbers]
    kept = [at for at, (value, _) in enumerate(drawn) if value]
    for at in sorted(kept, key=lambda at: (rank.get(drawn[at][0], -1), *drawn[at])):
        plane, value = labels[slices[at]], drawn[at][0]
        if rule.order is None:
            taken = plane[inside[at]]
            for other in np.unique(taken[(taken > 0) & (taken != value)]).tolist():
                pair = (other, value)
                overlaps[pair] = overlaps.get(pair, 0) + int((taken == other).sum())
        plane[inside[at]] = value
    if overlaps:
        detail = ", ".join(f"{one} and {two} in {count} voxels" for (one, two), count in sorted(overlaps.items())[:3])
        raise DataError(
            f"{path}: segments overlap, {detail}; a voxel has one class: set data.overlap: labels, and the class that "
            "stands later in data.labels wins"
        )
    return labels


def _embedded(found: Volume, onto: Geometry | None) -> Volume:
    """The labels on the whole grid of the scan, where they lie on its voxels; else as they are."""
    if onto is None:
        return found
    # the block of the scan that begins at the voxel nearest to the first one, with axes as the scan has them
    turned = found.reordered(onto.axes)
    to_voxels = np.linalg.inv(onto.affine)
    start = np.round((to_voxels @ turned.affine)[:3, 3])
    block = onto.affine.copy()
    block[:3, 3] += onto.affine[:3, :3] @ start
    stop = start + turned.array.shape[::-1]
    apart = turned.geometry.corners() - Geometry(turned.geometry.shape, block).corners()
    off = np.abs(apart @ to_voxels[:3, :3].T) * onto.spacing[::-1]
    if off.max() > LEAST or (start < 0).any() or (stop > onto.shape[::-1]).any():
        return found
    whole = np.zeros(onto.shape, turned.array.dtype)
    (c0, r0, s0), (c1, r1, s1) = start.astype(int), stop.astype(int)
    whole[s0:s1, r0:r1, c0:c1] = turned.array
    return Volume(whole, onto.affine)
