"""Augmentation by the names of albumentations, seeded sample by sample."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .case import IGNORE

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for updates when imported

import albumentations as A

_NOT_FOR_YAML = {"DualTransform", "ImageOnlyTransform", "Transform3D", "Normalize", "ToFloat", "FromFloat", "Lambda"}
TRANSFORMS: dict[str, type[Any]] = {
    name: member
    for name, member in vars(A).items()
    if inspect.isclass(member) and issubclass(member, A.DualTransform | A.ImageOnlyTransform)
    if name not in _NOT_FOR_YAML and not name.endswith("3D")
}
"""albumentations' transforms of an image, alone or with its mask, by name."""
RESIZES = (
    *("CropAndPad", "LongestMaxSize", "Mosaic", "RandomResizedCrop", "RandomScale", "RandomSizedBBoxSafeCrop"),
    *("RandomSizedCrop", "Resize", "SmallestMaxSize"),
)
"""Those by which masks are resized. OpenCV's INTER_NEAREST, albumentations' default, takes the label at the corner of a
pixel, not at its middle as of images, which moves all labels by half a pixel."""


class Augmentation:
    """A chain of transforms; what it does is a function of the seed it is called with.

    Pixels that a transform brings in from outside the image are ignored, unless `fill_mask` says otherwise:
    the default of albumentations would give them class 0. Masks are resized to the label nearest to the middle of each
    pixel, unless `mask_interpolation` says otherwise.

    Args:
        transforms: `{"name": a key of TRANSFORMS, **parameters}` each.

    Raises:
        KeyError: an unknown name.
        ValueError: a parameter that the transform does not have or allow.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]]) -> None:
        self.compose = A.Compose([build_transform(**transform) for transform in transforms])

    def __call__(self, image: NDArray[Any], mask: NDArray[np.uint8], seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Augment one sample.

        Args:
            image: `(rows, columns, channels)`, uint8, or float32 in [0, 1].
            mask: `(rows, columns)`; a picture's one label, `(1, 1)`, stays as it is.
            seed: decides every random choice.
        """
        self.compose.set_random_seed(seed)
        if mask.shape != image.shape[:2]:
            return self.compose(image=image)["image"], mask
        result = self.compose(image=image, mask=mask)
        return result["image"], result["mask"]

    def sizes(self, image: NDArray[Any], seeds: int = 12) -> set[tuple[int, int]]:
        """The sizes (rows, columns) that an image may come out with, over some seeds.

        Raises:
            ValueError: a transform that fails on such an image, or wants more than an image and its mask.
        """
        mask = np.zeros(image.shape[:2], dtype=np.uint8)
        found = set()
        for seed in range(seeds):
            try:
                augmented, followed = self(image, mask, seed)
            except Exception as error:
                raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
            if augmented.shape[:2] != followed.shape[:2]:
                raise ValueError(
                    f"image and mask come out with different sizes, {augmented.shape} and {followed.shape}"
                )
            found.add((int(followed.shape[0]), int(followed.shape[1])))
        return found


def build_transform(name: str, **parameters: Any) -> Any:
    """One transform of albumentations; see `Augmentation`."""
    transform = TRANSFORMS[name]
    fill = inspect.signature(transform).parameters.get("fill_mask")
    if fill is not None and fill.default is not None:  # None keeps the labels, as the dropouts do
        parameters.setdefault("fill_mask", IGNORE)
    if name in RESIZES:
        parameters.setdefault("mask_interpolation", cv2.INTER_NEAREST_EXACT)
    try:
        return transform(**parameters, strict=True)
    except TypeError as error:
        if "strict" not in str(error):
            raise ValueError(str(error)) from error
        return transform(**parameters)  # the few that do not know `strict` refuse unknown arguments by themselves
    except ValueError as error:  # a pydantic report of several lines for each problem: the key, then the reason
        lines = str(error).splitlines()
        pairs = zip(lines[1::3], lines[2::3], strict=False) if len(lines) > 2 else []
        each = [f"{key} {reason.split(' [type=')[0].strip().replace('Input should', 'must')}" for key, reason in pairs]
        raise ValueError("; ".join(each) or str(error)) from error
