"""The stored pixels of a DICOM file: native or compressed, decoded by pydicom and its plugins, never by GDCM."""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import Decoder, get_decoder

from .dicom_file import BROKEN, PIXELS, Elements, transfer_syntax
from .errors import DataError
from .pixels import MOST_OUT_OF_A_BYTE, refuse_too_large

PLUGINS = {
    uid.JPEGBaseline8Bit: ("pillow",),
    uid.JPEGExtended12Bit: ("pylibjpeg", "pillow"),  # Pillow decodes its 8-bit kind alone
    uid.JPEGLossless: ("pylibjpeg",),
    uid.JPEGLosslessSV1: ("pylibjpeg",),
    uid.JPEGLSLossless: ("pyjpegls",),
    uid.JPEGLSNearLossless: ("pyjpegls",),
    uid.JPEG2000Lossless: ("pylibjpeg",),
    uid.JPEG2000: ("pylibjpeg",),
    uid.HTJ2KLossless: ("pylibjpeg",),
    uid.HTJ2KLosslessRPCL: ("pylibjpeg",),
    uid.HTJ2K: ("pylibjpeg",),
    uid.RLELossless: ("pydicom",),
}
"""What decodes a compressed transfer syntax, the first that is installed."""
GPL = (uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
REMEDY = "pip install 'segloss[jpeg-lossless]' (pylibjpeg-libjpeg, GPLv3), or convert the files, as by dcmdjpeg"
ROOM = 64 * 2**20
"""Bytes that a compressed volume may decode to whatever its size: a black frame takes hardly any."""
_JPEG_SIZES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)
"""Markers of JPEG and JPEG-LS behind which the size of the image stands."""


def stored_frames(elements: Elements) -> tuple[NDArray[Any], str]:
    """The frames as they are stored, YBR as RGB, and their photometric interpretation.

    Returns:
        `(frames, rows, columns[, 3])`, whole numbers with the unused bits cleared, or floats.

    Raises:
        DataError: no pixel data, fewer than the header says, an encoding that cannot be decoded here.
    """
    path = elements.path
    shape = (elements.whole("NumberOfFrames", 1) or 1, elements.whole("Rows", 0), elements.whole("Columns", 0))
    if min(shape[1:]) < 1:
        raise DataError(f"{path}: Rows = {shape[1]}, Columns = {shape[2]}; expected an image; is the file damaged?")
    samples = elements.whole("SamplesPerPixel", 1)
    bits = elements.whole("BitsAllocated", 0)
    if samples not in (1, 3) or bits not in (1, 8, 16, 32, 64):
        raise DataError(
            f"{path}: SamplesPerPixel = {samples}, BitsAllocated = {bits}; expected 1 or 3 samples of 1, 8, 16, 32 or "
            "64 bits"
        )
    size = ceil(shape[0] * shape[1] * shape[2] * samples * bits / 8)
    refuse_too_large(path, max(size, shape[0] * shape[1] * shape[2] * samples))
    held = _held(elements)
    syntax = transfer_syntax(elements)
    if syntax.is_encapsulated:
        _refuse_bomb(elements, size, held)
        plugin = _plugin(elements, syntax)
    else:
        _refuse_other_size(elements, size, held, shape[0])
        plugin = ""
    try:
        if bits == samples == 1 and syntax.is_little_endian and not syntax.is_encapsulated:
            return _bits(elements, shape)
        if syntax.is_encapsulated:
            _check_codestreams(elements, syntax, shape)
        return _decoded(elements, get_decoder(syntax), plugin, shape[0])
    except DataError:
        raise
    except (*BROKEN, MemoryError) as error:
        raise elements.damaged(f"pixel data ({syntax.name})", error) from error


def _bits(elements: Elements, shape: tuple[int, int, int]) -> tuple[NDArray[Any], str]:
    """Frames of a bit a pixel, one behind the other; pydicom reads those alone that begin with a byte."""
    packed = np.frombuffer(elements.value("PixelData"), np.uint8)
    found = np.unpackbits(packed, count=prod(shape), bitorder="little")
    return found.reshape(shape), elements.text("PhotometricInterpretation")


def _held(elements: Elements) -> int:
    """Bytes of pixel data."""
    present = [key for key in PIXELS if elements.value(key) is not None]
    if len(present) != 1:
        detail = "no pixel data" if not present else " and ".join(present)
        raise DataError(f"{elements.path}: {detail}; expected one image; cut short, or not an image? Export it again")
    value = elements.value(present[0])
    if not isinstance(value, bytes):
        raise DataError(f"{elements.path}: its {present[0]} is no pixel data; damaged, so export it again")
    bits, stored = elements.whole("BitsAllocated", 0), elements.whole("BitsStored", 0)
    high = elements.whole("HighBit", stored - 1)
    if present[0] == "PixelData" and (not 1 <= stored <= bits or (high != stored - 1 and stored < bits)):
        raise DataError(
            f"{elements.path}: BitsAllocated = {bits}, BitsStored = {stored}, HighBit = {high}; expected the pixel in "
            "the lowest bits, so export it again"
        )
    return len(value)


