"""Finding files by a pattern that names them."""

from __future__ import annotations

import re
from pathlib import Path

from .case import PARTS
from .still import SUFFIXES


class Pattern:
    """A path below a root: `{name}` is what files are known by, `*` a part of a file name, `{part}` train, val or test.

    Args:
        key: the option it comes from, for errors.
        text: the pattern, with `/` between folders.

    Raises:
        ValueError: a path that is absolute or leaves the root, an unknown or doubled placeholder.
    """

    def __init__(self, key: str, text: str) -> None:
        if not text or text.startswith("/") or ".." in text.split("/") or "\\" in text:
            raise ValueError(f"{key}: {text!r} must be a path below data.root, with / between folders")
        placeholders = re.findall(r"\{.*?\}", text)
        foreign = sorted(set(placeholders) - {"{name}", "{part}"})
        if foreign or len(set(placeholders)) < len(placeholders):
            what = f"unknown placeholder {foreign[0]}" if foreign else "a placeholder twice"
            raise ValueError(f"{key}: {text!r} has {what}; use {{name}} and {{part}} once each, and *")
        self.text = text

    def find(self, root: Path) -> dict[str, list[Path]]:
        """The image files that fit, sorted, by their name; with `{part}` the name begins with it.

        Folders behind links are looked into where the pattern names them, not where it has a wildcard.
        """
        found: dict[str, list[Path]] = {}
        for part in PARTS if "{part}" in self.text else ("",):
            text = self.text.replace("{part}", part)
            fixed = re.match(r"(?:[^/*{]*/(?=[^/]))*", text)
            folder = fixed[0] if fixed else ""
            expression = _expression(text.removeprefix(folder))
            for path in sorted((root / folder).rglob("*")):
                below = path.relative_to(root / folder).as_posix()
                fits = expression.fullmatch(below)
                if fits is None or path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                    continue
                name = fits["name"] if "name" in expression.groupindex else below.removesuffix(path.suffix)
                found.setdefault(f"{part}/{name}" if part else name, []).append(path)
        return found


def _expression(text: str) -> re.Pattern[str]:
    parts = {"{name}": r"(?P<name>.+)", "**/": r"(?:.*/)?", "*": r"[^/]*"}
    pieces = re.split(r"(\{name\}|\*\*/|\*)", text)
    return re.compile("".join(parts.get(piece) or re.escape(piece) for piece in pieces))
