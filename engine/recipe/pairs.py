"""Patterns that bring images and masks together, proposed from the files that are there."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

import datasets
from datasets.arrays import read_array
from datasets.formats import ARRAYS, is_scan, is_still, without_suffix
from datasets.matlab import Matlab
from datasets.still_file import open_still, pixels_of
from datasets.tiff import numbers_of

MASK_WORDS = re.compile(
    r"mask|seg|label|annot|gt(?![a-z])|truth|manual|roi|lesion|contour|target|organ|gland|tumou?r|fov", re.IGNORECASE
)
"""Of names of files and folders that hold masks; they only decide between what the pixels leave open."""
CLASS_WORDS = ("gland", "organ", "lesion", "tumor", "tumour")
"""Of these the words that name what is drawn."""
VALID_WORDS = re.compile(r"fov|valid|(?<![a-z])mask(?!s)", re.IGNORECASE)
"""Of masks that may say which pixels count, where there are masks by another word."""
PART = re.compile(r"(?:(?<=[_\- ])|^)(?:train|val|test)(?=$|[_\- ]|annot|mask|label|image)")
"""The word in a folder's name that names a part."""
MOST_SLOTS, MOST_FILES = 40, 3000
"""Patterns that are compared with each other, of those that find the most files; and files that suggest them."""
SINGLE = 6
"""Fewer files may be one image of several channels with its mask, so patterns of one file are looked at."""
FIELDS = ("Segmentation", "segmentation", "mask", "label", "labels")
"""Of structures of MATLAB that may be a mask."""
VALUES = 64
"""Values at most that a mask holds, unless nearly all of its neighbours are equal."""


@dataclass
class Slot:
    """A pattern without its ending, and the files that it finds, by their name."""

    text: str
    files: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    @property
    def paths(self) -> list[Path]:
        """Every file."""
        return [path for paths in self.files.values() for path in paths]

    @property
    def pattern(self) -> str:
        """With the ending that all files have, or `.*`."""
        endings = {path.name.removeprefix(without_suffix(path.name)[0]) for path in self.paths}
        return self.text + (endings.pop() if len(endings) == 1 else ".*")

    @property
    def mask_words(self) -> int:
        """2 where its fixed text holds a word that is used for masks; 1 where that may be a field of view; else 0."""
        others = VALID_WORDS.sub("", self.text)
        return 2 if MASK_WORDS.search(others) else int(MASK_WORDS.search(self.text) is not None)


@dataclass(frozen=True)
class Pair:
    """Images and masks that belong together by their names, or images of several channels.

    Attributes:
        channels: of the images, the first stands for all.
        masks: the masks.
        others: further slots that look like masks of the same images.
        names: what both have.
    """

    channels: Sequence[Slot]
    masks: Slot
    others: Sequence[Slot]
    names: Sequence[str]


def slots_of(root: Path, paths: Iterable[Path]) -> list[Slot]:
    """The patterns that files below a folder suggest, those with the most files first."""
    found: dict[str, Slot] = {}
    some = _some(list(paths))
    for path in some:
        for text, name in set(_templates(PurePosixPath(path.relative_to(root).as_posix()))):
            found.setdefault(text, Slot(text)).files[name].append(path)
    several = [slot for slot in found.values() if "{part}" not in slot.text or len(_parts(slot)) > 1]
    least = 1 if len(some) < SINGLE else 2
    several = [slot for slot in several if len(slot.files) >= least]
    # of slots with the same files under the same names, the one that fixes least
    unique = {tuple(sorted(map(str, slot.paths))) + tuple(slot.files): slot for slot in _by_size(several)[::-1]}
    return _by_size(unique.values())[:MOST_SLOTS]


def pairs_of(root: Path, files: Iterable[Path]) -> Iterator[Pair]:
    """Images and masks among files, the best pair of patterns first.

    Args:
        root: the folder that patterns start from.
        files: stills, or scans, or arrays.
    """
    slots = slots_of(root, files)
    ranked = []
    for image, mask in permutations(slots, 2):
        drawn = {path for paths in mask.files.values() for path in paths}
        left = {name for name, paths in image.files.items() if {*paths} - drawn}
        common = left & mask.files.keys()
        single = sum(len(set(image.files[name]) - drawn) == 1 for name in common)
        if single and single == len(common) and ("*" in mask.text or all(len(mask.files[n]) == 1 for n in common)):
            alone = len(left - common) + len(mask.files.keys() - common)
            words = mask.mask_words - image.mask_words
            taken = sum(len(mask.files[name]) for name in common)
            rank = (len(common) - alone, words, taken, -len(image.text) - len(mask.text))
            ranked.append((rank, image, mask, sorted(common)))
    ranked.sort(key=lambda one: one[0], reverse=True)
    seen: dict[str, bool | None] = {slot.text: None for slot in slots}

    def is_mask(slot: Slot) -> bool:
        found = seen[slot.text]
        seen[slot.text] = looks_like_masks(slot.paths) if found is None else found
        return bool(seen[slot.text])

    for _, image, mask, names in ranked:
        if not is_mask(mask):
            continue
        images = {name: [path for path in image.files[name] if path not in mask.files[name]] for name in names}
        if looks_like_masks([path for paths in images.values() for path in paths]) and not mask.mask_words:
            continue
        used = {path for name in names for path in (*images[name], *mask.files[name])}
        channels: list[Slot] = [Slot(image.text, images)]
        others: list[Slot] = []
        for slot in sorted(slots, key=lambda one: (len(one.text), one.text)):
            found = slot.files.keys() & {*names}
            single = all(len(paths) == 1 for paths in slot.files.values())
            if not single or 2 * len(found) < len(names) or used & {*slot.paths}:
                continue
            if is_mask(slot) or len(found) == len(names):
                used |= {*slot.paths}
                (others if is_mask(slot) else channels).append(slot)
        yield Pair(channels, mask, others, names)


