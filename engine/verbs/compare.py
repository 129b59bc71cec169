"""Compare two methods, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..ablation.comparison import SMALLEST, Method, not_paired
from ..ablation.conclusion import verdict_sections
from ..ablation.documents import arms_of, method, scores_files
from ..ablation.verdicts import compare_arms
from ..console.display import Display
from ..console.sections import Section
from ..errors import UsageError
from ..scoring.masks import Options, masks_in, score_masks


def compare(
    a: Path, b: Path, reference: Path | None, overrides: Sequence[str], smallest: str | None, display: Display
) -> None:
    """Compare two methods, group by group; of two ablations every arm that both have.

    Args:
        a: a run, an arm, an ablation, a scores document, or a folder of masks.
        b: what it is compared with.
        reference: the masks that folders of masks are scored against.
        overrides: what the masks mean; see `masks.Options`.
        smallest: the difference that would matter: a number, of DSC and IoU, or `DSC=0.01,HD95=1`; None for the usual.
        display: where the verdicts are shown.

    Raises:
        UsageError, DataError: a path without scores or masks, or scores that have nothing in common.
    """
    margins = _smallest(smallest)
    if a.resolve() == b.resolve():
        raise UsageError(f"{a}: compared with itself; give two")
    if reference is None and overrides:
        raise UsageError(f"command line: {overrides[0]}: says what masks mean; give their reference with --ref")
    pairs = [(a, b)]
    if arms_of(a) and arms_of(b):
        pairs = [(a / arm, b / arm) for arm in arms_of(a) if arm in arms_of(b)]
        if not pairs:
            raise UsageError(f"{a} and {b} have no arm in common: {', '.join(arms_of(a))}; {', '.join(arms_of(b))}")
    for pair in pairs:
        found = {str(path): _method(path, reference, overrides, display) for path in pair}
        if left_out := not_paired(*found.values()):
            display.section(Section("not paired", left_out))
        for section in verdict_sections(compare_arms(found, str(pair[1]), margins), found):
            display.section(section)


def _smallest(given: str | None) -> dict[str, float]:
    """By score, the difference that would matter."""
    if given is None:
        return SMALLEST
    try:
        pairs = [one.split("=") for one in given.split(",")] if "=" in given else [["DSC", given], ["IoU", given]]
        found = {score: float(value) for score, value in pairs}
    except ValueError:
        found = {}
    bad = [score for score, value in found.items() if not 0 < value < (1 if score in ("DSC", "IoU") else np.inf)]
    if not found or bad or not found.keys() <= SMALLEST.keys():
        raise UsageError(
            f"--smallest: a number between 0 and 1, or some of {', '.join(SMALLEST)}, such as DSC=0.01,HD95=1 (in mm); "
            f"got {given}"
        )
    return SMALLEST | found


def _method(path: Path, reference: Path | None, overrides: Sequence[str], display: Display) -> Method:
    """The scores under a path, or of the masks in it."""
    if reference is None or scores_files(path):
        return method(path)
    scores = score_masks(masks_in(path), reference, Options.parse(overrides), display.track(f"scoring {path}"))
    return Method(str(path), {None: [scores.document]})
