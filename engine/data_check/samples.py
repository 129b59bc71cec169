"""Cases of a data set to look at: typical and small ones of each class, and those that something is said of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

import datasets

from ..pictures.gallery import gallery
from ..pictures.montage import shortened, steepness
from ..pictures.palette import coloured, palette
from ..pictures.sizes import sizes_picture
from .check import DataCheck, Facts
from .problems import kinds_of

SHOWN = 4
"""Samples in a picture of images and masks."""
PICTURES = 8
"""In that of pictures with one label."""
WIDTH = 2.2
"""Inches of an image, and of its mask beside it."""


class Example(NamedTuple):
    """A case to look at.

    Attributes:
        facts: of the case.
        classes: whose pixels the slice that is shown holds most of.
        why: it is shown.
    """

    facts: Facts
    classes: Sequence[int]
    why: str


def examples(found: DataCheck) -> dict[str, list[Example]]:
    """By title the cases to look at; of each foreground class in turn, the rarest first.

    `typical`: its share of the pixels is the nearest to the median of the cases that hold it; `smallest`: its share is
    the smallest; `named above`: a case of each kind of problem, and of each kind of what one should know.
    """
    background = datasets.background_index(found.classes)
    total = datasets.total_pixels(found.facts, len(found.classes))
    held = [index for index in np.argsort(total, kind="stable").tolist() if total[index] and index != background]
    some = {
        "typical": _of_each(found, held, lambda share, median: abs(share - median)),
        "smallest": _of_each(found, held, lambda share, _: share),
        "named above": [Example(facts, held, why) for facts, why in _named(found)][:SHOWN],
    }
    return {title: chosen for title, chosen in some.items() if chosen}


def _of_each(found: DataCheck, classes: Sequence[int], far: Callable[[float, float], float]) -> list[Example]:
    """Of each class in turn the case that is left whose share of it is the least far, beside the median share."""
    chosen: dict[str, Example] = {}
    for index in list(classes) * SHOWN:
        shares = [(one.pixels[index] / sum(one.pixels), one) for one in found.facts if one.pixels[index]]
        median = float(np.median([share for share, _ in shares]))
        left = [(share, one) for share, one in shares if one.case.id not in chosen]
        if left and len(chosen) < SHOWN:
            share, facts = left[int(np.argmin([far(share, median) for share, _ in left]))]
            chosen[facts.case.id] = Example(facts, [index], f"{100 * share:.3g} % {found.classes[index]}")
    return [*chosen.values()]


def _named(found: DataCheck) -> Iterator[tuple[Facts, str]]:
    """A readable case of each kind of problem and of remark, and what is said of it."""
    names = {name: one for one in found.facts for name in (str(one.case.image), str(one.case.mask), one.case.id)}
    for kind in kinds_of(found.problems):
        about = (part for name in kind.names for part in name.split(" and ") if part in names)
        if (first := next(about, None)) is not None:
            yield names[first], kind.messages[0].removeprefix(f"{first}: ")
    remarks = {remark.what: facts for facts in reversed(found.facts) for remark in facts.remarks}
    yield from ((facts, what) for what, facts in remarks.items())


def samples_picture(some: Sequence[Example], classes: Sequence[str], adapter: datasets.Adapter) -> Figure:
    """A line for each example: the image, and beside it the same under its mask."""
    colours, background = palette(len(classes)), datasets.background_index(classes)
    slices = [_slice(adapter.read(one.facts.case), one.classes) for one in some]
    heights = [WIDTH * steepness(*mask.shape) for _, mask in slices]
    figure = Figure(figsize=(2 * WIDTH + 0.2, sum(heights) + 0.45 * len(some) + 0.5), layout="constrained")
    axes = figure.subplots(len(some), 2, squeeze=False, height_ratios=heights)
    present: set[int] = set()
    for pair, one, (image, mask) in zip(axes, some, slices, strict=True):
        present |= {*np.unique(mask).tolist()}
        rows, columns = mask.shape
        for axis in pair:
            axis.imshow(image, cmap="gray", extent=(0, columns, rows, 0))
            axis.set_axis_off()
        covered = coloured(mask, colours, background, 0.5)
        covered[mask == datasets.IGNORE] = (1, 1, 1, 0.5)
        pair[1].imshow(covered, extent=(0, columns, rows, 0), interpolation="nearest")
        title = f"{shortened(one.facts.case.id, 50)}\n{shortened(one.why, 70)}"
        pair[0].set_title(title, fontsize=7, loc="left")
    shown = sorted(present - {background, datasets.IGNORE})
    names = [Patch(color=colours[index], label=classes[index]) for index in shown]
    if datasets.IGNORE in present:
        names.append(Patch(facecolor="white", edgecolor="grey", label="(ignored)"))
    figure.legend(handles=names, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def sample_pictures(found: DataCheck, adapter: datasets.Adapter) -> dict[str, Figure]:
    """By title the pictures of `examples`; of pictures with one label those of `_of_labels`, none without any case."""
    if found.kind == "label":
        return {"typical": _of_labels(found, adapter)} if found.facts else {}
    return {title: samples_picture(some, found.classes, adapter) for title, some in examples(found).items()}


def _of_labels(found: DataCheck, adapter: datasets.Adapter) -> Figure:
    """Pictures with one label: one of each class in turn, the rarest first."""
    of_class: dict[int, list[Facts]] = {}
    for facts in found.facts:
        of_class.setdefault(facts.pixels.index(1), []).append(facts)
    rarest_first = sorted(of_class, key=lambda index: len(of_class[index]))
    turns = [(turn, index) for turn in range(PICTURES) for index in rarest_first if turn < len(of_class[index])]
    chosen = [of_class[index][turn] for turn, index in turns[:PICTURES]]
    images = [_slice(adapter.read(facts.case), [])[0] for facts in chosen]
    titles = [[found.classes[facts.pixels.index(1)]] for facts in chosen]
    images = [image.reshape(*image.shape[:2], -1) for image in images]
    return gallery(images, titles, "one of each, rarest first", most_columns=4)


def sizes_of(found: DataCheck) -> Figure | None:
    """Histograms of what differs: rows, columns and slices of the images, and how much of each class cases hold."""
    sides: Mapping[str, list[float]] = {
        "rows": [one.size[0] for one in found.facts],
        "columns": [one.size[1] for one in found.facts],
        "slices": [one.slices for one in found.facts],
    }
    background = datasets.background_index(found.classes)
    amounts: dict[str, list[float]] = {}
    scans = all(one.spacing for one in found.facts)
    for index, name in enumerate(found.classes) if found.kind != "label" else ():
        holding = [one for one in found.facts if one.pixels[index] and index != background]
        amounts[name] = [
            one.pixels[index] * float(np.prod(one.spacing)) / 1000
            if scans and one.spacing
            else one.pixels[index] / sum(one.pixels)
            for one in holding
        ]
    unit = "ml of a case" if scans else "share of the pixels of a case"
    return sizes_picture(sides, amounts, unit)


def _slice(decoded: datasets.Decoded, classes: Sequence[int]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The slice with most of some classes; its image for imshow."""
    index = int(np.isin(decoded.mask, classes).sum((1, 2)).argmax())
    image = decoded.image.array[index]
    if image.dtype == np.uint8:
        return (image if image.shape[-1] == 3 else image[..., 0]), decoded.mask[index]
    low, high = np.percentile(image[..., 0], (0.5, 99.5))  # a few bright pixels leave the rest dark
    return image[..., 0].clip(low, high), decoded.mask[index]
