"""Scores of mask files, whatever program wrote them: no model and no run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

import datasets
from datasets import LabelMap, Labels, Values, as_values
from datasets.files import same_name
from datasets.still import read_mask
from datasets.walk import walk
from segloss.document import Kind, Unit
from segloss.names import unknown
from segloss.scores import SegmentationScores

from ..configuration.config import Millimetres
from ..configuration.named import Strict
from ..configuration.source import COMMAND_LINE, parse_overrides
from ..errors import UsageError
from .evaluation import Scores
from .volumes import VolumeScores

HINT = "labels={background: 0, gland: [1, 255]} names classes, ignore=[…] what does not count"
MOST_VALUES = 100
"""A mask with more values than this is no mask of labels."""


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no pattern ({error})") from error
    return text


def _labels(labels: dict[str, Any]) -> dict[str, Any]:
    LabelMap({name: as_values(values) for name, values in labels.items()})
    return labels


Expression = Annotated[str, AfterValidator(_pattern)]


class Options(Strict):
    """What the values in the masks mean, and what the files belong to."""

    labels: Annotated[Labels, AfterValidator(_labels)] = Field(default={})
    """A class name to one or more mask values, or RGB colours `[[r, g, b]]`; empty: every value of the references is a
    class."""
    ignore: Annotated[Values, BeforeValidator(as_values)] = Field(default=[datasets.IGNORE])
    """Values of the references that do not count."""
    background: str | Literal[False] | None = None
    """A class left out of the means, or `false` for none; by default that of value 0 for volumes, none for stills."""
    name: Expression = ".*"
    """A pattern on a file's name without suffix; its first group (or the whole match) is the case."""
    group: Expression = ".*"
    """A pattern on the case that names its group, a patient or a video sequence."""
    tolerance: Millimetres = 1.0
    """Of the surface DSC of volumes, in mm."""

    @classmethod
    def parse(cls, overrides: Sequence[str]) -> Options:
        """From `key=value` arguments; a `UsageError` that names a key or value at fault."""
        given = parse_overrides(overrides).plain()
        for key in given:
            if key not in cls.model_fields:
                raise UsageError(f"{COMMAND_LINE}: {unknown('key', key, cls.model_fields)}")
        try:
            return cls.model_validate_json(json.dumps(given))
        except ValidationError as error:
            key = str(error.errors()[0]["loc"][0])
            told = [problem["msg"] for problem in error.errors() if problem["type"] == "value_error"]
            why = told[0].removeprefix("Value error, ") if told else f"{given[key]!r}; expected {_EXPECTED[key]}"
            raise UsageError(f"{COMMAND_LINE}: {key}: {why.removeprefix(f'{key}: ')}") from error


_EXPECTED = {
    "labels": "a mapping such as {background: 0, gland: [1, 2]}, to whole numbers or colours [[r, g, b]]",
    "ignore": "whole numbers, or colours [[r, g, b]]",
    "background": "the name of a class, in quotes where it is a number, or false",
    "name": "a regular expression in quotes",
    "group": "a regular expression in quotes",
    "tolerance": "a number of millimetres above 0",
}


def masks_in(folder: Path) -> Path:
    """Where the masks of a folder lie: in `masks`, as predict leaves them, or in itself."""
    predicted = (folder / "classes.json").is_file() and (folder / "masks").is_dir()
    return folder / "masks" if predicted else folder


Track = Callable[[Iterable[str], int], Iterable[str]]


def score_masks(predicted: Path, reference: Path, options: Options, track: Track = lambda cases, _: cases) -> Scores:
    """The scores of a folder of predicted masks.

    Files belong together when they have the same case, and the same sub-folder where there are sub-folders. One pair is
    in memory at a time.

    Args:
        predicted: a folder of masks: PNG and other stills, or volumes.
        reference: a folder of masks on the same grids.
        options: what values and names mean.
        track: shows progress: is given the cases as they are scored and their number, and gives them on.

    Raises:
        UsageError, DataError: a folder or file is missing, unreadable, of another size, or holds a foreign value.
    """
    pairs = _pairs(predicted, reference, options.name)
    labels_of, classes = _maps((pair.reference for pair in pairs.values()), options)
    kind: Kind = "volume" if datasets.is_volume(next(iter(pairs.values())).reference) else "still"
    background = _background(options.background, classes, kind)
    scores = SegmentationScores(len(classes.classes), datasets.IGNORE, background)
    ground = datasets.background_index(classes.classes)
    surfaceless = background if ground is None else ground
    volumes = VolumeScores(classes.classes, surfaceless, options.tolerance)
    units: list[Unit] = []
    for number, case in enumerate(track(pairs, len(pairs))):
        (found, here), (wanted, there) = (_read(path, classes.coloured) for path in pairs[case])
        ours, theirs = pairs[case]
        difference = here.difference(there) if here is not None and there is not None else None
        if found.shape != wanted.shape:
            difference = f"{_size(found)}, not {_size(wanted)}"
        if difference is not None:
            raise datasets.DataError(f"{ours}: not on the grid of {theirs}: {difference}; one grid is needed")
        target = labels_of(wanted, pairs[case].reference)
        prediction = np.zeros_like(target)
        counts = target != datasets.IGNORE
        prediction[counts] = classes(found[counts], pairs[case].predicted)
        ids = list(range(len(units), len(units) + len(target)))
        scores.update(_tensor(prediction), _tensor(target), image=ids, case=[number] * len(target))
        group = _first(options.group, case)
        units += [Unit(case, group, index) for index in range(len(target))]
        if there is not None:
            volumes.add(prediction, target, there.spacing, there.voxel_ml)
    groups = [_first(options.group, case) for case in pairs]
    document = volumes.into(scores.document(classes.classes, list(pairs), groups, kind=kind, grid="original"))
    return Scores(document, scores.image_rows(classes.classes, units) if kind == "volume" else [])


