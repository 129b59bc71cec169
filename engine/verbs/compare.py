"""Compare two methods, group by group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..ablation.comparison import SMALLEST, Method, not_paired
from ..ablation.documents import arms_of, method, option_keys, scores_files
from ..ablation.matching import matched
from ..ablation.verdict_sections import verdict_sections
from ..ablation.verdicts import compare_arms
from ..configuration.config import FRACTIONS
from ..console.display import Display
from ..console.sections import Section
from ..errors import UsageError
from ..experiment.folds import Folds
from ..report.anonymous import NOTE, anonymous_copies
from ..report.compare_report import compare_subject
from ..report.compared_cases import RunPictures
from ..report.page import page
from ..report.viewer import BYTES
from ..scoring.mask_options import Options
from ..scoring.mask_pairs import MaskPairs
from ..scoring.masks import masks_in, score_masks
from ..scoring.nnunet import named_by_dataset
from .report import claim_page, write_claimed


def compare(
    a: Path,
    b: Path,
    reference: Path | None,
    overrides: Sequence[str],
    smallest: str | None,
    html: Path | None,
    anonymous: bool,
    display: Display,
) -> None:
    """Compare two methods, group by group; of two ablations every arm that both have.

    Args:
        a: a run, an arm, an ablation, a file of scores of any program, or a folder of masks.
        b: what it is compared with.
        reference: the masks that folders of masks are scored against.
        overrides: what masks, and the scores of other programs, mean; see `Options`.
        smallest: the difference that would matter: a number, of scores that are fractions, or `DSC=0.01,HD95=1`; None
            for the usual.
        html: a page to be written, with the same cases side by side; None for none.
        anonymous: the page, and what is shown, without names of cases and paths: both methods are runs, arms,
            ablations or evaluations of runs, called A and B; see `engine.report.anonymous`.
        display: where the verdicts are shown.

    Raises:
        UsageError, DataError: a path without scores or masks, or scores that have nothing in common.
    """
    margins, options = _smallest(smallest), Options.parse(overrides)
    if a.resolve() == b.resolve():
        raise UsageError(f"{a}: compared with itself; give two")
    if anonymous and (html is None or reference is not None):
        raise UsageError(
            "--anonymous: is for the page (--html) of runs, evaluations, arms or ablations; leave --ref out"
        )
    outputs = None if html is None else claim_page(html, "compare", "--html")
    if html is not None and anonymous:
        _pairs(a, b)
        display.line(f"A: {a}, B: {b}")
        with anonymous_copies({"A": a, "B": b}) as copy:
            content = _compare(copy.paths[0], copy.paths[1], None, options, margins, True, display, NOTE)
        copy.refuse_names(content, html)
    else:
        content = _compare(a, b, reference, options, margins, html is not None, display)
    if html is not None:
        write_claimed(html, outputs, content, display)


def _compare(
    a: Path,
    b: Path,
    reference: Path | None,
    options: Options,
    margins: Mapping[str, float],
    html: bool,
    display: Display,
    note: str = "",
) -> str:
    """Show what `compare` finds; the page of it, with a note under its title, where one is wanted."""
    pairs = _pairs(a, b)
    every = [path for pair in pairs for path in pair]
    folders = [path for path in every if reference is not None and not _is_scored(path)]
    if reference is not None and not folders:
        raise UsageError(f"--ref {reference}: {a} and {b} hold scores already, and no masks are scored; leave it out")
    _refuse_idle(options, [path for path in every if path not in folders], bool(folders))
    beginning: list[Section] = []
    if reference is not None:
        options, named = named_by_dataset(options, [*map(masks_in, folders), reference])
        beginning += [Section("read", named)] if named else []
    beginning += _of_ablations(a, b, pairs)
    subjects = []
    for pair in pairs:
        named_paths = dict(zip(_short_names(*pair), pair, strict=True))
        masks = {
            name: MaskPairs.find(masks_in(path), reference, options)
            for name, path in named_paths.items()
            if reference is not None and path in folders
        }
        found = [_method(name, path, masks.get(name), options, display) for name, path in named_paths.items()]
        first, second, changes = matched(*found)
        sections = [*beginning, *_before(found, [*changes, *not_paired(first, second)])]
        methods = {first.name: first, second.name: second}
        verdicts = compare_arms(methods, second.name, margins)
        for section in (*sections, *verdict_sections(verdicts, methods)):
            display.section(section)
        if html:
            pictures = {one.name: masks.get(one.name) or _pictures(named_paths[one.name], one) for one in found}
            shown = {name: one for name, one in pictures.items() if one is not None}
            subjects.append(compare_subject(methods, second.name, verdicts, sections, shown, BYTES // len(pairs)))
    if html:
        title = subjects[0].title if len(subjects) == 1 else f"{a.name} and {b.name}"
        return page(title, subjects, note=note)
    return ""


def _pairs(a: Path, b: Path) -> list[tuple[Path, Path]]:
    """What is compared: both paths, or the arms of two ablations that are scored in both."""
    ours, theirs = arms_of(a), arms_of(b)
    if not (ours and theirs):
        return [(a, b)]
    pairs = [(a / arm, b / arm) for arm in ours if arm in theirs]
    pairs = [pair for pair in pairs if all(map(scores_files, pair))]
    if not pairs:
        raise UsageError(f"{a} and {b} have no scored arm in common: {', '.join(ours)}; {', '.join(theirs)}")
    return pairs


def _of_ablations(a: Path, b: Path, pairs: Sequence[tuple[Path, Path]]) -> Iterator[Section]:
    """What the arms of two ablations that are compared do not tell, and which ones are left out."""
    if pairs == [(a, b)]:
        return
    lines, count = [], len(pairs)
    if count > 1:
        lines.append(f"one of {count} arms, each compared by itself: p and intervals do not allow for their number")
    if left := sorted({*arms_of(a), *arms_of(b)} - {arm.name for arm, _ in pairs}):
        lines.append(f"left out, since they are not scored in both: {', '.join(left)}")
    if lines:
        yield Section("of two ablations", lines)


def _short_names(a: Path, b: Path) -> tuple[str, str]:
    """As few of the last parts of two paths as tell them apart."""
    parts = [path.resolve().parts for path in (a, b)]
    for number in range(1, max(map(len, parts))):
        ours, theirs = ("/".join(of_one[-number:]) for of_one in parts)
        if ours != theirs:
            return ours, theirs
    return str(a), str(b)


def _before(found: Sequence[Method], left_out: Sequence[str]) -> Iterator[Section]:
    """How files of other programs were read, and what is not paired."""
    if read_as := [f"{one.name}: {how}" for one in found for how in one.read_as]:
        yield Section("read", read_as)
    if left_out:
        yield Section("not paired", left_out)


def _smallest(given: str | None) -> dict[str, float]:
    """By score, the difference that would matter."""
    if given is None:
        return SMALLEST
    try:
        pairs = [one.split("=") for one in given.split(",")] if "=" in given else [[s, given] for s in FRACTIONS]
        found = {score: float(value) for score, value in pairs}
    except ValueError:
        found = {}
    bad = [score for score, value in found.items() if not 0 < value < (1 if score in FRACTIONS else np.inf)]
    if not found or bad or not found.keys() <= SMALLEST.keys():
        raise UsageError(
            f"--smallest: a number between 0 and 1, or some of {', '.join(SMALLEST)}, such as DSC=0.01,HD95=1 (in mm); "
            f"got {given}"
        )
    return SMALLEST | found


def _is_scored(path: Path) -> bool:
    """Whether scores lie under a path, which count before masks; those of nnU-Net do not, where masks lie beside."""
    return bool(scores_files(path)) or path.is_file()


def _refuse_idle(options: Options, scored: Sequence[Path], masks: bool) -> None:
    """A `UsageError` for options that mean nothing to what is compared."""
    known = set(Options.model_fields) if masks else {key for path in scored for key in option_keys(path)}
    for key in sorted(options.model_fields_set - known):
        raise UsageError(f"command line: {key}: says what masks mean; give their reference with --ref")


def _method(name: str, path: Path, masks: MaskPairs | None, options: Options, display: Display) -> Method:
    """The scores under a path, or of the masks in it."""
    if masks is None:
        return method(path, options, name)
    return Method(name, {None: [score_masks(masks, options, display.track(f"scoring {path}")).document]})


def _pictures(path: Path, found: Method) -> RunPictures | None:
    """What the runs under a path have kept, those of the first seed; None where it holds other scores."""
    folders = [one.parent for one in scores_files(path) if one.name == "scores.json"]
    if folders and Folds.holds(folders[0]):
        runs = [run.path for run in Folds(folders[0]).runs]
    else:
        runs = [one for one in folders if one.parent == folders[0].parent]
    return RunPictures(runs, found.header.classes) if runs else None
