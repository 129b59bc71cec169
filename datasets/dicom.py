"""DICOM images: a multi-frame file, or a series of files in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut

from .dicom_file import BROKEN, Elements, load, transfer_syntax
from .dicom_frames import Frame
from .dicom_options import Colour
from .dicom_pixels import stored_frames
from .dicom_series import Series
from .dicom_vendor import is_mosaic, untiled
from .errors import DataError
from .pixels import refuse_too_large, scaled

LUMA = (0.299, 0.587, 0.114)
"""Red, green and blue in the brightness of a colour (ITU-R BT.601, as YBR has it)."""
MONOCHROME = ("MONOCHROME1", "MONOCHROME2")


def read(series: Series, colour: Colour) -> NDArray[Any]:
    """The intensities of a series.

    Stored numbers become intensities by the modality's table, or by slope and intercept, frame by frame. Numbers of
    MONOCHROME1 without such a unit are inverted (over the range of their bits), so that larger is brighter.

    Args:
        series: as `find_series` gives it.
        colour: `grey` for one channel, of colours their brightness; `rgb` for three, grey repeated.

    Returns:
        `(slices, rows, columns)`, or `(slices, rows, columns, 3)`.

    Raises:
        DataError: pixels that are missing, cut short or cannot be decoded.
    """
    slices, rows, columns = series.geometry.shape
    refuse_too_large(series.frames[0].path, slices * rows * columns * (3 if colour == "rgb" else 1))
    planes: list[NDArray[Any] | None] = [None] * slices
    for path in series.files:
        wanted = [(at, frame) for at, frame in enumerate(series.frames) if frame.path == path]
        for (at, _), plane in zip(wanted, _planes(path, [frame for _, frame in wanted], colour), strict=True):
            planes[at] = plane
    found = [plane for plane in planes if plane is not None]
    return np.stack([plane.astype(np.result_type(*{plane.dtype for plane in found})) for plane in found])


def _planes(path: Path, frames: list[Frame], colour: Colour) -> list[NDArray[Any]]:
    """The intensities of some frames of a file."""
    if (plain := frames[0].plain) is not None:
        numbers = plain.read(path)
        planes = [_in_units(numbers[frame.index], frame) for frame in frames]
        return [np.repeat(plane[..., np.newaxis], 3, axis=-1) for plane in planes] if colour == "rgb" else planes
    elements = load(path, pixels=True)
    stored, photometric = stored_frames(elements)
    if is_mosaic(elements) and stored.ndim == 3:
        stored = untiled(stored, frames[0].size)
    if stored.shape[1:3] != frames[0].size or len(stored) <= max(frame.index for frame in frames):
        raise DataError(
            f"{path}: {stored.shape[0]} frames of {stored.shape[2]}x{stored.shape[1]}; has it just changed?"
        )
    if photometric in MONOCHROME:
        planes = [_grey(stored[frame.index], frame, elements, photometric) for frame in frames]
        return [np.repeat(plane[..., np.newaxis], 3, axis=-1) for plane in planes] if colour == "rgb" else planes
    if photometric == "PALETTE COLOR":
        try:
            stored = np.stack([apply_color_lut(stored[frame.index], elements.dataset) for frame in frames])
        except BROKEN as error:
            raise elements.damaged("its palette", error) from error
        stored = stored[..., :3]
    elif photometric == "RGB":
        stored = stored[[frame.index for frame in frames]]
    else:
        raise DataError(
            f"{path}: PhotometricInterpretation {photometric!r} is not read; expected MONOCHROME1 or 2, RGB, YBR_FULL, "
            "YBR_FULL_422, YBR_ICT, YBR_RCT or PALETTE COLOR"
        )
    return list(stored if colour == "rgb" else brightness(stored))


def _grey(plane: NDArray[Any], frame: Frame, elements: Elements, photometric: str) -> NDArray[Any]:
    if plane.ndim != 2:
        raise DataError(f"{frame.path}: {photometric} of {plane.shape[-1]} samples; expected one; damaged?")
    tables = elements.items("ModalityLUTSequence")
    if tables:
        return _looked_up(plane, tables[0], transfer_syntax(elements).is_little_endian)
    if photometric == "MONOCHROME1" and _line(frame) == (1, 0):
        return _inverted(plane, elements.whole("BitsStored", 8))
    return _in_units(plane, frame)


def _line(frame: Frame) -> tuple[float, float]:
    """Slope and intercept of a frame."""
    return 1.0 if frame.slope is None else frame.slope, frame.intercept or 0.0


def _in_units(plane: NDArray[Any], frame: Frame) -> NDArray[Any]:
    """Stored numbers by the line of their frame."""
    return scaled(plane, *_line(frame))


def _inverted(plane: NDArray[Any], bits: int) -> NDArray[Any]:
    """Stored numbers so that larger is brighter, over the range of their bits."""
    if plane.dtype.kind == "f":
        return -plane
    if plane.dtype.kind == "i":
        return -1 - plane  # from −2^(n−1)..2^(n−1)−1 onto itself
    return (np.uint64(2**bits - 1) - plane.astype(np.uint64)).astype(plane.dtype)


def _looked_up(plane: NDArray[Any], table: Elements, little_endian: bool) -> NDArray[np.uint16]:
    """The numbers of a modality LUT, its first and last for what lies outside."""
    entries, first, _ = table.numbers("LUTDescriptor", 3) or (0.0, 0.0, 0.0)
    count, data = int(entries) or 2**16, table.value("LUTData")
    if plane.dtype.kind == "f" or not isinstance(data, bytes | Iterable):
        raise DataError(f"{table.path}: ModalityLUTSequence without numbers; export the file again")
    try:
        raw = np.frombuffer(data, "<u2" if little_endian else ">u2") if isinstance(data, bytes) else list(data)
        values = np.array(raw).astype(np.uint16)
    except BROKEN as error:
        raise table.damaged("its modality LUT", error) from error
    if not 0 < count <= len(values):
        raise DataError(f"{table.path}: ModalityLUTSequence has {len(values)} numbers, not {count}; export it again")
    return values[np.clip(plane.astype(np.int64) - int(first), 0, count - 1)]


def brightness(colours: NDArray[Any]) -> NDArray[Any]:
    """Of `(…, 3)` colours in their own type; of greys exactly their value."""
    if (colours[..., :1] == colours).all():
        return colours[..., 0]
    grey = sum(share * colours[..., channel].astype(np.float64) for channel, share in enumerate(LUMA))
    return np.asarray(grey).round().astype(colours.dtype)
