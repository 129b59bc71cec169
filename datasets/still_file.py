"""Files of stills: opened by Pillow, and refused where they hold less than their header promises."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, PpmImagePlugin, TiffImagePlugin, UnidentifiedImageError

from .errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "JPEG2000", "PPM")
SEVERAL = ("PNG", "TIFF", "GIF", "WEBP")
"""Formats of which a file may hold several pictures; the further ones of a JPEG are previews."""
BROKEN = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AssertionError,
    MemoryError,
    EOFError,
    LookupError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for damaged files."""
MOST_PIXELS_A_BYTE = 8 * 1100
"""Deflate packs about 1030 bytes into one, and a byte holds at most 8 pixels; LZW packs less."""
DENSE = ("WEBP", "JPEG2000")
"""Formats in which an area of one colour may take no bytes at all."""
SMALL = 2**26
"""Pixels that a file of these formats may hold, however short it is."""
LARGEST = 2**30
"""Pixels of the largest still that is read; one of colours takes up to 7 bytes a pixel while it is opened."""
GREY_DEEP = ("I", "F", "I;16", "I;16B", "I;16L")
"""Pillow's modes of grey with more than 8 bits."""
SIDES = range(1, 9)
"""EXIF orientations; some cameras write 0, which says nothing."""
ROWS = 1024
"""Of a picture that are copied at a time."""
LOSSY = ("jpeg", "tiff_jpeg", "webp")
"""Compressions in a TIFF, as Pillow calls them, that change values."""
CHANGED = ", whose compression changes labels"
_SIZ, _COD = b"\xff\x4f\xff\x51", b"\xff\x52"

Image.MAX_IMAGE_PIXELS = None  # of this whole process: `LARGEST` stands for it, before anything is allocated


class Still(NamedTuple):
    """A picture and what its file says of it.

    Attributes:
        image: the picture, loaded.
        deep: whether the file has more than 8 bits a channel, which Pillow cuts to 8 where there are colours.
        lossy: why values are not those that were written, in words; None where they are.
        stretch: of grey with 2 or 4 bits: what Pillow multiplies values with, so that they reach 255; else 1.
        orientation: by EXIF, of which the image has been turned upright; 1 where it is as it is stored.
    """

    image: Image.Image
    deep: bool
    lossy: str | None
    stretch: int
    orientation: int


@contextmanager
def _pillow_errors(path: Path) -> Iterator[None]:
    """What Pillow raises of a file that is missing or damaged as a `DataError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except DataError:
        raise
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: not a readable image, damaged or cut short ({reason}); replace the file") from error


def open_still(path: Path, turned: bool = False) -> Still:
    """Open a still and load its pixels.

    Args:
        path: the file.
        turned: turn it as its EXIF orientation says.

    Raises:
        DataError: the file is missing, damaged, too large, or holds several pictures.
    """
    with _pillow_errors(path):
        image = Image.open(path, formats=FORMATS)  # others may start programs, as PostScript does
        _unmap(image)
        _refuse_hollow(image, path)
        tiles = [str(tile.args) for tile in getattr(image, "tile", ())]
        deep, stretch = image.mode in GREY_DEEP or any(";16" in tile for tile in tiles), _stretch(image, tiles)
        lossy = None
        if image.format in ("JPEG", "MPO"):
            lossy = f"a JPEG{CHANGED}"
        elif image.info.get("compression") in LOSSY:
            lossy = f"a TIFF of {image.info['compression']}{CHANGED}"
        elif image.format in DENSE:
            deep_stream, lossy = _stream(path, image.format)
            deep = deep or deep_stream
        elif isinstance(image, PpmImagePlugin.PpmImageFile):
            deep, lossy = _anymap(image)
        pictures = getattr(image, "n_frames", 1) if image.format in SEVERAL else 1
        pictures = 1 if _is_pyramid(image) else pictures
        side = orientation(path) if turned else 1
        if pictures == 1:
            image.load()
            if turned:
                ImageOps.exif_transpose(image, in_place=True)
    if pictures > 1:
        raise DataError(f"{path}: holds {pictures} pictures; expected one a file, so write each into its own")
    return Still(image, deep, lossy, stretch, side)


def orientation(path: Path) -> int:
    """The EXIF orientation of a file that was read, 1 where it says none; a TIFF is always turned by its own."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            said = 1 if image.format == "TIFF" else int(image.getexif().get(ExifTags.Base.Orientation, 1))
            return said if said in SIDES else 1
    except BROKEN:  # an array, or EXIF that is damaged
        return 1