def _background(name: str | Literal[False] | None, classes: LabelMap, kind: Kind) -> int | None:
    """The class that is left out of the means, as runs leave it out."""
    if name is None:
        return classes.codes.get(0) if kind == "volume" else None
    if name is not False and name not in classes.classes:
        raise UsageError(f"{COMMAND_LINE}: background: {unknown('class', name, classes.classes)}")
    return datasets.class_index(classes.classes, name or None)


class _Pair(NamedTuple):
    predicted: Path
    reference: Path


def _pairs(predicted: Path, reference: Path, pattern: str) -> dict[str, _Pair]:
    ours, theirs = _masks(predicted, pattern), _masks(reference, pattern)
    missing, strange = sorted(theirs.keys() - ours.keys()), sorted(ours.keys() - theirs.keys())
    kinds: dict[bool, Path] = {datasets.is_volume(path): path for path in (*ours.values(), *theirs.values())}
    if len(kinds) > 1:
        raise datasets.DataError(f"{kinds[False]}: a still, but {kinds[True]} is a volume; score them apart")
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
    return {case: _Pair(ours[case], theirs[case]) for case in sorted(theirs)}


def _masks(folder: Path, pattern: str) -> dict[str, Path]:
    """The mask files of a folder and its sub-folders, by case."""
    if not folder.is_dir():
        raise datasets.DataError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in walk(folder):
        if not datasets.is_volume(path) and not datasets.is_still(path):
            continue
        stem = datasets.volume_stem(path) if datasets.is_volume(path) else path.stem
        case = same_name((path.parent.relative_to(folder) / _first(pattern, stem)).as_posix())
        if case in found:
            raise datasets.DataError(f"{path}: {found[case]} is the same case {case!r}; keep one of them, or set name=")
        found[case] = path
    if not found:
        suffixes = ", ".join((*datasets.STILLS, *datasets.VOLUMES, *datasets.DICOM))
        raise datasets.DataError(f"{folder}: no mask here; expected files ending in {suffixes}")
    return found


def _maps(references: Iterable[Path], options: Options) -> tuple[LabelMap, LabelMap]:
    """From values to classes, with and without the values that are ignored."""
    labels: dict[str, Any] = {name: as_values(values) for name, values in options.labels.items()}
    if not labels:
        held = {int(value) for path in references for value in np.unique(_read(path)[0])}
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


def _read(path: Path, coloured: bool = False) -> tuple[NDArray[Any], datasets.Geometry | None]:
    """A mask as `(slices, rows, columns)`, of colours with a further axis of three, and where a volume lies."""
    volume = datasets.read_mask_volume(path).reordered("LPS") if datasets.is_volume(path) else None
    mask = read_mask(path, coloured) if volume is None else volume.array
    if mask.ndim != 3 + coloured or mask.dtype.kind not in "iub":
        raise datasets.DataError(f"{path}: {mask.dtype} of shape {mask.shape}; expected a mask of whole numbers")
    return mask, None if volume is None else volume.geometry


def _tensor(mask: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(mask.astype(np.int64))


def _first(pattern: str, text: str) -> str:
    """The first group of a pattern in a text, or the whole match."""
    found = re.search(pattern, text)
    if found is None:
        raise UsageError(f"{COMMAND_LINE}: the pattern {pattern!r} does not match {text!r}")
    return found.group(1) if found.re.groups and found.group(1) else found.group(0)


def _size(mask: NDArray[Any]) -> str:
    return "x".join(map(str, mask.shape[2::-1])) + " pixels"
