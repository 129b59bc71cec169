"""What nnU-Net 2 leaves of its scores and classes: `summary.json`, and `dataset.json` beside its predictions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
from segloss.document import ScoresDocument

from ..errors import UsageError
from ..store.files import read_json
from .mask_options import Options, background_name, case_of, matched

SUMMARY, DATASET = "summary.json", "dataset.json"
IN_FOLDS = ("fold_*/validation/summary.json", "validation/summary.json")
OF_SCORES, OF_MASKS = 3, 2
"""Folders in which `dataset.json` is looked for: that of the scores, of the fold, of the trainer; that of the masks and
the one it lies in."""

Labels = dict[str, list[int]]
"""A class name to its mask values; regions share some."""


def summaries(path: Path) -> list[Path]:
    """The `summary.json` files of a method: the path itself, the one in it, or those of the folds of a trainer."""
    if path.is_file():
        return [path] if path.suffix == ".json" and _per_case(read_json(path)) is not None else []
    if (path / SUMMARY).is_file():
        return [path / SUMMARY]
    return next(filter(None, (sorted(path.glob(pattern)) for pattern in IN_FOLDS)), [])


def named_by_dataset(options: Options, folders: Sequence[Path]) -> tuple[Options, list[str]]:
    """The options with the labels of a `dataset.json` in or above folders of masks, and a line that says so.

    Where labels are given, or no such file is there, they stay as they are.

    Raises:
        UsageError: its labels are of another form, are regions, or differ between the folders.
    """
    found = [beside for folder in folders if (beside := _labels_beside(folder, OF_MASKS)) is not None]
    if options.labels or not found:
        return options, []
    labels, path = found[0]
    other = next((one for one in found if one[0] != labels), None)
    if other is not None:
        raise UsageError(f"{path} and {other[1]} name other labels; say what the values mean: labels={{NAME: VALUE}}")
    values = [value for of_name in labels.values() for value in of_name]
    if len({*values}) < len(values):
        raise UsageError(f"{path}: names regions, which overlap; give nnU-Net's {SUMMARY}, or labels={{NAME: VALUE}}")
    classes: dict[str, Any] = {name: of_name for name, of_name in labels.items() if name.lower() != "ignore"}
    ignored = [value for name, of_name in labels.items() if name not in classes for value in of_name]
    ignore = [*(value for value in options.ignore if value not in values), *ignored]
    changed = options.model_copy(update={"labels": classes, "ignore": ignore})
    return changed, [f"masks: {', '.join(classes)}, named by {path.parent.name}/{path.name}"]


def read_summary(path: Path, options: Options) -> tuple[ScoresDocument, str]:
    """Read a `summary.json` of nnU-Net 2; what it holds, in words, comes second.

    Classes have the names that `labels` or else `dataset.json` gives to their values, or else these values.

    Args:
        path: the file.
        options: of them `labels`, `background`, `name` and `group`.

    Raises:
        UsageError: another form, a class without a name, a case that is scored twice.
    """
    cases = _per_case(read_json(path))
    if cases is None:
        raise UsageError(f"{path}: no metric_per_case in it, as nnU-Net 2 writes; score its masks with --ref")
    given = {name: datasets.as_values(value) for name, value in options.labels.items()}
    named: Labels = {name: [one for one in values if isinstance(one, int)] for name, values in given.items()}
    source = "labels"
    if not named and (beside := _labels_beside(path.parent, OF_SCORES)) is not None:
        named, source = beside[0], beside[1].name
    try:
        rows = [row for number, case in enumerate(cases) for row in _rows(case, f"metric_per_case.{number}", options)]
        names = {key: _name(key, named, source) for key in dict.fromkeys(row["class"] for row in rows)}
        for row in rows:
            row["class"] = names[row["class"]]
        classes = list(names.values())
        zero = next((name for key, name in names.items() if key == "0"), None)
        stills = all(datasets.is_still(Path(str(case["prediction_file"]))) for case in cases)
        header = {"kind": "still" if stills else "volume", "classes": classes, "fold": _fold(path)}
        header["background"] = background_name(options.background, classes, zero or datasets.background_of(classes))
        document = ScoresDocument.from_json({"header": header, "cases": rows})
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error.args[0]}: missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"{path}: no summary of nnU-Net 2: {what}; score its masks with --ref") from error
    source = f", named by {source}" if named else ""
    return document, f"{', '.join(classes)} in {len(cases)} cases, of nnU-Net{source}"


def _per_case(content: object) -> list[Any] | None:
    found = content.get("metric_per_case") if isinstance(content, dict) else None
    return found if isinstance(found, list) else None


def _rows(case: dict[str, Any], at: str, options: Options) -> list[dict[str, Any]]:
    """Those of a case, one a label or region, as a scores document has them."""
    if not isinstance(case, dict) or not isinstance(case.get("metrics"), dict):
        raise ValueError(f"{at}: prediction_file, reference_file and metrics are needed, got {case!r:.60}")
    name = case_of(str(case["prediction_file"]), options.name, file=True)
    begin = {"case": name, "group": matched(options.group, name)}
    return [
        {**begin, "class": key, "tp": found["TP"], "fp": found["FP"], "fn": found["FN"]}
        for key, found in case["metrics"].items()
    ]


def _name(key: str, named: Labels, source: str) -> str:
    """The name of a label such as `1`, or of a region such as `(1, 2)`."""
    values = sorted(map(int, re.findall(r"\d+", key)))
    if not named:
        return str(values[0]) if len(values) == 1 else key
    found = next((name for name, of_name in named.items() if sorted(of_name) == values), None)
    if found is None:
        raise ValueError(f"the label {key} has no name in {source}: {', '.join(named)}")
    return found


def _labels_beside(folder: Path, above: int) -> tuple[Labels, Path] | None:
    """The mask values of each class by the `dataset.json` in a folder or those above it, and that file."""
    for place in [folder, *folder.parents][:above]:
        path = place / DATASET
        if path.is_file():
            return _labels(path), path
    return None


def _labels(path: Path) -> Labels:
    content = read_json(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    if isinstance(labels, dict) and all(str(key).isdigit() for key in labels):  # nnU-Net 1 and the Decathlon
        labels = {name: int(key) for key, name in labels.items()}
    found = {
        str(name): [value] if isinstance(value, int) else value
        for name, value in (labels.items() if isinstance(labels, dict) else ())
    }
    whole = all(isinstance(value, list) and all(type(one) is int for one in value) for value in found.values())
    if not found or not whole:
        raise UsageError(f'{path}: labels must be {{"background": 0, "name": 1, …}}, got {labels!r:.80}; mend it')
    return found


def _fold(path: Path) -> int | None:
    """The fold of `fold_3/validation/summary.json`."""
    found = re.fullmatch(r"fold_(\d+)", path.parent.parent.name)
    return int(found[1]) if found and path.parent.name == "validation" else None
