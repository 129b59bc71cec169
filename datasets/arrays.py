"""Arrays in files of NumPy (`.npy`, `.npz`) and MATLAB (`.mat` up to v7.2); nothing pickled is read."""

from __future__ import annotations

import zipfile
import zlib
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .errors import DataError
from .matlab import HEADER, Matlab
from .pixels import MOST_OUT_OF_A_BYTE, refuse_too_large

_HDF5 = b"MATLAB 7.3 MAT"
_BROKEN: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError),
    *(MemoryError, OverflowError, RuntimeError, AssertionError, SyntaxError, StopIteration),
    *(TokenError, zipfile.BadZipFile, zlib.error),
)
"""What NumPy, zipfile and SciPy raise for damaged files."""


def read_array(path: Path, key: str | None = None) -> NDArray[Any]:
    """The array of a file: of numbers or truth values.

    Args:
        path: the file.
        key: which of several: its name, in MATLAB with the fields below it, as `groundTruth.Segmentation`; null: the
            only one.

    Raises:
        DataError: the file is missing or damaged, has no array of that name, several where none is named, or one of
            something else than numbers.
    """
    suffix = path.suffix.lower()
    reader = {".npy": _npy, ".npz": _npz, ".mat": _mat}[suffix]
    try:
        array = reader(path, key)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except DataError:
        raise
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: not a readable {suffix} file ({reason}); write it again from its source") from error
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise DataError(f"{path}: an array of {array.dtype}; expected integers, floats or truth values")
    if not array.size:
        raise DataError(f"{path}: an array of shape {array.shape}, which is empty")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _npy(path: Path, key: str | None) -> NDArray[Any]:  # noqa: ARG001  # it has one array, without a name
    with path.open("rb") as file:
        return _stream(path, file, path.stat().st_size)


def _npz(path: Path, key: str | None) -> NDArray[Any]:
    with zipfile.ZipFile(path) as archive:
        held = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        info = held[_chosen(path, key, list(held))]
        room = min(info.file_size, MOST_OUT_OF_A_BYTE * path.stat().st_size)
        with archive.open(info) as file:
            return _stream(path, file, room)


def _stream(path: Path, file: IO[bytes], room: int) -> NDArray[Any]:
    """An array of `.npy`, of at most `room` bytes."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"{path}: version {version} of .npy; expected plain numbers, so save it again with np.save")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise DataError(f"{path}: holds pickled objects, which are not read; save an array of numbers")
    size = prod(shape) * dtype.itemsize
    refuse_too_large(path, size)
    if size > room:
        raise DataError(f"{path}: {size} bytes by its header, but it holds at most {room}; damaged or cut short")
    content = bytearray(file.read(size))
    if len(content) < size:
        raise DataError(f"{path}: {size} bytes by its header, but it holds {len(content)}; damaged or cut short")
    array = np.frombuffer(content, dtype, prod(shape))
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _mat(path: Path, key: str | None) -> NDArray[Any]:
    with path.open("rb") as file:
        head = file.read(HEADER)
    if head.startswith(_HDF5):
        raise DataError(f"{path}: MATLAB v7.3, which is not read; save it again with save(file, name, '-v7')")
    if head[:4].count(0) or len(head) < HEADER:  # text begins the later ones
        return _mat4(path, key)
    matlab = Matlab(path)
    return matlab.array(_chosen(path, key, list(matlab.matrices), dotted=True))


def _mat4(path: Path, key: str | None) -> NDArray[Any]:
    from scipy.io import loadmat, whosmat  # takes time to import
    from scipy.io.matlab import MatReadError

    try:
        name = _chosen(path, key, [name for name, *_ in whosmat(path)])
        array: NDArray[Any] = loadmat(path, variable_names=[name])[name]
    except MatReadError as error:
        raise ValueError(str(error)) from error
    return array


def _chosen(path: Path, key: str | None, names: list[str], dotted: bool = False) -> str:
    """The name of the array that is meant."""
    if key is None and len(names) == 1:
        return names[0]
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "") or "nothing"
    if key is None:
        raise DataError(
            f"{path}: holds {len(names)} arrays, {listed}; name one by data.image_key, and by data.mask_key for masks"
        )
    if (key.split(".")[0] if dotted else key) not in names:
        raise DataError(f"{path}: no array {key!r}, but {listed}; see data.image_key and data.mask_key")
    return key
