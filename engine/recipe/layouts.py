"""Which layout a folder has: sections `data` are proposed, and the adapters of `datasets` judge them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from glob import escape
from inspect import signature
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

import datasets
from datasets.dicom_file import load
from datasets.dicom_index import Index
from datasets.files import first_of
from datasets.formats import STILLS, is_dicom
from datasets.table import csv_rows
from datasets.walk import walk

from ..errors import UsageError
from .masks import raw_mask
from .pairs import CLASS_WORDS, MASK_WORDS, VALID_WORDS, Pair, Slot, kinds_of, looks_like_masks, pairs_of

PRESETS = ("camvid", "camvid701", "cityscapes", "promise12", "cifar10", "cifar100")
"""Data sets with a layout and classes of their own; they are believed where masks hold most of these classes."""
PLACEHOLDER = {"background": 0, "foreground": 1}
"""Classes for listing, which reads no mask."""
MOST_JUDGED, LOOKED_AT = 6, 8
"""Pairs of patterns that an adapter lists; cases that are read to judge a layout."""
COLUMNS = {
    "label": ("label", "class", "diagnosis", "dx", "target", "category", "species", "y"),
    "group": ("group", "patient", "patient_id", "subject", "subject_id", "lesion_id", "video"),
    "part": ("part", "split", "set", "subset"),
}
"""What the columns of tables of pictures are often called."""


@dataclass
class Layout:
    """A folder as an adapter lists it.

    Attributes:
        what: the layout in words.
        root: the folder.
        data: keys of the section `data`, without root and labels.
        questions: what the files leave open, each with the keys that decide it.
        cases: what the adapter lists.
        problems: what it could not list.
        left_out: the ids of the cases that it could not list.
        notes: what it passed over.
    """

    what: str
    root: Path
    data: dict[str, Any]
    questions: list[str] = field(default_factory=list)
    cases: Sequence[datasets.Case] = ()
    problems: Sequence[str] = ()
    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()

    def adapter(self, labels: Mapping[str, Any] | None = None, ignore: Sequence[Any] | None = None) -> datasets.Adapter:
        """What reads the cases; `labels` only where the files do not say them."""
        factory: Callable[..., datasets.Adapter] = datasets.ADAPTERS[self.data["name"]]
        given = {key: value for key, value in self.data.items() if key in signature(factory).parameters}
        given |= {"labels": labels} if labels else {}
        given |= {"ignore": list(ignore)} if ignore else {}
        return factory(root=str(self.root), **given)

    @property
    def needs_labels(self) -> bool:
        """Whether the configuration has to say what the values of masks mean."""
        name, masks = self.data["name"], self.data.get("masks")
        return (name in ("folder", "dicom") and not isinstance(masks, Mapping)) or isinstance(masks, str)

    def judge(self) -> None:
        """List the cases, and keep what is wrong."""
        listing = datasets.Listing(keeps_problems=True)
        with datasets.noted() as notes:
            try:
                adapter = self.adapter(PLACEHOLDER if self.needs_labels else None)
                self.cases = datasets.list_cases(adapter, None, listing)
            except ValueError as error:  # DataError among them
                listing.problems.append(datasets.DataError(str(error)))
        listed = {case.id for case in self.cases}
        self.problems, self.notes = list(map(str, listing.problems)), notes
        self.left_out = [name for name in listing.known if name not in listed]

    @property
    def rank(self) -> tuple[int, int]:
        """More is better: cases without problems, files that are taken."""
        return len(self.cases) - len(self.problems), sum(1 + len(case.references) for case in self.cases)


def recognised(folder: Path) -> Layout:
    """The layout that fits best.

    Args:
        folder: of the data set; where it holds nothing but another folder, that is looked at.

    Raises:
        UsageError: no folder, or none of the layouts; what was looked for, and what comes nearest.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        inside = f"; did you mean {folder.parent}?" if folder.is_file() else ""
        raise UsageError(f"{folder}: {found}; give the folder that holds the images and their masks{inside}")
    tried: list[Layout] = []
    root = folder
    while True:
        paths, doubtful = list(walk(root)), None
        for propose in (_presets, _described, _dicom, _pairs, _tables, _classes):
            layouts = list(propose(root, paths))
            for layout in layouts:
                layout.judge()
            fit = [one for one in layouts if one.rank[0] > 0 and (one.data["name"] not in PRESETS or _is_preset(one))]
            best = max(fit, key=lambda one: one.rank, default=None)
            if best is not None and not _passes_over_most(best, paths):
                return best
            doubtful = doubtful or best
            tried += layouts
        if doubtful is not None:
            return doubtful
        inner = [path for path in root.iterdir() if not path.name.startswith(".")]
        if len(inner) != 1 or not inner[0].is_dir():
            raise UsageError(_unknown(folder, paths, tried))
        root = inner[0]


