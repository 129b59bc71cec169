"""What one should know of a case, though it is no error: lost, clipped or flattened by how it is prepared."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .case import Case, Decoded, Remark
from .normalise import Normalised
from .notes import Note

RARE = 0.1
"""The share of an image below which a class is rare."""
APART = 10
"""How many times the range of all other values the distance of one value from them is, where it stands apart."""
FLAT = 0.1
"""Of the scaled range: what the other values are pressed into where such a value sets the scale."""


class Remarked(Protocol):
    """A case with what is to be known of it."""

    @property
    def case(self) -> Case:
        """The case."""

    @property
    def remarks(self) -> Sequence[Remark]:
        """What is to be known."""

    @property
    def palette(self) -> Mapping[int, str]:
        """The colour of each value of its mask, `#rrggbb`, where the mask has a palette."""


class Grids(NamedTuple):
    """The pixels of each class on the case's own grid and on the network's."""

    own: Sequence[int]
    network: Sequence[int]


def remarks_of(
    decoded: Decoded, normalised: Normalised, pixels: Grids, classes: Sequence[str], background: int | None, clips: bool
) -> Iterator[Remark]:
    """What is to be known of a case.

    Args:
        decoded: the case.
        normalised: its image, scaled.
        pixels: of each class.
        classes: their names.
        background: which of them is the background, or None.
        clips: the scale is the case's own percentiles, beyond which values are cut.
    """
    yield from decoded.remarks
    for name, own, network in zip(classes, *pixels, strict=True):
        if own and not network:
            yield Remark(f"image(s) lose all of {name} on the network's grid", "see data.size and data.spacing")
    for channel in range(normalised.image.shape[-1]):
        yield from _scale(decoded.image.array[..., channel], normalised.image[..., channel])
    labels_pixels = decoded.mask.shape == decoded.image.array.shape[:-1]  # a picture has one label
    if clips and labels_pixels and np.ptp(normalised.image) > 0:
        cut = np.ones(decoded.mask.shape, dtype=bool)
        for channel in range(normalised.image.shape[-1]):
            cut &= _clipped(decoded.image.array[..., channel], normalised.image[..., channel])
        for index, name in enumerate(classes):
            here = decoded.mask == index
            if index == background or not 0 < pixels.own[index] < RARE * here.size:
                continue
            lost = int(np.count_nonzero(cut & here))
            if 2 * lost > pixels.own[index] and 2 * lost < np.count_nonzero(cut):
                yield Remark(
                    f"image(s) in which more than half of {name} is clipped to the value of other pixels",
                    "data.normalise: {name: percentile, low: 0, high: 100} clips nothing",
                )


def _clipped(values: NDArray[Any], scaled: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a scaled channel has an end of its range that different values were cut to."""
    cut = np.zeros(values.shape, dtype=bool)
    for end in (scaled <= 0, scaled >= 1):
        if end.any() and np.ptp(values[end]):
            cut |= end
    return cut


def _scale(values: NDArray[Any], scaled: NDArray[Any]) -> Iterator[Remark]:
    """What is to be known of one channel before and after scaling."""
    low, high = values.min(), values.max()
    if low == high:
        yield Remark(f"image(s) with a channel that is {low:g} everywhere", "leave them out by data.exclude")
    elif scaled.min() == scaled.max():
        yield Remark("image(s) with a channel that is one value once it is scaled", "see data.normalise")
    elif values.dtype != np.uint8:
        for end in (low, high):
            others = values != end
            least, most = float(values[others].min()), float(values[others].max())
            distance = min(abs(float(end) - least), abs(float(end) - most))
            if most > least and distance > APART * (most - least) and np.ptp(scaled[others]) < FLAT:
                yield Remark(
                    f"image(s) whose scale is set by one value apart from all others, {end:g}",
                    "where it stands for no data, write another value or set the scale by data.normalise: "
                    "{name: window, low: …, high: …}",
                )


def note_remarks(cases: Iterable[Remarked]) -> None:
    """Note what is to be known of cases, each kind for all of them, and palettes that differ between their masks."""
    colours: dict[int, dict[str, list[str]]] = {}
    for one in cases:
        for remark in dict.fromkeys(one.remarks):
            warnings.warn(Note(remark.what, str(one.case.image), remark.remedy), stacklevel=2)
        for value, colour in one.palette.items():
            colours.setdefault(value, {}).setdefault(colour, []).append(str(one.case.mask))
    for value, names in sorted(colours.items()):
        usual, _ = Counter({colour: len(paths) for colour, paths in names.items()}).most_common(1)[0]
        for colour, paths in names.items():
            for path in paths if colour != usual else ():
                what = f"mask(s) in which value {value} is {colour} by the palette, and {usual} in others"
                remedy = "where colours say the class, name them in data.labels: {name: [[r, g, b]], …}"
                warnings.warn(Note(what, path, remedy), stacklevel=2)
