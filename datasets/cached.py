"""A decoded case on disk, read slice by slice."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from .case import Case, Remark
from .errors import DataError
from .grid import Shape, Spacing
from .slices import neighbours

Rows = tuple[tuple[int, ...], ...]
Files = dict[Path, Any]
"""Files that a process keeps open, by their path."""
MOST_OPEN = 2**14
"""Files kept open at most: a process may map 65,530 pieces of memory."""
TENSORS = ("image", "mask", "reference")
"""What a file holds; the reference, the mask on the case's own grid, where that is not the network's."""


@dataclass(frozen=True, slots=True)
class CachedCase:
    """A decoded case: small, picklable, its pixels on disk, memory-mapped when they are read.

    Attributes:
        case: where it comes from.
        path: its file in the cache.
        shape: (slices, rows, columns) on the network's grid.
        original: (slices, rows, columns) of its mask on its own grid; (1, 1, 1) of a picture with one label.
        spacing: millimetres between slices, rows and columns of its own grid; None for a still.
        voxel_ml: millilitres of a voxel of its own grid; None for a still.
        mean: one number a channel, to be subtracted from the image scaled to [0, 1].
        deviation: one number a channel, to divide by.
        pixels: pixels of each class on its own grid, in the order of the classes; of a picture with one label bytes.
        digest: SHA-256 of the image's decoded pixels.
        counts: pixels and components of each class in each slice of the network's grid; see `slice_counts`.
        remarks: what one should know of it.
        palette: the colour of each value of its mask where that has a palette; see `Decoded`.
        checksums: CRC-32 of each slice of each of `TENSORS`, compared whenever one is read.

    Its methods raise a `DataError` where the file is missing or damaged.
    """

    case: Case
    path: Path
    shape: Shape
    original: Shape
    spacing: Spacing | None
    voxel_ml: float | None
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    pixels: Sequence[int]
    digest: str
    counts: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]
    checksums: Rows
    remarks: tuple[Remark, ...]
    palette: Mapping[int, str]

    @classmethod
    def open(cls, case: Case, path: Path) -> CachedCase:
        """What the file of a case says; raises what reading a missing or damaged file raises."""
        with safe_open(path, framework="np") as file:
            header = json.loads(file.metadata()["case"])
            *shape, _ = file.get_slice("image").get_shape()
            masks = {name: file.get_slice(name).get_shape() for name in ("mask", "reference") if name in file.keys()}  # noqa: SIM118
        if masks["mask"] != shape or masks.get("reference", masks["mask"]) != header["original"]:
            raise ValueError(f"{path}: image and masks do not belong together")
        slices, rows, columns = shape
        spacing = header.pop("spacing")
        pixels, components = header.pop("counts")
        return cls(
            case=case,
            path=path,
            shape=(slices, rows, columns),
            spacing=None if spacing is None else tuple(spacing),
            voxel_ml=header.pop("voxel_ml"),
            digest=header.pop("digest"),
            counts=(_rows(pixels), _rows(components)),
            checksums=_rows(header.pop("checksums")),
            remarks=tuple(Remark(*remark) for remark in header.pop("remarks")),
            palette={int(value): colour for value, colour in header.pop("palette").items()},
            **{key: tuple(values) for key, values in header.items()},
        )

    def image(self, index: int, context: int = 0, files: Files | None = None) -> NDArray[Any]:
        """Slice `index` as `(rows, columns, channels)`, uint8, or float32 in [0, 1].

        Args:
            index: on the network's grid.
            context: neighbours on each side whose channels are stacked before and after; the ends are repeated.
            files: those already open, to which this one is added; None to open it anew and close it.
        """
        wanted = neighbours(index, self.shape[0], context)
        planes = self._read("image", wanted[0], wanted[-1] + 1, files)
        return np.concatenate([planes[at - wanted[0]] for at in wanted], axis=-1) if context else planes[0]

    def mask(self, index: int, files: Files | None = None) -> NDArray[np.uint8]:
        """The mask of slice `index` on the network's grid, `(rows, columns)` uint8; `files` as of `image`."""
        plane: NDArray[np.uint8] = self._read("mask", index, index + 1, files)[0]
        return plane

    def masks(self) -> NDArray[np.uint8]:
        """The masks of all slices on the network's grid, `(slices, rows, columns)` uint8."""
        return self._read("mask", 0, self.shape[0])

    def references(self) -> NDArray[np.uint8]:
        """The masks of all slices on the case's own grid, `(slices, rows, columns)` uint8."""
        return self._read("mask" if self.original == self.shape else "reference", 0, self.original[0])

    @property
    def contents(self) -> dict[str, str]:
        """Digests of the image's pixels and of the mask on the case's own grid, whatever the network's grid."""
        return {"image": self.digest, "mask": _mask_digest(self.original, self._own_checksums)}

    def decoded_from(self, digest: str, mask: NDArray[np.uint8]) -> bool:
        """Whether this is what a case's files hold: an image of that digest, and the mask on its own grid."""
        return self.digest == digest and self._own_checksums == tuple(zlib.crc32(plane.tobytes()) for plane in mask)

    @property
    def _own_checksums(self) -> tuple[int, ...]:
        """Of the mask on the case's own grid."""
        return self.checksums[TENSORS.index("mask" if self.original == self.shape else "reference")]

    def _read(self, name: str, start: int, stop: int, files: Files | None = None) -> NDArray[Any]:
        """Some slices of a tensor, compared with their checksums."""
        with self._opened(files) as file:
            planes: NDArray[Any] = file.get_slice(name)[start:stop]
        for plane, checksum in zip(planes, self.checksums[TENSORS.index(name)][start:stop], strict=True):
            if zlib.crc32(plane) != checksum:
                raise DataError(f"{self.path}: {DAMAGED}")
        return planes

    @contextmanager
    def _opened(self, files: Files | None) -> Iterator[Any]:
        try:
            if files is not None and (self.path in files or len(files) < MOST_OPEN):
                if self.path not in files:
                    files[self.path] = safe_open(self.path, framework="np")
                yield files[self.path]
                return
            with safe_open(self.path, framework="np") as file:
                yield file
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: missing; was the cache cleared? Run the same command to resume") from error
        except SafetensorError as error:
            raise DataError(f"{self.path}: {DAMAGED}") from error


DAMAGED = "damaged since it was decoded; remove this file, and run the same command to decode the case and resume"


@lru_cache
def _mask_digest(shape: Shape, checksums: tuple[int, ...]) -> str:
    """Of a mask of that shape and those checksums; kept, since pictures of one class have the same."""
    return hashlib.sha256(json.dumps([shape, checksums]).encode()).hexdigest()


def _rows(values: list[list[int]]) -> Rows:
    return tuple(map(tuple, values))
