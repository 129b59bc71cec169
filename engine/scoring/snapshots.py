"""What a run keeps of its test cases to be looked at later, without the data: pictures, labels, mistakes.

The folder `cases` holds `cases.json` and, of each case that is kept, three sprites whose tiles are its slices, row by
row: the image (JPEG), the reference and the prediction (PNG, class indices, 255 where ignored).
"""

from __future__ import annotations

import hashlib
import math
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, TypeAdapter, ValidationError

import datasets
from datasets.files import write_atomically
from datasets.grid import nearest_slices, resize_image, resize_mask

from ..errors import UsageError
from ..processes import ranks
from ..store.files import read_json, write_json
from .evaluation import Prediction
from .mistakes import Mistakes

FOLDER = "cases"
SIDE, STILL = 256, 512
"""Pixels of the longer side of a slice, and of a still, at most."""
SLICES = 64
"""Of a case, evenly spaced."""
PIXELS = 80_000_000
"""Of all tiles of a run: about 1,200 slices."""
STEEPEST = 8.0
QUALITY = 85
REMEDY = "restore it, or remove the folder: the report is then without pictures of cases"


@dataclass(frozen=True)
class SavedCase:
    """A case of the test part.

    Attributes:
        case: its id.
        mistakes: what is wrong with it.
        stem: what the names of its files begin with; None where there is no picture of it.
        slices: the numbers of those that are in the sprites.
        size: rows and columns of a tile.
    """

    case: str
    mistakes: Mistakes
    stem: Annotated[str, Field(pattern=r"^[0-9]{4,}-[A-Za-z0-9-]*$")] | None
    slices: Annotated[list[int], Field(min_length=1)]
    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]


def read(run: Path) -> list[SavedCase]:
    """What a run has kept; nothing where it has not been scored, or by an older program."""
    path = run / FOLDER / "cases.json"
    if not path.is_file():
        return []
    try:
        return TypeAdapter(list[SavedCase]).validate_python(read_json(path))
    except ValidationError as error:
        raise UsageError(f"{path}: {error.errors()[0]['msg']}; {REMEDY}") from error


def sprite(run: Path, kept: SavedCase, what: str) -> NDArray[np.uint8]:
    """The tiles `(slices, rows, columns[, 3])` of `image`, `reference` or `prediction`.

    Raises:
        UsageError: the file is missing or damaged.
    """
    path = run / FOLDER / f"{kept.stem}.{what}.{'jpg' if what == 'image' else 'png'}"
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            pixels = np.asarray(picture)
        return untiled(pixels, len(kept.slices), kept.size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); {REMEDY}") from error


