"""Synthetic pictures of ten shapes, made on the spot, written as PNG and read back from their folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .case import Case, Part
from .files import made_whole
from .listing import Listing
from .pictures import Labelled, Pictures

Field = NDArray[np.float64]
SIDE = 32


def _ring(x: Field, y: Field, inner: float) -> NDArray[np.bool_]:
    radius = np.hypot(x, y)
    return (radius < 1) & (radius > inner)


SHAPES: dict[str, Callable[[Field, Field], NDArray[np.bool_]]] = {
    "disc": lambda x, y: np.hypot(x, y) < 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.85,
    "triangle": lambda x, y: (y < 0.7) & (y > 1.9 * abs(x) - 1.1),
    "ring": lambda x, y: _ring(x, y, 0.6),
    "frame": lambda x, y: (np.maximum(abs(x), abs(y)) < 0.85) & (np.maximum(abs(x), abs(y)) > 0.5),
    "plus": lambda x, y: (np.minimum(abs(x), abs(y)) < 0.25) & (np.maximum(abs(x), abs(y)) < 1),
    "bars": lambda x, y: (abs(abs(x) - 0.55) < 0.25) & (abs(y) < 0.9),
    "half_disc": lambda x, y: (np.hypot(x, y) < 1) & (x > -0.1),
    "crescent": lambda x, y: (np.hypot(x, y) < 1) & (np.hypot(x - 0.5, y) > 0.75),
    "hourglass": lambda x, y: (abs(x) < abs(y)) & (abs(y) < 0.85),
}
"""By name, whether a point is inside, in units of the shape's radius."""


class Shapes(Labelled):
    """Pictures of 32×32 pixels with one of ten shapes, in any place, size, direction and colour, on texture and noise.

    Args:
        root: the folder under which the pictures are written, once for each set of parameters.
        train: training pictures of each class; `data.imbalance` cuts them to a long tail.
        test: test pictures of each class.
        seed: of the pictures; not of the training.

    Raises:
        ValueError: fewer than one picture, a negative seed.
    """

    def __init__(self, root: str = "data/shapes", train: int = 300, test: int = 50, seed: int = 0) -> None:
        super().__init__(3)
        for name, value in (("train", train), ("test", test)):
            if value < 1:
                raise ValueError(f"{name} must be ≥ 1, got {value}")
        if seed < 0:
            raise ValueError(f"seed must be ≥ 0, got {seed}")
        self.root = Path(root) / f"{train}-train-{test}-test-seed-{seed}"
        self.amounts: dict[Part, int] = {"train": train, "test": test}
        self.seed = seed
        self.reader = Pictures(str(self.root), list(SHAPES))

    @property
    def classes(self) -> tuple[str, ...]:
        """The shapes."""
        return tuple(SHAPES)

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the pictures, made and written first where that has not been done."""
        if not self.root.is_dir():
            self._write()
        return self.reader.cases(listing)

    def _write(self) -> None:
        with made_whole(self.root) as made:
            for number, (part, amount) in enumerate(self.amounts.items()):
                for label, name in enumerate(SHAPES):
                    folder = made / part / name
                    folder.mkdir(parents=True)
                    rng = np.random.default_rng([self.seed, number, label])
                    for index in range(amount):
                        Image.fromarray(make_picture(rng, name)).save(folder / f"{index:05d}.png")


def make_picture(rng: np.random.Generator, name: str) -> NDArray[np.uint8]:
    """One picture of a shape, `(32, 32, 3)`."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    radius, angle = rng.uniform(7, 12), rng.uniform(-0.3, 0.3)
    middle = rng.uniform(radius, SIDE - radius, 2)
    x, y = (columns - middle[0]) / radius, (rows - middle[1]) / radius
    inside = SHAPES[name](np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x)
    ground, colour = rng.uniform(30, 225, (2, 3))
    while np.abs(ground - colour).sum() < 120:
        colour = rng.uniform(30, 225, 3)
    slope = rng.normal(0, 25, (2, 3))
    shade = (rows / SIDE - 0.5)[..., None] * slope[0] + (columns / SIDE - 0.5)[..., None] * slope[1]
    picture = np.where(inside[..., None], colour, ground) + shade + rng.normal(0, 10, (SIDE, SIDE, 3))
    return np.asarray(picture.clip(0, 255), dtype=np.uint8)
