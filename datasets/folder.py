"""Any folder of images and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from .case import IGNORE, Case, Decoded, Kind, Pixels
from .errors import DataError
from .formats import is_still, without_suffix
from .labels import LabelMap, Labels, Values, background_of, label_map
from .pattern import Pattern, part_of
from .still import read_image, with_mask


class Folder:
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

    reads = "images (.png, .jpg, .tif, .bmp)"
    assumes_spacing = False
    kind: Kind = "still"

    def __init__(
        self,
        root: str,
        labels: Labels,
        images: str = "images/{name}.*",
        masks: str = "masks/{name}.*",
        ignore: Values | None = None,
        channels: Literal[1, 3] = 3,
    ) -> None:
        self.root = Path(root)
        self.images, self.masks = Pattern("images", images, is_still), Pattern("masks", masks, is_still)
        if "{name}" not in masks:
            raise ValueError(f"masks: {masks!r} does not hold {{name}}, so no mask can be told from another")
        if ("{part}" in images) != ("{part}" in masks):
            raise ValueError(f"masks: {masks!r} and images {images!r} must both hold {{part}}, or neither")
        self.labels = label_map(LabelMap({}, ignore=[IGNORE]), labels, ignore)
        if len(self.labels.classes) < 2:
            raise ValueError("labels: one class is nothing to tell apart; name the background too, as {background: 0}")
        self.classes = self.labels.classes
        self.background = background_of(self.classes)
        self.channels: int = channels
        self.normalise = "imagenet" if channels == 3 else "percentile"

    def resolved(self) -> dict[str, Any]:
        """Nothing: no file of the data set says anything in place of the configuration."""
        return {}

    def cases(self) -> list[Case]:
        """List the cases by id.

        Raises:
            DataError: no image, an image without its mask or with two, two images of one name, a mask without image.
        """
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; set data.root to the folder that data.images starts from")
        images, masks = self.images.find(self.root), self.masks.find(self.root)
        taken = {path for name, paths in masks.items() for path in paths if {*images.get(name, ())} - {path}}
        images = {name: kept for name, paths in images.items() if (kept := [p for p in paths if p not in taken])}
        if not images:
            raise DataError(f"{self.root}: no image fits data.images: {self.images.text}{self._hint()}")
        cases = []
        for name, paths in images.items():
            image = _only(paths, "images")
            if name not in masks:
                wanted = self.masks.text.replace("{name}", name)
                raise DataError(f"{image}: no mask {self.root / wanted}; add it, remove the image or see data.masks")
            mask = _only(masks[name], "masks")
            if mask == image:
                raise DataError(f"{image}: fits data.images and data.masks, so it would be its own mask; narrow one")
            cases.append(Case(name, name, image, mask, part_of(name)))
        for name in sorted(masks.keys() - images.keys()) if "{name}" in self.images.text else ():
            raise DataError(f"{masks[name][0]}: no image for this mask by data.images: {self.images.text}")
        return cases

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

    def _hint(self) -> str:
        if (self.root / "train" / "images").is_dir():
            return "; try images: '{part}/images/{name}.*' and masks: '{part}/masks/{name}.*'"
        return "; see data.root and data.images"


def _only(paths: list[Path], key: str) -> Path:
    if len(paths) > 1:
        raise DataError(f"{paths[1]}: {paths[0].name} has the same name; keep one of them, or narrow data.{key}")
    return paths[0]
