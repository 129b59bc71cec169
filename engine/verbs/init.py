"""Look at a folder, and write a configuration for what lies there."""

from __future__ import annotations

import re
from pathlib import Path

from datasets.files import write_atomically

from ..console.display import Display
from ..errors import UsageError
from ..recipe.document import document, flow
from ..recipe.recipe import recipe_for
from ..recipe.rules import Choice
from ..scoring.results import command

SAID = ("data.size", "data.spacing", "data.sampler", "data.split", "model", "loss", "train")
"""The settings that are said; the others stand in the file."""


def init(folder: Path, out: Path | None, display: Display) -> None:
    """Look at a folder, say what is understood, and write a configuration; nothing is asked, nothing overwritten.

    Args:
        folder: of a data set.
        out: the YAML file; None for the folder's name.
        display: where it is said.

    Raises:
        UsageError: a file is in its place, or no layout is recognised.
        DataError: masks that cannot be read, or hold no classes.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._") or "data"
    path = out if out is not None else Path(f"{name}.yaml")
    if path.exists():
        raise UsageError(f"{path}: is there already, and is not overwritten; give another file by --out")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: no folder {path.parent}; make it, or give another file by --out")
    found = recipe_for(folder, display.track("reading"))
    choices = [Choice("name", name, "the run's folder is runs/ and this name"), *found.choices]
    said = [f"{choice.key}: {flow(choice.value)}" for choice in choices if choice.key in SAID]
    head = [f"By train_seg.py init {folder}: {found.layout.what}. Every key may be changed.", *found.said]
    write_atomically(path, document(head, choices, found.questions).encode())
    display.line(f"{folder}: {found.layout.what}")
    for line in (*found.said, *said):
        display.line(f"  {line}")
    for question in found.questions:
        display.line(f"  to decide: {question}")
    display.line(f"written: {path}")
    display.line(f"next: {command('check', path)}")
