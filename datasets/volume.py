"""Volumes: an array with its place in the scanner's space."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from .errors import DataError

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Volume:
    """A scan or a mask.

    Attributes:
        array: `(slices, rows, columns[, channels])`.
        affine: 4×4 float64, from the voxel index (column, row, slice) to RAS+ millimetres.

    Raises:
        ValueError: an array that is no volume, an affine that is no invertible 4×4 matrix.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.array.ndim not in (3, 4):
            raise ValueError(f"a volume is (slices, rows, columns[, channels]), got shape {self.array.shape}")
        if self.affine.shape != (4, 4) or not abs(np.linalg.det(self.affine[:3, :3])) > 0:
            raise ValueError(f"affine must be an invertible 4×4 matrix, got {self.affine.tolist()}")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between columns, rows and slices."""
        column, row, slice_ = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return column, row, slice_


def read_volume(path: str | Path) -> Volume:
    """Read a MetaImage (`.mhd` with its data file, or `.mha`).

    Raises:
        DataError: the file is missing, unreadable or no volume, or its data file lies outside its folder.
    """
    path = Path(path)
    if path.suffix.lower() not in (".mhd", ".mha"):
        raise DataError(f"{path}: not a MetaImage; expected a file ending in .mhd or .mha")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    _refuse_foreign_data_file(path)
    try:
        image = SimpleITK.ReadImage(str(path), imageIO="MetaImageIO")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise DataError(f"{path}: not a readable MetaImage, damaged or cut short ({reason})") from error
    if image.GetDimension() != 3:
        raise DataError(f"{path}: {image.GetDimension()} dimensions; expected a volume with 3")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Volume(SimpleITK.GetArrayFromImage(image), _LPS_TO_RAS @ affine)


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a MetaImage: `.mhd` with a compressed `.zraw` beside it, or a single `.mha`.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in (".mhd", ".mha"):
        raise ValueError(f"{path}: a volume is written as .mhd or .mha")
    affine = _LPS_TO_RAS @ volume.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(volume.array, isVector=volume.array.ndim == 4)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=True, imageIO="MetaImageIO")


def _refuse_foreign_data_file(path: Path) -> None:
    """A header may name any file of the machine as its pixels; only one in its own folder is read."""
    header = path.open("rb").read(64 * 1024).decode("latin-1")
    entry = re.search(r"^\s*ElementDataFile\s*=\s*(.+?)\s*$", header, re.MULTILINE)
    if entry is None:
        raise DataError(f"{path}: no ElementDataFile in its header; not a MetaImage, or cut short")
    name = entry.group(1)
    if name == "LOCAL":
        return
    data = path.parent / name
    if data.resolve().parent != path.parent.resolve():
        raise DataError(f"{path}: its ElementDataFile {name!r} lies outside its folder; put the data file beside it")
    if not data.is_file():
        raise DataError(f"{path}: its ElementDataFile {name!r} is missing; it belongs beside the header")
