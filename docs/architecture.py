"""The floors of the code: `python -m docs.architecture` prints what imports what, and draws it for CONTRIBUTING.

A room is a package, or a package or module of `engine/`. An import, wherever it stands in a file, leads to a lower floor.
"""

from __future__ import annotations

import ast
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from engine.pictures.chart import save

ROOT = Path(__file__).resolve().parent.parent
FLOORS = (
    ("segloss", "datasets"),
    ("models",),
    ("engine.errors", "engine.pictures"),
    ("engine.store",),
    ("engine.configuration",),
    ("engine.processes",),
    ("engine.console",),
    ("engine.experiment",),
    ("engine.scoring", "engine.data_check", "engine.recipe"),
    ("engine.training", "engine.ablation"),
    ("engine.report", "engine.exporting"),
    ("engine.verbs",),
    ("train_seg",),
)
"""The rooms, bottom to top."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

Arrows = dict[tuple[str, str], set[str]]
"""What one room imports from another: names, by the two rooms."""


def room_of(module: tuple[str, ...]) -> str:
    """The room of a module, given by the parts of its dotted name."""
    return ".".join(module[:2] if module[0] == "engine" else module[:1])


def files_of(room: str, root: Path = ROOT) -> list[Path]:
    """The Python files of a room."""
    path = root.joinpath(*room.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imports_of(source: str, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Everything that a file imports, as dotted names in parts, relative imports resolved.

    Args:
        source: of the file; imports inside functions and under `if TYPE_CHECKING:` count too.
        package: that the file lies in, in parts.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = (*base, *(node.module.split(".") if node.module else ()))
            yield from ((*stem, alias.name) for alias in node.names)


def arrows_of(root: Path = ROOT) -> Arrows:
    """Which rooms import which, with the names.

    Args:
        root: of the checkout.

    Raises:
        ValueError: a file imports something of `engine/` that is on no floor.
    """
    arrows: Arrows = defaultdict(set)
    packages = {room.split(".")[0] for room in FLOOR}
    for room in FLOOR:
        for path in files_of(room, root):
            for name in imports_of(path.read_text(), path.relative_to(root).parent.parts):
                if name[0] not in packages or room_of(name) == room:
                    continue
                if room_of(name) not in FLOOR:
                    raise ValueError(f"{path}: imports {'.'.join(name)}, which is on no floor of {__name__}")
                arrows[room, room_of(name)].add(".".join(name[len(room_of(name).split(".")) :]) or room_of(name))
    return dict(arrows)


def upward(arrows: Arrows) -> list[tuple[str, str]]:
    """The arrows that do not lead to a lower floor."""
    return sorted((above, below) for above, below in arrows if FLOOR[below] >= FLOOR[above])


def circles(arrows: Arrows) -> list[list[str]]:
    """The largest groups of rooms of which each needs every other, directly or through others."""
    reach: dict[str, set[str]] = {room: {below for above, below in arrows if above == room} for room in FLOOR}
    for middle in FLOOR:  # Warshall's algorithm
        for room in FLOOR:
            if middle in reach[room]:
                reach[room] |= reach[middle]
    groups = {frozenset(other for other in reach[room] if room in reach[other]) for room in FLOOR}
    return sorted(sorted(group) for group in groups if group)


def lines_of(room: str) -> int:
    """How many lines of Python a room has."""
    return sum(len(path.read_text().splitlines()) for path in files_of(room))


def purpose_of(room: str) -> str:
    """The first line of a room's docstring."""
    path = files_of(room)[0]  # __init__.py, where the room is a package: it comes first
    line = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0].removeprefix(f"{room}: ")
    return line[:1].upper() + line[1:]


def _draw_room(axes: Axes, room: str, needs: list[str], x: float, floor: int, width: float) -> None:
    """One room in a box: its name, its lines, what it is for, and the rooms that it imports."""
    colour = "#dbe7f6" if room.startswith("engine.") else "#e6efdc"
    axes.add_patch(Rectangle((x, floor + 0.05), width, 0.9, facecolor=colour, edgecolor="#5b6b7f"))
    left, right, characters = x + 0.08, x + width - 0.08, int(17.5 * width)
    below = f"imports {', '.join(name.removeprefix('engine.') for name in needs)}" if needs else "imports no other room"
    axes.text(left, floor + 0.8, room, weight="bold", va="center", fontsize=9)
    axes.text(right, floor + 0.8, f"{lines_of(room):,} lines", ha="right", va="center", fontsize=8, color="#47566b")
    axes.text(left, floor + 0.65, textwrap.fill(purpose_of(room), characters), va="top", fontsize=7.5)
    axes.text(left, floor + 0.1, textwrap.fill(below, characters), va="bottom", fontsize=7, color="#47566b")


def picture(arrows: Arrows) -> Figure:
    """The floors, one above the other, with their rooms."""
    figure = Figure(figsize=(9.5, 11.5), layout="constrained")
    axes = figure.add_subplot()
    for floor, rooms in enumerate(FLOORS):
        width = 8 / len(rooms)
        for column, room in enumerate(rooms):
            needs = sorted((below for above, below in arrows if above == room), key=lambda name: -FLOOR[name])
            _draw_room(axes, room, needs, column * width, floor, width)
    tip, arrow = (-0.25, 0.1), {"arrowstyle": "-|>", "color": "#7a8799", "linewidth": 1.5}
    axes.annotate("", tip, (tip[0], len(FLOORS) - 0.1), arrowprops=arrow)
    axes.text(-0.45, len(FLOORS) / 2, "imports go down only", rotation=90, ha="center", va="center", fontsize=9)
    axes.set(xlim=(-0.6, 8.05), ylim=(0, len(FLOORS)))
    axes.axis("off")
    return figure


def main() -> None:
    """Print the rooms and arrows, and draw them into docs/images."""
    arrows = arrows_of()
    for rooms in reversed(FLOORS):
        for room in rooms:
            print(f"{room:22s} {len(files_of(room)):3d} files {lines_of(room):6,d} lines")
            for (above, below), names in sorted(arrows.items()):
                if above == room:
                    print(f"    -> {below}: {', '.join(sorted(names))}")
    for above, below in upward(arrows):
        print(f"upward: {above} -> {below}: {', '.join(sorted(arrows[above, below]))}")
    for circle in circles(arrows):
        print(f"circle: {', '.join(circle)}")
    print(f"{len(FLOOR)} rooms, {len(arrows)} arrows, {len(upward(arrows))} upward, {len(circles(arrows))} circles")
    folder = ROOT / "docs/images"
    folder.mkdir(exist_ok=True)
    save(picture(arrows), folder / "architecture")


if __name__ == "__main__":
    main()
