"""From an adapter to the decoded cases of each part."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from .cache import Cache
from .cached import CachedCase
from .case import PARTS, Adapter, Case, Part
from .division import Split, Splitter
from .errors import DataError
from .files import refuse_unprintable
from .imbalance import Imbalance
from .labels import class_index
from .leakage import Known, Leak, leaks, refuse
from .listing import Exclude, Labelled, Listing
from .partial_labels import refuse_unlabelled
from .patients import note_beginnings, note_shared, patients_of
from .remarks import note_remarks
from .split_file import Recorded
from .walk import refuse_broken_link
from .written import predictions, refuse_predictions

if TYPE_CHECKING:
    from .samples import Samples

Track = Callable[[Iterable[CachedCase], int], Iterable[CachedCase]]


class LeakageWarning(UserWarning):
    """A data set's official split that has a group or an image in two parts."""


K = TypeVar("K", bound=Known)


@dataclass(frozen=True)
class Division(Generic[K]):
    """Cases divided into parts, and what is wrong with that.

    Attributes:
        parts: the cases of each part.
        split: their ids.
        empty: of training and test, a line for each that has no case.
        leaks: each group, patient and image that is in two parts.
    """

    parts: Mapping[Part, Sequence[K]]
    split: Split
    empty: Sequence[str]
    leaks: Sequence[Leak]


Data = Division[CachedCase]
"""A data set, decoded and divided."""


def list_cases(adapter: Adapter, group: str | None, listing: Listing | None = None) -> list[Case]:
    """The cases of a data set, in the groups that `data.group` gives them.

    Args:
        adapter: lists them.
        group: see `prepare`.
        listing: see `Adapter`.

    Raises:
        DataError: see the adapter; two cases of one name, an id that `group` does not match; masks that
            `predict` has written; an entry of `exclude` or `labelled` that fits no case. Where the listing keeps
            problems, only one for which nothing can be listed.
    """
    listing = listing or Listing()
    cases: dict[str, Case] = {}
    checked: set[Path] = set()
    for case in adapter.cases(listing):
        try:
            for path in (case.image, *(case.references if case.label is None else ())):
                if path in checked:  # one file may hold many cases
                    continue
                refuse_unprintable(path)
                refuse_broken_link(path)
                checked.add(path)
            if (twin := cases.get(case.id)) is not None:
                raise DataError(
                    f"{case.image}: {twin.image} has the same name, and cases are known by it; rename one of them"
                )
            case = replace(case, labelled=listing.labelled_for(case.id))
            cases[case.id] = case if group is None else replace(case, group=_group(case, group))
        except DataError as error:
            listing.refuse(error)
    listing.close()
    masked = [case for case in cases.values() if case.label is None]
    drawn = {path: case.id for case in masked for path in case.references if path != case.image}
    own = predictions(drawn)
    try:
        refuse_predictions(own)
    except DataError as error:
        listing.refuse(error)
    predicted = {drawn[path] for path in own}
    found = [case for case in cases.values() if case.id not in predicted]
    if listing.wanted is None and group is None and len(masked) == len(cases):
        note_beginnings(found)
    return found


def divide(
    cases: Sequence[Case],
    known: Sequence[K],
    splitter: Splitter,
    background: int | None,
    patients: Mapping[str, str] | None = None,
    imbalance: Imbalance | None = None,
) -> Division[K]:
    """Divide cases into parts, and look for parts without cases and for leaks; groups of one patient are noted.

    Args:
        cases: all cases.
        known: those of them whose pixels could be read; the parts hold no others.
        splitter: divides them.
        background: the class that is no foreground, or None; the share of foreground stratifies, without one the rarest
            class that a group holds.
        patients: see `leaks`.
        imbalance: cuts the training part; None to leave it as it is.

    Raises:
        DataError: see the splitter and the imbalance.
    """
    by_id = {one.case.id: one for one in known}
    strata = _rarest(known) if background is None else {n: _foreground(k.pixels, background) for n, k in by_id.items()}
    split = splitter(cases, dict.fromkeys((case.id for case in cases), 0.0) | strata)
    split = {part: [name for name in names if name in by_id] for part, names in split.items()}
    if imbalance is not None:
        split["train"] = imbalance.keep([by_id[name].case for name in split["train"]])
    parts = {part: [by_id[name] for name in names] for part, names in split.items()}
    for part, members in parts.items():
        note_shared(part, (one.case for one in members), patients or {})
    empty = [f"the {part} part is empty; see data.split" for part in ("train", "test") if not parts[part]]
    return Division(parts, split, empty, list(leaks(parts, patients)))


