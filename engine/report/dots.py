"""Arms and the baseline group by group as SVG of a page: scores of both, and differences from the least to the most."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

from ..console.sections import Dot, PairedDots

WIDTH, HEIGHT = 340, 280
LEFT, RIGHT, TOP, BOTTOM = 60, 10, 10, 40
"""Around the axes."""
BY_KEYBOARD = 40
"""Dots that can be reached with the tabulator; more have no edges, which would cover the dots beside them."""

Scale = Callable[[float], float]


def dots_svg(found: PairedDots, prefix: str) -> Markup:
    """Both pictures of an arm; the prefix begins their ids."""
    return (
        Markup('<div class="dots">') + _scatter(found, f"{prefix}-a") + _sorted(found, f"{prefix}-b") + Markup("</div>")
    )


def _scatter(found: PairedDots, name: str) -> Markup:
    """The scores of the baseline and of the arm; above the diagonal the arm has more."""
    values = [value for dot in found.dots for value in (dot.baseline, dot.arm)]
    ticks = _ticks(min(values), max(values))
    x, y = _scales(ticks, ticks)
    low, high, band = ticks[0], ticks[-1], found.smallest
    corners = [(low, low - band), (high, high - band), (high, high + band), (low, low + band)]
    points = " ".join(f"{x(across):.1f},{y(up):.1f}" for across, up in corners)
    marks = [f'<polygon class="band" points="{points}"/>', _line(x(low), y(low), x(high), y(high), "even")]
    dots = [_dot(found, dot, x(dot.baseline), y(dot.arm), False) for dot in found.dots]
    axes = [*_x_axis(x, ticks), *_y_axis(y, ticks)]
    label = f"{found.score}: {found.arm} (up) and {found.baseline} (across)"
    return _svg(name, axes, marks, dots, label, found.baseline, found.arm)


def _sorted(found: PairedDots, name: str) -> Markup:
    """The differences, from the least to the most, with their mean and its interval."""
    differences = [dot.arm - dot.baseline for dot in found.dots]
    band, ends = found.smallest, [end for end in (found.low, found.high) if end is not None]
    ticks = _ticks(min(*differences, -band, *ends, 0.0), max(*differences, band, *ends, 0.0))
    x, y = _scales([0.0, len(differences) + 1.0], ticks)
    left, right = x(0), x(len(differences) + 1)
    marks = [_box(left, y(band), right, y(-band), "band")]
    if found.low is not None and found.high is not None:
        marks.append(_box(left, y(found.high), right, y(found.low), "interval"))
    marks += [
        _line(left, y(0), right, y(0), "even"),
        _line(left, y(found.difference), right, y(found.difference), "mean"),
    ]
    keys = len(found.dots) <= BY_KEYBOARD
    dots = [_dot(found, dot, x(at + 1), y(dot.arm - dot.baseline), keys) for at, dot in enumerate(found.dots)]
    label = f"{found.score}: differences {found.arm} − {found.baseline}, sorted"
    across = "sorted; strip: 95 % interval of the mean"
    return _svg(name, [*_y_axis(y, ticks, "+")], marks, dots, label, across, f"{found.arm} − {found.baseline}")


def _svg(
    name: str, axes: Sequence[str], marks: Sequence[str], dots: Sequence[str], label: str, across: str, up: str
) -> Markup:
    """A picture: marks end at the axes, and dots lie over them, whole."""
    middle, centre = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    frame = f"{LEFT},{TOP} {LEFT},{HEIGHT - BOTTOM} {WIDTH - RIGHT},{HEIGHT - BOTTOM}"
    inside = f'<clipPath id="{name}">{_box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM, "")}</clipPath>'
    return Markup(
        f'<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{escape(label)}">{inside}{"".join(axes)}'
        f'<g clip-path="url(#{name})">{"".join(marks)}</g><polyline class="frame" points="{frame}"/>{"".join(dots)}'
        f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across)}</text>'
        f'<text transform="translate(12 {centre}) rotate(-90)" text-anchor="middle">{escape(up)}</text></svg>'
    )


def _dot(found: PairedDots, dot: Dot, across: float, up: float, keys: bool) -> str:
    difference = dot.arm - dot.baseline
    kind = "within" if abs(difference) < found.smallest else "more" if difference > 0 else "less"
    kind += " many" if len(found.dots) > BY_KEYBOARD else ""
    told = f"{dot.name}: {found.baseline} {dot.baseline:.3f}, {found.arm} {dot.arm:.3f} ({difference:+.3f})"
    focus = ' tabindex="0"' if keys else ""
    return (
        f'<circle class="dot {kind}" cx="{across:.1f}" cy="{up:.1f}" r="4" role="button"{focus} '
        f'data-cases="{escape(json.dumps(list(dot.cases)))}" aria-label="{escape(told)}">'
        f"<title>{escape(told)}</title></circle>"
    )


def _ticks(low: float, high: float) -> list[float]:
    if high - low < 1e-9:
        low, high = low - 0.01, high + 0.01
    return [float(value) for value in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]


def _scales(across: Sequence[float], up: Sequence[float]) -> tuple[Scale, Scale]:
    """From values to pixels."""
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return (
        lambda value: LEFT + wide * (value - across[0]) / (across[-1] - across[0]),
        lambda value: TOP + tall * (1 - (value - up[0]) / (up[-1] - up[0])),
    )


def _x_axis(x: Scale, ticks: Sequence[float]) -> Iterator[str]:
    for value in ticks:
        yield _line(x(value), TOP, x(value), HEIGHT - BOTTOM, "grid")
        yield f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{value:g}</text>'


def _y_axis(y: Scale, ticks: Sequence[float], sign: str = "") -> Iterator[str]:
    for value in ticks:
        yield _line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid")
        text = f"{round(value, 6):{sign if value else ''}g}"
        yield f'<text x="{LEFT - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{text}</text>'


def _line(left: float, top: float, right: float, bottom: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{left:.1f}" y1="{top:.1f}" x2="{right:.1f}" y2="{bottom:.1f}"/>'


def _box(left: float, top: float, right: float, bottom: float, kind: str) -> str:
    size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
    return f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" {size}/>'
