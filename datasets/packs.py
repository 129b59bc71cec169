"""Pictures with one label on disk, many in a file: opening a file for each would take longer than reading it.

A safetensors file holds the pixels of its pictures one after the other, and of each its grid, what it is normalised by,
its digest and its checksum. A label is that of the case, and is not stored.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .cached import DAMAGED, CachedCase, Files
from .case import Case, Remark, label_dtype
from .errors import DataError
from .files import write_atomically

BYTES, MOST = 2**26, 2**14
"""Of the pixels of a file, and its pictures, at most."""
DTYPES = ("uint8", "float32")
NO_PALETTE: dict[int, str] = {}


class Packed(NamedTuple):
    """A decoded picture.

    Attributes:
        image: `(1, rows, columns, channels)` on the network's grid.
        mean: one number a channel; see `CachedCase`.
        deviation: one number a channel.
        digest: SHA-256 of the image's decoded pixels.
        remarks: what one should know of it.
    """

    image: NDArray[Any]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    digest: str
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class PackedCase(CachedCase):
    """A picture with one label in a file of many.

    Attributes:
        start: its first byte among the pixels of the file.
        dtype: of its pixels.
    """

    start: int
    dtype: str

    def _read(self, name: str, start: int, stop: int, files: Files | None = None) -> NDArray[Any]:
        if name != "image":
            return np.full((1, 1, 1), self.case.label, label_dtype(len(self.pixels)))[start:stop]
        shape = (*self.shape, len(self.mean))
        size = int(np.prod(shape)) * np.dtype(self.dtype).itemsize
        if self.start < 0 or size <= 0:
            raise DataError(f"{self.path}: {DAMAGED}")
        with self._opened(files) as file:
            stored: NDArray[np.uint8] = file.get_slice("pixels")[self.start : self.start + size]
        if len(stored) != size or zlib.crc32(stored.tobytes()) != self.checksums[0][0]:
            raise DataError(f"{self.path}: {DAMAGED}")
        return stored.view(self.dtype).reshape(shape)[start:stop]


def write_pack(path: Path, pictures: Iterable[Packed]) -> None:
    """Write a file; a `DataError` where the disk is full."""
    found = list(pictures)
    pixels = [np.ascontiguousarray(one.image).reshape(-1).view(np.uint8) for one in found]
    tensors: dict[str, NDArray[Any]] = {
        "pixels": np.concatenate(pixels),
        "starts": np.cumsum([0, *map(len, pixels)][:-1], dtype=np.int64),
        "shapes": np.array([one.image.shape for one in found], dtype=np.int64),
        "dtypes": np.array([DTYPES.index(one.image.dtype.name) for one in found], dtype=np.uint8),
        "means": np.array([one.mean for one in found], dtype=np.float64),
        "deviations": np.array([one.deviation for one in found], dtype=np.float64),
        "digests": np.array([list(bytes.fromhex(one.digest)) for one in found], dtype=np.uint8),
        "checksums": np.array([zlib.crc32(one.tobytes()) for one in pixels], dtype=np.int64),
    }
    remarks = {index: one.remarks for index, one in enumerate(found) if one.remarks}
    write_atomically(path, save(tensors, {"remarks": json.dumps(remarks)}), durable=False)


def open_pack(cases: Sequence[Case], path: Path, classes: int) -> list[CachedCase] | None:
    """The pictures of a file in order; None where it is missing or damaged.

    Args:
        cases: those that it was written of.
        path: the file.
        classes: C.
    """
    with suppress(FileNotFoundError, SafetensorError, LookupError, TypeError, ValueError):
        with safe_open(path, framework="np") as file:
            starts, dtypes, checksums = (file.get_tensor(name).tolist() for name in ("starts", "dtypes", "checksums"))
            shapes, means, deviations = (_rows(file.get_tensor(name)) for name in ("shapes", "means", "deviations"))
            digests = file.get_tensor("digests").tobytes().hex(",", 32).split(",")
            noted = dict(json.loads((file.metadata() or {}).get("remarks", "{}")))
        remarks = {int(index): tuple(Remark(*one) for one in of_one) for index, of_one in noted.items()}
        columns = (digests, starts, shapes, dtypes, means, deviations, checksums)
        if any(len(column) != len(cases) for column in columns):
            return None
        masks = [zlib.crc32(each.tobytes()) for each in np.arange(classes, dtype=label_dtype(classes))]
        one_hot = [bytes(label) + b"\1" + bytes(classes - 1 - label) for label in range(classes)]
        counts = [((own,), (own,)) for own in one_hot]
        found: list[CachedCase] = []
        for index, (case, *values) in enumerate(zip(cases, *columns, strict=True)):
            digest, start, shape, dtype, mean, deviation, checksum = values
            label = case.label or 0
            found.append(
                PackedCase(
                    case=case,
                    path=path,
                    shape=shape[:3],
                    original=(1, 1, 1),
                    spacing=None,
                    voxel_ml=None,
                    mean=mean,
                    deviation=deviation,
                    pixels=one_hot[label],
                    digest=digest,
                    remarks=remarks.get(index, ()),
                    palette=NO_PALETTE,
                    counts=counts[label],
                    checksums=((checksum,), (masks[label],), (masks[label],)),
                    start=start,
                    dtype=DTYPES[dtype],
                )
            )
        return found
    return None


def _rows(values: NDArray[Any]) -> list[tuple[Any, ...]]:
    """The rows of an array `(N, n)`; of equal ones, as is usual, one tuple that thousands of pictures share."""
    if (values == values[:1]).all():
        return [tuple(values[0].tolist())] * len(values)
    return [tuple(row) for row in values.tolist()]
