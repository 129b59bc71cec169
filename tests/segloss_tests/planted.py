"""A scan for planted names that looks into base64, compressed parts and other spellings."""

import base64
import binascii
import html
import json
import re
import zlib

BASE64 = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")


def held(content, names):
    """Which of some names stand in bytes, or in what is encoded or compressed in them."""
    return {name for part in parts(content) for name in names if any(one in part for one in spellings(name))}


def spellings(name):
    """The bytes that a name may be written as, in small letters."""
    escaped = json.dumps(name)[1:-1]
    texts = {name, html.escape(name), escaped, escaped.replace("<", "\\u003c"), re.sub(r"[^A-Za-z0-9]+", "-", name)}
    encoded = {text.encode(code) for text in texts for code in ("utf-8", "utf-16-le", "utf-16-be")}
    return {one.lower() for one in encoded if len(one) > 3}


def parts(content, depth=3):
    """Bytes in small letters, and what is encoded or compressed in them."""
    yield content.lower()
    if not depth:
        return
    for found in BASE64.findall(content):
        try:
            yield from parts(base64.b64decode(found), depth - 1)
        except binascii.Error:
            continue
    for found in re.finditer(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08", content):  # zlib, gzip
        try:
            yield from parts(zlib.decompressobj(47).decompress(content[found.start() :]), depth - 1)
        except zlib.error:
            continue
