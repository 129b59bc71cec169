"""Look at a data set before anything is trained on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import datasets
from datasets.files import write_atomically

from ..configuration import build
from ..configuration.config import Config
from ..console.display import Display
from ..console.sections import Subject
from ..data_check.check import DataCheck, check_data
from ..data_check.problems import kinds_of
from ..data_check.report import by_beta, document, sections
from ..data_check.samples import sample_pictures, sizes_of
from ..pictures.chart import save, write_figure
from ..pictures.effective import effective_picture
from ..report.page import page
from ..scoring.results import training_command
from ..store.outputs import Outputs, left_over

BETAS, PAGE, DOCUMENT = "effective_number.png", "check.html", "check.json"
SIZES = ("sizes.png", "sizes.svg")
SAMPLES = {"typical": "samples.png", "smallest": "samples_smallest.png", "named above": "samples_named.png"}
"""The pictures of cases, by what they are."""


def check(
    config: Config, path: Path, overrides: Sequence[str], html: bool, clear_cache: bool, display: Display
) -> bool:
    """Open every file of the data set that a configuration names, and report what it holds and what is wrong.

    With `clear_cache` remove the decoded cases instead; they are made anew when they are needed.

    Args:
        config: a checked configuration.
        path: its file, for the command to go on with.
        overrides: those of the command line.
        html: write the report as a page too.
        clear_cache: see above.
        display: where the report is shown.

    Returns:
        Whether nothing is wrong.

    Raises:
        DataError: the data cannot even be listed.
        UsageError: a file of somebody else's lies in the place of picture or page.
    """
    if clear_cache:
        cache = _cache(config)
        display.line(f"{cache.folder}: {cache.clear() / 2**20:.1f} MiB removed")
        return True
    folder = Path(config.output) / f"{config.name}-check"
    outputs = Outputs(folder, "check", "choose another name or output")
    earlier = outputs.claim([DOCUMENT, *SAMPLES.values(), *SIZES, BETAS, *([PAGE] if html else [])])
    found = check_data(config, display.track("reading"))
    samples: dict[str, Path] = {}
    for title, figure in sample_pictures(found, build.build_adapter(config.data)).items():
        samples[title] = folder / SAMPLES[title]
        with outputs.writing(SAMPLES[title]):
            write_figure(figure, samples[title])
    sizes = sizes_of(found)
    if sizes is not None:
        with outputs.writing(*SIZES):
            save(sizes, folder / "sizes")
    images, weights = by_beta(found)
    betas = folder / BETAS if weights else None
    if betas is not None:
        with outputs.writing(BETAS):
            write_figure(effective_picture(images, found.classes, weights), betas, dpi=90)
    report = list(sections(found, samples, None if sizes is None else folder / "sizes.svg", betas))
    for section in report:
        display.section(section)
    if pictures := [*samples.values(), *([] if sizes is None else [folder / SIZES[0]])]:
        display.line(f"pictures: {', '.join(map(str, pictures))}")
    if html:
        title = f"{config.name}: the data"
        with outputs.writing(PAGE):
            write_atomically(folder / PAGE, page(title, [Subject(title, report)]).encode())
        display.line(f"page: {folder / PAGE}")
    step = _next(found, config, path, overrides)
    with outputs.writing(DOCUMENT):
        content = json.dumps(document(found, step), indent=1, ensure_ascii=False)
        write_atomically(folder / DOCUMENT, content.encode())
    if earlier:
        display.line(left_over(earlier, folder, "check"))
    cache = _cache(config)
    display.line(f"{cache.folder}: {cache.held() / 2**20:.1f} MiB of decoded cases; --clear-cache removes them")
    display.line(f"all of it for programs: {folder / DOCUMENT}")
    display.line(f"next: {step}")
    return not found.problems


def _next(found: DataCheck, config: Config, path: Path, overrides: Sequence[str]) -> str:
    """What to do after the check."""
    if found.problems:
        return (
            f"mend the {len(kinds_of(found.problems))} kind(s) of problems listed first, or leave cases out with "
            "data.exclude; then the same command again"
        )
    read = "read what is worth knowing, then " if found.notes else ""
    return f"{read}{training_command(config, path, *overrides)}"


def _cache(config: Config) -> datasets.Cache:
    return build.build_cache(config.data, config.output, build.build_adapter(config.data))
