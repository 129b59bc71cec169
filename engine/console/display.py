"""What a person sees during the work: progress bars on a terminal, lines elsewhere; tables at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

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
        self.console = console or Console(highlight=False, emoji=False, soft_wrap=True, quiet=process_info().rank > 0)

    def line(self, text: str) -> None:
        """Print one line as it is."""
        self.console.print(text, markup=False)

    @contextmanager
    def bar(self, title: str, total: float, done: float = 0) -> Iterator[Callable[..., None]]:
        """A progress bar; call what it yields with `advance` and a `note`."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
        )
        shown = self.console.is_terminal
        with Progress(*columns, console=self.console, disable=not shown, transient=True) as progress:
            task = progress.add_task(title, total=total, completed=int(done), note="")

            def step(advance: float = 1, note: str | None = None) -> None:
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
            table = Table(title=None if section.lines else Text(section.title), title_justify="left")
            for index, column in enumerate(section.columns):
                table.add_column(Text(column), justify="right" if index else "left", no_wrap=True)
            for row in section.rows:
                table.add_row(*map(Text, row))
            natural = table.__rich_measure__(self.console, self.console.options.update(max_width=WIDEST))
            table.width = natural.maximum  # whole numbers, however narrow the terminal is
            self.console.print(table, crop=False)
        if section.picture is not None:
            self.line(f"  {section.picture}")


def percent(value: float | None) -> str:
    """A fraction with four digits, a dash where undefined."""
    return "-" if value is None else f"{value:.4f}"
