"""From the values or colours in a mask file to class indices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .case import IGNORE
from .errors import DataError

Values = list[int | list[int]]
"""Mask values, or RGB colours `[r, g, b]`."""
Labels = dict[str, int | Values]
"""A class name to a mask value, or to a list of values or of colours."""

OTHER_BACKGROUNDS = ("bg", "back", "none", "nothing", "empty")
"""What people call the background, lower case."""


class LabelMap:
    """Which mask values, or which colours, mean which class.

    Args:
        classes: a class name to its mask values, or to its RGB colours, in the order of the class indices.
        ignore: values or colours of pixels that do not count.
        hint: what a message about a foreign value ends with.
        refuse_binary: refuse a mask of only 0 and 255 where 255 is ignored: its foreground would not count.

    Raises:
        ValueError: values and colours in one map, more than 255 classes, a class without any value, a value that two
            classes claim or that is both a class and ignored, something that is no value and no colour. The message
            begins with `labels` or `ignore`.
    """

    def __init__(
        self,
        classes: Mapping[str, Sequence[int | Sequence[int]]],
        ignore: Sequence[int | Sequence[int]] = (),
        refuse_binary: bool = True,
        hint: str = "data.labels names classes, data.ignore what does not count",
    ) -> None:
        if len(classes) > IGNORE:
            raise ValueError(f"labels: {len(classes)} classes; at most {IGNORE} fit beside void in 8 bits")
        self.classes, self.hint = tuple(classes), hint
        self.values: dict[str, Values] = {
            name: [value if isinstance(value, int) else list(value) for value in values]
            for name, values in classes.items()
        }
        listed = [("labels", value) for values in classes.values() for value in values]
        listed += [("ignore", value) for value in ignore]
        self.coloured = any(not isinstance(value, int) for _, value in listed)
        self.codes: dict[int, int] = {}
        for index, name in enumerate(classes):
            if not classes[name]:
                raise ValueError(f"labels: {name} has no value")
            for value in classes[name]:
                code = self._code("labels", value)
                if self.codes.setdefault(code, index) != index:
                    raise ValueError(f"labels: {self.shown(code)} is in {self.classes[self.codes[code]]} and in {name}")
        for value in ignore:
            code = self._code("ignore", value)
            if self.codes.setdefault(code, IGNORE) != IGNORE:
                raise ValueError(f"ignore: {self.shown(code)} is the class {self.classes[self.codes[code]]} too")
        self.refuse_binary = refuse_binary and not self.coloured

    def knows(self, mask: NDArray[Any]) -> bool:
        """Whether every value, or colour, of a mask is a class or ignored, and not all foreground is ignored."""
        found = {*np.unique(_packed(mask) if self.coloured else mask).tolist()}
        return found <= self.codes.keys() and not self._is_binary_void(found)

    def __call__(self, mask: NDArray[Any], path: Path, encoding: str = "") -> NDArray[np.uint8]:
        """Class indices, uint8, 255 where ignored.

        Args:
            mask: the raw values, of any integer dtype; of a map of colours `(…, 3)` uint8.
            path: the file they come from, for errors.
            encoding: how the file says its values, where that may surprise.

        Raises:
            DataError: a value that is neither a class nor ignored; only 0 and 255 where 255 is ignored.
        """
        codes = _packed(mask) if self.coloured else mask
        present, counts = _occurring(codes)
        found = dict(zip(map(int, present.tolist()), counts.tolist(), strict=True))
        if self._is_binary_void(found):
            self._refuse_binary(found[255], path)
        foreign = [f"{self.shown(code)} ({count} pixels)" for code, count in found.items() if code not in self.codes]
        if foreign:
            known = ", ".join(map(self.shown, sorted(self.codes)))
            kind = "colours" if self.coloured else "values"
            more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
            told = f" ({encoding})" if encoding else ""
            raise DataError(
                f"{path}: {'colour' if self.coloured else 'label'} {', '.join(foreign[:5])}{more}{told}, but the "
                f"{len(self.classes)} classes{' and void' if self.ignored() else ''} have the {kind} {known}; is this "
                f"the mask of another data set? ({self.hint})"
            )
        table = np.array([self.codes[code] for code in found], dtype=np.uint8)
        if _is_small(codes):
            every = np.zeros(int(present[-1]) + 1, np.uint8)
            every[present] = table
            return every[codes]
        indices: NDArray[np.uint8] = table[np.searchsorted(present, codes)]
        return indices

    def values_of(self, indices: NDArray[Any]) -> NDArray[Any]:
        """The first mask value of each class, or its first RGB colour `(…, 3)` uint8: what a mask file would hold."""
        first = {index: code for code, index in reversed(self.codes.items())}
        codes = [first[index] for index in range(len(self.classes))]
        if self.coloured:
            colours: NDArray[Any] = np.array([_colour(code) for code in codes], dtype=np.uint8)[indices]
            return colours
        holds = np.promote_types(np.min_scalar_type(min(codes)), np.min_scalar_type(max(codes)))
        values: NDArray[Any] = np.array(codes, dtype=holds)[indices]
        return values

    def ignored(self) -> Values:
        """The values or colours that do not count."""
        codes = [code for code, index in self.codes.items() if index == IGNORE]
        return [_colour(code) if self.coloured else code for code in codes]

    def shown(self, code: int) -> str:
        """A value or a colour as YAML writes it."""
        return str(_colour(code) if self.coloured else code)

    def _code(self, key: str, value: int | Sequence[int]) -> int:
        if isinstance(value, int):
            if self.coloured:
                raise ValueError(f"{key}: {value} is a value, but others are colours [r, g, b]; use one kind")
            return value
        if len(value) != 3 or not all(0 <= part <= 255 for part in value):
            raise ValueError(f"{key}: {list(value)} is no colour; expected [r, g, b], each in 0..255")
        red, green, blue = value
        return red << 16 | green << 8 | blue

    def _is_binary_void(self, found: Collection[int]) -> bool:
        """Whether a mask holds only 0 and 255, and 255 is no class."""
        return not self.coloured and {*found} == {0, 255} and self.codes.get(255, IGNORE) == IGNORE

    def _refuse_binary(self, count: int, path: Path) -> None:
        if 255 not in self.codes or self.refuse_binary:
            detail = "255 is ignored, so all foreground would be" if 255 in self.codes else "255 is no class"
            raise DataError(
                f"{path}: holds only 0 and 255 ({count} pixels), and {detail}; say what 255 is with "
                "data.labels: {background: 0, foreground: 255}, or write void with another value and data.ignore"
            )


def label_map(
    own: LabelMap | None, labels: Labels | None, ignore: Values | None, values_only: bool = False
) -> LabelMap:
    """The map of an adapter, with what the configuration says instead.

    Args:
        own: the adapter's map; what it ignores stays ignored where no class claims it. None: it has none, and 255 is
            ignored.
        labels: other classes, None for the adapter's.
        ignore: further values or colours that do not count.
        values_only: masks of this data set cannot hold colours.

    Raises:
        ValueError: see `LabelMap`; no classes, or one; colours where there are values, and the other way round.
    """
    if own is None:
        if labels is None:
            raise ValueError("labels: missing; say what the mask values mean, as {background: 0, gland: 1}")
        own = LabelMap({}, ignore=[IGNORE])
    if labels is None and not ignore:
        return own
    if labels is not None and not labels:
        raise ValueError("labels: names no class")
    classes = own.values if labels is None else {name: as_values(value) for name, value in labels.items()}
    claimed = [value for values in classes.values() for value in values]
    coloured = any(not isinstance(value, int) for value in claimed)
    if values_only and coloured:
        raise ValueError("labels: the masks of this data set hold values, not colours")
    kept = [value for value in own.ignored() if value not in claimed] if coloured == own.coloured else []
    found = LabelMap(classes, [*kept, *(value for value in ignore or () if value not in kept)])
    if labels is not None and len(classes) < 2:
        raise ValueError("labels: one class is nothing to tell apart; name the background too, as {background: 0}")
    return found


def as_values(value: int | Values) -> Values:
    """One value as a list of one."""
    return [value] if isinstance(value, int) else value


def background_of(classes: Iterable[str]) -> str | None:
    """The class that is usually left out of means: the one named background, in whatever case, or None."""
    return next((name for name in classes if name.lower() == "background"), None)


def class_index(classes: Sequence[str], name: str | None) -> int | None:
    """The index of a class by its name; None for None."""
    return None if name is None else list(classes).index(name)


def background_index(classes: Sequence[str]) -> int | None:
    """The index of the class named background, or None; see `background_of`."""
    return class_index(classes, background_of(classes))


def looks_like_background(classes: Iterable[str]) -> str | None:
    """A class that is background by a name it is often given, where none is named background; else None."""
    names = list(classes)
    return None if background_of(names) else next((name for name in names if name.lower() in OTHER_BACKGROUNDS), None)


def _is_small(codes: NDArray[Any]) -> bool:
    """Whether values can be counted in a table, far faster than sorted."""
    return bool(codes.size) and codes.dtype.kind == "u" and codes.dtype.itemsize <= 2


def _occurring(codes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The values in increasing order, and how often each occurs."""
    if _is_small(codes):
        counts = np.bincount(codes.ravel())
        present = np.flatnonzero(counts)
        return present, counts[present]
    return np.unique(codes, return_counts=True)


def _packed(colours: NDArray[Any]) -> NDArray[np.int32]:
    """`(…, 3)` uint8 to one number a colour."""
    wide = colours.astype(np.int32)
    packed: NDArray[np.int32] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed


def _colour(code: int) -> list[int]:
    return [code >> 16, code >> 8 & 255, code & 255]
