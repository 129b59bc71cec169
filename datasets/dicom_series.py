"""DICOM objects of a file or folder: which series, which stack, in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import numpy as np
from nibabel import orientations

from .dicom_frames import Frame
from .dicom_grid import LEAST, assumed, directions, ordered, placed
from .dicom_index import Index
from .dicom_options import Spacing
from .dicom_rule import NUMBER, Choice, Rule, SeriesRule
from .errors import DataError
from .geometry import Geometry

_PLANES = {"L": "sagittal", "R": "sagittal", "A": "coronal", "P": "coronal", "S": "axial", "I": "axial"}


class NoSeriesError(DataError):
    """No series fits what is asked for."""


@dataclass(frozen=True)
class Series:
    """A stack of frames that make a volume.

    Attributes:
        frames: in the order of their slices.
        geometry: where they lie.
        placed: whether the files say it; else the spacing is the one given, and the position means nothing.
        choice: what a rule chose among several series; None where there was one, or no rule.
    """

    frames: tuple[Frame, ...]
    geometry: Geometry
    placed: bool
    choice: Choice | None = None

    @property
    def files(self) -> list[Path]:
        """Its files, in order."""
        return list(dict.fromkeys(frame.path for frame in self.frames))


def find_series(
    path: Path,
    series: Rule | SeriesRule | None,
    stack: str | None,
    spacing: Spacing | None,
    index: Index | None = None,
) -> Series:
    """Find the series of a file, or of a folder with its sub-folders, by headers alone; arguments as `read_volume`.

    `index` has the headers that have been read before, with the `keywords` of the rule.

    Raises:
        DataError: none or several to choose from, frames that make no regular grid.
    """
    rule = SeriesRule.of(series, stack)
    headers = [header for header in (index or Index(rule.keywords)).headers(path) if header.is_image]
    frames = [frame for header in headers for frame in header.frames]
    frames.sort(key=lambda frame: (frame.number, frame.instance))  # names of stacks must not depend on names of files
    if not frames:
        what = "a folder without a DICOM image" if path.is_dir() else "no DICOM image"
        raise DataError(f"{path}: {what}; expected a series of MR, CT or ultrasound")
    chosen, choice = _one_series(frames, {header.path: header.said for header in headers}, path, rule)
    chosen = _one_stack(chosen, path, rule.stack)
    _refuse_half_said(chosen, path)
    if chosen[0].position is None or chosen[0].axes is None:
        found, geometry = assumed(chosen, spacing, path)
        return Series(tuple(found), geometry, placed=False, choice=choice)
    found, geometry = placed(chosen, path)
    return Series(tuple(found), geometry, placed=True, choice=choice)


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


def _one_series(
    frames: Sequence[Frame], headers: Mapping[Path, Mapping[str, str]], path: Path, rule: SeriesRule
) -> tuple[list[Frame], Choice | None]:
    """The frames of the series that fits, and where a rule had a choice, what it chose."""
    groups = _grouped(frames, lambda frame: frame.series)
    said = {key: headers[group[0].path] for key, group in groups.items()}
    fit = {
        key: kept
        for key, group in groups.items()
        if rule.fits(group[0], said[key]) and (kept := _in_plane(group, rule.orientation))
    }
    try:
        left = rule.preferred(fit, said)
    except DataError as error:
        raise DataError(f"{path}: {error}: {_listed(fit, said, rule)}") from error
    if len(left) == 1:
        one = left[0]
        others = tuple(_described(group, said[key]) for key, group in fit.items() if key != one)
        choice = Choice(_described(fit[one], said[one]), others) if rule.is_rule and len(groups) > 1 else None
        return fit[one], choice
    remedy = "a rule with prefer: latest, earliest or most_slices" if fit else "a rule"
    if not fit:
        detail = f"no series {rule.text!r}" if rule.text is not None else "no series that fits"
        detail += f" among {len(groups)}"
    else:
        detail = f"{len(left)} series"
        fit = {key: fit[key] for key in left}
    kind = DataError if fit else NoSeriesError
    raise kind(
        f"{path}: {detail}; choose one with series: its UID, or a pattern on its description, or {remedy}: "
        f"{_listed(fit or groups, said, rule)}"
    )


def _in_plane(frames: list[Frame], orientation: str | None) -> list[Frame]:
    """The frames of an orientation, of any where it is None."""
    if orientation is None:
        return frames
    planes = {frame.axes: _plane(frame) for frame in {frame.axes: frame for frame in frames}.values()}
    return [frame for frame in frames if planes[frame.axes] == orientation]


def _listed(groups: Mapping[str, list[Frame]], said: Mapping[str, Mapping[str, str]], rule: SeriesRule) -> str:
    """Series with what the rule asks for."""
    lines = []
    for key, group in groups.items():
        asked = "".join(f", {keyword} {said[key][keyword]!r}" for keyword in rule.elements)
        lines.append(f"{key}: {group[0].described}, {len(group)} frames of {_size(group[0])}{asked}")
    return "; ".join(lines)


def _described(frames: Sequence[Frame], said: Mapping[str, str]) -> str:
    number = f"number {said[NUMBER]}, " if said[NUMBER] else ""
    return f"{frames[0].described}, {number}{len(frames)} frames"


def _one_stack(frames: list[Frame], path: Path, wanted: str | None) -> list[Frame]:
    stacks = _stacks(frames)
    if wanted is None and len(stacks) == 1:
        return next(iter(stacks.values()))
    fit = [] if wanted is None else _of_name(frames, stacks, wanted)
    if len(fit) == 1:
        return fit[0]
    listed = ", ".join(f"{name!r} ({len(group)} frames of {_size(group[0])})" for name, group in stacks.items())
    detail = f"{len(stacks)} stacks or orientations" if wanted is None else f"no stack {wanted!r}"
    detail = f"{len(fit)} stacks fit {wanted!r}" if fit else detail
    raise DataError(f"{path}: {detail} in one series; choose one with stack: {listed}")


def _of_name(frames: list[Frame], stacks: Mapping[str, list[Frame]], wanted: str) -> list[list[Frame]]:
    """The stacks of a name: one that the error lists, one by another of the marks, or those that a pattern fits."""
    if wanted in stacks:
        return [stacks[wanted]]
    every = range(len(frames[0].marks))
    orders = [[mark, *every] for mark in every] + [[mark for mark in every if mark != other] for other in every]
    for order in orders:
        otherwise = _stacks(frames, order)
        if wanted in otherwise:
            return [otherwise[wanted]]
    return [group for name, group in stacks.items() if fnmatchcase(name, wanted)]


def _stacks(frames: list[Frame], order: Sequence[int] = ()) -> dict[str, list[Frame]]:
    """The frames of each stack: of one StackID, orientation, size and pixel spacing, each position once.

    Where several lie at a position, their marks divide them, in the order that is given, or as they are listed.
    """
    order = order or range(len(frames[0].marks))
    groups: list[list[Frame]] = []
    for frame in frames:
        home = next((group for group in groups if _alike(group[0], frame)), None)
        if home is None:
            groups.append([frame])
        else:
            home.append(frame)
    parts = [(_name(group[0]), part) for group in groups for part in _divided(group, order)]
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
    return frame.stack or _plane(frame)


def _plane(frame: Frame) -> str:
    if frame.axes is None:
        return "plain"
    affine = np.eye(4)
    affine[:3, :3] = directions(frame).T * [[-1], [-1], [1]]
    return _PLANES[orientations.aff2axcodes(affine)[2]]


def _divided(frames: list[Frame], order: Sequence[int]) -> list[tuple[str, list[Frame]]]:
    """Frames with several at each position, by what tells those apart: echoes, times, diffusion weights.

    Where no mark does, as where it was removed, they are told apart by their numbers: the first at each position, the
    second, and so on.
    """
    if any(frame.position is None or frame.axes is None for frame in frames):
        return [("", frames)]
    positions = _positions(frames)
    if positions == len(frames):
        return [("", frames)]
    parts = [_grouped(frames, lambda frame, mark=mark: frame.marks[mark]) for mark in order]  # type: ignore[misc]
    for groups in (*parts, _numbered(frames, positions)):
        whole = all(len(group) % positions == 0 and _positions(group) == positions for group in groups.values())
        if len(groups) > 1 and whole:
            return [
                (f"{key} {more}".strip(), part)
                for key, group in groups.items()
                for more, part in _divided(group, order)
            ]
    return [("", frames)]


def _numbered(frames: list[Frame], positions: int) -> dict[str, list[Frame]]:
    """Frames by how many of lower numbers lie at their position; none where numbers or positions do not say."""
    found, along = ordered(frames)
    at = np.concatenate([[0], np.cumsum(np.diff(along) > LEAST)])
    several, more = divmod(len(frames), positions)
    if more or positions < 2 or (np.bincount(at) != several).any():
        return {}
    order = sorted(range(len(found)), key=lambda index: (at[index], found[index].number, found[index].index))
    numbers = [(found[index].number, found[index].index) for index in order]
    if any(one == other for one, other in pairwise(numbers)) or len({frame.instance for frame in frames}) < len(
        {frame.path for frame in frames}
    ):
        return {}  # copies of one slice
    parts: dict[str, list[Frame]] = {}
    for rank, index in enumerate(order):
        parts.setdefault(f"part {rank % several + 1}", []).append(found[index])
    return parts


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