def _passes_over_most(layout: Layout, paths: Sequence[Path]) -> bool:
    """Whether pairs of stills, whose masks are not called so, leave most stills: there may be another layout."""
    if layout.data["name"] != "folder" or MASK_WORDS.search(str(layout.data["masks"])):
        return False
    return 2 * layout.rank[1] < sum(path.suffix.lower() in STILLS for path in paths)


def _presets(root: Path, paths: Sequence[Path]) -> Iterator[Layout]:  # noqa: ARG001
    for name in PRESETS:
        yield Layout(f"the layout of {name}", root, {"name": name})
    yield Layout("the layout of cityscapes, trainIds", root, {"name": "cityscapes", "ids": "labelTrainIds"})


def _is_preset(layout: Layout) -> bool:
    """Whether masks hold most of the classes of a data set with a layout of its own; of one with labels, yes."""
    adapter = layout.adapter()
    if adapter.kind == "label":
        return True
    held: set[int] = set()
    try:
        for place in datasets.evenly_spaced(len(layout.cases), LOOKED_AT):
            held |= {*np.unique(adapter.read(layout.cases[place]).mask).tolist()}
    except datasets.DataError:
        return False
    return 2 * len(held - {datasets.IGNORE}) >= len(adapter.classes)


def _described(root: Path, paths: Sequence[Path]) -> Iterator[Layout]:  # noqa: ARG001
    if (root / "dataset.json").is_file():
        yield Layout("a dataset.json, as the Decathlon and nnU-Net have it", root, {"name": "nifti"})


def _pairs(root: Path, paths: Sequence[Path]) -> Iterator[Layout]:
    for name, files in kinds_of(paths).items():
        for _, pair in zip(range(MOST_JUDGED), pairs_of(root, files), strict=False):
            data: dict[str, Any] = {"name": "nifti" if name == "nifti" else "folder"}
            questions: list[str] = []
            channels = _by_grid(pair) if name == "nifti" else list(pair.channels[:1])
            images = [slot.pattern for slot in channels]
            if len(pair.channels) > len(channels):
                listed = first_of([slot.pattern for slot in pair.channels[1:]])
                questions.append(f"images: further images of the same names are not read: {listed}")
            data["images"] = images[0] if len(images) == 1 else images
            data |= _masks(pair, questions)
            if name == "nifti" and not _on_one_grid([*channels, pair.masks], pair.names[0]):
                data["resample"] = True
            masks = data["masks"] if isinstance(data["masks"], str) else ", ".join(data["masks"].values())
            yield Layout(f"images {', '.join(images)} with masks {masks}", root, data, questions)


def _masks(pair: Pair, questions: list[str]) -> dict[str, Any]:
    """The keys `masks` and `overlap`: one pattern, or one a class where each mask has one value and they lie apart."""
    slots = [pair.masks, *pair.others]
    if len(slots) == 1:
        return {"masks": pair.masks.pattern}
    names = [name for name in pair.names if all(name in slot.files for slot in slots)]
    sample = [names[place] for place in datasets.evenly_spaced(len(names), LOOKED_AT)]
    drawn = [[raw_mask(slot.files[name][0]) for name in sample] for slot in slots]
    shares = [float(np.mean([(one > 0).mean() for one in masks])) if sample else 0.0 for masks in drawn]
    binary = all(len(np.unique(one)) <= 2 for masks in drawn for one in masks)
    same = max(_dice(a, b) for at in range(len(sample)) for a, b in combinations([one[at] for one in drawn], 2))
    words = [_class_name(slot, slots) for slot in slots]
    if sample and binary and same < 0.5 and max(shares) < 0.5 and all(words) and len({*words}) == len(words):
        order = sorted(range(len(slots)), key=lambda at: -shares[at])  # what is smaller is drawn last
        found: dict[str, Any] = {"masks": {words[at]: slots[at].pattern for at in order}}
        questions.append("masks: each of these patterns is taken for a class of its own; or name one pattern alone")
        return found | ({"overlap": "labels"} if same > 0 else {})
    best = min(range(len(slots)), key=lambda at: (bool(VALID_WORDS.search(slots[at].text)), shares[at] > 0.5, at))
    for at, slot in enumerate(slots):
        if at != best:
            valid = f"; or valid: '{slot.pattern}' where it says which pixels count" if shares[at] > 0.4 else ""
            questions.append(f"masks: '{slot.pattern}' looks like a mask too ({shares[at]:.0%} are not 0){valid}")
    return {"masks": slots[best].pattern}


