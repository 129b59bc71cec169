"""What masks hold: their values or colours, and the classes that these most likely are."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import datasets
from datasets.formats import is_scan, is_still
from datasets.still import mask_values, read_mask

PIXELS = 2**27
"""Of masks that are read at most; those of the cases are then read evenly spaced."""
MOST_CLASSES = 64
LABEL_FILE = re.compile(r"label|class|colou?r|dataset\.json|legend|palette", re.IGNORECASE)
"""Of names of files that say what values or colours mean."""
VOIDS = ("ignore", "void", "unlabelled", "unlabeled")
"""Names of what does not count, in small letters."""
Value = int | tuple[int, int, int]


@dataclass(frozen=True)
class Held:
    """What masks hold.

    Attributes:
        pixels: of each value or colour, all masks that were read together.
        masks: in how many of them it occurs.
        read: masks that were read.
        total: masks that there are.
        edges: the share of the pixels of 255 that lie in a strip, no more than four pixels wide.
    """

    pixels: Mapping[Value, int]
    masks: Mapping[Value, int]
    read: int
    total: int
    edges: float

    @property
    def said(self) -> str:
        """How many were read, in words."""
        return "all masks read" if self.read == self.total else f"{self.read} of {self.total} masks read"


@dataclass(frozen=True)
class Meaning:
    """Classes, as `data.labels` and `data.ignore` have them, and why."""

    labels: dict[str, Any]
    ignore: list[Any]
    reason: str


def raw_mask(path: Path, key: str | None = None) -> NDArray[Any]:
    """The values `(slices, rows, columns)` of a mask, or colours with a further axis of three; else a `DataError`."""
    if is_scan(path):
        return datasets.read_mask_volume(path).array
    try:
        return mask_values(path, None, key=key)
    except datasets.DataError:
        if not is_still(path):
            raise
        return read_mask(path, coloured=True)


def held_by(masks: Sequence[Path], key: str | None = None) -> Held:
    """What masks hold; all are read where they are few or small, else as many as hold `PIXELS` pixels, evenly spaced.

    Raises:
        DataError: a mask that cannot be read, or values in some and colours in others.
    """
    first = raw_mask(masks[0], key)
    most = max(8, PIXELS // max(1, first.size))
    chosen = [masks[place] for place in datasets.evenly_spaced(len(masks), most)]
    pixels: Counter[Value] = Counter()
    occurs: Counter[Value] = Counter()
    strip = area = 0
    for path in chosen:
        raw = first if path == masks[0] else raw_mask(path, key)
        if (raw.ndim == 4) != (first.ndim == 4):
            raise datasets.DataError(
                f"{path}: colours where {masks[0]} has values, or the reverse; write masks of one kind"
            )
        coloured = raw.ndim == 4
        codes = raw.astype(np.int64) @ np.array([65536, 256, 1]) if coloured else raw
        values, counts = np.unique(codes, return_counts=True)
        for code, count in zip(values.tolist(), counts.tolist(), strict=True):
            value = (code >> 16, code >> 8 & 255, code & 255) if coloured else int(code)
            pixels[value] += count
            occurs[value] += 1
        if not coloured and 255 in values and len(values) > 2:
            for plane in (codes == 255).astype(np.uint8):
                area += int(plane.sum())
                strip += int(plane.sum()) - int(cv2.erode(plane, np.ones((5, 5), np.uint8), borderValue=1).sum())
    return Held(pixels, occurs, len(chosen), len(masks), strip / area if area else 0.0)


def meaning_of(held: Held, root: Path) -> Meaning:
    """The classes that values most likely are, by a file below `root` that names them, or by custom.

    Raises:
        DataError: too many values for classes, or one alone.
    """
    values = sorted(held.pixels, key=lambda value: (isinstance(value, tuple), value))
    if len(values) < 2:
        raise datasets.DataError(
            f"the masks hold {_yaml(values[0])} alone ({held.said}), so there is nothing to learn; are they the masks?"
        )
    ignore = [255] if _is_void(held) else []
    named = [value for value in values if value not in ignore]
    for path, names in _named_values(root):
        grouped: dict[str, list[Value]] = {}
        for value, name in names.items():
            grouped.setdefault(name, []).append(value)
        occur = {names.get(value) for value in named} if held.read == held.total else {*grouped}
        kept = {n: _as_label(*found) for n, found in grouped.items() if n in occur and n.lower() not in VOIDS}
        if {*named} <= names.keys() and len(kept) > 1:
            void = [_yaml(value) for name, found in grouped.items() if name.lower() in VOIDS for value in found]
            return Meaning(kept, [*void, *(value for value in ignore if value not in names)], f"names of {path.name}")
    if len(named) > MOST_CLASSES:
        shown = ", ".join(str(_yaml(value)) for value in named[:5])
        raise datasets.DataError(
            f"the masks hold {len(named)} values: {shown}, … ({held.said}); more than {MOST_CLASSES} are no classes "
            "but numbers of objects, grey levels or a lossy format: write one value a class, or thresholded masks"
        )
    total = sum(held.pixels.values())
    ground: Value | None = next((value for value in named if value in (0, (0, 0, 0))), None)
    common = max(named, key=lambda value: held.pixels[value])
    why = f"{_yaml(ground)} is taken for background by custom" if ground is not None else ""
    if ground is None and 2 * held.pixels[common] > total:
        ground, why = common, f"{_yaml(common)} covers {held.pixels[common] / total:.0%}, so it is taken for background"
    rest = [value for value in named if value != ground]
    labels = {} if ground is None else {"background": _as_label(ground)}
    one = ground is not None and len(rest) == 1
    labels |= {"object" if one else f"class_{n}": _as_label(value) for n, value in enumerate(rest, start=1)}
    why = "; ".join(filter(None, [why, f"{held.said}; rename the classes, their values stay"]))
    return Meaning(labels, ignore, why)


def _is_void(held: Held) -> bool:
    """Whether 255 is what does not count: rare beside two other values or more, and a strip along edges."""
    if 255 not in held.pixels or len(held.pixels) < 3:
        return False
    share = held.pixels[255] / sum(held.pixels.values())
    return share < 0.15 and (held.edges > 0.5 or sorted(v for v in held.pixels if isinstance(v, int))[-2] < 128)


def _named_values(root: Path) -> list[tuple[Path, dict[Value, str]]]:
    """What small text files beside the data say of values or colours: `7 road`, `road,128,64,128`, or a name a line."""
    found: list[tuple[Path, dict[Value, str]]] = []
    for path in sorted(root.iterdir()):
        if not (path.is_file() and LABEL_FILE.search(path.name) and path.stat().st_size < 2**16):
            continue
        try:
            text = path.read_text(encoding="utf-8-sig")
            if path.suffix.lower() == ".json":
                labels = json.loads(text).get("labels", {})
                pairs = [(str(a), str(b)) for a, b in labels.items()]
                names: dict[Value, str] = {int(b if b.isdigit() else a): a if b.isdigit() else b for a, b in pairs}
                found.append((path, names))
            elif path.suffix.lower() in (".txt", ".csv", ".tsv"):
                found.append((path, _of_lines(text.splitlines())))
        except (OSError, ValueError, AttributeError):
            continue
    return [(path, names) for path, names in found if names]


def _of_lines(lines: Sequence[str]) -> dict[Value, str]:
    """The value or the colour that each line names; empty where a line, but for a heading, says neither."""
    rows = [re.split(r"\s*[,;:\t]\s*|\s+", line.strip()) for line in lines if line.strip()]
    names: dict[Value, str] = {}
    for at, row in enumerate(rows):
        numbers = [int(cell) for cell in row if cell.isdigit()]
        name = " ".join(cell for cell in row if not cell.isdigit()).strip("\"' ")
        if not name or len(numbers) not in (0, 1, 3) or (not numbers and len(row) > 3):
            if at:
                return {}
            continue
        if len(numbers) == 3:
            names[numbers[0], numbers[1], numbers[2]] = name
        elif numbers:
            names[numbers[0]] = name
        elif not any(len([c for c in other if c.isdigit()]) for other in rows):
            names[at] = name
    return names


def _as_label(*values: Value) -> Any:
    """Of a class: one value as it is, several or colours in a list."""
    return values[0] if len(values) == 1 and isinstance(values[0], int) else [_yaml(value) for value in values]


def _yaml(value: Value | None) -> Any:
    return list(value) if isinstance(value, tuple) else value
