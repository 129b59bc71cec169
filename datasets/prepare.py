"""From an adapter to the decoded cases of each part."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .cache import Cache
from .cached import CachedCase
from .case import Case, Part
from .division import Split, Splitter
from .errors import DataError
from .leakage import leaks, refuse_leaks
from .samples import Samples

Track = Callable[[Iterable[CachedCase], int], Iterable[CachedCase]]


class LeakageWarning(UserWarning):
    """A data set's official split that has a group or an image in two parts."""


@dataclass(frozen=True)
class Data:
    """A data set, decoded and divided.

    Attributes:
        parts: the cases of each part.
        split: their ids.
    """

    parts: Mapping[Part, Sequence[CachedCase]]
    split: Split


def prepare(
    cache: Cache,
    splitter: Splitter,
    group: str | None = None,
    official: bool = False,
    track: Track = lambda cases, _: cases,
) -> Data:
    """List, decode, divide and check.

    Args:
        cache: decodes the cases of its adapter.
        splitter: divides them.
        group: a regular expression on the case id whose first group (or whole match) names the group; `case` makes
            every case its own; None leaves it to the adapter.
        official: the split is the data set's own: what leaks is a warning, not an error.
        track: shows progress: is given the decoded cases as they come and their number, and gives them on.

    Raises:
        DataError: see the adapter, the cache and the splitter; two cases of one name; a leak; a part without cases.
    """
    cases = grouped(cache.adapter.cases(), group)
    refuse_equal_ids(cases)
    decoded = list(track(cache.decode(cases), len(cases)))
    background = cache.adapter.background
    ground = None if background is None else cache.adapter.classes.index(background)
    split = splitter(cases, {cached.case.id: _foreground(cached, ground) for cached in decoded})
    by_id = {cached.case.id: cached for cached in decoded}
    parts = {part: [by_id[name] for name in names] for part, names in split.items()}
    for part in ("train", "test"):
        if not parts[part]:
            raise DataError(f"split: the {part} part is empty; see data.split")
    if not official:
        refuse_leaks(parts)
    for leak in leaks(parts) if official else ():
        warnings.warn(f"the official split is not clean: {leak}", LeakageWarning, stacklevel=2)
    return Data(parts, split)


def refuse_mixed_sizes(samples: Samples) -> None:
    """Raise a `DataError` where training images cannot be augmented, or share a batch with others of another size."""
    first: dict[tuple[int, int], CachedCase] = {}
    for cached in samples.cases:
        size = cached.shape[1:]
        if size not in first:
            first[size] = cached
    sizes = {after: cached for size, cached in first.items() for after in _sizes(cached, samples) or [size]}
    if len(sizes) > 1:
        (one, here), (other, there), *_ = sizes.items()
        raise DataError(
            f"{there.case.image}: gives {other[1]}x{other[0]} pixels, {here.case.image} {one[1]}x{one[0]}; "
            "a batch needs one size: set data.size: [height, width], or let data.augment crop to one size"
        )


def _sizes(cached: CachedCase, samples: Samples) -> set[tuple[int, int]]:
    """The sizes that an image may come out of augmentation with; empty where there is none."""
    try:
        return samples.augmentation.sizes(cached.image(0, samples.context)) if samples.augmentation else set()
    except ValueError as error:
        raise DataError(f"{cached.case.image}: data.augment: {error}") from error


def grouped(cases: Sequence[Case], pattern: str | None) -> list[Case]:
    """The cases with the groups that `data.group` gives them; see `prepare`."""
    return [replace(case, group=_group(case, pattern)) for case in cases]


def refuse_equal_ids(cases: Sequence[Case]) -> None:
    """Raise a `DataError` where two cases have one name."""
    seen: dict[str, Case] = {}
    for case in cases:
        twin = seen.setdefault(case.id, case)
        if twin is not case:
            raise DataError(
                f"{case.image}: {twin.image} has the same name, and cases are known by it; rename one of them"
            )


def _foreground(cached: CachedCase, background: int | None) -> float:
    total = sum(cached.pixels)
    if background is None or not total:
        return 0.0
    return 1 - cached.pixels[background] / total


def _group(case: Case, pattern: str | None) -> str:
    if pattern is None:
        return case.group
    if pattern == "case":
        return case.id
    found = re.search(pattern, case.id)
    if found is None:
        raise DataError(f"{case.image}: data.group {pattern!r} does not match the case id {case.id!r}")
    return found.group(1) if found.re.groups and found.group(1) else found.group(0)
