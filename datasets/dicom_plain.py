"""Pixels that a DICOM file keeps as plain numbers: read from where they lie, without parsing the file again."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import uid

from .dicom_file import Elements, transfer_syntax
from .errors import DataError

_PIXEL_DATA = b"\xe0\x7f\x10\x00"


class Plain(NamedTuple):
    """Where the pixels of a file lie and what they are: native grey numbers of 8 or 16 bits, by a line at most.

    Attributes:
        start: their first byte in the file.
        shape: (frames, rows, columns).
        dtype: of NumPy.
        unused: bits above those that count.
    """

    start: int
    shape: tuple[int, int, int]
    dtype: str
    unused: int

    @classmethod
    def of(cls, elements: Elements) -> Plain | None:
        """Of a header that ends at its pixels; None where the numbers are otherwise, or are not as many as it says."""
        at, following = elements.end
        native = transfer_syntax(elements) in (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian)
        if not native or following[:4] != _PIXEL_DATA or len(following) < 12:
            return None
        explicit = following[4:6] in (b"OW", b"OB")  # as the low half of a length they would make it odd
        start = at + (12 if explicit else 8)
        held = int.from_bytes(following[8:12] if explicit else following[4:8], "little")
        shape = (elements.whole("NumberOfFrames", 1) or 1, elements.whole("Rows", 0), elements.whole("Columns", 0))
        bits, used = elements.whole("BitsAllocated", 0), elements.whole("BitsStored", 0)
        size = prod(shape) * bits // 8
        usual = (
            elements.whole("SamplesPerPixel", 0) == 1
            and bits in (8, 16)
            and 1 <= used <= bits
            and elements.whole("HighBit", used - 1) == used - 1
            and elements.text("PhotometricInterpretation") == "MONOCHROME2"
            and not elements.items("ModalityLUTSequence")
            and 0 < size <= held < size + max(2, size // shape[0])
            and start + held <= elements.path.stat().st_size
        )
        signed = elements.whole("PixelRepresentation", 2)
        if not usual or signed > 1:
            return None
        return cls(start, shape, f"<{'i' if signed else 'u'}{bits // 8}", bits - used)

    def read(self, path: Path) -> NDArray[Any]:
        """The numbers `(frames, rows, columns)` with the unused bits cleared; a `DataError` where they are gone."""
        try:
            found = np.fromfile(path, self.dtype, prod(self.shape), offset=self.start)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error}); has it just changed?") from error
        if found.size != prod(self.shape):
            raise DataError(f"{path}: {found.size} pixels of {prod(self.shape)}; has it just changed?")
        if self.unused:  # up and down again: the sign, where there is one, fills them
            found = found << self.unused >> self.unused
        return found.astype(found.dtype.newbyteorder("="), copy=False).reshape(self.shape)
