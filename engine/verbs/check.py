"""Look at a data set before anything is trained on it."""

from __future__ import annotations

from pathlib import Path

import datasets
from datasets.files import write_atomically

from ..configuration import build
from ..configuration.config import Config
from ..console.display import Display
from ..console.sections import Subject
from ..data_check.check import check_data
from ..data_check.report import samples_picture, sections
from ..report.page import page
from ..store.outputs import Outputs, left_over

PICTURE, PAGE = "samples.png", "check.html"


def check(config: Config, html: bool, clear_cache: bool, display: Display) -> bool:
    """Open every file of the data set that a configuration names, and report what it holds and what is wrong.

    With `clear_cache` remove the decoded cases instead; they are made anew when they are needed.

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
    earlier = outputs.claim([PICTURE, *([PAGE] if html else [])])
    found = check_data(config, display.track("reading"))
    picture = None
    if any(sum(facts.pixels) for facts in found.facts):
        picture = folder / PICTURE
        with outputs.writing(PICTURE):
            samples_picture(found, build.build_adapter(config.data)).savefig(picture, dpi=90)
    report = list(sections(found, picture))
    for section in report:
        display.section(section)
    if html:
        title = f"{config.name}: the data"
        with outputs.writing(PAGE):
            write_atomically(folder / PAGE, page(title, [Subject(title, report)]).encode())
        display.line(f"page: {folder / PAGE}")
    if earlier:
        display.line(left_over(earlier, folder, "check"))
    cache = _cache(config)
    display.line(f"{cache.folder}: {cache.held() / 2**20:.1f} MiB of decoded cases; --clear-cache removes them")
    return not found.problems


def _cache(config: Config) -> datasets.Cache:
    return build.build_cache(config.data, config.output, build.build_adapter(config.data))
