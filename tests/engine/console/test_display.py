"""The terminal shows names as they are: brackets, colons and dollars of a name are no markup."""

import io

import pytest
from rich.console import Console

from engine.console.display import Display
from engine.console.sections import Section

NAMES = ["[/b]", "[red]", "a:smile:b", "c\\", "$x_1$", "前列腺", "[link=x"]


def shown(terminal=False):
    stream = io.StringIO()
    console = Console(
        file=stream, highlight=False, emoji=False, soft_wrap=True, force_terminal=terminal, color_system=None
    )
    return Display(console), stream


@pytest.mark.parametrize("name", NAMES)
def test_tables_and_lines_hold_names_as_they_are(name):
    display, stream = shown()
    display.line(name)
    display.section(Section(name, columns=[name, "DSC"], rows=[[name, "1"]]))
    assert stream.getvalue().count(name) == 4


@pytest.mark.parametrize("name", NAMES)
def test_bars_do_too(name):
    display, stream = shown(terminal=True)
    assert list(display.track(f"scoring {name}")([1, 2], 2)) == [1, 2]
    with display.bar("training", 2) as step:
        step(1, name)
    assert "scoring" in stream.getvalue()


def test_the_programs_own_console_replaces_no_colons(capsys):
    Display().line("case:smile:1")
    assert capsys.readouterr().out == "case:smile:1\n"
