"""Finding files by a pattern that names them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from glob import escape
from pathlib import Path

from .case import PARTS
from .files import same_name
from .formats import ending_of
from .walk import walk


class Pattern:
    """A path below a root: `{name}` is what files are known by, `*` a part of a file name, `{part}` train, val or test.

    Args:
        key: the option it comes from, for errors.
        text: the pattern, with `/` between folders.
        accepts: whether a file is of the right kind.
        depth: how many folders and file names `{name}` reaches over; None for any number, as where `**` is in the text.
        parts: what `{part}` stands for.

    Raises:
        ValueError: a path that is absolute or leaves the root, an unknown or doubled placeholder.
    """

    def __init__(
        self,
        key: str,
        text: str,
        accepts: Callable[[Path], bool],
        depth: int | None = None,
        parts: Sequence[str] = PARTS,
    ) -> None:
        text = text.replace("\\", "/")  # as Windows writes it
        if not text or text.startswith("/") or ".." in text.split("/") or re.match("[A-Za-z]:", text):
            raise ValueError(f"{key}: {text!r} must be a path below data.root, with / between folders")
        placeholders = re.findall(r"\{.*?\}", text)
        foreign = sorted(set(placeholders) - {"{name}", "{part}"})
        if foreign or len(set(placeholders)) < len(placeholders):
            what = f"unknown placeholder {foreign[0]}" if foreign else "a placeholder twice"
            raise ValueError(f"{key}: {text!r} has {what}; use {{name}} and {{part}} once each, and *")
        self.key, self.text, self.accepts = key, text, accepts
        self.parts = parts if "{part}" in text else ("",)
        self._name = ".+" if depth is None or "**" in text else "/".join(["[^/]+"] * depth)

    @property
    def finds_several(self) -> bool:
        """Whether it is meant to find several files of one name: by a `*` that does not stand for their ending."""
        return "*" in self.text.rpartition("/")[2].removesuffix(".*")

    def folder(self, root: Path, part: str) -> Path:
        """The folder that the files of a part lie below, as far as the pattern names it."""
        fixed = re.match(r"(?:[^/*{]*/(?=[^/]))*", self.text.replace("{part}", part))
        return root / (fixed[0] if fixed else "")

    def filled(self, root: Path, name: str) -> Path:
        """The file of a name, with the pattern's own `*`."""
        part, _, rest = name.partition("/") if "{part}" in self.text else ("", "", name)
        return root / self.text.replace("{part}", part).replace("{name}", rest)

    def find(self, root: Path, known: Collection[str] = ()) -> dict[str, list[Path]]:
        """The files that fit, sorted, by their name; with `{part}` the name begins with it.

        Where a `*` follows it, `{name}` is the longest of the `known` names that fits, else as long as it can be.
        Hidden files and folders are passed over, links are followed.
        """
        found: dict[str, list[Path]] = {}
        for part in self.parts:
            folder = self.folder(root, part)
            text = self.text.replace("{part}", part)
            fixed = folder.relative_to(root).as_posix()
            rest = text if fixed == "." else text.removeprefix(f"{fixed}/")
            expression = _expression(rest, self._name)
            for path in walk(folder, with_runs=False):
                below = path.relative_to(folder).as_posix()
                fits = expression.fullmatch(below)
                if fits is None or not self.accepts(path):
                    continue
                name = fits["name"] if "name" in expression.groupindex else below.removesuffix(path.suffix)
                name = re.sub(r"(?i)\.nii$", "", name)  # of .nii.gz
                before = f"{part}/" if part else ""
                if self.finds_several and f"{before}{name}" not in known:
                    shorter = (name[:end] for end in range(len(name) - 1, 0, -1))
                    fitting = (one for one in shorter if same_name(f"{before}{one}") in known)
                    name = next((one for one in fitting if _expression(rest, re.escape(one)).fullmatch(below)), name)
                found.setdefault(same_name(f"{before}{name}"), []).append(path)
        return found

    def with_any_ending(self, root: Path) -> dict[str, list[Path]]:
        """The files that fit but for their ending and what they should be, sorted, by their name."""
        loose = Pattern(self.key, re.sub(r"(?<=[^/])\.\w+$", ".*", self.text), Path.is_file, None, self.parts)
        loose._name = self._name
        return loose.find(root)

    def fits(self, path: Path) -> bool:
        """Whether a file, wherever its folder lies, ends as the pattern says; `{name}` is one folder or file name."""
        return self._match(path) is not None

    def siblings(self, path: Path, other: Pattern) -> list[Path] | None:
        """The files of `other` that belong to a file of this pattern; None for a file that does not fit this one.

        Of a pattern without `*` it is one, which need not be there.
        """
        fits = self._match(path)
        if fits is None:
            return None
        base, part = Path(fits["base"]), fits.groupdict().get("part") or ""
        if "*" not in other.text:
            return [base / other.text.replace("{name}", fits["name"]).replace("{part}", part)]
        filled = other.text.replace("{name}", escape(fits["name"])).replace("{part}", part)
        found = (one for one in base.glob(filled) if not any(p.startswith(".") for p in one.relative_to(base).parts))
        return sorted(one for one in found if other.accepts(one))

    def _match(self, path: Path) -> re.Match[str] | None:
        expression = _expression(self.text, name="[^/]+").pattern
        return re.fullmatch(r"(?P<base>(?:.*/)?)" + expression, path.as_posix())


def pattern_of(key: str, text: str, accepts: Callable[..., bool], depth: int | None = None) -> Pattern:
    """A `Pattern` whose `accepts` is told the ending that the pattern names, as its keyword `ending`."""
    return Pattern(key, text, partial(accepts, ending=ending_of(text)), depth)


def patterns_of(
    key: str, masks: str | Mapping[str, str] | None, accepts: Callable[..., bool], depth: int | None = None
) -> dict[str | None, Pattern]:
    """The patterns of masks by the class that is drawn in them, or None for one of all; see `pattern_of`."""
    by_class = [(None, masks)] if isinstance(masks, str) else [*(masks or {}).items()]
    return {
        label: pattern_of(key if label is None else f"{key}.{label}", text, accepts, depth) for label, text in by_class
    }


def _expression(text: str, name: str) -> re.Pattern[str]:
    parts = {"{name}": f"(?P<name>{name})", "{part}": f"(?P<part>{'|'.join(PARTS)})", "**/": r"(?:.*/)?", "*": r"[^/]*"}
    pieces = re.split(r"(\{name\}|\{part\}|\*\*/|\*)", text)
    return re.compile("".join(parts.get(piece) or re.escape(piece) for piece in pieces), re.DOTALL)
