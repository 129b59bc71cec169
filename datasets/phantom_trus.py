"""Synthetic prostate ultrasound: speckle, a fan-shaped field of view, shadows, and a gland that no threshold finds."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
SHAPE = (12, 112, 128)
SPACING = (0.6, 0.6, 4.0)
"""Millimetres between columns, rows and slices."""
APEX, NEAR, FAR, HALF_ANGLE = (-18.0, 63.5), 26.0, 122.0, 0.72
"""The fan: row and column of its apex, its first and last distance from it in pixels, half its angle."""


def fan() -> NDArray[np.bool_]:
    """Where the probe sees, `(rows, columns)`."""
    distance, angle = _polar()
    return (distance >= NEAR) & (distance <= FAR) & (np.abs(angle) <= HALF_ANGLE)


def make_patient(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One scan and its gland, both `(slices, rows, columns)`: 8 bits, 0 outside the fan; 1 in the gland."""
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]].astype(float)
    distance, angle = _polar()
    middle = np.array([54.0, 63.5]) + rng.uniform(-1, 1, 2) * (12.0, 16.0)
    half = np.array([17.0, 22.0]) * rng.uniform(0.7, 1.2, 2)
    edge = _smooth(rng, 6)
    shadows = [(rng.uniform(-0.6, 0.6), rng.uniform(0.02, 0.05)) for _ in range(2)]
    shadow = 1 - 0.75 * sum(np.exp(-(((angle - at) / width) ** 2)) for at, width in shadows) * (distance > NEAR + 12)
    image, mask = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    for index in range(SHAPE[0]):
        along = (index - SHAPE[0] / 2 + 0.5) / (0.42 * SHAPE[0])
        size = np.sqrt(max(0.0, 1 - along**2)) * half
        relative = np.full(rows.shape, 9.0)
        if size.min() > 3:
            relative = np.hypot((rows - middle[0]) / size[0], (columns - middle[1]) / size[1]) + 0.06 * edge[index]
        tissue = 0.34 + 0.06 * _smooth(rng, 9)[0]
        inner = relative < 1
        tissue[inner] = 0.31 + 0.05 * _smooth(rng, 5)[0][inner]
        tissue[(relative >= 1) & (relative < 1.12)] = 0.48  # capsule
        tissue[(relative < 0.55) & inner] -= 0.05  # central zone
        tissue[distance > 112] *= 0.8
        speckle = cv2.GaussianBlur(np.hypot(*rng.normal(0, 1, (2, *rows.shape))), (0, 0), 0.8)  # Rayleigh
        light = tissue * shadow * (0.35 + 0.65 * speckle) * np.exp(-0.004 * (distance - NEAR))
        shown = np.clip(np.log1p(9 * light) / np.log(10), 0, 1)  # log-compressed, as a scanner shows it
        image[index] = np.where(fan(), np.maximum(1, (255 * shown).round()), 0).astype(np.uint8)
        mask[index] = inner & fan()
    return image, mask


def _polar() -> tuple[Field, Field]:
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]].astype(float)
    return np.hypot(rows - APEX[0], columns - APEX[1]), np.arctan2(columns - APEX[1], rows - APEX[0])


def _smooth(rng: np.random.Generator, width: float) -> Field:
    """Random fields of mean 0 and deviation 1, one a slice, smooth over `width` pixels."""
    white = rng.normal(size=SHAPE)
    fields = np.stack([cv2.GaussianBlur(plane, (0, 0), width, borderType=cv2.BORDER_REFLECT) for plane in white])
    return np.asarray(fields / fields.std())