class CaseSnapshots:
    """Looks at the predictions of a part as they are scored, and keeps what a report shows.

    Args:
        samples: of the part.
        classes: how many there are.
        background: the class that is no foreground, or None.
    """

    def __init__(self, samples: datasets.Samples, classes: int, background: int | None) -> None:
        self.samples, self.classes, self.background = samples, classes, background
        self.mistakes: dict[int, Mistakes] = {}
        self.labels: dict[int, tuple[bytes, bytes]] = {}

    def watch(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Look at predictions, and hand them on."""
        for found in predictions:
            case = self.samples.cases[found.case]
            reference, labels = (tensor.cpu().numpy().astype(np.uint8) for tensor in (found.reference, found.labels))
            self.mistakes[found.case] = Mistakes.of(reference, labels, self.classes, self.background)
            slices, size = shown(reference.shape, _field(case))
            tiles = [resize_mask(masks[slices], (len(slices), *size)) for masks in (reference, labels)]
            self.labels[found.case] = (png(tiled(tiles[0])), png(tiled(tiles[1])))
            yield found

    def gather(self) -> None:
        """Take in what the other processes of the training have looked at."""
        for mistakes, labels in ranks.all_gather((self.mistakes, self.labels)):
            self.mistakes |= mistakes
            self.labels |= labels

    def write(self, run: Path, ranked: Sequence[str], grid: str) -> None:
        """Write the folder `cases` anew, its index last.

        Pictures are kept of as many cases as `PIXELS` allows, chosen by a hash of their ids, so that every arm of an
        ablation keeps the same; and of the worst, the median and the best case.

        Args:
            run: the folder of the run.
            ranked: the ids of the cases, the worst first.
            grid: `original` or `network`: where the labels lie.

        Raises:
            DataError: the disk is full.
        """
        folder = run / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        chosen = self._chosen(ranked, grid)
        rows = []
        for number, mistakes in self.mistakes.items():
            case = self.samples.cases[number]
            name, shape = case.case.id, _shape(case, grid)
            slices, size = shown(shape, _field(case))
            stem = f"{number:04d}-{re.sub(r'[^A-Za-z0-9]+', '-', name)[:40].strip('-')}" if name in chosen else None
            if stem is not None:
                image = tiled(_image(case, shape[0], slices, size))
                contents = {"image.jpg": jpeg(image, QUALITY)}
                contents |= dict(zip(("reference.png", "prediction.png"), self.labels[number], strict=True))
                for ending, content in contents.items():
                    write_atomically(folder / f"{stem}.{ending}", content, durable=False)
            rows.append(asdict(SavedCase(name, mistakes, stem, slices, size)))
        write_json(folder / "cases.json", rows)

    def _chosen(self, ranked: Sequence[str], grid: str) -> set[str]:
        drawn = {case.case.id: case for case in self.samples.cases}
        order = sorted(drawn, key=lambda name: hashlib.sha256(name.encode()).digest())
        chosen, pixels = set(), 0
        for name in order:
            slices, size = shown(_shape(drawn[name], grid), _field(drawn[name]))
            pixels += len(slices) * math.prod(size)
            if pixels > PIXELS:
                break
            chosen.add(name)
        return chosen | {ranked[at] for at in (0, len(ranked) // 2, -1) if ranked}


def shown(shape: Sequence[int], field: Sequence[float] | None) -> tuple[list[int], tuple[int, int]]:
    """The slices of a case that are kept, and rows and columns of their tiles, in proportion to their millimetres.

    Args:
        shape: (slices, rows, columns) of its labels.
        field: millimetres that its rows and columns span; None for a still.
    """
    slices = datasets.evenly_spaced(shape[0], SLICES)
    sides = np.array(shape[1:], dtype=np.float64)
    if field is not None:
        sides = sides.max() * np.array(field) / max(field)
    sides = np.maximum(sides, sides.max() / STEEPEST)
    most = STILL if shape[0] == 1 else SIDE
    rows, columns = np.maximum(1, np.rint(sides * min(1.0, most / sides.max()))).astype(int).tolist()
    return slices, (rows, columns)


def _field(case: datasets.CachedCase) -> list[float] | None:
    """Millimetres that the rows and columns of a case span."""
    return None if case.spacing is None else np.multiply(case.spacing, case.original)[1:].tolist()


def _shape(case: datasets.CachedCase, grid: str) -> tuple[int, int, int]:
    return case.original if grid == "original" else case.shape


def _image(case: datasets.CachedCase, count: int, slices: Sequence[int], size: tuple[int, int]) -> NDArray[np.uint8]:
    """`(slices, rows, columns[, 3])`: colours, or the first channel."""
    nearest = nearest_slices(case.shape[0], count)
    planes = np.stack([case.image(int(nearest[index])) for index in slices])
    planes = planes if planes.shape[-1] == 3 else planes[..., :1]
    planes = resize_image(planes, (len(slices), *size))
    scaled = planes if planes.dtype == np.uint8 else np.rint(255 * planes.clip(0, 1)).astype(np.uint8)
    return scaled if scaled.shape[-1] == 3 else scaled[..., 0]


def tiled(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(slices, rows, columns[, 3])` as one picture, about as many tiles across as down."""
    count, rows, columns, *channels = tiles.shape
    across = math.ceil(math.sqrt(count))
    down = -(-count // across)
    padded = np.zeros((across * down, rows, columns, *channels), dtype=np.uint8)
    padded[:count] = tiles
    grid = padded.reshape(down, across, rows, columns, *channels).swapaxes(1, 2)
    return grid.reshape(down * rows, across * columns, *channels)


def untiled(picture: NDArray[np.uint8], count: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The tiles of `tiled`."""
    (rows, columns), channels = size, picture.shape[2:]
    across = math.ceil(math.sqrt(count))
    down = -(-count // across)
    if picture.shape[:2] != (down * rows, across * columns):
        raise ValueError(f"{count} slices of {rows}x{columns} pixels expected")
    grid = picture.reshape(down, rows, across, columns, *channels).swapaxes(1, 2)
    return grid.reshape(down * across, rows, columns, *channels)[:count]


def jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """A picture as JPEG."""
    return _encoded(picture, "JPEG", quality=quality)


def png(picture: NDArray[np.uint8]) -> bytes:
    """Labels as PNG, every value as it is."""
    return _encoded(picture, "PNG")


def _encoded(picture: NDArray[np.uint8], kind: str, **options: Any) -> bytes:
    content = BytesIO()
    Image.fromarray(picture).save(content, kind, **options)
    return content.getvalue()