def palette_of(path: Path) -> dict[int, str]:
    """The colour of each value of a mask with a palette of colours, `#rrggbb`; empty for any other."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode != "P":
                return {}
            colours = bytes(image.getpalette("RGB") or ())
            grey = colours[::3] == colours[1::3] == colours[2::3]
            if grey and image.format == "GIF":  # whose values are read as levels
                return {}
            used = [value for value, count in enumerate(image.histogram()) if count]
    except BROKEN:  # an array
        return {}
    return {value: f"#{colours[3 * value : 3 * value + 3].hex()}" for value in used}


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of a grey or RGB picture, `(rows, columns, channels)`, copied in pieces, since Pillow copies twice."""
    channels = len(image.getbands())
    found = np.empty((image.height, image.width, channels), np.uint8)
    for top in range(0, image.height, ROWS):
        piece = image.crop((0, top, image.width, min(top + ROWS, image.height)))
        found[top : top + ROWS] = np.asarray(piece, np.uint8).reshape(-1, image.width, channels)
    return found


def deep_colours(path: Path) -> NDArray[np.uint16]:
    """16-bit RGB or RGBA as `(rows, columns, 3)`, grey with alpha as `(rows, columns, 1)`."""
    pixels = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise DataError(f"{path}: 16-bit colours that cannot be read; write it as PNG or TIFF without compression")
    if pixels.ndim == 2:
        return np.asarray(pixels, dtype=np.uint16)[..., np.newaxis]
    return np.asarray(pixels[..., 2::-1], dtype=np.uint16)


def upright(pixels: NDArray[Any], side: int) -> NDArray[Any]:
    """Pixels `(rows, columns, …)` turned as an EXIF orientation says; as they are by a number that is none."""
    if side not in SIDES:
        return pixels
    if side > 4:
        pixels = pixels.swapaxes(0, 1)
    rows, columns = side in (3, 4, 7, 8), side in (2, 3, 6, 7)
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]


def _unmap(image: Image.Image) -> None:
    """Let Pillow copy the pixels of a TIFF that lies on its side: it maps rows as long as the upright picture's."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
        image.filename = ""


def _is_pyramid(image: Image.Image) -> bool:
    """Whether a TIFF has several pages, of which all but the first are smaller copies of that."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or image.n_frames < 2:
        return False
    size, mode, copies = image.size, image.mode, []
    for page in range(1, image.n_frames):
        image.seek(page)
        subfile = int(image.tag_v2.get(ExifTags.Base.NewSubfileType, 0))
        copies.append(image.mode == mode and is_copy(image.size, size, subfile))
    image.seek(0)
    return all(copies)


def is_copy(size: tuple[int, int], of: tuple[int, int], subfile: int) -> bool:
    """Whether a page of a TIFF is a smaller copy of the first: it says so, or has a half, a quarter … of its sides."""
    (width, height), (columns, rows) = size, of
    halves = (2**level for level in range(1, 16))
    halved = any(abs(columns - half * width) < half > abs(rows - half * height) for half in halves)
    return width < columns and height < rows and (bool(subfile & 1) or halved)