def _dice(one: Any, other: Any) -> float:
    if one.shape != other.shape:
        return 1.0
    return 2 * float(((one > 0) & (other > 0)).sum()) / max(1, int((one > 0).sum() + (other > 0).sum()))


def _class_name(slot: Slot, slots: Sequence[Slot]) -> str:
    """What tells a pattern's text from that of others, in words; empty where nothing does."""
    words = [_words(one) for one in slots]
    return "_".join(word for word in _words(slot) if sum(word in other for other in words) == 1)


def _words(slot: Slot) -> list[str]:
    text = slot.text.replace("{name}", " ").replace("{part}", " ")
    plain = "".join(char if char.isalnum() else " " for char in text).lower().split()
    return [word for word in plain if word in CLASS_WORDS or not MASK_WORDS.search(word)]


def _by_grid(pair: Pair) -> list[Slot]:
    """The channels of scans, first the one on whose grid the masks lie."""
    name = pair.names[0]
    return sorted(pair.channels, key=lambda slot: not _on_one_grid([slot, pair.masks], name))


def _on_one_grid(slots: Iterable[Slot], name: str) -> bool:
    first, *others = [datasets.read_volume(slot.files[name][0]).geometry for slot in slots]
    return all(one.difference(first) is None for one in others)


def _dicom(root: Path, paths: Sequence[Path]) -> Iterator[Layout]:
    """A folder a patient with its SEG, RTSTRUCT or a mask in another format; or a file a patient."""
    first: dict[str, list[Path]] = {}
    for path in paths:
        below = path.relative_to(root).parts
        if path.is_file() and len(below) > 1 and len(first.setdefault(below[0], [])) < 3 and is_dicom(path):
            first[below[0]].append(path)
    folders = [root / name for name, files in first.items() if files]
    if len(folders) < 2:  # of one patient nothing can be held out
        return
    beside = [path for kind in kinds_of(paths).values() for path in kind]
    named = {folder.name for folder in folders}
    texts: dict[str, dict[str, Path]] = {}
    for path in beside:
        text = path.relative_to(root).as_posix()
        for name in named & {*path.relative_to(root).parts, path.name.split(".")[0]}:
            texts.setdefault(text.replace(name, "{name}", 1), {})[name] = path
    if any(header.is_segmentation or header.is_structures for header in Index().headers(folders[0])):
        yield Layout("DICOM, a folder a patient", root, {"name": "dicom"})
        return
    for text, names in texts.items():
        if names.keys() == named and looks_like_masks([*names.values()]):
            yield Layout(f"DICOM, a folder a patient, with masks {text}", root, {"name": "dicom", "masks": text})


def dicom_labels(layout: Layout) -> tuple[dict[str, Any], dict[str, str], str]:
    """Of SEG or RTSTRUCT in the folders of patients: the labels, the structures by class where names say it, and why.

    Raises:
        DataError: none is there.
    """
    found: dict[tuple[int, str], None] = {}
    by_number = True
    index = Index()
    for case in layout.cases:
        for header in index.headers(case.image):
            if header.is_segmentation:
                for one in load(header.path, pixels=False).items("SegmentSequence"):
                    found[one.whole("SegmentNumber", 1), one.text("SegmentLabel") or "object"] = None
            elif header.is_structures:
                by_number = False
                for one in load(header.path, pixels=False).items("StructureSetROISequence"):
                    found[one.whole("ROINumber", 1), one.text("ROIName")] = None
    if not found:
        raise datasets.DataError(f"{layout.cases[0].image}: neither SEG nor RTSTRUCT in the folder of the scan")
    numbers, names = [number for number, _ in sorted(found)], [name for _, name in sorted(found)]
    if by_number and len({*numbers}) == len(numbers) == len({*names}):
        return {"background": 0, **dict(zip(names, numbers, strict=True))}, {}, "numbers and names of the segments"
    listed = {name: number for number, name in enumerate(dict.fromkeys(names), start=1)}
    return {"background": 0, **listed}, {name: escape(name) for name in listed}, "names of the structures"


