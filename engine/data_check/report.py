"""The data check report: what a data set holds, as sections and as a picture."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import segloss
from datasets.counts import add_counts, no_counts
from segloss.class_weights import effective_number

from ..console.sections import Section
from .check import DataCheck, Facts
from .problems import kinds_of

BETAS = (0.9, 0.99, 0.999, 0.9999)
"""Those that Cui 2019 tries."""
MOST_LINES = 50
"""Kinds of problems, and notes, that are listed; the rest are counted, and stand in `check.json`."""


def sections(
    found: DataCheck, samples: Mapping[str, Path], sizes: Path | None, betas: Path | None
) -> Iterator[Section]:
    """The data check report.

    Args:
        found: what was found.
        samples: by caption, pictures of cases.
        sizes: the histograms of sizes; None for none.
        betas: the picture of the effective numbers; None for none.
    """
    if found.problems:
        kinds = kinds_of(found.problems)
        total = sum(len(kind.messages) for kind in kinds)
        several = "kind" if len(kinds) == 1 else "kinds"
        of = f" of {len(kinds)} {several}" if len(kinds) < total else ""
        yield Section(f"{total} problem(s){of}", _first([kind.line for kind in kinds]), bad=True)
    if found.notes:
        yield Section("Worth knowing", _first(found.notes))
    yield _overview(found)
    yield from _series(found)
    yield from _labelled(found)
    yield _classes(found)
    for name, split in found.splits.items():
        yield _split(found, name, split)
    yield from _weights(found)
    if betas is not None:
        counts, weights = by_beta(found)
        rows = [
            [label, f"{count:,}", *(f"{of_beta[index]:.4g}" for of_beta in weights.values())]
            for index, (label, count) in enumerate(zip(found.classes, counts, strict=True))
        ]
        columns = ["class", "images", *(f"β = {beta:g}" for beta in weights)]
        yield Section("Class weights by effective_number (image), beta by beta", columns=columns, rows=rows)
        yield Section("Effective number of images", picture=betas)
    if sizes is not None:
        yield Section("Sizes", charts={"how many cases are how large": sizes})
    if samples:
        yield Section("Samples", charts=samples)


def document(found: DataCheck, next_step: str) -> dict[str, Any]:
    """The data check for programs: what `check.json` holds."""
    pixels, counts = datasets.total_pixels(found.facts, len(found.classes)), _counts(found.facts, found.classes)
    return {
        "problems": [
            {"count": len(kind.messages), "line": kind.line, "names": kind.names, "messages": kind.messages}
            for kind in kinds_of(found.problems)
        ],
        "notes": found.notes,
        "next": next_step,
        "cases": len(found.facts),
        "groups": len({facts.case.group for facts in found.facts}),
        "images": sum(facts.slices for facts in found.facts),
        "classes": {
            name: {
                "pixels": pixels[index],
                "images": counts["images"][index],
                "components": counts["components"][index],
            }
            for index, name in enumerate(found.classes)
        },
        "ignored": sum(facts.ignored for facts in found.facts),
        "splits": found.splits,
    }


def _first(lines: Sequence[str]) -> list[str]:
    """As many lines as are listed, and how many there are more."""
    return [*lines[:MOST_LINES], *([f"… and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else [])]


def _overview(found: DataCheck) -> Section:
    sizes = Counter(facts.size for facts in found.facts)
    shown = ", ".join(f"{columns}x{rows} ({count})" for (rows, columns), count in sizes.most_common(5))
    more = f" and {len(sizes) - 5} other sizes" if len(sizes) > 5 else ""
    groups = len({facts.case.group for facts in found.facts})
    images = sum(facts.slices for facts in found.facts)
    lines = [f"{len(found.facts)} cases in {groups} groups, {images} images; columns x rows: {shown}{more}."]
    pixels = [count for count in datasets.total_pixels(found.facts, len(found.classes)) if count]
    if len(pixels) > 1:
        ratio = max(pixels) / min(pixels)
        held = "images" if found.kind == "label" else "pixels"
        lines.append(f"Imbalance ratio, the {held} of the largest class over those of the smallest: {ratio:.1f}.")
    lines += _millimetres(found)
    return Section("Data", lines)


def _series(found: DataCheck) -> Iterator[Section]:
    """What rules have chosen among the series of each patient."""
    rows = [
        [facts.case.id, choice.chosen, "; ".join(choice.passed_over)]
        for facts in found.facts
        for choice in facts.choices
    ]
    if rows:
        yield Section("Series chosen by data.series", columns=["case", "chosen", "fits too"], rows=rows)


def _labelled(found: DataCheck) -> Iterator[Section]:
    """Which classes how many cases were labelled for, where not all were for all."""
    kinds: dict[str, list[str]] = {}
    for facts in found.facts:
        known = datasets.labelled_classes(facts.case, found.classes)
        of = (
            "all" if known.all() else ", ".join(name for name, there in zip(found.classes, known, strict=True) if there)
        )
        kinds.setdefault(of, []).append(facts.case.id)
    if len(kinds) > 1 or "all" not in kinds:
        rows = [[of, f"{len(cases):,}", ", ".join(cases[:3])] for of, cases in kinds.items()]
        note = "What a case was not labelled for is part of its background, in the losses and in the scores."
        yield Section("Labelled classes (data.labelled)", [note], ["classes", "cases", "such as"], rows)


def _millimetres(found: DataCheck) -> Iterator[str]:
    """The voxel sizes of volumes, and which of them are cut across their slices."""
    sizes = Counter(tuple(round(mm, 2) for mm in facts.spacing) for facts in found.facts if facts.spacing)
    if not sizes:
        return
    shown = ", ".join(f"{'x'.join(f'{mm:g}' for mm in size)} ({count})" for size, count in sizes.most_common(5))
    more = f" and {len(sizes) - 5} others" if len(sizes) > 5 else ""
    yield f"Millimetres between slices x rows x columns: {shown}{more}."
    across = [facts.case.id for facts in found.facts if facts.spacing and facts.spacing[0] < max(facts.spacing) / 1.5]
    if across:
        yield (
            f"{len(across)} scans, such as {across[0]}, are coarser within their slices than between them: were they "
            "acquired along another axis? See data.slice_axis."
        )


def _classes(found: DataCheck) -> Section:
    pixels = datasets.total_pixels(found.facts, len(found.classes))
    ignored = sum(facts.ignored for facts in found.facts)
    total, counts = sum(pixels), _counts(found.facts, found.classes)
    if found.kind == "label":
        rows = [[name, f"{count:,}", _share(count, total)] for name, count in zip(found.classes, pixels, strict=True)]
        return Section("Classes", columns=["class", "images", "share"], rows=rows)
    rows = []
    for index, name in enumerate(found.classes):
        images, components = counts["images"][index], counts["components"][index]
        share = _share(pixels[index], total)
        rows.append([name, f"{pixels[index]:,}", share, f"{images:,}", f"{components:,}"])
    rows.append(["(ignored)", f"{ignored:,}", f"{_share(ignored, total + ignored)} of all", "", ""])
    return Section("Classes", columns=["class", "pixels", "share", "images", "components"], rows=rows)


def _split(found: DataCheck, name: str, split: Mapping[Any, Sequence[str]]) -> Section:
    by_id = {facts.case.id: facts for facts in found.facts}
    columns, shares = ["", *split], []
    parts = [[by_id[case] for case in cases] for cases in split.values()]
    rows = [
        ["cases", *(f"{len(part):,}" for part in parts)],
        ["groups", *(f"{len({facts.case.group for facts in part}):,}" for part in parts)],
        ["images", *(f"{sum(facts.slices for facts in part):,}" for part in parts)],
    ]
    if found.kind == "label":
        rows = rows[1:]
    for part in parts:
        pixels = datasets.total_pixels(part, len(found.classes))
        shares.append([f"{n:,}" if found.kind == "label" else _share(n, sum(pixels)) for n in pixels])
    what = "images" if found.kind == "label" else "share"
    rows += [[f"{what} of {label}", *(share[index] for share in shares)] for index, label in enumerate(found.classes)]
    return Section(f"Split {name}".strip(), columns=columns, rows=rows)


def _training_counts(found: DataCheck) -> datasets.Counts:
    """What the training part of the fold that is trained holds of each class."""
    train = {*found.splits.get(found.trained, {}).get("train", [])}
    return _counts([one for one in found.facts if one.case.id in train], found.classes)


def by_beta(found: DataCheck) -> tuple[Sequence[int], dict[float, list[float]]]:
    """The training images of each class, and the weights of the effective number by beta; none for fewer than two."""
    counts = _training_counts(found)
    if sum(map(bool, counts["images"])) < 2:
        return counts["images"], {}
    every = segloss.ClassCounts(**counts, names=list(found.classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", segloss.ClassWeightWarning)  # of saturation, which the numbers show
        return counts["images"], {beta: effective_number(every, beta, "image").tolist() for beta in BETAS}


def _weights(found: DataCheck) -> Iterator[Section]:
    """The weights of each scheme on the training part of the fold that is trained."""
    counts = _training_counts(found)
    if sum(1 for count in counts["pixels"] if count) < 2:
        return
    every = segloss.ClassCounts(**counts, names=list(found.classes))
    columns: dict[str, list[str]] = {}
    notes = []
    for name, scheme in segloss.CLASS_WEIGHTS.items():
        if found.kind == "label" and name == "median_frequency":
            continue  # 1 for every class
        units: tuple[str | None, ...] = (None,)
        if name == "effective_number":
            units = ("image",) if found.kind == "label" else ("pixel", "image")
        for unit in units:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", segloss.ClassWeightWarning)
                weights = scheme(every, **({} if unit is None else {"unit": unit}))
            notes += [str(warning.message) for warning in caught]
            title = name if unit is None else f"{name} ({unit})"
            columns[title.replace("_", "_\n")] = [f"{weight:.4g}" for weight in weights.tolist()]
    rows = [[label, *(column[index] for column in columns.values())] for index, label in enumerate(found.classes)]
    grid = "" if found.kind == "label" else ", network's grid"
    of = f" of {found.trained}" if found.trained else ""
    title = f"Class weights that each scheme would give (training part{of}{grid})"
    yield Section(title, list(dict.fromkeys(notes)), ["class", *columns], rows)


def _counts(facts: Sequence[Facts], classes: Sequence[str]) -> datasets.Counts:
    total = no_counts(len(classes))
    for one in facts:
        add_counts(total, one.counts)
    return total


def _share(part: int, whole: int) -> str:
    return "-" if not whole else f"{part / whole:.4%}" if part and part / whole < 0.01 else f"{part / whole:.2%}"
