"""Geometric transforms as matrices: a matrix for each sample of an epoch."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from .forms import DRAWN_FIRST, Geometric, Numbers, Placed, between, matrices, whole

TIE = 2.0**-10
"""By how many pixels a place is moved off the middle between two, so that rounding never decides which is nearer."""
RESIZED: dict[str, Any] = {**DRAWN_FIRST, "mask_interpolation": cv2.INTER_NEAREST_EXACT, "area_for_downscale": None}
"""As `DRAWN_FIRST`, of transforms by which images are resized."""


class HorizontalFlip(Geometric):
    """Left and right change sides."""

    def placed(self, numbers: Numbers, sizes: NDArray[np.int64]) -> Placed:  # noqa: ARG002
        """See `Geometric.placed`."""
        return _same(matrices(xx=-1.0, x1=sizes[:, 1] - 1.0), sizes)


class VerticalFlip(Geometric):
    """Up and down change sides."""

    def placed(self, numbers: Numbers, sizes: NDArray[np.int64]) -> Placed:  # noqa: ARG002
        """See `Geometric.placed`."""
        return _same(matrices(yy=-1.0, y1=sizes[:, 0] - 1.0), sizes)


class RandomRotate90(Geometric):
    """A number of quarter turns, counter-clockwise."""

    draws = 1

    def placed(self, numbers: Numbers, sizes: NDArray[np.int64]) -> Placed:
        """See `Geometric.placed`."""
        turns = whole(numbers[:, 0], 0, 3)
        cosine, sine = np.array([1, 0, -1, 0])[turns], np.array([0, 1, 0, -1])[turns]
        bottom, right = (sizes - 1).T
        place = matrices(
            xx=cosine,
            xy=-sine,
            x1=right * ((turns == 1) | (turns == 2)),
            yx=sine,
            yy=cosine,
            y1=bottom * (turns >= 2),
        )
        return _same(place, np.where((turns % 2 == 1)[:, None], sizes[:, ::-1], sizes))


class Affine(Geometric):
    """Scale, rotation, shear and translation about the centre."""

    draws = 7
    blends = True
    only: ClassVar[dict[str, Any]] = {**DRAWN_FIRST, "fit_output": False, "balanced_scale": False}

    def placed(self, numbers: Numbers, sizes: NDArray[np.int64]) -> Placed:
        """See `Geometric.placed`."""
        its = self.transform
        drawn = dict(zip(("tx", "ty", "kx", "ky", "sx", "sy", "angle"), numbers.T, strict=True))
        shift: dict[str, Any] = {"x": 0, "y": 0}
        for axis, size in (("x", sizes[:, 1]), ("y", sizes[:, 0])):
            if its.translate_px is not None:
                low, high = (int(limit) for limit in its.translate_px[axis])
                shift[axis] = whole(drawn[f"t{axis}"], low, high)
            elif its.translate_percent is not None:
                shift[axis] = np.trunc(between(drawn[f"t{axis}"], its.translate_percent[axis]) * size)
        scale = {axis: between(drawn[f"s{axis}"], its.scale[axis]) for axis in "xy"}
        if its.keep_ratio:
            scale["y"] = scale["x"]
        shear = [np.tan(np.deg2rad(-between(drawn[f"k{axis}"], its.shear[axis]))) for axis in "xy"]
        angle = np.deg2rad(between(drawn["angle"], its.rotate))
        return _about_centre(sizes, angle, scale["x"], scale["y"], shear[0], shear[1], shift["x"], shift["y"])


class ShiftScaleRotate(Affine):
    """Translation, scale and rotation about the centre."""


class Rotate(Geometric):
    """A rotation about the centre, counter-clockwise."""

    draws = 1
    blends = True
    only: ClassVar[dict[str, Any]] = {**DRAWN_FIRST, "crop_border": False}

    def placed(self, numbers: Numbers, sizes: NDArray[np.int64]) -> Placed:
        """See `Geometric.placed`."""
        return _about_centre(sizes, np.deg2rad(between(numbers[:, 0], self.transform.limit)))


class RandomScale(Geometric):
    """Another size, the same shape."""

    draws = 1
    only: ClassVar[dict[str, Any]] = RESIZED

    def placed(self, numbers: Numbers, sizes: NDArray[np.int64]) -> Placed:
        """See `Geometric.placed`."""
        scale = 1 + between(numbers[:, 0], self.transform.scale_limit)
        return resized(sizes, np.maximum(np.trunc(sizes * scale[:, None]), 1).astype(np.int64))


class PadIfNeeded(Geometric):
    """Ignored pixels around images that are too small."""

    draws = 2

    def placed(self, numbers: Numbers, sizes: NDArray[np.int64]) -> Placed:
        """See `Geometric.placed`."""
        its = self.transform
        least = (its.min_height, its.min_width)
        divisors = (its.pad_height_divisor, its.pad_width_divisor)
        missing = np.stack(
            [
                np.maximum(low - size, 0) if low is not None else -size % divisor
                for size, low, divisor in zip(sizes.T, least, divisors, strict=True)
            ],
            axis=1,
        )
        return padded(sizes, missing, its.position, numbers)


class RandomCrop(Geometric):
    """A part of a size."""

    draws = 4

    def placed(self, numbers: Numbers, sizes: NDArray[np.int64]) -> Placed:
        """See `Geometric.placed`."""
        its = self.transform
        wanted = np.array([its.height, its.width])
        missing = np.maximum(wanted - sizes, 0)
        if missing.any() and not its.pad_if_needed:
            rows, columns = sizes[missing.any(1).argmax()].tolist()
            raise ValueError(f"RandomCrop: {its.height}x{its.width} is larger than an image of {rows}x{columns}")
        around = padded(sizes, missing, its.pad_position, numbers[:, :2])
        start = np.floor((around.sizes - wanted + 1) * numbers[:, 2:])
        inner = matrices(x1=start[:, 1], y1=start[:, 0])
        return _same(around.image @ inner, np.broadcast_to(wanted, sizes.shape))


class RandomResizedCrop(Geometric):
    """A part of a random area and shape, brought to a size."""

    tries = 10
    draws = 2 * tries + 2
    only: ClassVar[dict[str, Any]] = RESIZED

    def placed(self, numbers: Numbers, sizes: NDArray[np.int64]) -> Placed:
        """See `Geometric.placed`."""
        its = self.transform
        rows, columns = sizes.T
        ratio = columns / rows
        # where no try fits: the largest part of the image whose shape is allowed, from its middle
        shape = np.clip(ratio, *its.ratio)
        height = np.where(ratio < its.ratio[0], np.rint(columns / shape), rows)
        width = np.where(ratio > its.ratio[1], np.rint(rows * shape), columns)
        start = np.stack([(rows - height) // 2, (columns - width) // 2], axis=1)
        open_ = np.ones(len(sizes), dtype=bool)
        for one in range(self.tries):
            area = between(numbers[:, 2 * one], its.scale) * rows * columns
            drawn = np.exp(between(numbers[:, 2 * one + 1], [math.log(limit) for limit in its.ratio]))
            tall, wide = np.rint(np.sqrt(area / drawn)), np.rint(np.sqrt(area * drawn))
            fits = open_ & (wide > 0) & (wide <= columns) & (tall > 0) & (tall <= rows)
            height, width = np.where(fits, tall, height), np.where(fits, wide, width)
            at = np.floor((sizes - np.stack([tall, wide], axis=1) + 1) * numbers[:, -2:])
            start = np.where(fits[:, None], at, start)
            open_ &= ~fits
        crop = np.stack([height, width], axis=1).astype(np.int64)
        inner = matrices(x1=start[:, 1], y1=start[:, 0])
        scaled = resized(crop, np.broadcast_to(np.array(its.size), sizes.shape))
        return Placed(inner @ scaled.image, inner @ scaled.mask, scaled.sizes)


def resized(before: NDArray[np.int64], after: NDArray[np.int64]) -> Placed:
    """Images brought to other sizes, edge to edge; of two pixels that are as near masks take the second, OpenCV either.

    Args:
        before: `(N, 2)` rows and columns.
        after: `(N, 2)`.
    """
    y, x = (before / after).T
    image = matrices(xx=x, x1=(x - 1) / 2, yy=y, y1=(y - 1) / 2)
    mask = matrices(xx=x, x1=(x - 1) / 2 + TIE, yy=y, y1=(y - 1) / 2 + TIE)
    mask[(before == after).all(1)] = np.eye(3)
    return Placed(image, mask, after)


def padded(sizes: NDArray[np.int64], missing: NDArray[np.int64], position: str, numbers: Numbers) -> Placed:
    """Images with pixels around them.

    Args:
        sizes: `(N, 2)` rows and columns.
        missing: `(N, 2)` how many come to these.
        position: where the image lies then: `center`, `top_left`, …, `random`.
        numbers: `(N, 2)` in [0, 1).
    """
    if position == "center":
        before = missing // 2
    elif position == "random":
        before = np.stack([whole(numbers[:, axis], 0, missing[:, axis]) for axis in (0, 1)], axis=1)
    else:
        vertical, horizontal = position.split("_")
        before = missing * np.array([vertical == "bottom", horizontal == "right"])
    return _same(matrices(x1=-before[:, 1].astype(float), y1=-before[:, 0].astype(float)), sizes + missing)


def _same(place: Numbers, sizes: NDArray[np.int64]) -> Placed:
    """Images and masks are sampled at the same places."""
    return Placed(place, place, sizes)


def _about_centre(
    sizes: NDArray[np.int64],
    angle: Numbers,
    scale_x: Numbers | float = 1.0,
    scale_y: Numbers | float = 1.0,
    shear_x: Numbers | float = 0.0,
    shear_y: Numbers | float = 0.0,
    shift_x: Numbers | float = 0.0,
    shift_y: Numbers | float = 0.0,
) -> Placed:
    """Scaled, then turned, sheared and shifted about the centre, in pixels; angles in radians."""
    row, column = ((sizes - 1) / 2).T
    scale = matrices(xx=scale_x, yy=scale_y)
    turn = matrices(xx=np.cos(angle), xy=np.sin(angle), yx=-np.sin(angle), yy=np.cos(angle))
    shear = matrices(xy=shear_x, yx=shear_y)
    away, back = matrices(x1=-column, y1=-row), matrices(x1=column + shift_x, y1=row + shift_y)
    return _same(np.linalg.inv(back @ shear @ turn @ scale @ away), sizes)


GEOMETRIC: dict[str, type[Geometric]] = {
    form.__name__: form
    for form in (
        HorizontalFlip,
        VerticalFlip,
        RandomRotate90,
        Affine,
        Rotate,
        ShiftScaleRotate,
        RandomScale,
        PadIfNeeded,
        RandomCrop,
        RandomResizedCrop,
    )
}
"""By albumentations' name; `ElasticTransform`, which is no matrix, is in `elastic.py`."""
