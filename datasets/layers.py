"""A mask that several files make: united, or one file a class; and the pixels that do not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .case import IGNORE, Drawn
from .errors import DataError
from .labels import LabelMap, Labels, Values, as_values, background_of, class_index, label_map

Overlap = Literal["refuse", "labels"]
"""Of two classes at one pixel: an error, or the class that stands later in `labels` wins."""
Layer = tuple[Drawn, NDArray[Any]]
"""A file of a mask, and its raw values."""


def class_map(
    own: LabelMap | None,
    masks: str | Mapping[str, str] | None,
    labels: Labels | None,
    ignore: Values | None,
    values_only: bool = False,
) -> LabelMap:
    """The classes of masks that one pattern finds, or one pattern a class.

    Args:
        own: see `label_map`.
        masks: a pattern, or one of each class but the background.
        labels: None where `masks` names the classes: background 0, and then 1, 2, … in that order.
        ignore: see `label_map`.
        values_only: see `label_map`.

    Raises:
        ValueError: see `label_map`; classes without pattern, patterns without class.
    """
    if not isinstance(masks, Mapping):
        return label_map(own, labels, ignore, values_only)
    if ignore:
        raise ValueError("ignore: masks of one class each hold no value that is ignored; see `valid`")
    if not masks:
        raise ValueError("masks: an empty mapping; give a pattern, or one a class")
    named: Labels = labels or {"background": 0, **{name: value for value, name in enumerate(masks, start=1)}}
    background = background_of(named)
    if background is None:
        raise ValueError("labels: with one pattern a class in `masks`, one class must be named background")
    for name in named:
        if name != background and name not in masks:
            raise ValueError(f"masks: no pattern for the class {name} of `labels`")
    for name in masks:
        if name not in named or name == background:
            raise ValueError(f"masks: {name} is no class of `labels` that could be drawn: {', '.join(named)}")
    return LabelMap({name: as_values(value) for name, value in named.items()})


def united(layers: Sequence[Layer], labels: LabelMap, overlap: Overlap) -> NDArray[np.uint8]:
    """The mask that some files make together, class indices with 255 where one of them ignores.

    Args:
        layers: of the same shape; where there are several, there is a background.
        labels: what their values mean.
        overlap: of two classes at one pixel.

    Raises:
        DataError: a foreign value; two classes at one pixel where that is refused.
    """
    masks = [_classes(drawn, raw, labels) for drawn, raw in layers]
    if len(masks) == 1:
        return masks[0]
    background = class_index(labels.classes, background_of(labels.classes))
    assert background is not None
    rank = np.arange(1, IGNORE + 2)  # what wins over what: nothing over ignored pixels, all over background
    rank[background] = 0
    mask = masks[0]
    for (drawn, _), further in zip(layers[1:], masks[1:], strict=True):
        if overlap == "refuse":
            _refuse_overlap(mask, further, labels, background, drawn.path)
        mask = np.where(rank[further] > rank[mask], further, mask)
    return mask


def counted(mask: NDArray[np.uint8], valid: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    """A mask with 255 where a file that says which pixels count is 0; a `DataError` where it says something else."""
    return np.where(_marked(valid, path), mask, np.uint8(IGNORE))


def _classes(drawn: Drawn, raw: NDArray[Any], labels: LabelMap) -> NDArray[np.uint8]:
    if drawn.label is None:
        return labels(raw, drawn.path)
    index, background = labels.classes.index(drawn.label), labels.classes.index(background_of(labels.classes) or "")
    return np.where(_marked(raw, drawn.path), np.uint8(index), np.uint8(background))


def _marked(raw: NDArray[Any], path: Path) -> NDArray[np.bool_]:
    """Where a file of two values is not 0."""
    values = np.unique(raw)
    marks = values[values != 0]
    if len(marks) > 1:
        listed = ", ".join(map(str, values[:5].tolist())) + (", …" if len(values) > 5 else "")
        raise DataError(f"{path}: holds {listed}; expected 0 and one other value, so threshold it")
    marked: NDArray[np.bool_] = raw != 0
    return marked


def _refuse_overlap(
    mask: NDArray[np.uint8], further: NDArray[np.uint8], labels: LabelMap, background: int, path: Path
) -> None:
    both = (mask != further) & ~np.isin(mask, (background, IGNORE)) & ~np.isin(further, (background, IGNORE))
    if both.any():
        one, other = labels.classes[mask[both][0]], labels.classes[further[both][0]]
        raise DataError(
            f"{path}: {int(both.sum())} pixels that are {one} by another mask of the image are {other} here; "
            "data.overlap: labels lets the class win that stands later in data.labels"
        )
