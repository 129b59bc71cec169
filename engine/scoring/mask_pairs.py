"""Pairs of mask files, predicted and reference, as class indices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import datasets
from datasets import LabelMap, as_values
from datasets.arrays import read_array
from datasets.files import same_name
from datasets.still import array_labels, read_mask
from datasets.walk import walk
from segloss.document import Kind

from ..errors import UsageError
from .mask_options import Options, background_name, matched

HINT = "labels={background: 0, gland: [1, 255]} names classes, ignore=[…] what does not count"
ARRAY = ".npy"
MOST_VALUES = 100
"""A mask with more values than this is no mask of labels."""


class Files(NamedTuple):
    """Those of a case."""

    predicted: Path
    reference: Path


class MaskPair(NamedTuple):
    """The masks of a case.

    Attributes:
        predicted: `(slices, rows, columns)` class indices; 0 where the reference does not count.
        reference: the same, 255 where it does not count.
        geometry: of a volume; None of a still.
    """

    predicted: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    geometry: datasets.Geometry | None


@dataclass(frozen=True)
class MaskPairs:
    """A folder of predicted masks and their references.

    Files belong together when they have the same case, and the same sub-folder where there are sub-folders.

    Attributes:
        files: by case.
        references: from the values of references to class indices, 255 for those that do not count.
        predictions: from the values of predictions.
        kind: what they are.
        background: the index of the class that is left out of the means, or None.
        copy_affine: predicted volumes of the reference's shape lie on its voxels.
    """

    files: dict[str, Files]
    references: LabelMap
    predictions: LabelMap
    kind: Kind
    background: int | None
    copy_affine: bool

    @classmethod
    def find(cls, predicted: Path, reference: Path, options: Options) -> MaskPairs:
        """Those of two folders.

        Args:
            predicted: a folder of masks: PNG and other stills, or volumes.
            reference: a folder of masks on the same grids.
            options: what values and names mean.

        Raises:
            UsageError, DataError: a folder or file is missing, or values whose meaning is not known.
        """
        files = _pairs(predicted, reference, options.name)
        kind = _kind(path for pair in files.values() for path in pair)
        references, predictions = _maps((pair.reference for pair in files.values()), kind, options)
        names = predictions.classes
        zero = predictions.codes.get(0) if kind == "volume" else None
        usual = datasets.background_of(names) or (None if zero is None else names[zero])
        background = background_name(options.background, names, usual)
        return cls(files, references, predictions, kind, datasets.class_index(names, background), options.copy_affine)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of the indices."""
        return self.predictions.classes

    @property
    def unplaced(self) -> list[str]:
        """The volumes of which neither file says how large a voxel is."""
        return [case for case, pair in self.files.items() if self.kind == "volume" and all(map(_is_array, pair))]

    def read(self, case: str) -> MaskPair:
        """Those of a case; a `DataError` where a file is unreadable, of another size, or holds a foreign value."""
        ours, theirs = self.files[case]
        (found, here), (wanted, there) = (_read(path, self.kind, self.predictions.coloured) for path in (ours, theirs))
        if here is not None and there is not None:
            if found.shape == wanted.shape and (self.copy_affine or _is_array(ours) or _is_array(theirs)):
                here = there = here if _is_array(theirs) else there
            found, here = _turned(found, here)
            wanted, there = _turned(wanted, there)
        difference = here.difference(there) if here is not None and there is not None else None
        remedy = "one grid is needed"
        if found.shape != wanted.shape:
            difference = f"{_size(found)}, not {_size(wanted)}"
        elif difference is not None:
            remedy += "; where both have the same voxels copy_affine=true takes the reference's place"
        if difference is not None:
            raise datasets.DataError(f"{ours}: not on the grid of {theirs}: {difference}; {remedy}")
        target = self.references(wanted, theirs)
        prediction = np.zeros_like(target)
        counts = target != datasets.IGNORE
        prediction[counts] = self.predictions(found[counts], ours)
        return MaskPair(prediction, target, there)


def _pairs(predicted: Path, reference: Path, pattern: str) -> dict[str, Files]:
    ours, theirs = _masks(predicted, pattern), _masks(reference, pattern)
    _kind((*ours.values(), *theirs.values()))
    missing, strange = sorted(theirs.keys() - ours.keys()), sorted(ours.keys() - theirs.keys())
    if missing:
        hint = "" if ours.keys() & theirs else "; name=PATTERN, a regular expression, says what of the names must agree"
        raise datasets.DataError(
            f"{theirs[missing[0]]}: no prediction of this name in {predicted}; {len(missing)} of {len(theirs)} have "
            f"none{hint}"
        )
    if strange:
        raise datasets.DataError(
            f"{ours[strange[0]]}: no reference of this name in {reference}; add it, or move the file away"
        )
    return {case: Files(ours[case], theirs[case]) for case in sorted(theirs)}


