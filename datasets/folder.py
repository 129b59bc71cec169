"""Any folder of images and masks, and what data sets of stills with a layout of their own share with it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .case import Case, Decoded, Kind, Pixels
from .formats import is_still, without_suffix
from .labels import LabelMap, Labels, Values, label_map
from .paired import Paired
from .pattern import Pattern
from .still import read_image, with_mask


class Stills(Paired):
    """Images and their masks below a folder; `labels` says what the values or colours of a mask mean."""

    kind: Kind = "still"
    reads = "images (.png, .jpg, .tif, .bmp)"

    def __init__(
        self, root: str, images: Pattern, masks: Pattern, labels: LabelMap, channels: Literal[1, 3] = 3
    ) -> None:
        super().__init__(root, [images], masks, spare_masks="{name}" not in images.text)
        self.labels = labels
        self.channels: int = channels
        self.normalise = "imagenet" if channels == 3 else "percentile"

    def sources(self, case: Case) -> list[Path]:
        """The image and its mask."""
        return [case.image, case.mask]

    def is_image(self, path: Path) -> bool:
        """Whether a file is an image by its name."""
        return is_still(path)

    def output_name(self, image: Path, relative: str) -> tuple[str, str]:  # noqa: ARG002
        """Its own name."""
        return without_suffix(relative)

    def read_image(self, path: Path) -> Pixels:
        """Decode an image."""
        return Pixels(read_image(path, self.channels))

    def read(self, case: Case) -> Decoded:
        """Decode an image and its mask."""
        return with_mask(self.read_image(case.image), case, self.labels)


class Folder(Stills):
    """Images and masks found by patterns below `root`.

    In a pattern `{name}` stands for the case's id (it may reach over sub-folders), `*` for a part of a file name, and
    `{part}` for the folders `train`, `val` and `test`. Where every id begins with one of these folders, they are the
    official split. A case is an image and its own group; `data.group` groups them by a pattern on the id.

    Args:
        root: the folder that the patterns start from.
        labels: a class name to one or several mask values, or to RGB colours `[[r, g, b], …]`, in the order of the
            class indices.
        images: where images lie; without `{name}` the id is the path below the fixed folders, without suffix.
        masks: where masks lie, with `{name}`.
        ignore: mask values, or colours, of pixels that do not count; 255 is one already where no class has it.
        channels: 1 for grey images, 3 for RGB; grey ones are repeated.

    Raises:
        ValueError: see `LabelMap` and `Pattern`; a mask pattern without `{name}`.
    """

    def __init__(
        self,
        root: str,
        labels: Labels,
        images: str = "images/{name}.*",
        masks: str = "masks/{name}.*",
        ignore: Values | None = None,
        channels: Literal[1, 3] = 3,
    ) -> None:
        patterns = Pattern("images", images, is_still), Pattern("masks", masks, is_still)
        if "{name}" not in masks:
            raise ValueError(f"masks: {masks!r} does not hold {{name}}, so masks have no names")
        if ("{part}" in images) != ("{part}" in masks):
            raise ValueError(f"masks: {masks!r} and images {images!r} must both hold {{part}}, or neither")
        super().__init__(root, *patterns, label_map(None, labels, ignore), channels)
