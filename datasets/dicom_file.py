"""DICOM files: opened without trusting them, their elements read one by one.

pydicom allocates what an element says it holds, and inflates a deflated file whole; here no read asks for more than
the file has, and inflating ends at a limit.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from functools import lru_cache
from math import isfinite, prod
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread, read_dataset, read_preamble
from pydicom.tag import BaseTag

from .errors import DataError
from .formats import MARK_AT
from .pixels import refuse_too_large

HEADLESS = (b"\2\0\0\0UL", b"\x08\0\0\0UL", *(bytes((8, 0, element, 0)) for element in (1, 5, 8, 0x16)))
"""How data sets begin that lack the mark."""
BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,  # of a data set that ends early
    RuntimeError,  # of which pydicom's NotImplementedError and a recursion too deep are kinds
    TypeError,
    ValueError,
    pydicom.errors.BytesLengthException,
    struct.error,
    zlib.error,
)
"""What pydicom and its decoders raise for damaged files."""
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
SIZES = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
"""Whose product is the bits of a frame."""
_PIXEL_GROUP, _RAW_DEFLATE = 0x7FE0, -15
_NEXT = 12
"""Bytes that begin an element: its tag, its kind and its length."""
_HEAD = 64 * 2**20
"""Bytes that a deflated file may hold beside its pixels."""
warnings.filterwarnings("ignore", module="pydicom")  # of values in files: what matters is refused by an error


@lru_cache
def _tag(keyword: str) -> BaseTag:
    """The tag of a keyword of the standard."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return BaseTag(tag)


class Elements:
    """The elements of a data set, or of an item of a sequence, read with checks.

    Args:
        dataset: of pydicom.
        path: its file, for errors.
        end: where in the file the elements end that were read, and the bytes from there that say what comes next.
    """

    def __init__(self, dataset: Dataset, path: Path, end: tuple[int, bytes] = (0, b"")) -> None:
        self.dataset, self.path, self.end = dataset, path, end
        self._values: dict[str, Any] = {}

    def value(self, key: str) -> Any:
        """The value of an element, None where it is missing or empty; a `DataError` where it cannot be read."""
        if key in self._values:
            return self._values[key]
        try:
            tag = _tag(key)
            value = self.dataset[tag].value if tag in self.dataset else None
            empty = value is None or (isinstance(value, str | bytes | pydicom.multival.MultiValue) and len(value) == 0)
        except BROKEN as error:
            raise self.damaged(key, error) from error
        self._values[key] = None if empty else value
        return self._values[key]

    def text(self, key: str) -> str:
        """The value as text, "" where there is none."""
        value = self.value(key)
        try:
            return "" if value is None else " ".join(str(value).split())
        except BROKEN as error:
            raise self.damaged(key, error) from error

    def texts(self, key: str) -> str:
        """The values as text between backslashes, "" where there are none."""
        value = self.value(key)
        try:
            listed = value if isinstance(value, pydicom.multival.MultiValue) else [] if value is None else [value]
            return "\\".join(" ".join(str(one).split()) for one in listed)
        except BROKEN as error:
            raise self.damaged(key, error) from error

    def numbers(self, key: str, count: int) -> tuple[float, ...] | None:
        """So many finite numbers, None where the element is missing; a `DataError` for anything else."""
        value = self.value(key)
        if value is None:
            return None
        try:
            listed = [value] if isinstance(value, str | bytes) or not hasattr(value, "__iter__") else list(value)
            found = tuple(float(each) for each in listed)
        except BROKEN as error:
            raise self.damaged(key, error) from error
        if len(found) != count or not all(map(isfinite, found)):
            expected = f"{count} finite numbers" if count > 1 else "a finite number"
            raise DataError(f"{self.path}: {key} = {str(value)[:60]}; expected {expected}, so export the file again")
        return found

    def number(self, key: str) -> float | None:
        """A finite number, None where the element is missing."""
        found = self.numbers(key, 1)
        return None if found is None else found[0]

    def whole(self, key: str, default: int, least: int = 0) -> int:
        """A whole number ≥ `least`."""
        found = self.number(key)
        if found is None:
            return default
        if found != int(found) or found < least:
            raise DataError(f"{self.path}: {key} = {found:g}; expected a whole number ≥ {least}; is the file damaged?")
        return int(found)

    def items(self, key: str) -> list[Elements]:
        """The items of a sequence, none where it is missing."""
        value = self.value(key)
        try:
            items = [] if value is None else list(value)
            if any(not isinstance(item, Dataset) for item in items):
                raise TypeError("not a sequence")
        except BROKEN as error:
            raise self.damaged(key, error) from error
        return [Elements(item, self.path) for item in items]

    def sequences(self) -> list[str]:
        """The keywords of the sequences of the standard that it has."""
        try:
            return [element.keyword for element in self.dataset if element.VR == "SQ" and element.keyword]
        except BROKEN as error:
            raise self.damaged("a sequence", error) from error

    def first(self, key: str) -> Elements:
        """The first item of a sequence; an item without elements where there is none."""
        items = self.items(key)
        return items[0] if items else Elements(Dataset(), self.path)

    def damaged(self, what: str, error: BaseException) -> DataError:
        """The error for something that pydicom could not read."""
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        return DataError(f"{self.path}: {what} cannot be read ({detail}); damaged or cut short, so export it again")


