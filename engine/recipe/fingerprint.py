"""What a data set is like, measured on some of its cases: the numbers that the rules of a recipe go by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

import datasets
from datasets.components import largest_component
from datasets.patients import beginning, group_by

SAMPLE = 24
"""Cases that are read at most, evenly spaced."""
Track = Callable[[Iterable[datasets.Case], int], Iterable[datasets.Case]]


@dataclass(frozen=True)
class Fingerprint:
    """The measured figures of a data set.

    Attributes:
        kind: of the data.
        classes: their names.
        background: the class named background, or None.
        cases: how many.
        groups: how many groups they make, by `group`.
        group: a pattern on the ids by which names that begin alike belong together; None where there is none.
        parts: the cases of each part of the data set's own.
        part_groups: the groups of each of these parts.
        read: cases that were read.
        skipped: what was wrong with those that could not be.
        channels: of an image.
        is_grey: whether all channels of each image read are equal.
        dtype: of the pixels as they are decoded.
        sizes: `(cases read, 2)`, rows and columns.
        slices: the median number of slices of a volume; 1 for others.
        spacings: `(cases read, 3)` millimetres between slices, rows and columns; None where a case has none.
        shares: of each class, among the pixels that count; of pictures with one label, among pictures.
        images: the share of 2D images that hold each class.
        component: pixels of the largest connected part of a class in an image, the median over the images that hold it,
            of the class where that is smallest; None where there is no foreground.
        smallest: the name of that class.
        whole: the share of a class's voxels that its largest connected part in 3D holds, the least of all classes and
            cases; None for stills and where there is no foreground.
        holding: how many of the cases that were read hold the class that the fewest hold; 0 where one is in none.
        low: the smallest intensity.
        high: the largest.
        window: percentiles 0.5 and 99.5 of the foreground's intensities.
        clipped: of each class the largest share of a case's pixels that the default percentiles would cut.
    """

    kind: datasets.Kind
    classes: Sequence[str]
    background: str | None
    cases: int
    groups: int
    group: str | None
    parts: Mapping[str, int]
    part_groups: Mapping[str, int]
    read: int
    skipped: Sequence[str]
    channels: int
    is_grey: bool
    dtype: str
    sizes: NDArray[np.int64]
    slices: int
    spacings: NDArray[np.float64] | None
    shares: Mapping[str, float]
    images: Mapping[str, float]
    component: float | None
    smallest: str | None
    whole: float | None
    holding: int
    low: float
    high: float
    window: tuple[float, float]
    clipped: Mapping[str, float]

    @property
    def size(self) -> tuple[int, int]:
        """The median rows and columns."""
        rows, columns = np.median(self.sizes, axis=0).astype(int).tolist()
        return rows, columns

    @property
    def foreground(self) -> float:
        """The share of 2D images that hold a class other than the background."""
        return max((share for name, share in self.images.items() if name != self.background), default=0.0)

    @property
    def is_official(self) -> bool:
        """Whether the data set has parts of its own to train and to test."""
        return bool(self.parts.get("train") and self.parts.get("test") and not self.parts.get(""))


class _Held(NamedTuple):
    """What the mask of a case holds of a class.

    Attributes:
        pixels: of it.
        images: 2D images with any.
        values: some of its intensities; of the background none.
        clipped: the share of its pixels that the default percentiles would cut; of the background 0.
        areas: pixels of the largest connected part in each 2D image with any; of the background none.
        whole: the share of its voxels that its largest connected part in 3D holds; None of stills and the background.
    """

    pixels: int
    images: int
    values: NDArray[Any] = np.zeros(0)
    clipped: float = 0.0
    areas: Sequence[int] = ()
    whole: float | None = None


def measured(
    adapter: datasets.Adapter, cases: Sequence[datasets.Case], track: Track = lambda cases, _: cases
) -> Fingerprint:
    """Measure some cases of a data set.

    Args:
        adapter: reads them.
        cases: all of them.
        track: shows progress: is given the cases that are read and their number.

    Raises:
        DataError: none of them can be read.
    """
    chosen = [cases[place] for place in datasets.evenly_spaced(len(cases), SAMPLE)]
    classes = adapter.classes
    sizes, slices, spacings, lows, highs = [], [], [], [], []
    is_grey, first = True, None
    skipped: list[str] = []
    held: list[list[_Held]] = []  # by case, of each class
    for case in track(chosen, len(chosen)):
        try:
            decoded = adapter.read(case)
        except datasets.DataError as error:
            skipped.append(str(error))
            continue
        array = decoded.image.array
        first = array if first is None else first
        sizes.append(array.shape[1:3])
        slices.append(len(array))
        spacings.append(decoded.spacing)
        is_grey &= bool((array[..., :1] == array).all())
        lows.append(float(array.min()))
        highs.append(float(array.max()))
        if case.label is None:
            held.append(_held(decoded, adapter))
    if first is None:
        raise datasets.DataError(skipped[0])
    by_class = dict(zip(classes, zip(*held, strict=True), strict=True)) if held else {}
    pixels = np.array([sum(one.pixels for one in of_class) for of_class in by_class.values()], dtype=float)
    if adapter.kind == "label":
        pixels = np.bincount([case.label or 0 for case in cases], minlength=len(classes)).astype(float)
    images = sum(slices) if held else 1
    foreground = {name: of_class for name, of_class in by_class.items() if name != adapter.background}
    areas = {name: [area for one in of_class for area in one.areas] for name, of_class in foreground.items()}
    medians = {name: float(np.median(found)) for name, found in areas.items() if found}
    smallest = min(medians, key=lambda name: medians[name], default=None)
    wholes = [one.whole for of_class in foreground.values() for one in of_class if one.whole is not None]
    values = [one.values for of_class in foreground.values() for one in of_class if len(one.values)]
    low, high = np.percentile(np.concatenate(values or [np.zeros(1)]), (0.5, 99.5)).tolist()
    return Fingerprint(
        kind=adapter.kind,
        classes=classes,
        background=adapter.background,
        cases=len(cases),
        read=len(sizes),
        skipped=skipped,
        channels=first.shape[-1],
        is_grey=is_grey,
        dtype=str(first.dtype),
        sizes=np.array(sizes),
        slices=int(np.median(slices)),
        spacings=None if None in spacings else np.array(spacings),
        shares=dict(zip(classes, (pixels / max(1.0, pixels.sum())).tolist(), strict=True)),
        images={name: sum(one.images for one in by_class.get(name, ())) / images for name in classes},
        component=None if smallest is None else medians[smallest],
        smallest=smallest,
        whole=min(wholes, default=None),
        holding=min((sum(one.pixels > 0 for one in of_class) for of_class in foreground.values()), default=0),
        low=min(lows),
        high=max(highs),
        window=(low, high),
        clipped={name: max((one.clipped for one in by_class.get(name, ())), default=0.0) for name in classes},
        **_grouped(cases, adapter.kind),
    )


def _held(decoded: datasets.Decoded, adapter: datasets.Adapter) -> list[_Held]:
    """What the mask of a case holds of each class."""
    grey = decoded.image.array[..., 0]
    low, high = np.percentile(grey, (0.5, 99.5))
    held = []
    for name, here in ((name, decoded.mask == index) for index, name in enumerate(adapter.classes)):
        pixels, images = int(here.sum()), int(here.any((1, 2)).sum())
        if not pixels or name == adapter.background:
            held.append(_Held(pixels, images))
            continue
        values = grey[here]
        held.append(
            _Held(
                pixels,
                images,
                values[:: max(1, pixels // 10_000)],
                float(((values < low) | (values > high)).mean()),
                [_largest(plane) for plane in here if plane.any()],
                int(largest_component(here).sum()) / pixels if adapter.kind == "volume" else None,
            )
        )
    return held


def _grouped(cases: Sequence[datasets.Case], kind: datasets.Kind) -> dict[str, Any]:
    """How cases belong together: `groups`, `group`, `parts` and `part_groups` of their fingerprint."""
    ids = [case.id for case in cases]
    own = [case.group for case in cases] == ids
    pattern = beginning(ids) if own and kind != "label" else None
    groups = {case.id: case.group if pattern is None else group_by(pattern, case.id) for case in cases}
    parts = {str(part or ""): [case.id for case in cases if case.part == part] for part in (*datasets.PARTS, None)}
    return {
        "groups": len({*groups.values()}),
        "group": pattern,
        "parts": {part: len(names) for part, names in parts.items()},
        "part_groups": {part: len({groups[name] for name in names}) for part, names in parts.items()},
    }


def _largest(plane: NDArray[np.bool_]) -> int:
    """The pixels of the largest connected part."""
    found = cv2.connectedComponentsWithStats(plane.astype(np.uint8), connectivity=8)[2]
    return int(found[1:, cv2.CC_STAT_AREA].max())
