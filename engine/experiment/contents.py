"""What a run was trained on: digests of the images and masks of its training and validation parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from datasets import Data, DataError, Part

from .run import Run

FILE = "data.json"
"""By part and case id the digests of image and mask."""
TRAINED_ON: tuple[Part, ...] = ("train", "val")


def record_contents(run: Run, data: Data) -> None:
    """Write what a run is trained on into its folder, where that has not been done."""
    if not (run.path / FILE).is_file():
        run.write_json(
            FILE, {part: {cached.case.id: cached.contents for cached in data.parts[part]} for part in TRAINED_ON}
        )


def refuse_changed(run: Run, data: Data) -> None:
    """Raise a `DataError` that names the cases where an image or a mask has changed since a run began."""
    now = {cached.case.id: cached.contents for part in TRAINED_ON for cached in data.parts[part]}
    if changed := _changes([_contents(run), now]):
        raise DataError(
            f"{run.path}: since this run began, {_named(changed)}; restore the files, or train under another name"
        )


def changed_between(runs: Iterable[Run]) -> str | None:
    """What is said where some runs were trained on other images or masks of the same cases; None where none was."""
    changed = _changes(map(_contents, runs))
    return f"between these runs, {_named(changed)}" if changed else None


def seen_before(source: Run, data: Data) -> str | None:
    """What is said where images that are held out here have trained another run, or chosen its weights; else None."""
    seen, held = {one["image"] for one in _contents(source).values()}, data.parts["test"]
    known = [cached.case.id for cached in held if cached.digest in seen]
    if not known:
        return None
    return (
        f"{source.path} has been trained, or its weights chosen, by {len(known)} of the {len(held)} cases held out "
        f"here, such as {known[0]}: their scores say nothing of other cases; start from a run of the same split"
    )


def _contents(run: Run) -> Mapping[str, Any]:
    """By case; empty where an earlier version has begun the run."""
    path = run.training.path / FILE
    found = run.training.read_json(FILE) if path.is_file() else {}
    return {case: one for part in found.values() for case, one in part.items()}


def _changes(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """`the mask of a`, `image and mask of b`: where the digests of a case are not the same in all."""
    first: dict[str, Any] = {}
    changed: dict[str, set[str]] = {}
    for contents in found:
        for case, one in contents.items():
            other = first.setdefault(case, one)
            if kinds := {kind for kind in one if one[kind] != other.get(kind)}:
                changed.setdefault(case, set()).update(kinds)
    return [f"the {' and '.join(sorted(kinds))} of {case}" for case, kinds in sorted(changed.items())]


def _named(changed: list[str]) -> str:
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return f"{', '.join(changed[:3])}{more} {'has' if len(changed) == 1 else 'have'} changed"
