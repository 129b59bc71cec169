"""Finding files by a pattern that names them, and bringing images and masks together by these names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .case import PARTS, Part
from .errors import DataError


class Pattern:
    """A path below a root: `{name}` is what files are known by, `*` a part of a file name, `{part}` train, val or test.

    Args:
        key: the option it comes from, for errors.
        text: the pattern, with `/` between folders.
        accepts: whether a file is of the right kind.
        depth: how many folders and file names `{name}` reaches over; None for any number.
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
        if not text or text.startswith("/") or ".." in text.split("/") or "\\" in text:
            raise ValueError(f"{key}: {text!r} must be a path below data.root, with / between folders")
        placeholders = re.findall(r"\{.*?\}", text)
        foreign = sorted(set(placeholders) - {"{name}", "{part}"})
        if foreign or len(set(placeholders)) < len(placeholders):
            what = f"unknown placeholder {foreign[0]}" if foreign else "a placeholder twice"
            raise ValueError(f"{key}: {text!r} has {what}; use {{name}} and {{part}} once each, and *")
        self.text, self.accepts = text, accepts
        self.parts = parts if "{part}" in text else ("",)
        self._name = ".+" if depth is None else "/".join(["[^/]+"] * depth)

    def folder(self, root: Path, part: str) -> Path:
        """The folder that the files of a part lie below, as far as the pattern names it."""
        fixed = re.match(r"(?:[^/*{]*/(?=[^/]))*", self.text.replace("{part}", part))
        return root / (fixed[0] if fixed else "")

    def filled(self, root: Path, name: str) -> Path:
        """The file of a name, with the pattern's own `*`."""
        part, _, rest = name.partition("/") if "{part}" in self.text else ("", "", name)
        return root / self.text.replace("{part}", part).replace("{name}", rest)

    def find(self, root: Path) -> dict[str, list[Path]]:
        """The files that fit, sorted, by their name; with `{part}` the name begins with it.

        Hidden files and folders are passed over. Folders behind links are looked into where the pattern names them, not
        where it has a wildcard.
        """
        found: dict[str, list[Path]] = {}
        for part in self.parts:
            folder = self.folder(root, part)
            text = self.text.replace("{part}", part)
            fixed = folder.relative_to(root).as_posix()
            expression = _expression(text if fixed == "." else text.removeprefix(f"{fixed}/"), self._name)
            for path in sorted(folder.rglob("*")):
                below = path.relative_to(folder).as_posix()
                fits = expression.fullmatch(below)
                if fits is None or not self.accepts(path) or re.search(r"(?:^|/)\.", below):
                    continue
                name = fits["name"] if "name" in expression.groupindex else below.removesuffix(path.suffix)
                name = re.sub(r"(?i)\.nii$", "", name)  # of .nii.gz
                found.setdefault(f"{part}/{name}" if part else name, []).append(path)
        return found

    def fits(self, path: Path) -> bool:
        """Whether a file, wherever its folder lies, ends as the pattern says; `{name}` is one folder or file name."""
        return self._match(path) is not None

    def sibling(self, path: Path, other: Pattern) -> Path | None:
        """The file of `other`, a pattern without `*`, that belongs to a file of this one; None for another file."""
        fits = self._match(path)
        if fits is None:
            return None
        filled = other.text.replace("{name}", fits["name"]).replace("{part}", fits.groupdict().get("part") or "")
        return Path(fits["base"]) / filled

    def _match(self, path: Path) -> re.Match[str] | None:
        expression = _expression(self.text, name="[^/]+").pattern
        return re.fullmatch(r"(?P<base>(?:.*/)?)" + expression, path.as_posix())


def part_of(name: str) -> Part | None:
    """The part of the official split that a name begins with: `train/…`, `val/…` or `test/…`."""
    return next((part for part in PARTS if name.startswith(f"{part}/")), None)


def pairs(
    root: Path,
    images: Sequence[Pattern],
    masks: Pattern | None,
    what: str = "image",
    layout: str | None = None,
    spare_masks: bool = False,
) -> Iterator[tuple[str, Path, Path]]:
    """The name, the image and the mask of each case, in the order of the images.

    Args:
        root: the folder that the patterns start from.
        images: of an image, or of each of its channels in a file of its own, of which the first is given.
        masks: of a mask; None where they are found by other means, and the image stands in its place.
        what: an image in one word, for messages.
        layout: the data set's own layout in words, for messages; None where data.images and data.masks say it.
        spare_masks: a mask may lie there without its image.

    Raises:
        DataError: a missing folder, no image, an image or mask that is missing, or several of one name.
    """
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; set data.root to the folder {f'with {layout}' if layout else 'of the data set'}"
        )
    first, *further = [pattern.find(root) for pattern in images]
    drawn = {} if masks is None else masks.find(root)
    # where both patterns fit a file, it is a mask if an image of its name is left
    taken = {path for name, paths in drawn.items() for path in paths if {*first.get(name, ())} - {path}}
    first = {name: kept for name, paths in first.items() if (kept := [path for path in paths if path not in taken])}
    if layout is None and not first:
        raise DataError(f"{root}: no {what} fits data.images: {images[0].text}; {_hint(root, images[0])}")
    for part in images[0].parts if layout else ():
        if not any(name.startswith(f"{part}/" if part else "") for name in first):
            folder = images[0].folder(root, part)
            lacks = f"no {what} here" if folder.is_dir() else "no such folder"
            raise DataError(f"{folder}: {lacks}; expected {layout}")
    for name, paths in first.items():
        for key, pattern, listed in (
            *(("images", pattern, others) for pattern, others in zip(images, [first, *further], strict=True)),
            *([] if masks is None else [("masks", masks, drawn)]),
        ):
            files = listed.get(name, [])
            if len(files) > 1:
                narrow = "" if layout else f", or narrow data.{key}"
                raise DataError(f"{files[1]}: {files[0].name} has the same name; keep one of them{narrow}")
            if not files:
                see = "" if layout else f", or see data.{key}"
                kind = "mask" if key == "masks" else "file"
                raise DataError(f"{paths[0]}: no {kind} {pattern.filled(root, name)}; add it or remove the {what}{see}")
        mask = paths[0] if masks is None else drawn[name][0]
        if masks is not None and mask == paths[0]:
            raise DataError(f"{mask}: fits data.images and data.masks, so it would be its own mask; narrow one")
        yield name, paths[0], mask
    for name in () if spare_masks else sorted(drawn.keys() - first.keys()):
        where = f"in {images[0].folder(root, name.split('/')[0])}" if layout else f"by data.images: {images[0].text}"
        raise DataError(f"{drawn[name][0]}: no {what} of this name {where}; add it or remove the mask")


def _hint(root: Path, images: Pattern) -> str:
    """What to set where no image was found."""
    below = images.folder(root, "").relative_to(root)
    if "{part}" not in images.text and (root / PARTS[0] / below).is_dir():
        return f"try images: '{{part}}/{images.text}', and {{part}}/ in data.masks too"
    return "see data.root and data.images"


def _expression(text: str, name: str) -> re.Pattern[str]:
    parts = {"{name}": f"(?P<name>{name})", "{part}": f"(?P<part>{'|'.join(PARTS)})", "**/": r"(?:.*/)?", "*": r"[^/]*"}
    pieces = re.split(r"(\{name\}|\{part\}|\*\*/|\*)", text)
    return re.compile("".join(parts.get(piece) or re.escape(piece) for piece in pieces))
