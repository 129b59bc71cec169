"""The decoded cases on disk: read once from their source, then memory-mapped.

One safetensors file a case holds its image and mask on the network's grid, its mask on its own grid where that
differs, and in the header what else is known: normalisation, counts, digest. Of pictures with one label a file holds
many (`datasets.packs`). Its name is a hash of all that the
content depends on, so a changed source or setting makes another file. It is written beside and renamed: a reader sees
a whole file or none, and processes that start together write the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save

from .cached import TENSORS, CachedCase
from .case import IGNORE, Adapter, Case, Decoded, Remark
from .counts import slice_counts
from .errors import DataError
from .files import cannot_write, leftovers, write_atomically
from .geometry import TOLERANCE
from .grid import Shape, network_shape, resize_image, resize_mask
from .labels import class_index
from .normalise import Normalisation, Normalised, Percentile
from .packs import BYTES, MOST, Packed, open_pack, write_pack
from .remarks import Grids, remarks_of
from .walk import refuse_broken_link

FORMAT = 8
"""Raised when the content of the files changes."""
ROOM = 4 * 2**30
"""Bytes that the cases which are decoded at once may take together, all as large as the first."""
COPIES = 5
"""Of a case as float32 while it is decoded: the file's values, turned, scaled, resized, packed."""