def prepare(
    cache: Cache,
    splitter: Splitter,
    group: str | None = None,
    official: bool = False,
    exclude: Exclude | None = None,
    track: Track = lambda cases, _: cases,
    imbalance: Imbalance | None = None,
    labelled: Labelled | None = None,
) -> Data:
    """List, decode, divide and check the cases for training.

    Args:
        cache: decodes the cases of its adapter.
        splitter: divides them; of a `Recorded` split only the cases that it holds are decoded.
        group: a regular expression on the case id whose first group (or whole match) names the group; `case` makes
            every case its own; None leaves it to the adapter.
        official: the split is the data set's own: what leaks is a warning, not an error.
        exclude: the cases that are left out.
        track: shows progress: is given the decoded cases as they come and their number, and gives them on.
        imbalance: cuts the training part, of a split that is not recorded; None to leave it as it is.
        labelled: the cases that were labelled for some classes alone.

    Raises:
        DataError: see the adapter, the cache and the splitter; two cases of one name; a leak; a part without cases; a
            mask that holds a class which its case was not labelled for.
    """
    recorded = splitter if isinstance(splitter, Recorded) else None
    listing = Listing(None if recorded is None else recorded.ids, exclude, labelled=labelled)
    cases = list_cases(cache.adapter, group, listing)
    decoded = list(track(cache.decode(cases), len(cases)))
    for cached in decoded:
        refuse_unlabelled(cached.case, cached.pixels, cache.adapter.classes)
    note_remarks(decoded)
    patients = {} if recorded is not None or group == "case" else patients_of(cache.adapter, cases)
    cut = imbalance if recorded is None else None
    background = class_index(cache.adapter.classes, cache.adapter.background)
    data = divide(cases, decoded, splitter, background, patients, cut)
    for line in data.empty if recorded is None or len(recorded.parts) == len(PARTS) else []:
        raise DataError(f"split: {line}")
    if not official:
        refuse(data.leaks)
    for leak in data.leaks:
        warnings.warn(f"the official split is not clean: {leak.said}", LeakageWarning, stacklevel=2)
    return data


def refuse_mixed_sizes(samples: Samples, batch_size: int) -> None:
    """Raise a `DataError` where training images cannot be augmented, or share a batch with others of another size."""
    first: dict[tuple[int, int], CachedCase] = {}
    for cached in samples.cases:
        size = cached.shape[1:]
        if size not in first:
            first[size] = cached
    sizes = {after: cached for size, cached in first.items() for after in _sizes(cached, samples) or [size]}
    if len(sizes) > 1 and batch_size > 1:
        (one, here), (other, there), *_ = sizes.items()
        raise DataError(
            f"{there.case.image}: gives {other[1]}x{other[0]} pixels, {here.case.image} {one[1]}x{one[0]}; "
            "a batch needs one size: set data.size: [height, width], let data.augment crop to one size, or use "
            "train.batch_size: 1"
        )


def _sizes(cached: CachedCase, samples: Samples) -> set[tuple[int, int]]:
    """The sizes that an image may come out of augmentation with; empty where there is none."""
    try:
        return samples.augmentation.sizes(cached.image(0, samples.context)) if samples.augmentation else set()
    except ValueError as error:
        raise DataError(f"{cached.case.image}: data.augment: {error}") from error


def _foreground(pixels: Sequence[int], background: int) -> float:
    total = sum(pixels)
    return 1 - pixels[background] / total if total else 0.0


def _rarest(known: Sequence[Known]) -> dict[str, float]:
    """By case how rare the rarest class is that its group holds: a rank, 0 for the class that most groups hold."""
    held = {(one.case.group, index) for one in known for index in _held(one)}
    groups = Counter(index for _, index in held)
    rank = {index: place for place, index in enumerate(sorted(groups, key=lambda index: (-groups[index], index)))}
    rarest: dict[str, int] = {}
    for group, index in held:
        rarest[group] = max(rank[index], rarest.get(group, -1))
    return {one.case.id: float(rarest.get(one.case.group, -1)) for one in known}


def _held(one: Known) -> Iterable[int]:
    """The classes of a case."""
    label = one.case.label
    return [index for index, count in enumerate(one.pixels) if count] if label is None else [label]


def _group(case: Case, pattern: str) -> str:
    if pattern == "case":
        return case.id
    found = re.search(pattern, case.id)
    if found is None:
        raise DataError(f"{case.image}: data.group {pattern!r} does not match the case id {case.id!r}")
    return found.group(1) if found.re.groups and found.group(1) else found.group(0)
