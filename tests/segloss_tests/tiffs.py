"""TIFF files of any number of bands and pages, written by hand."""

import struct
import zlib

import numpy as np

SIZES = {3: ("H", 2), 4: ("I", 4)}


def write_tiff(path, pages, order="<", big=False, apart=False, tile=None, predictor=0, tags=()):
    """Write arrays `(rows, columns[, bands])`, one a page: one strip, uncompressed.

    Args:
        path: the file.
        pages: the arrays.
        order: of bytes, < or >.
        big: a BigTIFF.
        apart: a band behind the other, not pixel by pixel.
        tile: rows and columns of tiles in place of the strip.
        predictor: packed by Deflate, with differences of neighbours (2) or of the bytes of floats (3) or none (1).
        tags: short numbers of further tags, or of these in place of the usual ones; None for a tag that is left out.
    """
    word = "Q" if big else "I"
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + ("HHHQ" if big else "HI"), *(
        (43, 8, 0, 0) if big else (42, 0)
    )))  # fmt: skip
    room, link = struct.calcsize(word), len(out) - struct.calcsize(word)

    def put(content):
        at = len(out)
        out.extend(content + b"\0" * (len(content) % 2))
        return at

    def entry(tag, kind, values):
        content = struct.pack(f"{order}{len(values)}{SIZES[kind][0]}", *values)
        held = content.ljust(room, b"\0") if len(content) <= room else struct.pack(order + word, put(content))
        return tag, struct.pack(order + "HH" + word, tag, kind, len(values)) + held

    for page in pages:
        pixels = np.ascontiguousarray(page)
        rows, columns, bands = *pixels.shape[:2], pixels[0, 0].size
        pixels = pixels.reshape(rows, columns, bands).astype(pixels.dtype.newbyteorder(order))
        blocks = [
            _packed(block, predictor)
            for plane in ([pixels[..., [band]] for band in range(bands)] if apart else [pixels])
            for block in _blocks(plane, tile or (rows, columns))
        ]
        starts = [put(block) for block in blocks]
        kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
        extra = bands - (3 if bands >= 3 else 1)
        said = {256: [columns], 257: [rows], 258: [8 * pixels.itemsize] * bands, 259: [8 if predictor else 1]}
        said |= {262: [2 if bands >= 3 else 1], 277: [bands], 284: [1 + apart], 339: [kind] * bands}
        said |= ({322: [tile[1]], 323: [tile[0]]} if tile else {278: [rows]}) | ({338: [0] * extra} if extra else {})
        said |= ({317: [predictor]} if predictor > 1 else {}) | {
            tag: [value] for tag, value in dict(tags).items() if value is not None
        }
        entries = [entry(tag, 3, values) for tag, values in said.items()]
        lying = {324 if tile else 273: starts, 325 if tile else 279: [*map(len, blocks)]}
        entries += [entry(tag, 4, values) for tag, values in lying.items() if tag not in said]
        left_out = {tag for tag, value in dict(tags).items() if value is None}
        entries = sorted(one for one in entries if one[0] not in left_out)
        content = b"".join(one for _, one in entries)
        directory = put(struct.pack(order + ("Q" if big else "H"), len(entries)) + content + bytes(room))
        struct.pack_into(order + word, out, link, directory)
        link = directory + (8 if big else 2) + len(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out)
    return path


def _blocks(plane, size):
    """The strips or tiles of `(rows, columns, bands)`, row by row, filled up with 7 beyond the edges."""
    rows, columns = size
    for top in range(0, plane.shape[0], rows):
        for left in range(0, plane.shape[1], columns):
            block = np.full((rows, columns, plane.shape[2]), 7, plane.dtype)
            some = plane[top : top + rows, left : left + columns]
            block[: some.shape[0], : some.shape[1]] = some
            yield block


def _packed(block, predictor):
    """The bytes of a strip or tile."""
    if predictor == 2:
        whole = block.astype(block.dtype.newbyteorder("=")).view(f"u{block.itemsize}")
        whole[:, 1:] -= whole[:, :-1].copy()
        block = whole.astype(whole.dtype.newbyteorder(block.dtype.byteorder))
    content = block.tobytes()
    if predictor == 3:
        rows, _, bands = block.shape
        high_first = block.astype(block.dtype.newbyteorder(">")).view(np.uint8).reshape(rows, -1, block.itemsize)
        planes = high_first.swapaxes(1, 2).reshape(rows, -1)
        planes[:, bands:] -= planes[:, :-bands].copy()
        content = planes.tobytes()
    return zlib.compress(content) if predictor else content
