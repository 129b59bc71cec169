"""Configuration and environment of runs as sections of a report: what was done, not where or by whom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ..configuration import source
from ..console.sections import Section
from ..experiment.identity import FREE, flat
from ..experiment.run import Run

PLACES = ("name", "data.root", *FREE)
"""Keys that say where a run lies and where it is computed."""
PATH = re.compile(r"^(~|/|\.\.?/|[A-Za-z]:[\\/]|\\\\)|/home/|/Users/")


def settings(runs: Mapping[str, Run]) -> Iterator[Section]:
    """Configuration and environment of one run, or of one run of each arm, folded.

    Args:
        runs: by name; of several, the keys in which they differ come first.
    """
    found = {name: configuration(run) for name, run in runs.items()}
    keys = list(dict.fromkeys(key for one in found.values() for key in one))
    rows = [[key, *(one.get(key, "-") for one in found.values())] for key in keys]
    differ = [row for row in rows if len(set(row[1:])) > 1]
    if differ:
        yield Section("what the arms differ in", columns=["key", *found], rows=differ, folded=True)
    same = [row[:2] for row in rows if row not in differ]
    yield Section("configuration", columns=["key", "value"], rows=same, folded=True)
    first = next(iter(runs.values()))
    yield Section("environment", columns=["what", "value"], rows=environment(first), folded=True)


def configuration(run: Run) -> dict[str, str]:
    """The values of a run's configuration by dotted key, without places; of other paths the last part alone."""
    values = flat(source.load(run.config_file).plain())
    return {key: _shown(value) for key, value in values if key not in PLACES}


def environment(run: Run) -> list[list[str]]:
    """Versions, commit, device and threads that a run began with."""
    known = run.environment()
    rows = [["python", str(known.get("python"))]]
    rows += [[name, str(version)] for name, version in known.get("packages", {}).items()]
    git = known.get("git") or {}
    if git:
        rows.append(["commit", f"{git['commit']}{', with changes' if git['changed'] else ''}"])
    return [*rows, ["device", str(known.get("device"))], ["threads", str(known.get("threads"))]]


def _shown(value: Any) -> str:
    if isinstance(value, str) and PATH.search(value):
        return f"…/{PurePosixPath(value.replace(chr(92), '/')).name}"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if value is None or isinstance(value, bool):  # by their type: 1 equals True
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
