"""A recipe: what is understood of a folder, and the keys of a configuration that follow from it."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import datasets
from datasets.dicom_index import Index
from datasets.files import first_of
from datasets.formats import ARRAYS
from datasets.patients import beginning, group_by

from .fingerprint import Fingerprint, Track, measured
from .layouts import Layout, dicom_labels, recognised
from .masks import Meaning, held_by, meaning_of
from .pairs import array_keys
from .rules import Choice, settings

MOST_LEFT_OUT = 0.2
"""The share of cases without mask or image that is left out; where it is more, the user decides."""
MOST_HASHED = 2**30
"""Bytes of images that are compared with each other at most."""
CHANNELS = (3, 1, 4, 2, *range(5, 33))
"""Of stills that are tried, in this order."""


@dataclass(frozen=True)
class Recipe:
    """What `init` found.

    Attributes:
        layout: as the adapter lists it.
        fingerprint: the measured figures.
        choices: the keys, with reasons.
        said: what was understood, a line each.
        questions: what the files leave open, with the keys that decide.
    """

    layout: Layout
    fingerprint: Fingerprint
    choices: Sequence[Choice]
    said: Sequence[str]
    questions: Sequence[str]


def recipe_for(folder: Path, track: Track) -> Recipe:
    """The recipe for a folder.

    Args:
        folder: of a data set.
        track: see `measured`.

    Raises:
        UsageError: see `recognised`.
        DataError: masks that hold no classes, or images of which none can be read.
    """
    layout = recognised(folder)
    questions = list(layout.questions)
    twins = {} if any(case.part for case in layout.cases) else _twins(layout.cases)
    labels_of = {case.id: case.label for case in layout.cases}
    torn = {name for name, other in twins.items() if labels_of[name] != labels_of[other]}
    if torn:
        questions.append(
            f"exclude: pictures of two classes at once: {first_of(sorted(torn))}; leave out the wrong ones"
        )
    excluded = _excluded(layout, questions) | {
        name: f"the same file as {other}" + (", of another class" if name in torn else "")
        for name, other in twins.items()
    }
    cases = [case for case in layout.cases if case.id not in excluded]
    questions += _alike(cases)
    meaning = _meaning(layout, cases)
    labels, ignore = (meaning.labels, meaning.ignore) if meaning is not None else (None, [])
    fingerprint = _fingerprint(layout, cases, labels, ignore, questions, track)
    if fingerprint.skipped:
        first, total = fingerprint.skipped[0], len(fingerprint.skipped) + fingerprint.read
        questions.append(f"{len(fingerprint.skipped)} of {total} cases cannot be read: {first}")
    if fingerprint.groups < 2 and not fingerprint.is_official:
        questions.append("group: all cases are one group, so nothing can be held out; add patients or scenes")
    choices = [
        Choice("data.name", layout.data["name"], layout.what),
        Choice("data.root", str(layout.root), f"{len(layout.cases)} cases; from the folder that commands are typed in"),
        *(Choice(f"data.{key}", value, "") for key, value in layout.data.items() if key != "name"),
    ]
    if meaning is not None and labels:
        choices.append(Choice("data.labels", labels, meaning.reason))
    if ignore:
        choices.append(
            Choice("data.ignore", ignore, "void by its name; or rare, and along edges or far from all others")
        )
    if excluded:
        listed = [{"case": name, "reason": why} for name, why in excluded.items()]
        choices.append(Choice("data.exclude", listed, "left out by init"))
    said = list(_said(layout, fingerprint, meaning, excluded))
    return Recipe(layout, fingerprint, [*choices, *settings(fingerprint)], said, questions)


def _alike(cases: Sequence[datasets.Case]) -> Iterator[str]:
    """Whether pictures with one label are of one patient, where their files say so by how they begin.

    Not where each class has one beginning, which may well be the name of the class.
    """
    named = {case.id.rpartition("/")[2]: case for case in cases if case.label is not None and case.group == case.id}
    if len({case.part for case in cases}) > 1 or (pattern := beginning([*named])) is None:
        return
    begin = {(group_by(pattern, name), case.label) for name, case in named.items()}
    if len(begin) > len({label for _, label in begin}):
        within = pattern.removeprefix("^").replace("[^", "[^/").replace(r"\D", r"[^/\d]")
        yield f"group: names begin alike, as pictures of one patient do; '({within})[^/]*$' keeps these in one part"


def _meaning(layout: Layout, cases: Sequence[datasets.Case]) -> Meaning | None:
    """The classes; None where the adapter knows them, or patterns name them."""
    if not layout.needs_labels:
        return None
    if layout.data["name"] == "dicom" and "masks" not in layout.data:
        labels, structures, why = dicom_labels(layout)
        if structures:
            layout.data["structures"] = structures
        return Meaning(labels, [], why)
    masks = [drawn.path for case in cases for drawn in case.masks]
    key = next(iter(array_keys(masks[0])), None) if masks[0].suffix.lower() in ARRAYS else None
    if key is not None:
        layout.data["mask_key"] = key
    return meaning_of(held_by(masks, key), layout.root)


def _fingerprint(
    layout: Layout,
    cases: Sequence[datasets.Case],
    labels: Mapping[str, Any] | None,
    ignore: Sequence[Any],
    questions: list[str],
    track: Track,
) -> Fingerprint:
    """Measured with the channels, series and slice axis that the files call for; these are kept in the layout."""
    tries: list[dict[str, Any]] = [{}]
    if layout.data["name"] == "folder":
        tries = [{} if n == 3 else {"channels": n} for n in CHANNELS]
    elif layout.data["name"] == "nifti" and isinstance(layout.data.get("images"), str):
        tries += [{"resample": True}, *({"channels": n} for n in range(2, 9))]
    elif layout.data["name"] == "dicom":
        series = _series(cases[0])
        tries += [{"series": f"^{re.escape(one)}$"} for one in series]
        tries += [{"resample": True}] if "masks" in layout.data else []
    own = dict(layout.data)
    first: datasets.DataError | None = None
    for extra in tries:
        layout.data = own | extra
        try:
            adapter = layout.adapter(labels, ignore)
            measured(adapter, [cases[place] for place in datasets.evenly_spaced(len(cases), 3)])
            found = measured(adapter, cases, track)
        except datasets.DataError as error:
            first = first or error
            continue
        if "series" in extra:
            others = [one for one in series if f"^{re.escape(one)}$" != extra["series"]]
            questions.append(f"series: {extra['series']} is the first of several that fits; others: {first_of(others)}")
        if found.spacings is not None and "slice_axis" not in layout.data:
            middle = np.median(found.spacings, axis=0)
            thick = int(middle.argmax())
            if thick and middle[thick] > 1.3 * middle[0]:
                layout.data["slice_axis"] = ("axial", "coronal", "sagittal")[thick]
                return measured(layout.adapter(labels, ignore), cases, track)
        return found
    assert first is not None
    raise first


def _series(case: datasets.Case) -> list[str]:
    """The descriptions of the series in the folder of a case."""
    frames = (frame for header in Index().headers(case.image) if header.is_image for frame in header.frames)
    return list(dict.fromkeys(frame.described for frame in frames))


def _excluded(layout: Layout, questions: list[str]) -> dict[str, str]:
    """The cases that the adapter could not list, with the reason, where they are few."""
    total = len(layout.cases) + len(layout.left_out)
    if not layout.problems:
        return {}
    if len(layout.problems) > MOST_LEFT_OUT * total or len(layout.left_out) < len(layout.problems):
        questions.append(f"exclude, or mend the files: {len(layout.problems)} problems: {layout.problems[0]}")
        return {}
    return {name: _why(name, layout.problems) for name in layout.left_out}


def _why(name: str, problems: Sequence[str]) -> str:
    """What is wrong with a case, in short."""
    said = next((text for text in problems if name.rpartition("/")[2] in text.split(":")[0]), "")
    if ": no mask" in said:
        return "no mask"
    return "no image" if "of this name" in said else said.partition(": ")[2] or "not whole"


def _twins(cases: Sequence[datasets.Case]) -> dict[str, str]:
    """Cases whose image is byte for byte that of another one, by id; none of several records in one file."""
    sizes: dict[int, list[datasets.Case]] = defaultdict(list)
    for case in cases:
        if case.image.is_file() and case.image.suffix != ".mhd":  # a header, which may well be the same
            sizes[case.image.stat().st_size].append(case)
    alike = [case for same in sizes.values() if len(same) > 1 for case in same]
    shares_files = len({case.image for case in alike}) < len(alike)
    if shares_files or sum(case.image.stat().st_size for case in alike) > MOST_HASHED:
        return {}
    first: dict[bytes, str] = {}
    digests = ((case.id, hashlib.sha256(case.image.read_bytes()).digest()) for case in alike)
    return {name: first[digest] for name, digest in digests if first.setdefault(digest, name) != name}


def _said(layout: Layout, fp: Fingerprint, meaning: Meaning | None, excluded: Mapping[str, str]) -> Iterator[str]:
    """What was understood."""
    parts = ", ".join(f"{count} {part}" for part, count in fp.parts.items() if part and count)
    grouped = f"{fp.cases} cases" + (f" in {fp.groups} groups" if fp.groups < fp.cases else "")
    yield grouped + (f"; parts of its own: {parts}" if parts else "")
    shares = [f"{name} {share:.1%}" for name, share in list(fp.shares.items())[:12]]
    of = "pictures" if fp.kind == "label" else "pixels"
    yield f"{len(fp.classes)} classes, shares of the {of}: {', '.join(shares)}" + (", …" if len(fp.shares) > 12 else "")
    if meaning is not None:
        yield f"labels: {meaning.reason}"
    rows, columns = fp.size
    size = f"{rows}x{columns}" + (f", {fp.slices} slices" if fp.kind == "volume" else "")
    if fp.spacings is not None:
        size += " of " + "x".join(f"{value:.3g}" for value in np.median(fp.spacings, axis=0)) + " mm"
    grey = ", all grey" if fp.is_grey and fp.channels == 3 else ""
    yield f"images: median {size}, {fp.channels} channel(s) of {fp.dtype}{grey}, {fp.low:g} to {fp.high:g}"
    if fp.component is not None:
        part = f"the largest part of {fp.smallest} in one has {fp.component:.0f} pixels (median)"
        yield f"foreground in {fp.foreground:.0%} of the 2D images; {part}"
    if excluded:
        listed = first_of([f"{name} ({why})" for name, why in excluded.items()])
        yield f"{len(excluded)} left out by data.exclude: {listed}"
    yield from (note.replace(f"{layout.root}/", "") for note in layout.notes)
