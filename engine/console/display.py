"""What a person sees while the work goes on: progress bars on a terminal, lines elsewhere; tables at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from segloss.readings import CLASS_SCORES, READINGS

from ..processes.launcher import process_info
from .sections import Section

Item = TypeVar("Item")
WIDEST = 500
"""Characters of a table's line at most."""


class Display:
    """Writes to a console.

    Args:
        console: where to; by default standard output, of the first process where several train together.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True, quiet=process_info().rank > 0)

    def line(self, text: str) -> None:
        """Print one line as it is."""
        self.console.print(text, markup=False)

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
        """A progress bar; call what it yields with `advance` and a `note`."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        shown = self.console.is_terminal
        with Progress(*columns, console=self.console, disable=not shown, transient=True) as progress:
            task = progress.add_task(title, total=total, completed=done, note="")

            def step(advance: int = 1, note: str | None = None) -> None:
                progress.advance(task, advance)
                if note is not None:
                    progress.update(task, note=note)

            yield step

    def track(self, title: str) -> Callable[[Iterable[Item], int], Iterator[Item]]:
        """What hands items on while a bar shows how many of them have come."""

        def follow(items: Iterable[Item], total: int) -> Iterator[Item]:
            with self.bar(title, total) as step:
                for item in items:
                    yield item
                    step()

        return follow

    def section(self, section: Section) -> None:
        """A part of a report: its lines, its table, and where its picture lies."""
        if section.lines or section.picture:
            self.line(f"{section.title}:")
        for line in section.lines:
            self.line(f"  {line}")
        if section.columns:
            table = Table(title=None if section.lines else section.title, title_justify="left")
            for index, column in enumerate(section.columns):
                table.add_column(column, justify="right" if index else "left", no_wrap=True)
            for row in section.rows:
                table.add_row(*(escape(cell) for cell in row))
            natural = table.__rich_measure__(self.console, self.console.options.update(max_width=WIDEST))
            table.width = natural.maximum  # whole numbers, however narrow the terminal is
            self.console.print(table, crop=False)
        if section.picture is not None:
            self.line(f"  {section.picture}")

    def scores(self, title: str, scores: dict[str, Any]) -> None:
        """The scores document as tables, with its rule."""
        overall = Table(title=title, title_justify="left")
        for column in ("aggregation", "mDSC", "mIoU", "pixel accuracy", "units"):
            overall.add_column(column, justify="left" if column == "aggregation" else "right")
        for name in READINGS:
            values = scores[name]
            units = f"{values['units']}" + (f" ({values['left_out']} left out)" if values["left_out"] else "")
            overall.add_row(name, *(percent(values[key]) for key in ("mDSC", "mIoU", "accuracy")), units)
        each = Table(title=f"by class, aggregation: {self.aggregation(scores)}", title_justify="left")
        each.add_column("class")
        found = scores[self.aggregation(scores)]["classes"]
        for column in CLASS_SCORES:
            each.add_column(column, justify="right")
        for name, values in found.items():
            each.add_row(name, *(percent(values[key]) for key in CLASS_SCORES))
        self.console.print(overall, each)
        if "surface_rule" in scores["header"]:
            self.console.print(self._surfaces(scores))
        header = scores["header"]
        left_out = f"without {header['background']}" if header["background"] else "over all classes"
        self.line(f"means {left_out}; grid: {header['grid']}. {header['rule']}")
        if "surface_rule" in header:
            self.line(header["surface_rule"])

    @staticmethod
    def _surfaces(scores: dict[str, Any]) -> Table:
        table = Table(title="surfaces and volumes by class, mean over cases", title_justify="left")
        table.add_column("class")
        columns = {
            "HD95": "HD95 mm",
            "ASSD": "ASSD mm",
            "surface_DSC": f"surface DSC {scores['header']['tolerance_mm']:g} mm",
        }
        columns |= {"volume_error_ml": "volume bias ml", "relative_volume_error": "absolute error, relative"}
        for column in columns.values():
            table.add_column(column, justify="right")
        for name, values in scores["case"]["classes"].items():
            if any(values[key] is not None for key in columns):
                table.add_row(name, *(percent(values[key]) for key in columns))
        return table

    @staticmethod
    def aggregation(scores: dict[str, Any]) -> str:
        """The aggregation whose classes are shown: by case where the background is left out (volumes), else pooled."""
        return "case" if scores["header"]["background"] else "dataset"


def percent(value: float | None) -> str:
    """A fraction with four digits, a dash where undefined."""
    return "-" if value is None else f"{value:.4f}"
