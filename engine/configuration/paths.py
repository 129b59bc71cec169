"""The paths of a configuration: `~` and environment variables, other separators and forms of Unicode."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from datasets.files import UNPRINTABLE, existing, is_there

from .source import Node

PATHS = (
    ("output",),
    ("data", "root"),
    ("data", "cache"),
    ("data", "labelled"),
    ("data", "split", "path"),
    ("model", "pretrained"),
    ("model", "init_from"),
)
VARIABLE = re.compile(r"\$(?:\w+|\{\w+\})|%\w+%")


def expand_paths(root: Node) -> Iterator[str]:
    """Expand the paths of a configuration in place; yields a line for each that cannot be."""
    for keys in PATHS:
        node: Node | None = root
        for key in keys:
            node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
        if node is not None and isinstance(node.value, str):
            try:
                node.value = expanded(node.value)
            except ValueError as error:
                yield f"{node.at}: {'.'.join(keys)}: {error}"


def expanded(text: str) -> str:
    r"""A path with `~` and environment variables replaced, unless it exists as it is.

    Where it does not exist then, but does with `/` in place of `\`, or in another form of Unicode, it is that one.

    Raises:
        ValueError: a control character, a variable that is not set.
    """
    if UNPRINTABLE.search(text):
        raise ValueError(
            f"{text!r} holds a control character; in double quotes a backslash begins one: use / or single quotes"
        )
    if is_there(text):
        return text
    full = os.path.expandvars(os.path.expanduser(text))  # noqa: PTH111  # leaves a user that is none
    if unset := VARIABLE.search(full):
        raise ValueError(f"{text!r}: no such path, and the environment variable {unset[0]} is not set")
    return existing(full)
