"""The data check: what a data set holds, and what is wrong with it, before anything is trained on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

import datasets
from datasets.cache import digest_of
from datasets.case import Remark
from datasets.counts import slice_counts
from datasets.dicom_rule import Choice
from datasets.files import first_of
from datasets.grid import Spacing, network_shape, resize_mask
from datasets.patients import patients_of
from datasets.remarks import Grids, note_remarks

from ..configuration import build
from ..configuration.config import Config, DataSection


@dataclass(frozen=True)
class Facts:
    """What is remembered of a case once its pixels are forgotten.

    Attributes:
        case: where it lies, and its group.
        size: (rows, columns) of its own grid.
        spacing: millimetres between slices, rows and columns of a volume; None for a still.
        slices: 2D images in it.
        pixels: of each class on its own grid.
        ignored: pixels that do not count.
        digest: of the image's pixels.
        counts: of each class in the slices that are trained on, on the network's grid.
        remarks: what one should know of it.
        palette: the colour of each value of its mask where that has a palette.
        is_outdated: the cache holds other pixels of these files.
        choices: what a rule has chosen among series of DICOM, one a channel.
    """

    case: datasets.Case
    size: tuple[int, int]
    spacing: Spacing | None
    slices: int
    pixels: tuple[int, ...]
    ignored: int
    digest: str
    counts: datasets.Counts
    remarks: Sequence[Remark]
    palette: Mapping[int, str]
    is_outdated: bool
    choices: tuple[Choice, ...]


@dataclass
class DataCheck:
    """What a data check found.

    Attributes:
        classes: the names of the classes.
        kind: of the data.
        facts: of the cases that could be read.
        problems: what training would refuse, or should.
        notes: what one should know.
        splits: case ids by part, by the name of the fold.
        trained: the name of the fold that is trained, or of the first of all of them.
    """

    classes: Sequence[str]
    kind: datasets.Kind
    facts: list[Facts] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    splits: dict[str, datasets.Split] = field(default_factory=dict)
    trained: str = ""


Track = Callable[[Iterable[datasets.Case], int], Iterable[datasets.Case]]


def check_data(config: Config, track: Track = lambda cases, _: cases) -> DataCheck:
    """Open every file of a data set, one at a time, and divide the cases as training would.

    Args:
        config: a checked configuration.
        track: shows progress: is given the cases as they are read and their number, and gives them on.

    Raises:
        DataError: the data set cannot even be listed.
    """
    adapter = build.build_adapter(config.data)
    cache = build.build_cache(config.data, config.output, adapter)
    found = DataCheck(adapter.classes, adapter.kind)
    with datasets.noted() as notes:
        listing = datasets.Listing(None, build.exclude(config.data), True, build.labelled(config.data))
        cases = datasets.list_cases(adapter, config.data.group, listing)
        found.problems += map(str, listing.problems)
        for case in track(cases, len(cases)):
            _check_case(case, adapter, cache, config.data, found)
        patients = {} if config.data.group == "case" else _patients(adapter, cases, found)
        note_remarks(found.facts)
    found.notes += notes
    ground = datasets.looks_like_background(found.classes)
    if ground and adapter.kind != "label":
        found.notes.append(
            f"no class is named background, so {ground!r} counts as foreground in means and samplers; if it is none, "
            "call it background in data.labels"
        )
    if config.data.regions:
        found.notes.append(
            "pixels and class weights here are those of the classes; with data.regions a loss is weighted by those "
            "of the regions"
        )
    doubts = {facts.case.image: why for facts in found.facts if (why := datasets.place_doubt(facts.case.image))}
    if doubts:
        first = next(iter(doubts))
        found.notes.append(
            f"{len(doubts)} scans are placed differently by different programs, such as {first}: {doubts[first]}; "
            "here the sform is believed where it is set, predicted masks carry both"
        )
    _divide(found, cases, config, patients)
    return found


def _patients(adapter: datasets.Adapter, cases: Sequence[datasets.Case], found: DataCheck) -> dict[str, str]:
    """Whose the readable cases are."""
    read = {facts.case.id for facts in found.facts}
    return patients_of(adapter, [case for case in cases if case.id in read])


def _check_case(
    case: datasets.Case, adapter: datasets.Adapter, cache: datasets.Cache, data: DataSection, found: DataCheck
) -> None:
    """Read a case, and add what it holds and what is wrong with it."""
    try:
        facts = _facts(case, adapter, cache, data)
    except datasets.DataError as error:
        found.problems.append(str(error))
        return
    try:
        datasets.refuse_unlabelled(case, facts.pixels, found.classes)
    except datasets.DataError as error:
        found.problems.append(str(error))
    if not sum(facts.pixels):
        found.problems.append(f"{case.mask}: every pixel is ignored, so there is nothing to learn or score")
    if facts.is_outdated:
        found.problems.append(
            f"{case.image}: the cache holds other pixels of this image or of its mask: a file has changed, but not "
            "its size and time; train_seg.py check --clear-cache, then check again"
        )
    found.facts.append(facts)


def _facts(case: datasets.Case, adapter: datasets.Adapter, cache: datasets.Cache, data: DataSection) -> Facts:
    decoded = adapter.read(case)
    pixels = decoded.image.array
    normalised = cache.normalised(decoded, case)
    classes = len(adapter.classes)
    slices, rows, columns = pixels.shape[:3]
    shape = network_shape((slices, rows, columns), decoded.spacing, data.size, data.spacing)
    if case.label is not None:
        own, kept = _one_label(case.label, classes)
        there = own
    else:
        own = tuple(np.bincount(decoded.mask.ravel(), minlength=classes)[:classes].tolist())
        counts = slice_counts(resize_mask(decoded.mask, shape), classes)
        there = tuple(counts[0].sum(0).tolist())
        rule = build.slice_rule(data)
        chosen = datasets.kept_slices(counts[0], rule, datasets.background_index(adapter.classes))
        kept = datasets.add_slices(*counts[:, chosen])
    digest, held = digest_of(pixels), cache.held_of(case)
    return Facts(
        case=case,
        size=(rows, columns),
        spacing=decoded.spacing,
        slices=len(decoded.mask),
        pixels=own,
        ignored=int((decoded.mask == datasets.ignored_label(classes)).sum()),
        digest=digest,
        counts=kept,
        remarks=cache.remarks_of(decoded, normalised, Grids(own, there)),
        palette=decoded.palette,
        is_outdated=held is not None and not held.decoded_from(digest, decoded.mask),
        choices=decoded.image.choices,
    )


@functools.cache
def _one_label(label: int, classes: int) -> tuple[tuple[int, ...], datasets.Counts]:
    """The pixels and the counts of a picture with one label; those of a class are held once."""
    own = np.arange(classes) == label
    return tuple(own.astype(int).tolist()), datasets.add_slices(*np.array([[own], [own]], dtype=np.int64))


def _divide(found: DataCheck, cases: Sequence[datasets.Case], config: Config, patients: Mapping[str, str]) -> None:
    """Split the cases, every fold, and look among the readable ones for leaks and for classes that a part lacks."""
    official = config.data.split.kind == "official"
    leaks: dict[frozenset[str], str] = {}
    imbalance = build.build_imbalance(config.data, build.build_adapter(config.data))
    held = "image" if found.kind == "label" else "pixel"
    fold = getattr(config.data.split, "fold", 0)
    for number, (name, splitter) in enumerate(build.build_folds(config.data)):
        found.trained = name if number == (0 if fold == "all" else fold) else found.trained
        try:
            background = datasets.class_index(found.classes, build.build_adapter(config.data).background)
            with datasets.noted() as notes:
                division = datasets.divide(cases, found.facts, splitter, background, patients, imbalance)
        except datasets.DataError as error:
            found.problems.append(str(error))
            break
        found.splits[name] = division.split
        found.notes += [line for line in notes if line not in found.notes]
        where = f"{name}: " if name else ""
        found.problems += [f"{where}{line}" for line in division.empty]
        for leak in division.leaks:  # of several folds the first one that has it
            leaks.setdefault(leak.about, f"{where}{leak.line}")
        for part, facts in division.parts.items():
            pixels = datasets.total_pixels(facts, len(found.classes))
            absent = [label for label, count in zip(found.classes, pixels, strict=True) if not count]
            if absent and facts:
                line = f"{where}no {held} of {', '.join(absent)} in the {part} part"
                (found.problems if part == "train" else found.notes).append(line)
    (found.notes if official else found.problems).extend(leaks.values())
    _note_copies(found, leaks)


def _note_copies(found: DataCheck, leaks: Collection[frozenset[str]]) -> None:
    """Note the cases with the pixels of another one that no division puts into different parts."""
    first: dict[str, str] = {}
    copies = []
    for facts in found.facts:
        twin = first.setdefault(facts.digest, facts.case.id)
        if twin != facts.case.id and frozenset({twin, facts.case.id}) not in leaks:
            copies.append(f"{facts.case.id} (as {twin})")
    if copies:
        found.notes.append(
            f"{len(copies)} case(s) have the pixels of another one in the same part: {first_of(copies)}; data.exclude "
            "leaves them out"
        )
