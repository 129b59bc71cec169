"""`dataset.json`, with which the Medical Segmentation Decathlon and nnU-Net describe a data set."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from .case import Case
from .errors import DataError
from .files import existing, is_file, read_json, same_name
from .formats import VOLUMES, is_scan, volume_stem, volume_suffix
from .labels import LabelMap
from .listing import Listing
from .notes import Note
from .walk import refuse_broken_link, stays_inside, walk

NAME = "dataset.json"
MASKS = ("labelsTr", "labelsTs", "labelsVal")
"""The folders of masks."""


class DatasetJson:
    """The content of `root/dataset.json`: of the Decathlon, of nnU-Net 1 or of nnU-Net 2.

    Args:
        root: the folder of the data set.

    Attributes:
        channels: the names of the channels, such as T2 and ADC.

    Raises:
        DataError: no such file, not JSON, something missing or of another kind.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / NAME
        content = _read(self.path)
        self.channels = self._channels(content)
        self._ending = content.get("file_ending")
        self._content = content

    @cached_property
    def labels(self) -> LabelMap:
        """What the mask values mean; a `DataError` where it does not say, or names regions, whose classes overlap."""
        labels = self._content.get("labels")
        if not isinstance(labels, dict) or not labels:
            raise DataError(f'{self.path}: labels must be {{"background": 0, …}}, got {labels!r:.80}')
        if all(key.isdigit() and isinstance(name, str) for key, name in labels.items()):  # {"0": "background"}
            labels = {name: int(key) for key, name in labels.items()}
        for name, value in labels.items():
            if isinstance(value, list):
                raise DataError(
                    f"{self.path}: the label {name!r} is a region, {value}; regions overlap, softmax classes cannot; "
                    "say in data.labels which value belongs to which class"
                )
            if not isinstance(value, int) or isinstance(value, bool):
                raise DataError(f"{self.path}: the label {name!r} has the value {value!r:.40}; expected a whole number")
        ignore = [value for name, value in labels.items() if name.lower() == "ignore"]
        ordered = sorted((item for item in labels.items() if item[0].lower() != "ignore"), key=lambda item: item[1])
        try:
            return LabelMap({name: [value] for name, value in ordered}, ignore)
        except ValueError as error:
            raise DataError(f"{self.path}: {error}") from error

    def cases(self, listing: Listing) -> list[Case]:
        """The training cases by their first channels, sorted; a `DataError` for a file missing or out of the folder."""
        training = self._content.get("training")
        named = self._listed(training) if isinstance(training, list) else self._in_folders()
        found: list[Case] = []
        taken: set[Path] = set()
        for name, (*images, mask) in named:
            taken.update((*images, mask))
            if not listing.takes(name):
                continue
            try:
                for path in (*images, mask):
                    self._refuse_missing(path, name)
                found.append(Case(name, name, images[0], mask))
            except DataError as error:
                listing.refuse(error)
        if listing.wanted is None:
            self._note_untaken(taken)
        if not found and self._ending is not None and volume_suffix(f"x{self._ending}") is None:
            raise DataError(
                f"{self.path}: file_ending {self._ending!r}; expected one of {', '.join(VOLUMES)}, so convert the "
                "files, or for stills use data.name: folder"
            )
        if not found:
            raise DataError(f"{self.path}: no training case in {self.root / 'imagesTr'}, where nnU-Net has them")
        return sorted(found, key=lambda case: case.id)

    @cached_property
    def masks(self) -> set[Path]:
        """The masks that it lists, wherever links lead."""
        training = self._content.get("training")
        entries = [entry for entry in training if isinstance(entry, dict)] if isinstance(training, list) else []
        return {(self.root / str(entry.get("label"))).resolve() for entry in entries}

    def _channels(self, content: dict[str, Any]) -> tuple[str, ...]:
        channels = content.get("channel_names", content.get("modality"))
        if not isinstance(channels, dict) or not channels or set(channels) != {str(i) for i in range(len(channels))}:
            raise DataError(
                f'{self.path}: channel_names (or modality) must be {{"0": name, "1": name, …}}, got {channels!r:.80}'
            )
        return tuple(str(channels[str(index)]) for index in range(len(channels)))

    def _listed(self, training: list[Any]) -> Iterator[tuple[str, list[Path]]]:
        """The name of each case that it lists, its channels and its mask."""
        for entry in training:
            if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
                raise DataError(f'{self.path}: training must list {{"image": file, "label": file}}, got {entry!r:.80}')
            mask = self._inside(entry["label"])
            images = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
            files = [self._inside(image) for image in images]
            if len(files) == 1 and not is_file(files[0]):  # nnU-Net 1 leaves out the channel
                stem = volume_stem(files[0])
                ending = files[0].name.removeprefix(stem)
                files = channel_files(files[0].with_name(f"{stem}_0000{ending}"), len(self.channels))
            yield same_name(volume_stem(mask)), [*files, mask]

    def _in_folders(self) -> Iterator[tuple[str, list[Path]]]:
        """The name of each mask in `labelsTr`, its channels and itself."""
        folder = self.root / "labelsTr"
        if not folder.is_dir():
            raise DataError(f"{self.path}: lists no training cases, and there is no folder {folder}")
        for mask in sorted(folder.iterdir()):
            if is_scan(mask) and (self._ending is None or mask.name.endswith(self._ending)):
                name = volume_stem(mask)
                first = self.root / "imagesTr" / f"{name}_0000{mask.name.removeprefix(name)}"
                yield same_name(name), [*channel_files(first, len(self.channels)), mask]

    def _refuse_missing(self, path: Path, name: str) -> None:
        refuse_broken_link(path)
        if not is_file(path):
            raise DataError(f"{path}: no such file, but {self.path} names the case {name!r}; add it or remove that")

    def _note_untaken(self, taken: Collection[Path]) -> None:
        """Note the scans and masks for training that belong to no case."""
        for folder in (self.root / "imagesTr", self.root / MASKS[0]):
            for path in filter(is_scan, walk(folder) if folder.is_dir() else ()):
                if path not in taken:
                    note = Note("file(s) of no case", str(path), f"{self.path} names scan and mask of each case")
                    warnings.warn(note, stacklevel=2)

    def _inside(self, name: Any) -> Path:
        path = Path(existing(str(self.root / str(name))))
        inside = isinstance(name, str) and stays_inside(self.root, name.replace("\\", "/"))
        if not inside or path.resolve() == self.root.resolve():
            raise DataError(f"{self.path}: names {name!r:.80}, which is no file below {self.root}")
        return path


def channel_files(first: Path, channels: int) -> list[Path]:
    """The files of an image whose first is given, by nnU-Net's `_0000`, `_0001` …; itself where it has no such."""
    if "_0000." not in first.name:
        return [first]
    return [first.with_name(first.name.replace("_0000.", f"_{index:04d}.")) for index in range(channels)]


def is_further(path: Path, channels: int) -> bool:
    """Whether a file is a further channel of an image whose first lies beside it."""
    first = re.sub(r"_\d{4}\.", "_0000.", path.name)
    return channels > 1 and first != path.name and path.with_name(first).is_file()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        if not path.parent.is_dir():
            raise DataError(f"{path.parent}: no such folder; set data.root") from error
        raise DataError(
            f"{path}: no such file; add it as nnU-Net and the Decathlon have it, or set data.images and data.masks"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f'{path}: expected a mapping with "labels" and "channel_names"')
    return content
