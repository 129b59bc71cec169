"""Figures as files, and their SVG as a part of a page that is light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from datasets.files import write_atomically

DPI = 110
SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
DRAWN = {SVG + tag for tag in ("svg", "g", "path", "text", "tspan", "use", "defs", "clipPath", "rect", "image")}
"""The elements that figures are made of; nothing else gets into a page."""
FRAME = re.compile(r"fill: #ffffff; opacity: [\d.]+;")
"""The ground of a legend."""
MANY_DIGITS = re.compile(r"(\d\.\d\d)\d+")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and as SVG, laid out alike; a `DataError` of `write_atomically`.

    Args:
        figure: whose layout is worked out once.
        path: of the files, without suffix.
    """
    write_figure(figure, path.with_suffix(".png"))
    figure.set_layout_engine("none")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "segloss"}):
        write_figure(figure, path.with_suffix(".svg"), metadata={"Date": None})


def write_figure(figure: Figure, path: Path, dpi: int = DPI, **options: Any) -> None:
    """Draw a figure into a file that is whole or not there; a `DataError` of `write_atomically`.

    Args:
        figure: the figure.
        path: of the file; its suffix is the format.
        dpi: of pixels.
        options: others of `Figure.savefig`.
    """
    write_atomically(path, rendered(figure, path.suffix, dpi, **options))


def rendered(figure: Figure, suffix: str, dpi: int, **options: Any) -> bytes:
    """A figure as the bytes of a file with this suffix."""
    content = io.BytesIO()
    figure.savefig(content, format=suffix[1:], dpi=dpi, **options)
    return content.getvalue()


def plain_ticks(axis: Axis, text: Callable[[float], str]) -> None:
    """Ticks at 1, 2 and 5 of each decade of a logarithmic axis, as text: matplotlib's own are formulas."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_formatter(NullFormatter())


def inlined(path: Path, prefix: str, label: str) -> str:
    """An SVG file of `save` as an element of a page, in the page's colours and with ids of its own.

    Args:
        path: the file.
        prefix: of its ids.
        label: what it shows, for screen readers.
    """
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    ElementTree.register_namespace("", SVG[1:-1])
    ElementTree.register_namespace("xlink", HREF.split("}")[0][1:])
    _prune(root)
    for element in root.iter():
        kept = {key: value for key, value in element.attrib.items() if not key.startswith("on")}
        element.attrib = {key: _attribute(key, value, prefix) for key, value in kept.items()}
        if element.tag == SVG + "g":
            element.attrib.pop("id", None)  # nothing refers to a group
        if element.tag == SVG + "text" and "fill" not in element.get("style", ""):
            element.set("fill", "currentColor")
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", label)
    points = float(root.get("viewBox", "0 0 600 0").split()[2])
    root.set("style", f"min-width: {0.9 * points:.0f}px; max-width: {1.25 * points:.0f}px")  # small text must be read
    return ElementTree.tostring(root, encoding="unicode")


def _prune(element: ElementTree.Element) -> None:
    for child in list(element):
        if child.tag in DRAWN and not (child.tag == SVG + "image" and not _data(child)):
            child.tail = None
            _prune(child)
        else:
            element.remove(child)
    if element.text is not None and not element.text.strip():
        element.text = None


def _data(image: ElementTree.Element) -> bool:
    return image.get(HREF, "").startswith("data:image/png;base64,")


def _attribute(key: str, value: str, prefix: str) -> str:
    if key in ("d", "x", "y", "points", "transform", "width", "height"):
        return MANY_DIGITS.sub(r"\1", " ".join(value.split()))
    if key == "id":
        return f"{prefix}-{value}"
    if value.startswith("data:"):
        return "".join(value.split())
    value = value.replace("url(#", f"url(#{prefix}-").replace("#000000", "currentColor")
    if key == HREF:
        return value.replace("#", f"#{prefix}-", 1)
    if key == "style":
        value = FRAME.sub("fill: var(--ground); opacity: .9;", value)
        return "fill: none" if value == "fill: #ffffff" else value
    return value
