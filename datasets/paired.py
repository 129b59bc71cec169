"""Images and masks that patterns find, brought together by their names: what adapters of files share."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from .case import PARTS, Case, Drawn
from .errors import DataError
from .files import first_of
from .formats import ARRAYS, without_suffix
from .labels import LabelMap, background_of
from .listing import Listing
from .notes import Note
from .pattern import Pattern
from .walk import walk
from .written import Written, read_list

Missing = Literal["refuse", "zeros", "exclude"]
"""Of an image without one of its further channels: an error, a channel of zeros, or no case."""
Files = dict[str, list[Path]]
"""What a pattern has found, by name."""


class Paired:
    """What an `Adapter` lists and says, of images and masks below a folder.

    Args:
        root: the folder that the patterns start from.
        images: where images lie, or each of their channels in a file of its own, of which the first stands for all.
        masks: where masks lie, by the class that is drawn in them, or None where their values say; empty where masks
            are found by other means, and the image stands in its mask's place.
        spare_masks: a mask may lie there without its image.
        valid: where files lie that are 0 where pixels do not count; None where there are none.
        missing: what becomes of an image without one of its further channels.
    """

    labels: LabelMap
    own: LabelMap | None = None
    """The classes without `labels`; None where the configuration has to name them."""
    layout: str | None = None
    """The data set's own layout in words, for messages; None where data.images and data.masks say it."""
    what = "image"
    """An image in one word, for messages."""
    unites = False
    """Whether several masks of one image are united."""
    endings: tuple[str, ...] = ()
    """Of files that are read where a pattern names them."""
    one_file = False
    """Whether a file may hold an image and its mask, as arrays of different names."""

    def __init__(
        self,
        root: str,
        images: Sequence[Pattern],
        masks: Mapping[str | None, Pattern],
        spare_masks: bool,
        valid: Pattern | None = None,
        missing: Missing = "refuse",
    ) -> None:
        self.root, self.images, self.masks, self.valid = Path(root), images, masks, valid
        self.spare_masks, self.missing = spare_masks, missing
        self._others: dict[Pattern, Files] = {}

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

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the cases by name.

        Args:
            listing: see `Adapter`.

        Raises:
            DataError: a missing folder, no image, an image or mask that is missing, or several of one name.
        """
        listing = listing or Listing()
        if not self.root.is_dir():
            meant = f"with {self.layout}" if self.layout else "of the data set"
            raise DataError(f"{self.root}: no such folder; set data.root to the folder {meant}")
        self._others.clear()
        first = self.images[0].find(self.root)
        further = [pattern.find(self.root, first) for pattern in self.images[1:]]
        drawn = {label: pattern.find(self.root, first) for label, pattern in self.masks.items()}
        valid = {} if self.valid is None else self.valid.find(self.root, first)
        # where a file fits another pattern too, it is no image if an image of that name is left
        others: list[Files] = [*drawn.values(), valid]
        taken = {
            path for one in others for name, paths in one.items() for path in paths if {*first.get(name, ())} - {path}
        }
        first = {name: kept for name, paths in first.items() if (kept := [path for path in paths if path not in taken])}
        if listing.wanted is None:
            self._refuse_none(first)
            spare = {path for one in others for name, paths in one.items() if name not in first for path in paths}
            known = {path for one in (first, *further, *others) for paths in one.values() for path in paths}
            self._note_untaken(known - spare if self.spare_masks else known)
        found = []
        for name, images in self._of(listing, first).items():
            try:
                channels = [images, *(listed.get(name, []) for listed in further)]
                if self.lacks(images[0], [not files for files in channels]):
                    continue
                masks = {label: files.get(name, []) for label, files in drawn.items()}
                found.append(self._case(name, channels, masks, valid.get(name, [])))
            except DataError as error:
                listing.refuse(error)
        for one in () if self.spare_masks else drawn.values():
            for name in sorted(self._of(listing, one).keys() - first.keys()):
                text, folder = self.images[0].text, self.images[0].folder(self.root, name.split("/")[0])
                where = f"in {folder}" if self.layout else f"by data.images: {text}"
                why = f"no {self.what} of this name {where}; add it or remove the mask"
                listing.refuse(DataError(f"{one[name][0]}: {why}"))
        return found

    def lacks(self, image: Path, missing: Sequence[bool]) -> bool:
        """Whether an image without some of its channels is left out; what is done with it is noted.

        Args:
            image: for the note.
            missing: whether a channel is, in their order.
        """
        if not any(missing) or self.missing == "refuse":
            return False
        done = "are 0 there" if self.missing == "zeros" else "are left out"
        numbers = " and ".join(str(at) for at, is_missing in enumerate(missing, start=1) if is_missing)
        note = Note(f"{self.what}(s) without channel {numbers}, which {done}", str(image), "see data.missing")
        warnings.warn(note, stacklevel=2)
        return self.missing == "exclude"

    def is_foreign_image(self, path: Path) -> bool:  # noqa: ARG002
        """No path: images have one format."""
        return False

    def case(self, name: str, image: Path, mask: Path) -> Case:
        """The case of a name that the patterns give: of its own group, in the part that its name begins with."""
        part = next((part for part in PARTS if name.startswith(f"{part}/")), None)
        return Case(name, name, image, mask, part)

    def patient(self, case: Case) -> str | None:  # noqa: ARG002
        """None: names alone say whose an image is."""
        return None

    def is_worth_naming(self, path: Path) -> bool:
        """Whether a file that no pattern takes may have been meant to be taken, by its name."""
        return self.images[0].accepts(path)

    def _case(
        self, name: str, channels: Sequence[list[Path]], masks: Mapping[str | None, list[Path]], valid: list[Path]
    ) -> Case:
        """The case of some files; a `DataError` where one is missing, or there are several of a kind."""
        image = channels[0][0]
        for pattern, files in zip(self.images, channels, strict=True):
            if not files and self.missing == "zeros":
                continue
            self._refuse_other_than_one(files, image, pattern, name)
        drawn = [Drawn(path, label) for label in masks for path in self._masks(masks, label, image, name)]
        mask = drawn[0].path if drawn else image
        if any(one.path == image for one in drawn) and not self.one_file:
            raise DataError(f"{image}: fits data.images and data.masks, so it would be its own mask; narrow one")
        case = self.case(name, image, mask)
        if len(drawn) > 1 or None not in masks:
            case = replace(case, drawn=tuple(drawn))
        if self.valid is not None:
            self._refuse_other_than_one(valid, image, self.valid, name)
            case = replace(case, valid=valid[0])
        return case

    def _masks(self, masks: Mapping[str | None, list[Path]], label: str | None, image: Path, name: str) -> list[Path]:
        """The masks of an image that one pattern finds; several are united, a class may have none if another has."""
        files, pattern = masks[label], self.masks[label]
        if not files and any(masks.values()):
            note = Note(
                f"{self.what}(s) without mask of {label}, so without {label}", str(image), f"see data.{pattern.key}"
            )
            warnings.warn(note, stacklevel=2)
            return []
        apart = {without_suffix(path.name)[0] for path in files}
        together = len(apart) == len(files) and len({path.parent for path in files}) == 1
        if len(files) < 2 or not self.unites or not pattern.finds_several or not together:
            self._refuse_other_than_one(files, image, pattern, name)
            return files
        if self.background is None:
            raise DataError(
                f"{files[1]}: beside {files[0].name}, but masks are united on background, and no class of data.labels "
                "is named so; name one, or narrow data.masks"
            )
        remedy = f"data.{pattern.key} finds them; `masks: {{class: pattern, …}}` gives each class its own"
        warnings.warn(Note(f"{self.what}(s) with several masks, which are united", str(image), remedy), stacklevel=2)
        return files

    def _of(self, listing: Listing, files: Files) -> Files:
        """The files of the cases that are listed, by their name."""
        return {name: paths for name, paths in files.items() if listing.takes(self.case(name, paths[0], paths[0]).id)}

    def _note_untaken(self, taken: Collection[Path]) -> None:
        """Note the files that no pattern takes; those beside a mask, of a name that begins like its, apart."""
        left = [*self._left(taken)]
        beside = {without_suffix(str(path))[0] for path in taken} if left else set()
        for path in left:
            stem = without_suffix(str(path))[0]
            shorter = (stem[:end] for end in range(len(stem), len(str(path.parent)) + 1, -1))
            if self.unites and self.layout is None and not beside.isdisjoint(shorter):
                what = "file(s) that no pattern takes, though their names begin like a file that one takes"
                remedy = (
                    "data.masks with * unites several masks of an image ('{name}_mask*.png'), data.valid finds files "
                    "that say which pixels count"
                )
            else:
                what = "file(s) that no pattern takes"
                remedy = f"expected {self.layout}" if self.layout else "see data.images and data.masks"
            warnings.warn(Note(what, str(path), remedy), stacklevel=2)

    def _left(self, taken: Collection[Path]) -> Iterator[Path]:
        """The files below the root that are not taken, nor in a folder that is, nor written by this program."""
        written: dict[Path, Written] = {}
        for path in chain([self.root], walk(self.root, with_runs=False)):
            if path.is_dir():
                written |= {path / name: one for name, one in read_list(path).items()}
            elif path not in taken and not any(folder in taken for folder in path.parents):
                own = written.get(path)
                if self.is_worth_naming(path) and (own is None or not own.holds(path)):
                    yield path

    def _refuse_none(self, first: dict[str, list[Path]]) -> None:
        """Raise a `DataError` where there is no image; note folders of a layout of its own that have none."""
        images = self.images[0]
        if self.layout is None and not first:
            below = images.folder(self.root, "").relative_to(self.root)
            hint = self._unread(images) or "see data.root and data.images"
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
            narrow = f", or narrow data.{pattern.key}"
            if pattern.text.endswith(".*"):
                narrow += f", such as {pattern.text[:-2]}{without_suffix(files[0].name)[1]}"
            narrow = "" if self.layout else narrow
            raise DataError(f"{files[1]}: {files[0].name} has the same name; keep one of them{narrow}")
        if not files:
            see = "" if self.layout else f", or see data.{pattern.key}"
            kind = "mask" if pattern in self.masks.values() else "file"
            lacking = pattern.filled(self.root, name)
            instead = self._unread(pattern, name) or f"add it or remove the {self.what}{see}"
            raise DataError(f"{image}: no {kind} {lacking}; {instead}")

    def _unread(self, pattern: Pattern, name: str | None = None) -> str:
        """What there is in place of the files of a pattern, of one name or of any, and why it is not taken; or ""."""
        if pattern not in self._others:
            self._others[pattern] = pattern.with_any_ending(self.root)
        every = self._others[pattern]
        files = [path for found in every.values() for path in found] if name is None else every.get(name, [])
        if not files:
            return ""
        found, suffix = f"found {first_of([path.name for path in files])}", files[0].suffix.lower() or "none"
        if not suffix.endswith(self.endings):
            return f"{found}: this ending is not read, so convert it"
        key = "mask_key" if pattern in self.masks.values() else "image_key"
        array = f", and the array by data.{key}" if suffix in ARRAYS[1:] else ""
        return f"{found}: name this ending in data.{pattern.key}{array}"