def looks_like_masks(paths: Sequence[Path]) -> bool:
    """Whether files look like masks: few whole numbers or colours, and neighbours that are mostly equal.

    Three files are read; one that cannot be read is no mask.
    """
    return bool(paths) and all(_is_mask(paths[place]) for place in datasets.evenly_spaced(len(paths), 3))


def _is_mask(path: Path) -> bool:
    with suppress(datasets.DataError):
        if is_scan(path):
            array = datasets.read_volume(path).array
        elif path.suffix.lower() in ARRAYS:
            return bool(array_keys(path))
        elif (numbers := numbers_of(path)) is not None:
            array = numbers[..., 0] if numbers.shape[-1] == 1 else numbers
        else:
            still = open_still(path)
            array = pixels_of(still.image if still.image.mode != "1" else still.image.convert("L"))
            if still.lossy:
                return bool((np.minimum(array, 255 - array) < 24).mean() > 0.97)
        return _is_piecewise(array, coloured=not is_scan(path))
    return False


def array_keys(path: Path) -> list[str | None]:
    """The arrays of a file that look like masks: None for the only one; of a structure of MATLAB common fields."""
    return [key for key in _arrays_of(path) if _looks(path, key)]


def _looks(path: Path, key: str | None) -> bool:
    with suppress(datasets.DataError):
        return _is_piecewise(read_array(path, key))
    return False


def _arrays_of(path: Path) -> list[str | None]:
    with suppress(datasets.DataError):
        read_array(path)
        return [None]
    with suppress(OSError, ValueError):
        if path.suffix.lower() == ".npz":
            with np.load(path) as arrays:
                return list(arrays.files)
        names = list(Matlab(path).matrices)
        return [f"{name}{end}" for name in names for end in ("", *(f".{one}" for one in FIELDS))]
    return []


def _is_piecewise(array: NDArray[Any], coloured: bool = True) -> bool:
    """Whether an array holds few whole numbers, or colours, and neighbours that are mostly equal."""
    if coloured and array.ndim > 2 and array.shape[-1] in (2, 3, 4):  # one number a colour; no alpha
        array = array[..., :3].astype(np.int64) @ (np.array([1, 256, 65536])[: array.shape[-1]])
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.floor(array)).all()):
        return False
    values = np.unique(array)
    equal = float((array[..., :-1] == array[..., 1:]).mean()) if array.shape[-1] > 1 else 1.0
    return bool(values[0] >= 0 and equal > 0.5 and (len(values) <= VALUES or equal > 0.97))


def _templates(path: PurePosixPath) -> Iterator[tuple[str, str]]:
    """Patterns without ending that a path fits, and the name that the path has by each."""
    stem, folders = without_suffix(path.name)[0], path.parts[:-1]
    for folder, part, inside in _folders(folders):
        for before, after, name in _files(stem):
            if not (before and inside):  # a name begins with its folders
                yield f"{folder}{before}{{name}}{after}", f"{part}{inside}{name}"
        if inside:
            yield f"{folder}{{name}}/{stem}", f"{part}{inside.removesuffix('/')}"
    if len(folders) > 1:
        yield f"{{name}}/{folders[-1]}/*", "/".join(folders[:-1])


def _folders(folders: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """How many of a path's folders a pattern may fix: the pattern's beginning, the name's part, and its folders."""
    for fixed in range(len(folders) + 1):
        inside = "".join(f"{one}/" for one in folders[fixed:])
        yield "".join(f"{one}/" for one in folders[:fixed]), "", inside
        for at, one in enumerate(folders[:fixed]):
            if part := PART.search(one):
                named = one.replace(part[0], "{part}", 1)
                yield "".join(f"{x}/" for x in (*folders[:at], named, *folders[at + 1 : fixed])), f"{part[0]}/", inside


def _files(stem: str) -> Iterator[tuple[str, str, str]]:
    """What a pattern may fix of a file's stem before and after `{name}`, and the name."""
    yield "", "", stem
    for end in [match.start() for match in re.finditer(r"[_\-. ]|(?<=\d)(?=[A-Za-z]+$)", stem)][-3:]:
        if end > 0:
            yield "", stem[end:], stem[:end]
            words = re.sub(r"[_\- ]?\d+$", "", stem[end:])
            if re.search("[A-Za-z]", words):
                yield "", f"{words}*", stem[:end]
    before = re.match(r"[A-Za-z]+[_\- ]?(?=.)", stem)
    if before:
        yield before[0], "", stem[before.end() :]


def _some(paths: Sequence[Path]) -> list[Path]:
    """The first files of each folder, where there are many."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        folders[path.parent].append(path)
    most = max(10, MOST_FILES // max(1, len(folders)))
    return [path for inside in folders.values() for path in inside[:most]]


def _parts(slot: Slot) -> set[str]:
    return {name.split("/")[0] for name in slot.files}


def _by_size(slots: Iterable[Slot]) -> list[Slot]:
    return sorted(slots, key=lambda slot: (-len(slot.files), "*" in slot.text, len(slot.text), slot.text))


def kinds_of(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Files that may be images or masks, by the adapter that reads them: `folder` or `nifti`."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        if is_scan(path):
            found["nifti"].append(path)
        elif is_still(path) or (path.suffix.lower() in ARRAYS and path.is_file()):
            found["folder"].append(path)
    return found