def _refuse_other_size(elements: Elements, size: int, held: int, frames: int) -> None:
    """Raise a `DataError` where pixels are missing, or there is a frame more than the header says."""
    if elements.text("PhotometricInterpretation") == "YBR_FULL_422":
        size = size // 3 * 2
    if held < size:
        raise DataError(
            f"{elements.path}: {size} bytes of pixels by its header, but it holds {held}; cut short; replace the file"
        )
    if held - size >= max(2, size / frames):
        raise DataError(
            f"{elements.path}: {size} bytes of pixels by its header, but it holds {held}; are NumberOfFrames, "
            "SamplesPerPixel and BitsAllocated right? Export it again"
        )


def _refuse_bomb(elements: Elements, size: int, held: int) -> None:
    if size > max(ROOM, MOST_OUT_OF_A_BYTE * held):
        raise DataError(
            f"{elements.path}: {size} bytes of pixels by its header out of {held} compressed ones; damaged or cut "
            "short, so replace the file"
        )


def _plugin(elements: Elements, syntax: uid.UID) -> str:
    if syntax not in PLUGINS:
        raise DataError(
            f"{elements.path}: transfer syntax {syntax.name or syntax} is not read; convert the file to one without "
            "compression, as by dcmconv or dcmdjpeg"
        )
    available = get_decoder(syntax).available_plugins
    found = next((plugin for plugin in PLUGINS[syntax] if plugin in available), None)
    deep = syntax == uid.JPEGExtended12Bit and elements.whole("BitsStored", 8) > 8
    if found is None or (deep and found == "pillow"):
        remedy = REMEDY if syntax in GPL else f"install the decoder {' or '.join(PLUGINS[syntax])} (make setup)"
        raise DataError(f"{elements.path}: compressed as {syntax.name}, for which no decoder is installed; {remedy}")
    return found


def _decoded(elements: Elements, decoder: Decoder, plugin: str, frames: int) -> tuple[NDArray[Any], str]:
    """All frames, allocated when the first has been decoded."""
    found: NDArray[Any] | None = None
    photometric, count = "", 0
    for frame, info in decoder.iter_array(elements.dataset, decoding_plugin=plugin):
        if count == frames:
            break
        if found is None:
            found, photometric = np.empty((frames, *frame.shape), frame.dtype), str(info["photometric_interpretation"])
        found[count] = frame
        count += 1
    if found is None or count < frames:
        raise DataError(f"{elements.path}: {count} frames, but NumberOfFrames = {frames}; cut short; replace the file")
    native = found.dtype.newbyteorder("=")
    return found.astype(native, copy=False), photometric


def _check_codestreams(elements: Elements, syntax: uid.UID, shape: tuple[int, int, int]) -> None:
    """Refuse frames that are missing, or whose own size is not the header's, before a decoder allocates it."""
    offsets = [elements.value(key) for key in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    extended = None if None in offsets else (offsets[0], offsets[1])
    sources = generate_frames(elements.value("PixelData"), number_of_frames=shape[0], extended_offsets=extended)
    count = 0
    for count, source in enumerate(sources, start=1):
        found = None if syntax == uid.RLELossless else codestream_size(source)
        if found is not None and found != shape[1:]:
            raise DataError(
                f"{elements.path}: frame {count} is compressed as {found[1]}x{found[0]} pixels, but its header says "
                f"{shape[2]}x{shape[1]}; damaged, so export it again"
            )
        if found is None and syntax != uid.RLELossless:
            raise DataError(f"{elements.path}: frame {count} is no {syntax.name}; damaged; replace the file")
    if count < shape[0]:
        raise DataError(
            f"{elements.path}: {count} compressed frames, but NumberOfFrames = {shape[0]}; cut short; replace the file"
        )


def codestream_size(source: bytes) -> tuple[int, int] | None:
    """(rows, columns) by the head of a JPEG, JPEG-LS or JPEG 2000 stream; None where it has none."""
    if source[:2] == b"\xff\xd8":
        return _jpeg_size(source)
    start = source.find(b"\xff\x4f\xff\x51") + 4  # behind the boxes of a JP2 file, where there are some
    if start < 4 or len(source) < start + 20:
        return None
    width, height, left, top = (int.from_bytes(source[at : at + 4], "big") for at in range(start + 4, start + 20, 4))
    return height - top, width - left


def _jpeg_size(source: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(source):
        marker = source[at + 1]
        if source[at] != 0xFF:
            return None
        if marker == 0xFF:  # filling
            at += 1
            continue
        if marker in _JPEG_SIZES:
            return int.from_bytes(source[at + 5 : at + 7], "big"), int.from_bytes(source[at + 7 : at + 9], "big")
        at += 2 + int.from_bytes(source[at + 2 : at + 4], "big")  # over the segment, whose length follows its marker
    return None