def _kind(paths: Iterable[Path]) -> Kind:
    """What masks are; arrays are what the others are, alone what the axes of the first say."""
    found: dict[bool | None, Path] = {}
    for path in sorted(paths):  # the files that a message names are the same on every machine
        found.setdefault(None if _is_array(path) else datasets.is_volume(path), path)
    if True in found and False in found:
        raise datasets.DataError(f"{found[False]}: a still, but {found[True]} is a volume; score them apart")
    if True in found or False in found:
        return "volume" if True in found else "still"
    return "volume" if read_array(found[None]).ndim == 3 else "still"


def _is_array(path: Path) -> bool:
    """Whether a mask is an array of NumPy, which may be a still or a volume."""
    return path.suffix.lower() == ARRAY and not path.name.startswith(".") and path.is_file()


def _masks(folder: Path, pattern: str) -> dict[str, Path]:
    """The mask files of a folder and its sub-folders, by case."""
    if not folder.is_dir():
        raise datasets.DataError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in walk(folder):
        if not _is_array(path) and not datasets.is_volume(path) and not datasets.is_still(path):
            continue
        stem = datasets.volume_stem(path) if datasets.is_volume(path) else path.stem
        case = same_name((path.parent.relative_to(folder) / matched(pattern, stem)).as_posix())
        if case in found:
            raise datasets.DataError(f"{path}: {found[case]} is the same case {case!r}; keep one of them, or set name=")
        found[case] = path
    if not found:
        suffixes = ", ".join((*datasets.STILLS, *datasets.VOLUMES, *datasets.DICOM, ARRAY))
        raise datasets.DataError(f"{folder}: no mask here; expected files ending in {suffixes}")
    return found


def _maps(references: Iterable[Path], kind: Kind, options: Options) -> tuple[LabelMap, LabelMap]:
    """From values to classes, with and without the values that are ignored."""
    labels: dict[str, Any] = {name: as_values(values) for name, values in options.labels.items()}
    if not labels:
        held = {int(value) for path in references for value in np.unique(_read(path, kind)[0])}
        values = sorted(held - set(options.ignore))
        if len(values) > MOST_VALUES:
            raise UsageError(f"the references hold {len(values)} values; say what they mean: labels={{gland: 1, …}}")
        if len(values) < 2:
            raise UsageError(
                f"the references hold no two classes, but {values} and what is ignored, {[*options.ignore]}; "
                "say what the values mean, such as labels={background: 0, gland: 255} ignore=[]"
            )
        labels = {str(value): [value] for value in values}
    known = [value for each in labels.values() for value in each]
    coloured = any(isinstance(value, list) for value in known)
    ignore = [value for value in options.ignore if value not in known and isinstance(value, list) == coloured]
    return LabelMap(labels, ignore, refuse_binary=False, hint=HINT), LabelMap(labels, hint=HINT)


def _read(path: Path, kind: Kind, coloured: bool = False) -> tuple[NDArray[Any], datasets.Geometry | None]:
    """A mask as `(slices, rows, columns)`, of colours with a further axis of three, and where a volume lies."""
    volume = datasets.read_mask_volume(path) if kind == "volume" else None
    if volume is not None:
        mask = volume.array
    else:
        mask = array_labels(path, None, coloured) if _is_array(path) else read_mask(path, coloured)
        mask = mask.astype(np.uint8) if mask.dtype == bool else mask
    if mask.ndim != 3 + coloured or mask.dtype.kind not in "iub":
        raise datasets.DataError(f"{path}: {mask.dtype} of shape {mask.shape}; expected a mask of whole numbers")
    return mask, None if volume is None else volume.geometry


def _turned(mask: NDArray[Any], geometry: datasets.Geometry) -> tuple[NDArray[Any], datasets.Geometry]:
    """A volume in the orientation that its slices are scored in."""
    turned = datasets.Volume(mask, geometry.affine).reordered("LPS")
    return turned.array, turned.geometry


def _size(mask: NDArray[Any]) -> str:
    return "x".join(map(str, mask.shape[2::-1])) + " pixels"
