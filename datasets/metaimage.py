"""MetaImage files: `.mhd` with its data, and `.mha`."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .files import cannot_write
from .geometry import Lacks
from .metaimage_header import Header, read_header
from .pixels import as_array, inflated, scaled, stored


def read(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The array `(slices, rows, columns[, channels])` and the affine to RAS+ millimetres; errors as `read_volume`."""
    header = read_header(path)
    size = int(np.prod(header.shape)) * header.dtype.itemsize // len(header.data)
    parts = [_part(header, data, size) for data in header.data]
    content = parts[0] if len(parts) == 1 else np.concatenate(parts)
    array = as_array(content, header.dtype, header.shape)
    return scaled(array[..., 0] if header.shape[3] == 1 else array, header.slope, header.intercept), header.affine


def files(path: Path) -> list[Path]:
    """The file and those in which its pixels lie; errors as `read_volume`."""
    return sorted({path, *read_header(path).data})


def lacks(path: Path) -> Lacks:
    """All of them, where the header has no ElementSpacing and no ElementSize."""
    unsaid = not read_header(path).is_spaced
    return unsaid, unsaid, unsaid


def write(array: NDArray[Any], affine: NDArray[np.float64], path: Path) -> None:
    """Write a compressed MetaImage; arguments as `read` returns them, a `DataError` where that fails."""
    import SimpleITK  # takes time to import, and is for writing alone

    from .itk import to_image

    try:
        with TemporaryDirectory(prefix=".making-", dir=path.parent, ignore_cleanup_errors=True) as beside:
            made = Path(beside) / f"{path.stem}{path.suffix.lower()}"
            SimpleITK.WriteImage(to_image(array, affine), str(made), useCompression=True, imageIO="MetaImageIO")
            for data in (data for data in made.parent.iterdir() if data != made):  # first, as a header names them
                data.replace(path.with_name(data.name))
            made.replace(path)
    except OSError as error:
        raise DataError(f"{path}: {cannot_write(error, path.parent, array.nbytes)}") from error
    except RuntimeError as error:  # SimpleITK's, which has no error number
        free = shutil.disk_usage(path.parent).free / 2**20
        raise DataError(
            f"{path}: cannot be written ({free:.1f} MiB free); is the disk full, or the folder closed to you?"
        ) from error


def _part(header: Header, data: Path, size: int) -> NDArray[np.uint8]:
    if header.compressed:
        return inflated(data, header.start or 0, size, packed=header.packed)
    start = header.start if header.start is not None else max(0, data.stat().st_size - size)
    return stored(data, start, size)
