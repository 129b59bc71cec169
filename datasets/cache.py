"""The decoded cases on disk: read once from their source, then memory-mapped.

One safetensors file a case holds its image and mask on the network's grid, its mask on its own grid where that
differs, and in the header what else is known: normalisation, counts, digest. Its name is a hash of all that the
content depends on, so a changed source or setting makes another file. It is written beside and renamed: a reader sees
a whole file or none, and processes that start together write the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .case import IGNORE, Adapter, Case
from .counts import Counts, count_masks
from .errors import DataError
from .files import cannot_write, write_atomically
from .normalise import Normalisation
from .resize import resize_image, resize_mask

FORMAT = 2
"""Raised when the content of the files changes."""


@dataclass(frozen=True)
class CachedCase:
    """A decoded case: small, picklable, its pixels on disk.

    Attributes:
        case: where it comes from.
        path: its file in the cache.
        shape: (slices, rows, columns, channels) on the network's grid.
        original: (rows, columns) on its own grid.
        mean: one number a channel, to be subtracted from the image scaled to [0, 1].
        deviation: one number a channel, to divide by.
        pixels: pixels of each class on its own grid, in the order of the classes.
        digest: SHA-256 of the image's decoded pixels.
        counts: of each class on the network's grid, as `count_classes` adds them up.
    """

    case: Case
    path: Path
    shape: tuple[int, int, int, int]
    original: tuple[int, int]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    pixels: tuple[int, ...]
    digest: str
    counts: Counts

    def image(self, index: int) -> NDArray[Any]:
        """Slice `index` as `(rows, columns, channels)`, uint8, or float32 in [0, 1]."""
        return self._slice("image", index)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """The mask of slice `index` on the network's grid, `(rows, columns)` uint8."""
        return self._slice("mask", index)

    def reference(self, index: int) -> NDArray[np.uint8]:
        """The mask of slice `index` on the case's own grid, `(rows, columns)` uint8."""
        return self._slice("mask" if self.original == self.shape[1:3] else "reference", index)

    def masks(self) -> NDArray[np.uint8]:
        """The masks of all slices on the network's grid, `(slices, rows, columns)` uint8."""
        with safe_open(self.path, framework="np") as file:
            masks: NDArray[np.uint8] = file.get_tensor("mask")
        return masks

    def _slice(self, name: str, index: int) -> NDArray[Any]:
        with safe_open(self.path, framework="np") as file:
            plane: NDArray[Any] = file.get_slice(name)[index]
        return plane


@dataclass(frozen=True)
class Cache:
    """Decodes the cases of one adapter with one set of settings.

    Attributes:
        folder: where the files lie.
        adapter: reads the sources.
        size: (height, width) of the network's grid, None for each case's own.
        normalisation: scales an image.
        settings: text that changes when adapter or normalisation would give other pixels.
    """

    folder: Path
    adapter: Adapter
    size: tuple[int, int] | None
    normalisation: Normalisation
    settings: str

    def decode(self, cases: Sequence[Case]) -> Iterator[CachedCase]:
        """All cases in order, from the cache or decoded into it.

        Raises:
            DataError: a source that cannot be used; a folder that cannot be written, or is full.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.folder}: {cannot_write(error, self.folder)} (output, or data.cache)") from error
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            futures = [pool.submit(self._decode, case) for case in cases]
            try:
                for future in futures:
                    yield future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _decode(self, case: Case) -> CachedCase:
        path = self.folder / f"{self._key(case)}.safetensors"
        with suppress(FileNotFoundError, SafetensorError, LookupError, TypeError, ValueError):  # none, or damaged: anew
            return _read_header(case, path)
        decoded = self.adapter.read(case)
        _refuse_non_finite(decoded.image, case)
        try:
            normalised = self.normalisation(decoded.image)
        except DataError as error:
            raise DataError(f"{case.image}: {error}") from error
        image, mask = normalised.image, decoded.mask
        tensors = {}
        if self.size is not None and self.size != mask.shape[1:]:
            tensors["reference"] = mask
            image, mask = resize_image(image, self.size), resize_mask(mask, self.size)
        tensors |= {"image": image, "mask": mask}
        header = {
            "mean": normalised.mean,
            "deviation": normalised.deviation,
            "original": decoded.mask.shape[1:],
            "pixels": np.bincount(decoded.mask.ravel(), minlength=IGNORE)[: len(self.adapter.classes)].tolist(),
            "counts": count_masks(mask, len(self.adapter.classes)),
            "digest": hashlib.sha256(repr(decoded.image.shape).encode() + decoded.image.tobytes()).hexdigest(),
        }
        content = save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, {"case": json.dumps(header)})
        write_atomically(path, content, durable=False)
        return _read_header(case, path)

    def _key(self, case: Case) -> str:
        sources = [_stamp(path) for path in self.adapter.sources(case)]
        text = json.dumps([FORMAT, sources, self.size, self.settings])
        return hashlib.sha256(text.encode()).hexdigest()[:40]


def _refuse_non_finite(image: NDArray[Any], case: Case) -> None:
    bad = 0 if image.dtype.kind != "f" else int(image.size - np.isfinite(image).sum())
    if bad:
        raise DataError(f"{case.image}: {bad} of {image.size} voxels are NaN or infinite; repair the scan")


def _stamp(path: Path) -> tuple[str, int, int]:
    """Path, size and modification time of a source."""
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


def _read_header(case: Case, path: Path) -> CachedCase:
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["case"])
        slices, rows, columns, channels = file.get_slice("image").get_shape()
        masks = {name: file.get_slice(name).get_shape() for name in ("mask", "reference") if name in file.keys()}  # noqa: SIM118
        own = masks.get("reference", masks["mask"])
        if masks["mask"] != [slices, rows, columns] or own != [slices, *header["original"]]:
            raise ValueError(f"{path}: image and masks do not belong together")
    return CachedCase(
        case=case,
        path=path,
        shape=(slices, rows, columns, channels),
        original=(header["original"][0], header["original"][1]),
        mean=tuple(header["mean"]),
        deviation=tuple(header["deviation"]),
        pixels=tuple(header["pixels"]),
        digest=header["digest"],
        counts=_counts(header["counts"]),
    )


def _counts(found: dict[str, list[int]]) -> Counts:
    return {
        "pixels": found["pixels"],
        "pixels_of_images": found["pixels_of_images"],
        "images": found["images"],
        "components": found["components"],
    }
