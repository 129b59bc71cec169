"""Scores documents from files: ours, another trainer's, or those of masks that lie in a folder."""

from __future__ import annotations

from pathlib import Path

from segloss.document import ScoresDocument

from ..errors import UsageError
from ..scoring.results import read_document
from .comparison import Method
from .tuning import BESIDE, TUNED


def method(path: Path) -> Method:
    """The scores that lie under a path.

    Args:
        path: a `scores.json` or other JSON of that form, a run, a folder with the folds of one, or an arm of an
            ablation, with its seeds.

    Raises:
        UsageError: nothing of that kind is there, or the file is of another form.
    """
    found = scores_files(path)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if not found:
        arms = ", ".join(arms_of(path))
        hint = f"it is an ablation; give one of its arms: {arms}" if arms else "give a run, or a scores.json"
        raise UsageError(f"{path}: no scores.json in it; {hint}")
    by_seed: dict[int | None, list[ScoresDocument]] = {}
    for document in (read_document(one, own=False) for one in found):
        by_seed.setdefault(document.header.seed, []).append(document)
    tuned = any(TUNED in one.parts for one in found) or path.with_name(f"{path.name}{BESIDE}").is_dir()
    return Method(str(path), by_seed, tuned)


def scores_files(path: Path) -> list[Path]:
    """The scores documents of a method: the path itself, the one in it, or those of its folds.

    Those of an arm are of its tuned runs, where it has any.
    """
    if path.is_file():
        return [path]
    if (path / "scores.json").is_file():
        return [path / "scores.json"]
    patterns = ("fold-*/scores.json", f"{TUNED}/seed-*/fold-*/scores.json", "seed-*/fold-*/scores.json")
    return next(filter(None, (sorted(path.glob(pattern)) for pattern in patterns)), [])


def arms_of(path: Path) -> list[str]:
    """The arms of an ablation whose folder this is; none where it is not one."""
    found = [*path.glob("*/seed-*"), *path.glob(f"*/{TUNED}")]
    return sorted({one.parent.name for one in found})
