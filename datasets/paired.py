"""Images and masks that patterns find, brought together by their names: what adapters of files share."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from .case import PARTS, Case, Wanted
from .errors import DataError
from .labels import LabelMap, background_of
from .notes import Note
from .pattern import Pattern


class Paired:
    """What an `Adapter` lists and says, of images and masks below a folder.

    Args:
        root: the folder that the patterns start from.
        images: where images lie, or each of their channels in a file of its own, of which the first stands for all.
        masks: where masks lie; None where they are found by other means, and the image stands in its mask's place.
        spare_masks: a mask may lie there without its image.
    """

    assumes_spacing = False
    labels: LabelMap
    own: LabelMap | None = None
    """The classes without `labels`; None where the configuration has to name them."""
    layout: str | None = None
    """The data set's own layout in words, for messages; None where data.images and data.masks say it."""
    what = "image"
    """An image in one word, for messages."""

    def __init__(self, root: str, images: Sequence[Pattern], masks: Pattern | None, spare_masks: bool) -> None:
        self.root, self.images, self.masks, self.spare_masks = Path(root), images, masks, spare_masks

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their indices."""
        return self.labels.classes

    @property
    def background(self) -> str | None:
        """The class named background, or None."""
        return background_of(self.classes)

    def resolved(self) -> dict[str, Any]:
        """Nothing: no file of the data set says anything in place of the configuration."""
        return {}

    def cases(self, wanted: Wanted = None) -> list[Case]:
        """List the cases by name.

        Args:
            wanted: see `Adapter`.

        Raises:
            DataError: a missing folder, no image, an image or mask that is missing, or several of one name.
        """
        if not self.root.is_dir():
            meant = f"with {self.layout}" if self.layout else "of the data set"
            raise DataError(f"{self.root}: no such folder; set data.root to the folder {meant}")
        first, *further = [pattern.find(self.root) for pattern in self.images]
        drawn = {} if self.masks is None else self.masks.find(self.root)
        # where both patterns fit a file, it is a mask if an image of its name is left
        taken = {path for name, paths in drawn.items() for path in paths if {*first.get(name, ())} - {path}}
        first = {name: kept for name, paths in first.items() if (kept := [path for path in paths if path not in taken])}
        if wanted is not None:
            first, drawn = (self._of(wanted, files) for files in (first, drawn))
        else:
            self._refuse_none(first)
        found = []
        for name, (image, *_) in first.items():
            for pattern, listed in zip(self.images, [first, *further], strict=True):
                self._refuse_other_than_one(listed.get(name, []), image, pattern, name)
            mask = image
            if self.masks is not None:
                self._refuse_other_than_one(drawn.get(name, []), image, self.masks, name)
                mask = drawn[name][0]
                if mask == image:
                    raise DataError(f"{mask}: fits data.images and data.masks, so it would be its own mask; narrow one")
            found.append(self.case(name, image, mask))
        for name in () if self.spare_masks else sorted(drawn.keys() - first.keys()):
            text, folder = self.images[0].text, self.images[0].folder(self.root, name.split("/")[0])
            where = f"in {folder}" if self.layout else f"by data.images: {text}"
            raise DataError(f"{drawn[name][0]}: no {self.what} of this name {where}; add it or remove the mask")
        return found

    def case(self, name: str, image: Path, mask: Path) -> Case:
        """The case of a name that the patterns give: of its own group, in the part that its name begins with."""
        part = next((part for part in PARTS if name.startswith(f"{part}/")), None)
        return Case(name, name, image, mask, part)

    def _of(self, wanted: Collection[str], files: dict[str, list[Path]]) -> dict[str, list[Path]]:
        """The files of some cases, by their name."""
        return {name: paths for name, paths in files.items() if self.case(name, paths[0], paths[0]).id in wanted}

    def _refuse_none(self, first: dict[str, list[Path]]) -> None:
        """Raise a `DataError` where there is no image; note folders of a layout of its own that have none."""
        images = self.images[0]
        if self.layout is None and not first:
            below = images.folder(self.root, "").relative_to(self.root)
            hint = "see data.root and data.images"
            if "{part}" not in images.text and (self.root / PARTS[0] / below).is_dir():
                hint = f"try images: '{{part}}/{images.text}', and {{part}}/ in data.masks too"
            raise DataError(f"{self.root}: no {self.what} fits data.images: {images.text}; {hint}")
        for part in images.parts if self.layout else ():
            if not any(name.startswith(f"{part}/" if part else "") for name in first):
                folder = images.folder(self.root, part)
                if first:  # enough for a split of its own; the official one refuses a part that is empty
                    note = Note(f"folder(s) without {self.what}", str(folder), f"expected {self.layout}")
                    warnings.warn(note, stacklevel=2)
                    continue
                lacks = f"no {self.what} here" if folder.is_dir() else "no such folder"
                raise DataError(f"{folder}: {lacks}; expected {self.layout}")

    def _refuse_other_than_one(self, files: list[Path], image: Path, pattern: Pattern, name: str) -> None:
        """Raise a `DataError` where not exactly one file of a pattern belongs to an image."""
        if len(files) > 1:
            narrow = "" if self.layout else f", or narrow data.{pattern.key}"
            raise DataError(f"{files[1]}: {files[0].name} has the same name; keep one of them{narrow}")
        if not files:
            see = "" if self.layout else f", or see data.{pattern.key}"
            kind = "mask" if pattern is self.masks else "file"
            lacking = pattern.filled(self.root, name)
            raise DataError(f"{image}: no {kind} {lacking}; add it or remove the {self.what}{see}")
