"""From an adapter to the decoded cases of each part."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .cache import Cache, CachedCase
from .case import Case, Part
from .errors import DataError
from .leakage import leaks, refuse_leaks
from .splits import Official, Split, Splitter

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
    track: Track = lambda cases, _: cases,
) -> Data:
    """List, decode, divide and check.

    Args:
        cache: decodes the cases of its adapter.
        splitter: divides them.
        group: a regular expression on the case id whose first group (or whole match) names the group; `case` makes
            every case its own; None leaves it to the adapter.
        track: shows progress: is given the decoded cases as they come and their number, and gives them on.

    Raises:
        DataError: see the adapter, the cache and the splitter; a leak; a part without cases; an image size that differs
            where no size is set.
    """
    cases = [replace(case, group=_group(case, group)) for case in cache.adapter.cases()]
    decoded = list(track(cache.decode(cases), len(cases)))
    background = cache.adapter.background
    ground = None if background is None else cache.adapter.classes.index(background)
    split = splitter(cases, {cached.case.id: _foreground(cached, ground) for cached in decoded})
    by_id = {cached.case.id: cached for cached in decoded}
    parts = {part: [by_id[name] for name in names] for part, names in split.items()}
    for part in ("train", "test"):
        if not parts[part]:
            raise DataError(f"split: the {part} part is empty; see data.split")
    if not isinstance(splitter, Official):
        refuse_leaks(parts)
    elif group != "case":
        for leak in leaks(parts):
            warnings.warn(f"the official split is not clean: {leak}", LeakageWarning, stacklevel=2)
    return Data(parts, split)


def refuse_mixed_sizes(cases: Sequence[CachedCase]) -> None:
    """Raise a `DataError` where images of different size would have to share a batch."""
    sizes = {cached.shape[1:3]: cached.case for cached in cases}
    if len(sizes) > 1:
        (first, one), (second, other), *_ = sizes.items()
        raise DataError(
            f"{other.image}: {second[1]}x{second[0]} pixels, but {one.image} has {first[1]}x{first[0]}, and a batch "
            "needs one size; set data.size: [height, width], or add a RandomCrop to data.augment"
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