@dataclass(frozen=True)
class Cache:
    """Decodes the cases of one adapter with one set of settings.

    Attributes:
        folder: where the files lie.
        adapter: reads the sources.
        size: (height, width) of the network's grid, None for each case's own.
        spacing: millimetres between its slices, rows and columns; None, whole or in part, for each case's own.
        normalisation: scales an image.
        settings: text that changes when adapter or normalisation would give other pixels.
    """

    folder: Path
    adapter: Adapter
    size: tuple[int, int] | None
    spacing: tuple[float | None, float | None, float | None] | None
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
        if not cases:
            return
        if cases[0].label is not None:
            yield from self._packed(cases)
            return
        first = self._decode(cases[0])
        yield first
        with self._pool(prod(first.original) * len(first.mean)) as pool:
            futures = [pool.submit(self._decode, case) for case in cases[1:]]
            try:
                for future in futures:
                    yield future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _pool(self, values: int) -> ThreadPoolExecutor:
        """Threads that decode cases of so many values at once."""
        return ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1, ROOM // (4 * COPIES * values))))

    def _packed(self, cases: Sequence[Case]) -> Iterator[CachedCase]:
        """Pictures with one label, many in a file."""
        first = self._picture(cases[0])
        most = max(1, min(MOST, BYTES // first.image.nbytes))
        stamps: dict[Path, tuple[str, int, int]] = {}
        with self._pool(first.image.size) as pool:
            for start in range(0, len(cases), most):
                part = cases[start : start + most]
                path = self._pack_path(part, stamps)
                held = open_pack(part, path, len(self.adapter.classes))
                if held is None:
                    write_pack(path, pool.map(self._picture, part))
                    held = open_pack(part, path, len(self.adapter.classes))
                if held is None:
                    raise DataError(f"{path}: cannot be read as it was written; is the disk damaged?")
                yield from held

    def _picture(self, case: Case) -> Packed:
        """A decoded picture with one label."""
        decoded = self.adapter.read(case)
        pixels, normalised = decoded.image.array, self.normalised(decoded, case)
        slices, rows, columns = pixels.shape[:3]
        image = resize_image(normalised.image, network_shape((slices, rows, columns), None, self.size, None))
        return Packed(image, normalised.mean, normalised.deviation, digest_of(pixels), decoded.remarks)

    def _pack_path(self, cases: Sequence[Case], stamps: dict[Path, tuple[str, int, int]]) -> Path:
        """The file of some pictures; the stamps of sources are kept, since one may hold many."""
        lines = []
        folders: dict[Path, str] = {}
        for case in cases:
            for source in self.adapter.sources(case):
                if source not in stamps:
                    if source.parent not in folders:
                        folders[source.parent] = str(source.parent.resolve())
                    stamps[source] = _stamp(source, folders[source.parent])
                lines.append((case.id, case.label, *stamps[source]))
        return self._file([FORMAT, "pictures", lines, self.size, self.settings, len(self.adapter.classes)])

    def _decode(self, case: Case) -> CachedCase:
        if (known := self.held_of(case)) is not None:
            return known
        path = self._path(case)
        decoded = self.adapter.read(case)
        pixels = decoded.image.array
        normalised = self.normalised(decoded, case)
        image, mask = normalised.image, decoded.mask
        original: Shape = (mask.shape[0], mask.shape[1], mask.shape[2])
        shape = network_shape(original, decoded.spacing, self.size, self.spacing)
        tensors = {"image": resize_image(image, shape), "mask": resize_mask(mask, shape)}
        if shape != original:
            tensors["reference"] = mask
        classes = self.adapter.classes
        counts = slice_counts(tensors["mask"], len(classes))
        own = np.bincount(decoded.mask.ravel(), minlength=IGNORE)[: len(classes)].tolist()
        header = {
            "mean": normalised.mean,
            "deviation": normalised.deviation,
            "original": original,
            "spacing": decoded.spacing,
            "voxel_ml": decoded.voxel_ml,
            "counts": counts.tolist(),
            "pixels": own,
            "remarks": self.remarks_of(decoded, normalised, Grids(own, counts[0].sum(0).tolist())),
            "palette": dict(decoded.palette),
            "digest": digest_of(pixels),
        }
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        header["checksums"] = [[zlib.crc32(plane) for plane in tensors.get(name, ())] for name in TENSORS]
        content = save(tensors, {"case": json.dumps(header)})
        write_atomically(path, content, durable=False)
        return CachedCase.open(case, path)

    def normalised(self, decoded: Decoded, case: Case) -> Normalised:
        """The image of a case, scaled; see `scaled_image`."""
        return scaled_image(self.normalisation, decoded.image.array, case.image)

    def remarks_of(self, decoded: Decoded, normalised: Normalised, pixels: Grids) -> tuple[Remark, ...]:
        """What one should know of a case; see `remarks.remarks_of`."""
        classes, clips = self.adapter.classes, isinstance(self.normalisation, Percentile)
        background = class_index(classes, self.adapter.background)
        found = remarks_of(decoded, normalised, pixels, classes, background, clips)
        return (*found, *self._sized(decoded))

    def _sized(self, decoded: Decoded) -> Iterator[Remark]:
        """That rows and columns get a size in pixels where one in millimetres is given too."""
        if self.size is None or self.spacing is None or decoded.spacing is None:
            return
        pairs = zip(decoded.spacing[1:], self.spacing[1:], strict=True)
        if any(to is not None and abs(of - to) > TOLERANCE for of, to in pairs):
            yield Remark(
                f"scan(s) whose slices are resized to {self.size[1]}x{self.size[0]}, whatever data.spacing says",
                "data.size: null, with PadIfNeeded and a crop in data.augment, keeps it; data.spacing: [slice, null, "
                "null] is for slices alone",
            )

    def held_of(self, case: Case) -> CachedCase | None:
        """What is held of a case as its files are now, by their size and modification time; None where nothing is.

        None too of pictures with one label, of which a file holds many.
        """
        with suppress(FileNotFoundError, SafetensorError, LookupError, TypeError, ValueError):  # none, or damaged
            return CachedCase.open(case, self._path(case))
        return None

    def clear(self) -> int:
        """Remove every decoded case, of other settings and data sets too; returns the bytes that were freed."""
        return sum(self._bytes(remove=True))

    def held(self) -> int:
        """The bytes of every decoded case in the folder."""
        return sum(self._bytes())

    def _bytes(self, remove: bool = False) -> Iterator[int]:
        """The sizes of the decoded cases, of what writers that were killed have left of some, and of kept headers."""
        own = (path for path in self.folder.glob("*.safetensors") if re.fullmatch(r"[0-9a-f]{40}", path.stem))
        headers = self.folder.glob("dicom-headers-*.jsonl")
        for path in (*own, *headers, *leftovers(self.folder, f"{'[0-9a-f]' * 40}.safetensors")):
            with suppress(FileNotFoundError):
                yield path.stat().st_size
                if remove:
                    path.unlink()

    def _path(self, case: Case) -> Path:
        sources = [_stamp(path) for path in self.adapter.sources(case)]
        return self._file([FORMAT, sources, self.size, self.spacing, self.settings])

    def _file(self, content: list[Any]) -> Path:
        """The file of what follows from such content."""
        return self.folder / f"{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:40]}.safetensors"


def digest_of(pixels: NDArray[Any]) -> str:
    """SHA-256 of decoded pixels and their shape."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def scaled_image(normalisation: Normalisation, image: NDArray[Any], path: Path) -> Normalised:
    """An image, scaled; a `DataError` that names its file where it cannot be, or is not finite."""
    bad = 0 if image.dtype.kind != "f" else int(image.size - np.isfinite(image).sum())
    if bad:
        raise DataError(f"{path}: {bad} of {image.size} voxels are NaN or infinite; repair the scan")
    try:
        return normalisation(image)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _stamp(path: Path, folder: str | None = None) -> tuple[str, int, int]:
    """Path, size and modification time of a source.

    Args:
        path: the file.
        folder: its folder, resolved, where that is known of many files; None to resolve the path.
    """
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        refuse_broken_link(path)
        raise DataError(f"{path}: no such file") from error
    place = str(path.resolve()) if folder is None else f"{folder}/{path.name}"
    return place, stat.st_size, stat.st_mtime_ns
