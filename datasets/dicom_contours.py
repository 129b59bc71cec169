"""DICOM structure sets (RTSTRUCT): the contours of structures as labels on the grid of their scan."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .dicom_file import BROKEN, Elements, load
from .dicom_options import SegRule
from .errors import DataError
from .geometry import LPS_TO_RAS, Geometry
from .notes import Note
from .volume import Volume

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
FARTHEST = 1e6
"""Millimetres from the origin: a kilometre."""
OFF = 0.1
"""Of the distance between slices, how far a contour may lie from one."""


def read(path: Path, rule: SegRule, onto: Geometry | None) -> Volume:
    """The numbers of structures, or the values that the rule gives their names, `(slices, rows, columns)`.

    A voxel belongs to a structure if its centre lies within an odd number of the structure's contours on its slice, so
    a contour within another one is a hole.

    Args:
        path: the file.
        rule: about names and overlaps.
        onto: the grid of the scan.

    Raises:
        DataError: contours that are open, lie between slices or outside the scan; structures that overlap where that
            is not allowed; no structure that is asked for.
    """
    if onto is None:
        raise DataError(f"{path}: contours have no grid of their own; give the scan that they were drawn on")
    elements = load(path, pixels=True)
    names = {roi.whole("ROINumber", 0): roi.text("ROIName") for roi in elements.items("StructureSetROISequence")}
    values = rule.values(names, path)
    labels = np.zeros(onto.shape, np.uint16)
    rank = {value: at for at, value in enumerate(rule.order or ())}
    drawn = [roi for roi in elements.items("ROIContourSequence") if roi.whole("ReferencedROINumber", 0) in values]
    for roi in sorted(drawn, key=lambda roi: rank.get(values[roi.whole("ReferencedROINumber", 0)], -1)):
        number = roi.whole("ReferencedROINumber", 0)
        for at, inside in _planes(roi, f"structure {number} {names[number]!r}", onto):
            plane = labels[at]
            other = plane[inside & (plane > 0) & (plane != values[number])]
            if other.size and rule.order is None:
                raise DataError(
                    f"{path}: structure {number} {names[number]!r} overlaps others in {other.size} voxels of slice "
                    f"{at + 1}; a voxel has one class: set data.overlap: labels, and the class that stands later in "
                    "data.labels wins"
                )
            plane[inside] = values[number]
    return Volume(labels, onto.affine)


def _planes(roi: Elements, name: str, onto: Geometry) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The slices of a structure, and where it is on each."""
    to_voxels = np.linalg.inv(onto.affine) @ LPS_TO_RAS
    by_slice: dict[int, list[NDArray[np.float64]]] = {}
    mixed = False
    for contour in roi.items("ContourSequence"):
        kind = contour.text("ContourGeometricType")
        if kind == "POINT":
            warnings.warn(Note("structures with points, which have no extent", name, "draw contours"), stacklevel=2)
            continue
        if kind not in CLOSED:
            raise DataError(f"{roi.path}: {name} has a contour of the kind {kind!r}; expected closed ones: close it")
        points = _points(contour, name) @ to_voxels[:3, :3].T + to_voxels[:3, 3]
        at = round(float(points[:, 2].mean()))
        if np.abs(points[:, 2] - at).max() > OFF:
            raise DataError(
                f"{roi.path}: a contour of {name} lies between the slices of the scan or across them; was it drawn on "
                "another series? Choose that one by data.series, or write the mask on this grid"
            )
        if not 0 <= at < onto.shape[0]:
            raise DataError(f"{roi.path}: a contour of {name} lies outside the scan, where slice {at + 1} would be")
        by_slice.setdefault(at, []).append(points[:, :2])
        mixed = mixed or kind == "CLOSED_PLANAR"
    for at, contours in sorted(by_slice.items()):
        inside = filled(contours, onto.shape[1:])
        if mixed and len(contours) > 1:
            alone = np.any([filled([contour], onto.shape[1:]) for contour in contours], axis=0)
            if (alone != inside).any():
                what = "structures with contours within contours, which are holes"
                warnings.warn(Note(what, f"{roi.path}: {name}", "join them in the file if they are none"), stacklevel=2)
        yield at, inside


def _points(contour: Elements, name: str) -> NDArray[np.float64]:
    """The corners of a contour, `(n, 3)` in LPS millimetres."""
    value = contour.value("ContourData")
    try:
        points = np.array([float(one) for one in value if value is not None], np.float64)
    except BROKEN as error:
        raise contour.damaged(f"ContourData of {name}", error) from error
    if points.size < 9 or points.size % 3 or not (np.abs(points) < FARTHEST).all():
        raise DataError(
            f"{contour.path}: a contour of {name} of {points.size} numbers; expected x, y, z of 3 points at least, in "
            "millimetres"
        )
    return points.reshape(-1, 3)


def filled(contours: Sequence[NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where the centres of pixels lie within an odd number of polygons, `(rows, columns)`.

    Args:
        contours: corners `(n, 2)` as (column, row), each polygon closed by itself.
        shape: (rows, columns).
    """
    starts = np.concatenate(contours)
    ends = np.concatenate([np.roll(corners, -1, axis=0) for corners in contours])
    inside, columns = np.zeros(shape, dtype=bool), np.arange(shape[1])
    first, last = np.ceil(starts[:, 1].min()), np.floor(starts[:, 1].max())
    for row in range(max(0, int(first)), min(shape[0] - 1, int(last)) + 1):
        # edges that cross the row; one of two that meet on it, so that a corner counts once or twice as it should
        (x0, y0), (x1, y1) = starts.T, ends.T
        crossing = (y0 <= row) != (y1 <= row)
        x0, y0, x1, y1 = (values[crossing] for values in (x0, y0, x1, y1))
        crossings = np.sort(x0 + (row - y0) / (y1 - y0) * (x1 - x0))
        inside[row] = np.searchsorted(crossings, columns, side="right") % 2 == 1
    return inside