def _refuse_hollow(image: Image.Image, path: Path) -> None:
    """Raise a `DataError` where a header promises more pixels than the file can hold, before they are allocated."""
    size, pixels = path.stat().st_size, image.width * image.height
    room = MOST_PIXELS_A_BYTE * size
    if image.format in DENSE:
        room = max(room, SMALL)
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # compressed for fax, a byte holds any number of pixels
        _refuse_missing_strips(image, path)
        room = 8 * size if image.info.get("compression") == "raw" else pixels
    if pixels > room:
        raise DataError(
            f"{path}: {image.width}x{image.height} pixels by its header, in {size} bytes: damaged or cut short; "
            "replace the file"
        )
    if pixels > LARGEST:
        raise DataError(
            f"{path}: {image.width}x{image.height} pixels; stills of at most {LARGEST} are read, so divide or shrink it"
        )


def _refuse_missing_strips(image: TiffImagePlugin.TiffImageFile, path: Path) -> None:
    """Raise a `DataError` where a TIFF lists fewer strips or tiles than its pixels take: Pillow leaves them black."""
    tags, named = image.tag_v2, TiffImagePlugin
    tiled = named.TILEOFFSETS in tags
    width, height = int(tags[named.IMAGEWIDTH]), int(tags[named.IMAGELENGTH])  # as stored, whatever the orientation
    across, down = width, tags.get(named.ROWSPERSTRIP, 0)
    if tiled:
        across, down = tags.get(named.TILEWIDTH, 0), tags.get(named.TILELENGTH, 0)
    planes = int(tags.get(named.SAMPLESPERPIXEL, 1)) if tags.get(named.PLANAR_CONFIGURATION, 1) == 2 else 1
    blocks = planes * -(-width // max(1, int(across or width))) * -(-height // max(1, int(down or height)))
    listed = len(tags.get(named.TILEOFFSETS if tiled else named.STRIPOFFSETS, ()))
    if 0 < listed < blocks:  # with none Pillow refuses it, or it is a JPEG within of before 1995
        raise DataError(
            f"{path}: {listed} of the {blocks} {'tiles' if tiled else 'strips'} that {width}x{height} "
            "pixels take: damaged or cut short; replace the file"
        )


def _stretch(image: Image.Image, tiles: list[str]) -> int:
    """What the values of a grey PNG of 2 or 4 bits are multiplied with."""
    bits = next((bits for bits in (2, 4) for tile in tiles if tile.startswith(f"L;{bits}")), 8)
    return 255 // (2**bits - 1) if image.mode == "L" and bits < 8 else 1


def _stream(path: Path, kind: str | None) -> tuple[bool, str | None]:
    """Whether a WebP or JPEG 2000 has more than 8 bits, and the compression that has changed its values."""
    content = path.read_bytes()
    if kind == "WEBP":
        return False, f"a lossy WebP{CHANGED}" if b"VP8 " in _chunks(content) else None
    siz = content.find(_SIZ)
    cod = content.find(_COD, siz)
    if min(siz, cod) < 0 or len(content) < max(siz + 43, cod + 14):
        raise DataError(f"{path}: a JPEG 2000 without its headers; damaged or cut short, so replace the file")
    deep = (content[siz + 42] & 0x7F) + 1 > 8
    return deep, None if content[cod + 13] == 1 else f"a lossy JPEG 2000{CHANGED}"


def _chunks(content: bytes) -> list[bytes]:
    """The names of the chunks of a WebP."""
    found, at = [], 12
    while at + 8 <= len(content):
        found.append(content[at : at + 4])
        at += 8 + (int.from_bytes(content[at + 4 : at + 8], "little") + 1) // 2 * 2
    return found


def _anymap(image: ImageFile.ImageFile) -> tuple[bool, str | None]:
    """Whether a PGM or PPM has more than 8 bits, and its largest value where Pillow stretches values to another."""
    kind, codec, arguments = image.format, image.tile[0].codec_name, image.tile[0].args
    largest = arguments[1] if codec.startswith("ppm") and isinstance(arguments, tuple) and len(arguments) > 1 else 255
    deep = image.mode in GREY_DEEP or int(largest) > 255
    return deep, f"a {kind} of values up to {largest}, which are stretched" if largest not in (255, 65535) else None