def load(path: Path, pixels: bool) -> Elements:
    """Read a DICOM file.

    Args:
        path: the file.
        pixels: with its pixel data; else only what stands before.

    Raises:
        DataError: no DICOM file, or one that cannot be opened or parsed.
    """
    empty = Elements(Dataset(), path)
    try:
        with _Held(io.FileIO(str(path))) as file:
            if read_preamble(file, force=True) is None:
                raise DataError(f"{path}: no mark of DICOM at byte {MARK_AT}; not a DICOM file, or its head is lost")
            meta = read_dataset(file, False, True, stop_when=_behind_meta)
            syntax = meta.get("TransferSyntaxUID")
            if syntax == pydicom.uid.DeflatedExplicitVRLittleEndian:
                return Elements(_inflated(file, path, pixels), path)
            file.seek(0)
            dataset = dcmread(file, stop_before_pixels=not pixels)
            return Elements(dataset, path, (file.tell(), file.read(_NEXT)))
    except DataError:
        raise
    except BROKEN as error:
        raise empty.damaged("the file", error) from error


class _Held(io.BufferedReader):
    """A file of which no read allocates more than it holds."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self.size = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return super().read()
        return super().read(min(size, max(0, self.size - self.tell())))


def _behind_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group == _PIXEL_GROUP


def _inflated(file: io.BufferedReader, path: Path, pixels: bool) -> pydicom.FileDataset:
    """The data set of a deflated file, which `file` is read up to."""
    # first at most _HEAD bytes, which say how many the pixels are; then no more than those
    stream = zlib.decompressobj(_RAW_DEFLATE)
    content = stream.decompress(file.read(), _HEAD)
    dataset = read_dataset(io.BytesIO(content), False, True, stop_when=_at_pixels)
    if pixels:
        head = Elements(dataset, path)
        size = (head.whole("NumberOfFrames", 1) or 1) * prod(head.whole(key, 1) for key in SIZES) // 8
        refuse_too_large(path, size)
        content += stream.decompress(stream.unconsumed_tail, _HEAD + size)
        if stream.unconsumed_tail:
            raise DataError(f"{path}: inflates to far more than its {size} bytes of pixels; damaged; replace the file")
        dataset = read_dataset(io.BytesIO(content), False, True)
    # the group before the deflated part is stored plainly
    file.seek(0)
    preamble = read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=_behind_meta)
    found = pydicom.FileDataset(io.BytesIO(), dataset, preamble, pydicom.dataset.FileMetaDataset(meta), False, True)
    found.set_original_encoding(False, True)
    return found


def transfer_syntax(elements: Elements) -> pydicom.uid.UID:
    """How the file is encoded; Implicit VR Little Endian, the standard's default, where it does not say.

    Raises:
        DataError: what it says is no transfer syntax.
    """
    meta = Elements(getattr(elements.dataset, "file_meta", Dataset()), elements.path)
    syntax = pydicom.uid.UID(meta.text("TransferSyntaxUID") or str(pydicom.uid.ImplicitVRLittleEndian))
    if not syntax.is_transfer_syntax:
        raise DataError(
            f"{elements.path}: TransferSyntaxUID {str(syntax)!r} is no transfer syntax that is known; export it again "
            "without compression"
        )
    return syntax