def _tables(root: Path, paths: Sequence[Path]) -> Iterator[Layout]:
    """A CSV file with a line a picture; one whose labels are in a column of another name has no case."""
    stills = [path for path in paths if path.suffix.lower() in STILLS]
    known = {name for one in stills for name in (one.name, one.stem)}
    found: dict[str, dict[str, str]] = {}
    for path in paths:
        if path.suffix.lower() not in (".csv", ".tsv", ".txt") or not path.is_file():
            continue
        with suppress(OSError, UnicodeDecodeError, csv.Error):
            text = path.read_text(encoding="utf-8-sig")
            rows = [row for _, row in csv_rows(text)]
            if len(rows) < 3 or len(rows[0]) < 2:
                continue
            head = rows[0]
            named = (name for at, name in enumerate(head) if _names_file(root, rows[1:], at, known))
            columns: dict[str, str | None] = {"file": next(named, None)}
            for key, names in COLUMNS.items():
                columns[key] = next((one for word in names for one in head if one.lower() == word), None)
            if columns["file"]:
                found[path.relative_to(root).as_posix()] = {key: name for key, name in columns.items() if name}
    for table, given in found.items():
        others = [name for name, columns in found.items() if name != table and "label" in columns]
        beside = (
            f"table: pictures are in {first_of(others)} too, which is not read; one table with a column part has all"
        )
        data = {"name": "pictures", "table": table, "columns": given}
        yield Layout(f"pictures by the table {table}", root, data, [beside] if others else [])


def _names_file(root: Path, rows: Sequence[Sequence[str]], at: int, known: Collection[str]) -> bool:
    """Whether the first cells of a column name pictures, by their path or by their name alone."""
    cells = [row[at].strip() for row in rows[:3] if len(row) > at and row[at].strip()]
    ends = ("", *STILLS)
    return bool(cells) and all(
        cell in known or any((root / f"{cell}{end}").is_file() for end in ends) for cell in cells
    )


def _classes(root: Path, paths: Sequence[Path]) -> Iterator[Layout]:
    """Pictures in a folder for each class; not where folders are called like images and masks."""
    first = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    inner = [path for folder in first if folder.name in datasets.PARTS for path in folder.iterdir() if path.is_dir()]
    names = {path.name for path in inner or first}
    stills = any(path.suffix.lower() in STILLS for path in paths)
    if stills and len(names) > 1 and not any(MASK_WORDS.search(name) or "image" in name.lower() for name in names):
        yield Layout("pictures in a folder for each class", root, {"name": "pictures"})


def _unknown(folder: Path, paths: Sequence[Path], tried: Sequence[Layout]) -> str:
    """What was looked for, what is there, and what comes nearest."""
    kinds = {name: files for name, files in kinds_of(paths).items() if files}
    known = {path for files in kinds.values() for path in files}
    dicom = [path for path in paths if path not in known and is_dicom(path)]
    words = {"folder": "stills or arrays", "nifti": "scans"}
    there = [f"{len(files)} {words[name]}, such as {files[0].relative_to(folder)}" for name, files in kinds.items()]
    there += [f"{len(dicom)} DICOM files without SEG, RTSTRUCT or masks"] if dicom else []
    lines = [f"{folder}: no layout is recognised; it holds " + ("; ".join(there) or "no image, scan or DICOM file")]
    files = [path for found in kinds.values() for path in found]
    if looks_like_masks(files):
        lines.append("by their pixels these are masks, but no images")
    elif files and not any(MASK_WORDS.search(path.relative_to(folder).as_posix()) for path in files):
        parent = folder.resolve().parent
        near = [one.name for one in parent.iterdir() if one.is_dir() and MASK_WORDS.search(one.name)]
        lines.append("these are images, but no masks" + (f"; {near[0]} lies beside it: give {parent}" if near else ""))
    nearest = max(
        (one for one in tried if one.problems and one.cases),
        key=lambda one: (len(one.cases), one.data["name"] not in PRESETS),
        default=None,
    )
    lines += [
        f"{one.what}: {one.problems[0]}"
        for one in tried
        if one.data["name"] == "pictures" and not one.cases and one.problems
    ]
    if nearest is not None:
        lines.append(f"nearest: {nearest.what}: {len(nearest.cases)} cases, but {nearest.problems[0]}")
    lines.append(
        "looked for: CamVid, Cityscapes, PROMISE12, CIFAR; a dataset.json (Decathlon, nnU-Net); DICOM with SEG or "
        "masks; images and masks of equal names (a.png with a_mask.png, images/a.png with masks/a.png, "
        "p01/scan.nii.gz with p01/mask.nii.gz); pictures in a folder for each class or in a table; see docs/data.md"
    )
    return "\n".join(lines)
