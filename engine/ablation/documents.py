"""Scores documents from files: ours, another trainer's, or those of masks that lie in a folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from ..errors import UsageError
from ..store.files import read_json
from .comparison import LOWER, Method


def _once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("a class is named twice")
    return names


def _finite(value: float | None) -> float | None:
    """A distance; None where it is undefined, which other programs write as NaN or Infinity."""
    return value if value is not None and math.isfinite(value) else None


class _Header(BaseModel):
    classes: Annotated[list[str], Field(min_length=1), AfterValidator(_once)]
    background: str | None = None
    seed: int | None = None
    fold: int | None = None


class _Row(BaseModel):
    case: str
    group: str | None = None
    tp: Annotated[int, Field(ge=0)]
    fp: Annotated[int, Field(ge=0)]
    fn: Annotated[int, Field(ge=0)]
    name: Annotated[str, Field(alias="class")]
    fold: int | None = None
    HD95: Annotated[float | None, AfterValidator(_finite)] = None
    ASSD: Annotated[float | None, AfterValidator(_finite)] = None


class _Document(BaseModel):
    header: _Header
    cases: Annotated[list[_Row], Field(min_length=1)]


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
    return _of_documents(str(path), [_document(one) for one in found])


def scores_files(path: Path) -> list[Path]:
    """The scores documents of a method: the path itself, the one in it, or those of its folds."""
    if path.is_file():
        return [path]
    if (path / "scores.json").is_file():
        return [path / "scores.json"]
    return sorted(path.glob("fold-*/scores.json")) or sorted(path.glob("seed-*/fold-*/scores.json"))


def arms_of(path: Path) -> list[str]:
    """The arms of an ablation whose folder this is; none where it is not one."""
    return sorted({one.parent.name for one in path.glob("*/seed-*")})


def _of_documents(name: str, documents: list[dict[str, Any]]) -> Method:
    by_seed: dict[int | None, list[dict[str, Any]]] = {}
    for document in documents:
        by_seed.setdefault(document["header"].get("seed"), []).append(document)
    return Method(name, by_seed)


def _document(path: Path) -> dict[str, Any]:
    """A document, checked; DSC, IoU and group are filled in where they are missing."""
    document = read_json(path)
    try:
        checked = _Document.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise UsageError(
            f"{path}: no scores of the form that is compared: {place}: {first['msg']}; needed are header.classes and "
            "cases, a row for each case and class with case, class, tp, fp and fn"
        ) from error
    header, seen = checked.header, set[tuple[str, int | None, str]]()
    if header.background not in (None, *header.classes):
        raise UsageError(f"{path}: header.background: {header.background!r} is none of {', '.join(header.classes)}")
    for row, known in zip(document["cases"], checked.cases, strict=True):
        if known.name not in header.classes:
            raise UsageError(f"{path}: cases: the class {known.name!r} is none of {', '.join(header.classes)}")
        if (known.case, known.fold, known.name) in seen:
            raise UsageError(
                f"{path}: cases: {known.case} has two rows of {known.name}; needed is one for each case and class, its "
                "slices added up"
            )
        seen.add((known.case, known.fold, known.name))
        row |= {"tp": known.tp, "fp": known.fp, "fn": known.fn}
        row |= {score: getattr(known, score) for score in LOWER if score in row}
        union = known.tp + known.fp + known.fn
        row["group"] = known.group or known.case
        row["DSC"] = 2 * known.tp / (known.tp + union) if union else None
        row["IoU"] = known.tp / union if union else None
    document["header"] |= {"background": header.background, "seed": header.seed, "fold": header.fold}
    return dict(document)
