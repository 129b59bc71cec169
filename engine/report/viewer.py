"""The cases of one run or of several arms as data for a page: the same slices of each, as small as the page needs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

import datasets
from datasets.grid import resize_image, resize_mask

from ..console.sections import Viewer
from ..pictures.mistakes import MISTAKES, mistakes_rgba
from ..pictures.palette import coloured, palette
from ..scoring import snapshots
from ..scoring.snapshots import SavedCase, jpeg, png, tiled

MOST_CASES = 20
BYTES = 7_000_000
"""Of all pictures of a page, as base64."""
THUMB = 112
OPACITY = 0.9
"""Of the mistakes in a small picture."""


class Level(NamedTuple):
    """How small pictures are made.

    Attributes:
        side: pixels of the longer side, at most.
        slices: of a case, at most.
        quality: of JPEG.
    """

    side: int
    slices: int
    quality: int


LEVELS = [Level(512, 64, 80), Level(256, 64, 70), Level(224, 48, 65), Level(192, 48, 60), Level(160, 32, 55)]
LEVELS += [Level(128, 24, 50), Level(96, 16, 45), Level(64, 8, 40)]


@dataclass(frozen=True)
class CaseEntry:
    """A case to be shown.

    Attributes:
        case: its id.
        fold: the position of its run among those of an arm.
        note: `worst`, `median`, `best` or nothing.
        scores: by arm, as text.
    """

    case: str
    fold: int
    note: str
    scores: Mapping[str, str]


class PicturedCase(NamedTuple):
    """A case with its pictures.

    Attributes:
        entry: what is said of it.
        kept: by arm, its mistakes, slices and the size of its tiles; slices and size are the same for all.
        image: `(slices, rows, columns, channels)`.
        reference: `(slices, rows, columns)` class indices.
        predictions: the same by arm.
    """

    entry: CaseEntry
    kept: Mapping[str, SavedCase]
    image: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    predictions: Mapping[str, NDArray[np.uint8]]

    @property
    def wrong(self) -> NDArray[np.int64]:
        """The wrong pixels of all arms in each slice that is kept."""
        first = next(iter(self.kept.values()))
        found: NDArray[np.int64] = np.sum([one.mistakes.each for one in self.kept.values()], axis=0)[first.slices]
        return found


def viewer(
    arms: Mapping[str, Sequence[Path]],
    order: Sequence[CaseEntry],
    classes: Sequence[str],
    background: int | None,
    lines: Sequence[str],
    most_bytes: int = BYTES,
) -> Viewer | None:
    """The cases that every arm has kept; None where there are none.

    Args:
        arms: by name, the folders of its runs, one a fold.
        order: the cases to choose from, the worst first.
        classes: their names.
        background: the class that is no foreground, or None.
        lines: said of the order.
        most_bytes: of the pictures.

    Raises:
        UsageError: a file of a run is missing or damaged.
    """
    known = {
        arm: {(kept.case, fold): kept for fold, run in enumerate(runs) for kept in snapshots.read(run)}
        for arm, runs in arms.items()
    }
    comparable = [
        entry for entry in order if _comparable([of_arm.get((entry.case, entry.fold)) for of_arm in known.values()])
    ]
    if not comparable:
        return None
    chosen = [comparable[at] for at in spread_out(comparable)]
    return view([_load(one, arms, known) for one in chosen], len(order), classes, background, lines, most_bytes)


def view(
    cases: Sequence[PicturedCase],
    number: int,
    classes: Sequence[str],
    background: int | None,
    lines: Sequence[str],
    most_bytes: int = BYTES,
) -> Viewer:
    """What shows some cases, their pictures as small as the page needs.

    Args:
        cases: with their pictures, at least one.
        number: of all cases there are.
        classes: their names.
        background: the class that is no foreground, or None.
        lines: said of the order.
        most_bytes: of the pictures.
    """
    remarks = list(lines)
    if len(cases) < number:
        remarks.append(f"{len(cases)} of {number} cases are shown, evenly spread from the worst to the best.")
    for level in LEVELS:
        entries = [_entry(case, level, background) for case in cases]
        if sum(map(_size, entries)) <= most_bytes or level == LEVELS[-1]:
            break
    widest = max(max(case.kept[arm].size) for case in cases for arm in case.kept)
    if widest > level.side:
        remarks.append(f"Pictures are reduced to {level.side} pixels a side.")
    if any(len(case.image) > level.slices for case in cases):
        remarks.append(f"At most {level.slices} slices of a case are shown, evenly spaced.")
    data = {
        "classes": list(classes),
        "colours": [to_hex(tuple(colour)) for colour in palette(len(classes)).tolist()],
        "background": background,
        "ignore": datasets.IGNORE,
        "errors": MISTAKES,
        "arms": list(cases[0].kept),
        "cases": entries,
    }
    thumbs = [_thumbs(case, len(classes), background) for case in cases]
    return Viewer(data, thumbs, remarks)


def _comparable(kept: Sequence[SavedCase | None]) -> bool:
    """Whether every arm has kept pictures of a case, of the same slices."""
    found = [one for one in kept if one is not None and one.stem is not None]
    return len(found) == len(kept) and all(one.slices == found[0].slices for one in found)


def spread_out(entries: Sequence[CaseEntry]) -> list[int]:
    """Which of them are shown: from the first to the last, and the median."""
    if len(entries) <= MOST_CASES:
        return list(range(len(entries)))
    even = datasets.evenly_spaced(len(entries), MOST_CASES - 1)
    return sorted({*even, *(at for at, entry in enumerate(entries) if entry.note)})


def _load(
    entry: CaseEntry, arms: Mapping[str, Sequence[Path]], known: Mapping[str, Mapping[Any, SavedCase]]
) -> PicturedCase:
    kept = {arm: known[arm][entry.case, entry.fold] for arm in arms}
    runs = {arm: folders[entry.fold] for arm, folders in arms.items()}
    first = next(iter(arms))
    image, reference = (snapshots.sprite(runs[first], kept[first], what) for what in ("image", "reference"))
    predictions = {arm: snapshots.sprite(runs[arm], kept[arm], "prediction") for arm in arms}
    return PicturedCase(entry, kept, image if image.ndim == 4 else image[..., None], reference, predictions)


def _entry(case: PicturedCase, level: Level, background: int | None) -> dict[str, Any]:
    """A case for the script, its pictures as data URIs."""
    first = next(iter(case.kept.values()))
    count, size = len(first.slices), np.array(first.size)
    chosen = datasets.evenly_spaced(count, level.slices)
    rows, columns = np.maximum(1, np.rint(size * min(1.0, level.side / size.max()))).astype(int).tolist()
    shape = (len(chosen), rows, columns)
    masks = {arm: resize_mask(tiles[chosen], shape) for arm, tiles in case.predictions.items()}
    reference = resize_mask(case.reference[chosen], shape)
    image = resize_image(case.image[chosen], shape)
    wrong = case.wrong[chosen]
    return {
        "id": case.entry.case,
        "note": case.entry.note,
        "scores": dict(case.entry.scores),
        "slices": np.array(first.slices)[chosen].tolist(),
        "of": len(first.mistakes.missed),
        "size": [rows, columns],
        "start": int(wrong.argmax()) if wrong.any() else _fullest(reference, background),
        "image": _uri(jpeg(tiled(image if image.shape[-1] == 3 else image[..., 0]), level.quality), "jpeg"),
        "reference": _uri(png(tiled(reference)), "png"),
        "predictions": [_uri(png(tiled(mask)), "png") for mask in masks.values()],
    }


def _fullest(reference: NDArray[np.uint8], background: int | None) -> int:
    """The slice with most foreground."""
    return int(((reference != background) & (reference != datasets.IGNORE)).sum((1, 2)).argmax())


def _thumbs(case: PicturedCase, classes: int, background: int | None) -> dict[str, Any]:
    """The mistakes of each arm in the slice that holds most of them, or of a perfect one the reference."""
    first = next(iter(case.kept.values()))
    wrong = case.wrong
    at = int(wrong.argmax()) if wrong.any() else _fullest(case.reference, background)
    size = np.array(first.size)
    shape = (1, *np.maximum(1, np.rint(size * min(1.0, THUMB / size.max()))).astype(int).tolist())
    ground = np.broadcast_to(resize_image(case.image[at : at + 1], shape)[0], (*shape[1:], 3)) / 255
    reference = resize_mask(case.reference[at : at + 1], shape)[0]
    pictures = []
    for arm, tiles in case.predictions.items():
        labels = resize_mask(tiles[at : at + 1], shape)[0]
        if wrong.any():  # as the page's script draws them, but for stripes and dots
            rgba = mistakes_rgba(reference, labels, background) * (1, 1, 1, OPACITY)
        else:
            rgba = coloured(reference, palette(classes), background)
        mixed = ground * (1 - rgba[..., 3:]) + rgba[..., :3] * rgba[..., 3:]
        picture = _uri(jpeg(np.rint(255 * mixed).astype(np.uint8), 75), "jpeg")
        pictures.append({"arm": arm, "picture": picture, "score": case.entry.scores[arm]})
    where = f"slice {first.slices[at]}" if len(first.mistakes.missed) > 1 else ""
    return {"id": case.entry.case, "note": case.entry.note, "where": where, "pictures": pictures}


def _size(entry: Mapping[str, Any]) -> int:
    return sum(map(len, (entry["image"], entry["reference"], *entry["predictions"])))


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
