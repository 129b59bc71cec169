"""From the positions of frames to a regular grid, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dicom_frames import Frame
from .dicom_options import Spacing
from .errors import DataError
from .geometry import LPS_TO_RAS, Geometry

SHARE, LEAST = 0.01, 0.01
"""How far steps may differ from their median: a share of it, or this many millimetres, whichever is more."""
ROUNDING = 1e-6
"""Of differences between positions that are written with two decimals."""


def directions(frame: Frame) -> NDArray[np.float64]:
    """Unit vectors along columns, rows and the normal, `(3, 3)`; a `DataError` where they are no right angle."""
    assert frame.axes is not None
    right, down = np.array(frame.axes[:3]), np.array(frame.axes[3:])
    lengths = np.linalg.norm(right), np.linalg.norm(down)
    if abs(lengths[0] - 1) > 1e-2 or abs(lengths[1] - 1) > 1e-2 or abs(right @ down) > 1e-2:
        raise DataError(
            f"{frame.path}: ImageOrientationPatient = {list(frame.axes)}; expected two unit vectors at right angles; "
            "export the series again"
        )
    # Gram-Schmidt: what rounding has left of `right` in `down` goes, then the normal completes a right-handed frame
    right = right / lengths[0]
    down = down - (down @ right) * right
    down = down / np.linalg.norm(down)
    return np.stack([right, down, np.cross(right, down)])


def ordered(frames: Sequence[Frame]) -> tuple[list[Frame], NDArray[np.float64]]:
    """Frames of one orientation by their position along the normal, and these positions in millimetres."""
    # the projection of each position onto the normal; equal ones keep their order
    normal = directions(frames[0])[2]
    along = np.array([normal @ np.array(frame.position) for frame in frames])
    order = np.argsort(along, kind="stable")
    return [frames[at] for at in order], along[order]


def tolerance(step: float) -> float:
    """How far a step may lie from the median one."""
    return max(LEAST, SHARE * abs(step)) + ROUNDING


def placed(frames: Sequence[Frame], where: Path) -> tuple[list[Frame], Geometry]:
    """Order frames of one stack by position, and give their grid.

    Args:
        frames: with positions, of one orientation and size.
        where: the file or folder, for errors.

    Raises:
        DataError: no pixel spacing; slices missing, twice, unevenly apart, or shifted against each other (gantry tilt).
    """
    found, along = ordered(frames)
    first = found[0]
    if first.pixel is None or min(first.pixel) <= 0:
        raise DataError(f"{where}: {first.named}: PixelSpacing = {first.pixel}; expected millimetres; export it again")
    axes = directions(first)
    if len(found) == 1:
        step = first.apart
        if step is None:
            raise DataError(f"{where}: one slice without SpacingBetweenSlices or SliceThickness; export it again")
    else:
        _refuse_uneven(found, along, where)
        refuse_tilt(found, axes, where, np.arange(len(found)))
        # over the whole stack: rounded positions err least there
        step = float(along[-1] - along[0]) / (len(found) - 1)
    # the columns of the matrix are the ways from a voxel to its neighbours: a column on, a row on, a slice on;
    # PixelSpacing says rows first: pixel[1] is the way along a row
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = axes[0] * first.pixel[1], axes[1] * first.pixel[0], axes[2] * step
    lps[:3, 3] = first.position
    return found, Geometry((len(found), *first.size), LPS_TO_RAS @ lps)


def _refuse_uneven(frames: Sequence[Frame], along: NDArray[np.float64], where: Path) -> None:
    # the usual step is the median of those that are no doubled slices
    steps = np.diff(along)
    wide = steps[steps > LEAST]
    step = float(np.median(wide)) if wide.size else 0.0
    twice = np.flatnonzero(steps <= min(LEAST, SHARE * step) if wide.size else steps <= LEAST)
    if twice.size:
        pairs = [f"{frames[at].named} and {frames[at + 1].named} at {along[at]:.4g} mm" for at in twice[:3]]
        more = f" and {twice.size - 3} more" if twice.size > 3 else ""
        raise DataError(
            f"{where}: {twice.size} of {len(frames)} slices lie where another one lies (doubled): "
            f"{', '.join(pairs)}{more}; remove one of each, or choose by series or stack"
        )
    bad = np.flatnonzero(np.abs(steps - step) > tolerance(step))
    if not bad.size:
        return
    least = float(steps.min())  # with many slices missing, the median may be no step of the scanner
    # if every step is a multiple of the least one, k times it means that k − 1 slices are missing there
    lacking = {at: round(float(apart) / least) - 1 for at, apart in enumerate(steps)}
    if all(abs(steps[at] - (count + 1) * least) <= (count + 1) * tolerance(least) for at, count in lacking.items()):
        gaps = [
            f"{steps[at]:.4g} mm between {frames[at].named} and {frames[at + 1].named}"
            for at, count in lacking.items()
            if count
        ]
        raise DataError(
            f"{where}: {sum(lacking.values())} slices missing: {', '.join(gaps[:3])}, where slices are {least:.4g} mm "
            "apart; add the missing files, or export the series again"
        )
    raise DataError(
        f"{where}: slices unevenly apart: {steps.min():.4g} to {steps.max():.4g} mm, as {steps[bad[0]]:.4g} mm between "
        f"{frames[bad[0]].named} and {frames[bad[0] + 1].named}, where {step:.4g} mm is usual; resample it first"
    )


def refuse_tilt(frames: Sequence[Frame], axes: NDArray[np.float64], where: Path, along: NDArray[Any]) -> None:
    """Raise a `DataError` for slices that do not lie on one line along the normal.

    Args:
        frames: in order.
        axes: as `directions` gives them.
        where: the file or folder, for errors.
        along: how far along that line each lies, in any unit.
    """
    # how far the last slice lies from the first: along the normal, and sideways, which is tilt
    shares = (along - along[0]) / ((along[-1] - along[0]) or 1)
    moved = np.array(frames[-1].position) - np.array(frames[0].position)
    sideways, length = axes[:2] @ moved, float(axes[2] @ moved)
    # where each slice would lie on the line from the first to the last, and how far the farthest is off it
    straight = np.array(frames[0].position) + np.outer(shares, length * axes[2] + sideways @ axes[:2])
    most = float(np.linalg.norm(np.array([frame.position for frame in frames]) - straight, axis=1).max())
    assert frames[0].pixel is not None
    pixel = min(frames[0].pixel)
    angle = float(np.degrees(np.arctan2(np.linalg.norm(sideways), abs(length))))
    if float(np.linalg.norm(sideways)) > max(LEAST, 0.05 * pixel) and angle > 0.05:
        raise DataError(
            f"{where}: gantry tilt: its slices are stacked {angle:.3g}° off their normal, "
            f"{np.linalg.norm(sideways):.4g} mm from the first to the last; correct it first, as by dcm2niix"
        )
    if most > max(LEAST, 0.05 * pixel):
        raise DataError(
            f"{where}: its slices do not lie on one line, {most:.4g} mm off; did the table move? Divide the series"
        )


def assumed(frames: Sequence[Frame], spacing: Spacing | None, where: Path) -> tuple[list[Frame], Geometry]:
    """The grid of frames without positions: in the file's order, upright, with the spacing that is given.

    Args:
        frames: of one multi-frame file in its order, or of files that are ordered by InstanceNumber.
        spacing: millimetres between slices, rows and columns, for what the files do not say.
        where: the file or folder, for errors.

    Raises:
        DataError: a spacing that neither the files nor `spacing` say; several files without numbers.
    """
    first = frames[0]
    found = list(frames)
    if len({frame.path for frame in frames}) > 1:
        found.sort(key=lambda frame: frame.number)
        numbers = [frame.number for frame in found]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise DataError(
                f"{where}: {len(found)} files without positions, numbered {numbers[0]} to {numbers[-1]} with gaps or "
                "twice; nothing says how they follow each other, so export them as one volume"
            )
    said = (first.apart, *(first.pixel or (None, None)))
    given = tuple(spacing or (None, None, None))
    sizes = [own or other for own, other in zip(said, given, strict=True)]
    if None in sizes:
        lacking = [name for name, size in zip(("slices", "rows", "columns"), sizes, strict=True) if size is None]
        raise DataError(
            f"{where}: no geometry: nothing says how far apart its {' and '.join(lacking)} are (a plain multi-frame "
            "image); give data.spacing: [slice, row, column] in millimetres"
        )
    slice_, row, column = (float(size) for size in sizes if size is not None)
    return found, Geometry((len(found), *first.size), np.diag([-column, -row, slice_, 1.0]))
