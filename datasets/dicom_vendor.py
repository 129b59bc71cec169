"""What makers write into elements of their own: diffusion weights, and the slices of a MOSAIC of Siemens."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Mapping
from math import ceil, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .dicom_file import BROKEN, Elements
from .errors import DataError


class Private(NamedTuple):
    """An element of a maker: its block is found by the name of its creator."""

    maker: str
    creator: str
    group: int
    element: int


B_VALUES = (
    Private("SIEMENS", "SIEMENS MR HEADER", 0x0019, 0x0C),
    Private("GE ", "GEMS_PARM_01", 0x0043, 0x39),
    Private("PHILIPS", "Philips Imaging DD 001", 0x2001, 0x03),
)
TILES = Private("SIEMENS", "SIEMENS MR HEADER", 0x0019, 0x0A)
IMAGE_HEADER = Private("SIEMENS", "SIEMENS CSA HEADER", 0x0029, 0x10)
PROTOCOL = Private("SIEMENS", "SIEMENS CSA HEADER", 0x0029, 0x20)
_LARGEST_B = 10**5
"""GE adds 10⁹ to some diffusion weights."""


def private(elements: Elements, what: Private) -> Any:
    """The value of a maker's element, None where there is none.

    Where creators were removed, as some programs that de-identify do, it is looked for where that maker writes it.
    """
    try:
        block = elements.dataset.private_block(what.group, what.creator)
        return block[what.element].value if what.element in block else None
    except KeyError:
        pass
    except BROKEN as error:
        raise elements.damaged(f"a private element of {what.creator}", error) from error
    usual = (what.group, 0x1000 + what.element)
    by_maker = elements.text("Manufacturer").upper().startswith(what.maker)
    if not by_maker or (what.group, 0x0010) in elements.dataset or usual not in elements.dataset:
        return None
    try:
        return elements.dataset[usual].value
    except BROKEN as error:
        raise elements.damaged(f"a private element of {what.maker}", error) from error


def b_value(elements: Elements) -> float | None:
    """The diffusion weight in s/mm² by the private elements of Siemens, GE or Philips; None where there is none."""
    for what in B_VALUES:
        value = _number(private(elements, what))
        if value is not None and value >= 0:
            return value % _LARGEST_B
    return None


def _number(value: Any) -> float | None:
    """The first number of a value, of which programs that do not know the element leave the bytes."""
    try:
        if isinstance(value, bytes):
            text = value.rstrip(b"\0 ")
            if re.fullmatch(rb"[-+.\deE\\ ]+", text):
                return float(text.split(b"\\")[0])
            return float(struct.unpack({2: "<H", 4: "<f", 8: "<d"}[len(value)], value)[0])
        listed = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
        number = float(listed[0])
    except (*BROKEN, KeyError):
        return None
    return number if np.isfinite(number) else None


class Mosaic(NamedTuple):
    """How the slices of a volume lie in one picture, row by row.

    Attributes:
        slices: how many there are.
        size: (rows, columns) of each.
        position: of the first pixel of the first slice, in LPS millimetres.
        step: from a slice to the next, in LPS millimetres.
    """

    slices: int
    size: tuple[int, int]
    position: NDArray[np.float64]
    step: NDArray[np.float64]


def is_mosaic(elements: Elements) -> bool:
    """Whether a file holds the slices of a volume as tiles of one picture."""
    return "MOSAIC" in elements.texts("ImageType").upper().split("\\") and elements.whole("NumberOfFrames", 1) <= 1


def mosaic(elements: Elements) -> Mosaic:
    """The tiles of a MOSAIC; a `DataError` where nothing says how many they are, or how they follow each other."""
    protocol = _text(private(elements, PROTOCOL))
    header = _image_header(elements)
    count = _number(private(elements, TILES)) or _number(header.get("NumberOfImagesInMosaic"))
    count = count or _found(protocol, r"sSliceArray\.lSize\s*=\s*(\d+)")
    rows, columns = elements.whole("Rows", 0), elements.whole("Columns", 0)
    axes, pixel = elements.numbers("ImageOrientationPatient", 6), elements.numbers("PixelSpacing", 2)
    corner = elements.numbers("ImagePositionPatient", 3)
    if not count or count < 1 or None in (axes, pixel, corner):
        raise _unknown(elements, "where they lie" if count and count >= 1 else "how many slices it holds")
    assert axes is not None
    assert pixel is not None
    assert corner is not None
    tiles = ceil(sqrt(count))
    size = rows // tiles, columns // tiles
    if rows % tiles or columns % tiles or min(size) < 1:
        raise DataError(
            f"{elements.path}: {int(count)} slices in a MOSAIC of {columns}x{rows} pixels, which {tiles} x {tiles} "
            "tiles do not fill; damaged, so export it again"
        )
    # the position is that of a picture of the whole size around the centre of the slice
    right, down = np.array(axes[:3]), np.array(axes[3:])
    first = np.array(corner) + (columns - size[1]) / 2 * pixel[1] * right + (rows - size[0]) / 2 * pixel[0] * down
    centre = first + size[1] / 2 * pixel[1] * right + size[0] / 2 * pixel[0] * down
    way = _way(protocol, header, int(count), centre)
    if way is None:
        raise _unknown(elements, "in which direction its slices follow each other")
    normal = np.cross(right, down)
    apart = abs(elements.number("SpacingBetweenSlices") or float(normal @ way))
    if apart <= 0 or abs(normal @ way) < 0.9 * np.linalg.norm(way):
        raise _unknown(elements, "how far apart its slices are")
    return Mosaic(int(count), size, first, np.sign(normal @ way) * apart * normal)


def untiled(stored: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """The slices `(tiles, rows, columns)` of a MOSAIC `(1, rows, columns)`, those behind the last one too."""
    _, rows, columns = stored.shape
    parted = stored.reshape(rows // size[0], size[0], columns // size[1], size[1])
    return np.ascontiguousarray(parted.swapaxes(1, 2)).reshape(-1, *size)


def _way(
    protocol: str, header: Mapping[str, list[Any]], count: int, centre: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """From the first slice towards the next: as the protocol places them, or by the normal that the header has."""
    places = [_slice(protocol, at) for at in (0, count - 1)]
    first, last = places
    if first is not None and last is not None and count > 1:
        # the first tile is the slice whose centre it has: scanners number them in either direction
        forwards = np.linalg.norm(centre - first) <= np.linalg.norm(centre - last)
        return (last - first if forwards else first - last) / (count - 1)
    normal = header.get("SliceNormalVector", [])
    return np.array(normal, float) if len(normal) == 3 else None


def _slice(protocol: str, at: int) -> NDArray[np.float64] | None:
    """The centre of a slice in LPS millimetres; an axis that the protocol leaves out is 0."""
    key = rf"sSliceArray\.asSlice\[{at}\]\.sPosition\.d"
    found = [_found(protocol, rf"{key}{axis}\s*=\s*(\S+)") for axis in ("Sag", "Cor", "Tra")]
    return None if found == [None] * 3 else np.array([value or 0.0 for value in found])


def _image_header(elements: Elements) -> dict[str, list[Any]]:
    """The values of the tags of Siemens' image header, none where it cannot be read."""
    content = private(elements, IMAGE_HEADER)
    if not isinstance(content, bytes):
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental
        from nibabel.nicom import csareader
    try:
        tags = csareader.read(content)["tags"]
    except (*BROKEN, csareader.CSAReadError, AssertionError):
        return {}
    return {name: tag["items"] for name, tag in tags.items()}


def _found(text: str, pattern: str) -> float | None:
    found = re.search(pattern, text)
    return None if found is None else _number(found[1].encode())


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")


def _unknown(elements: Elements, what: str) -> DataError:
    return DataError(
        f"{elements.path}: a MOSAIC, and nothing says {what} (were private elements removed?); export it with them, or "
        "convert it, as by dcm2niix"
    )
