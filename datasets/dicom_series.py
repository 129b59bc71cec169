"""DICOM objects of a file or folder: which series, which stack, in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel import orientations

from .dicom_frames import Frame
from .dicom_grid import LEAST, assumed, directions, ordered, placed
from .dicom_index import Index
from .dicom_options import Spacing
from .errors import DataError
from .geometry import Geometry

_PLANES = {"L": "sagittal", "R": "sagittal", "A": "coronal", "P": "coronal", "S": "axial", "I": "axial"}


@dataclass(frozen=True)
class Series:
    """A stack of frames that make a volume.

    Attributes:
        frames: in the order of their slices.
        geometry: where they lie.
        placed: whether the files say it; else the spacing is the one given, and the position means nothing.
    """

    frames: tuple[Frame, ...]
    geometry: Geometry
    placed: bool

    @property
    def files(self) -> list[Path]:
        """Its files, in order."""
        return list(dict.fromkeys(frame.path for frame in self.frames))


def find_series(
    path: Path, series: str | None, stack: str | None, spacing: Spacing | None, index: Index | None = None
) -> Series:
    """Find the series of a file, or of a folder with its sub-folders, by headers alone; arguments as `read_volume`.

    `index` has the headers that have been read before.

    Raises:
        DataError: none or several to choose from, frames that make no regular grid.
    """
    frames = [frame for header in (index or Index()).headers(path) if header.is_image for frame in header.frames]
    frames.sort(key=lambda frame: (frame.number, frame.instance))  # names of stacks must not depend on names of files
    if not frames:
        what = "a folder without a DICOM image" if path.is_dir() else "no DICOM image"
        raise DataError(f"{path}: {what}; expected a series of MR, CT or ultrasound")
    chosen = _one_series(frames, path, series)
    chosen = _one_stack(chosen, path, stack)
    _refuse_half_said(chosen, path)
    if chosen[0].position is None or chosen[0].axes is None:
        found, geometry = assumed(chosen, spacing, path)
        return Series(tuple(found), geometry, placed=False)
    found, geometry = placed(chosen, path)
    return Series(tuple(found), geometry, placed=True)


def _refuse_half_said(frames: Sequence[Frame], path: Path) -> None:
    """Raise a `DataError` where some frames say where they lie, or what their numbers mean, and others do not."""
    for key, default in (("position", None), ("slope", 1.0), ("intercept", 0.0)):
        silent = [frame for frame in frames if getattr(frame, key) is None]
        if len(silent) < len(frames) and silent and {getattr(frame, key) for frame in frames} - {None, default}:
            name = {"position": "ImagePosition", "slope": "RescaleSlope", "intercept": "RescaleIntercept"}[key]
            raise DataError(
                f"{path}: {len(silent)} of {len(frames)} slices without {name}, such as {silent[0].named}, which the "
                "others have; export the series again"
            )


def _one_series(frames: Sequence[Frame], path: Path, wanted: str | None) -> list[Frame]:
    groups = _grouped(frames, lambda frame: frame.series)
    fit = groups
    if wanted is not None:
        fit = {key: group for key, group in groups.items() if is_series(group[0], wanted)}
    if len(fit) == 1:
        return next(iter(fit.values()))
    listed = "; ".join(
        f"{key}: {group[0].described}, {len(group)} frames of {group[0].size[1]}x{group[0].size[0]}"
        for key, group in (fit or groups).items()
    )
    detail = f"{len(fit)} series" if fit else f"no series {wanted!r} among {len(groups)}"
    raise DataError(f"{path}: {detail}; choose one with series: its UID, or a pattern on its description: {listed}")


def is_series(frame: Frame, wanted: str) -> bool:
    """Whether a frame's series has this UID, or a description that the pattern fits, in small letters or capitals."""
    try:
        return frame.series == wanted or re.search(wanted, frame.described, re.IGNORECASE) is not None
    except re.error:
        return False


def _one_stack(frames: list[Frame], path: Path, wanted: str | None) -> list[Frame]:
    stacks = _stacks(frames)
    if wanted is None and len(stacks) == 1:
        return next(iter(stacks.values()))
    if wanted is not None and wanted in stacks:
        return stacks[wanted]
    listed = ", ".join(f"{name!r} ({len(group)} frames of {_size(group[0])})" for name, group in stacks.items())
    detail = f"{len(stacks)} stacks or orientations" if wanted is None else f"no stack {wanted!r}"
    raise DataError(f"{path}: {detail} in one series; choose one with stack: {listed}")


def _stacks(frames: list[Frame]) -> dict[str, list[Frame]]:
    """The frames of each stack: of one StackID, orientation, size and pixel spacing, each position once."""
    groups: list[list[Frame]] = []
    for frame in frames:
        home = next((group for group in groups if _alike(group[0], frame)), None)
        if home is None:
            groups.append([frame])
        else:
            home.append(frame)
    parts = [(_name(group[0]), part) for group in groups for part in _divided(group)]
    found: dict[str, list[Frame]] = {}
    for base, (mark, part) in parts:
        name = f"{base} {mark}".strip()
        number = 2
        while name in found:
            name, number = f"{base} {mark}".strip() + f" {number}", number + 1
        found[name] = part
    return found


def _alike(one: Frame, other: Frame) -> bool:
    if (one.stack, one.size, one.axes is None) != (other.stack, other.size, other.axes is None):
        return False
    if (one.pixel is None) != (other.pixel is None):
        return False
    for ours, theirs, most in ((one.axes, other.axes, 1e-3), (one.pixel, other.pixel, 1e-4)):
        if ours and theirs and np.abs(np.subtract(ours, theirs)).max() > most:
            return False
    return True


def _name(frame: Frame) -> str:
    """The StackID, or the plane that the frames lie in."""
    if frame.stack:
        return frame.stack
    if frame.axes is None:
        return "plain"
    affine = np.eye(4)
    affine[:3, :3] = directions(frame).T * [[-1], [-1], [1]]
    return _PLANES[orientations.aff2axcodes(affine)[2]]


def _divided(frames: list[Frame]) -> list[tuple[str, list[Frame]]]:
    """Frames with several at each position, by what tells those apart: echoes, times, diffusion weights."""
    if any(frame.position is None or frame.axes is None for frame in frames):
        return [("", frames)]
    positions = _positions(frames)
    if positions == len(frames):
        return [("", frames)]
    for mark in range(len(frames[0].marks)):
        groups = _grouped(frames, lambda frame, mark=mark: frame.marks[mark])  # type: ignore[misc]
        whole = all(len(group) % positions == 0 and _positions(group) == positions for group in groups.values())
        if len(groups) > 1 and whole:
            return [(f"{key} {more}".strip(), part) for key, group in groups.items() for more, part in _divided(group)]
    return [("", frames)]


def _positions(frames: list[Frame]) -> int:
    """How many positions along the normal they have."""
    return 1 + int((np.diff(ordered(frames)[1]) > LEAST).sum())


def _grouped(frames: Iterable[Frame], key: Callable[[Frame], str]) -> dict[str, list[Frame]]:
    groups: dict[str, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(key(frame), []).append(frame)
    return groups


def _size(frame: Frame) -> str:
    return f"{frame.size[1]}x{frame.size[0]}"
