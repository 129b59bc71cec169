"""TIFF files of any number of bands and pages, written by hand: one strip a page, uncompressed."""

import struct

import numpy as np


def write_tiff(path, pages):
    """Write arrays `(rows, columns[, bands])`, one a page."""
    out, link = bytearray(b"II*\0\0\0\0\0"), 4

    def put(content):
        at = len(out)
        out.extend(content + b"\0" * (len(content) % 2))
        return at

    def shorts(tag, values):
        inline = struct.pack(f"<{len(values)}H", *values).ljust(4, b"\0") if len(values) < 3 else None
        return struct.pack("<HHI", tag, 3, len(values)) + (
            inline or struct.pack("<I", put(struct.pack(f"<{len(values)}H", *values)))
        )

    for page in pages:
        pixels = np.ascontiguousarray(page)
        rows, columns, bands = *pixels.shape[:2], pixels[0, 0].size
        content = pixels.tobytes()
        strip = put(content)
        kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
        extra = bands - (3 if bands >= 3 else 1)
        entries = [shorts(256, [columns]), shorts(257, [rows]), shorts(258, [8 * pixels.itemsize] * bands)]
        entries += [shorts(259, [1]), shorts(262, [2 if bands >= 3 else 1]), struct.pack("<HHII", 273, 4, 1, strip)]
        entries += [shorts(277, [bands]), shorts(278, [rows]), struct.pack("<HHII", 279, 4, 1, len(content))]
        entries += [shorts(284, [1]), *([shorts(338, [0] * extra)] if extra else []), shorts(339, [kind] * bands)]
        directory = put(struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0")
        out[link : link + 4] = struct.pack("<I", directory)
        link = directory + 2 + 12 * len(entries)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out)
    return path
