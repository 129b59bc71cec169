"""The report of a run, or of all folds of one: how good it is, on whom it is worst and why, how it came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from segloss.readings import CLASS_SCORES, READINGS

from ..console.display import Display, percent
from ..console.sections import Section, Subject
from ..experiment.folds import Folds
from ..experiment.run import Run
from ..scoring import results
from ..scoring.pooling import by_fold
from ..store.files import read_json
from .settings import settings
from .viewer import BYTES, viewer
from .worst import Scored, background, places, reason, scored

CHARTS = {
    "curves": "loss and primary score by epoch",
    "inside": "scores, class weights and shares of loss and gradient by class",
    "confusion": "what is taken for what",
    "calibration": "how sure it is, and how often rightly",
}
MILLIMETRES = {"HD95": "HD95 mm", "ASSD": "ASSD mm", "volume_ml": "ml", "reference_ml": "reference ml"}


def run_subject(path: Path, most_bytes: int = BYTES) -> Subject:
    """The report of a run, or of the folder with the folds of one; unfinished ones too.

    Args:
        path: the folder.
        most_bytes: of the pictures of cases.

    Raises:
        UsageError: a file of it is damaged.
    """
    runs = Folds(path).runs if Folds.holds(path) else [Run(path)]
    finished = [run for run in runs if run.finished]
    documents = [results.read(run.path) for run in finished]
    if len(runs) == 1:
        document = documents[0] if documents else None
    else:
        document = results.pool(finished).document if finished else None
    title, order = _title(path.resolve()), scored(finished)
    sections = [_result(_unfinished(path, runs), finished, document, order)]
    if document is not None:
        sections += _tables(document)
        if len(documents) > 1:
            sections.append(by_fold(documents, Display.aggregation(document)))
        sections.append(_cases(document, finished))
    sections += _course(path, runs)
    if document is not None:
        sections.append(_looked_at(document, finished, order, most_bytes))
        rule = [document["header"][key] for key in ("rule", "surface_rule") if key in document["header"]]
        sections.append(Section("how this is worked out", rule))
    sections += settings({title: runs[0]})
    return Subject(title, sections)


def _title(path: Path) -> str:
    """The name of a run; of a fold or a seed with those above it."""
    inner = path.name.startswith(("fold-", "seed-"))
    return f"{_title(path.parent)}, {path.name}" if inner else path.name


def _unfinished(path: Path, runs: Sequence[Run]) -> list[Run]:
    """The runs that have not begun or are not finished."""
    if not Folds.holds(path):
        return [run for run in runs if not run.finished]
    return [Run(path / name) for name in Folds(path).unfinished(runs[0].config())]


def progress(run: Run) -> str:
    """How far a run that is not finished has come."""
    return f"{len(run.history())} epochs" if run.config_file.is_file() else "not begun"


def _result(
    left: Sequence[Run], finished: Sequence[Run], document: dict[str, Any] | None, order: Sequence[Scored]
) -> Section:
    """The result in sentences."""
    lines = []
    if left:
        told = ", ".join(f"{run.path.name} ({progress(run)})" for run in left)
        lines.append(f"Not finished: {told}; the same `train` command goes on, and makes this page anew.")
    if document is not None:
        lines += summary(document, finished, order)
    return Section("result", lines)


def summary(document: Mapping[str, Any], runs: Sequence[Run], order: Sequence[Scored]) -> list[str]:
    """The score with its spread over cases, what a trivial method reaches, and the worst case with its reason."""
    header = document["header"]
    aggregation = Display.aggregation(dict(document))
    groups = len({row["group"] for row in document["cases"]})
    units = "patients" if header["background"] is not None else "groups"
    score = "mDSC" if header["background"] is not None else "mIoU"
    cases = len({(row["case"], row.get("fold")) for row in document["cases"]})
    overall = percent(document[aggregation][score])
    lines = [f"{score} {overall} (aggregation: {aggregation}) on {cases} held-out cases of {groups} {units}."]
    values = [one.score for one in order]
    if len(values) > 1:
        lines.append(
            f"By case, mDSC: mean {mean(values):.4f}, standard deviation {stdev(values):.4f}, median "
            f"{median(values):.4f}, from {values[0]:.4f} ({order[0].case}) to {values[-1]:.4f} ({order[-1].case})."
        )
    lines += _compared(runs)
    if order:
        why = reason(order[0], runs, header)
        lines.append(f"Worst case: {order[0].case}, mDSC {order[0].score:.3f}{f'; {why}' if why else ''}.")
    return lines


def _compared(runs: Sequence[Run]) -> Iterator[str]:
    """What no network is needed for."""
    if masks := _mean_masks(runs):
        yield f"For comparison, the mean training mask reaches a mean DSC of {mean(row['DSC'] for row in masks):.4f}."
    if thresholds := [one["threshold_DSC"] for one in _baselines(runs) if "threshold_DSC" in one]:
        yield f"The best global threshold, chosen in hindsight, reaches a DSC of {mean(thresholds):.4f}."


def _tables(document: Mapping[str, Any]) -> Iterator[Section]:
    columns = ["aggregation", "mDSC", "mIoU", "pixel accuracy", "units"]
    rows = [
        [name, *(percent(document[name][key]) for key in ("mDSC", "mIoU", "accuracy")), str(document[name]["units"])]
        for name in READINGS
    ]
    header = document["header"]
    left_out = f"without {header['background']}" if header["background"] else "over all classes"
    yield Section("scores of the held-out cases", [f"Means {left_out}; grid: {header['grid']}."], columns, rows)
    aggregation = Display.aggregation(dict(document))
    found = document[aggregation]["classes"]
    more = [key for key in ("HD95", "ASSD") if any(values.get(key) is not None for values in found.values())]
    columns = ["class", *CLASS_SCORES, *(MILLIMETRES[key] for key in more)]
    rows = [[name, *(_text(key, values[key]) for key in (*CLASS_SCORES, *more))] for name, values in found.items()]
    yield Section(f"by class, aggregation: {aggregation}", columns=columns, rows=rows)


def _cases(document: Mapping[str, Any], runs: Sequence[Run]) -> Section:
    """A row a case, the worst first: of one class all of its scores, of several the DSC of each."""
    classes = [name for name in document["header"]["classes"] if name != document["header"]["background"]]
    table = _of_one_class(document["cases"], classes[0], runs) if len(classes) == 1 else _of_classes(document, classes)
    return Section("by case, the worst first", columns=table[0], rows=table[1:])


def _of_one_class(rows: Sequence[Mapping[str, Any]], name: str, runs: Sequence[Run]) -> list[list[str]]:
    rows = sorted((row for row in rows if row["class"] == name), key=lambda row: (row["DSC"] is None, row["DSC"]))
    keys = [*CLASS_SCORES, *(key for key in MILLIMETRES if any(row.get(key) is not None for row in rows))]
    trivial = {row["case"]: row["DSC"] for row in _mean_masks(runs) if row["class"] == name}
    table = [["case", *(MILLIMETRES.get(key, key) for key in keys), *(["mean mask's DSC"] if trivial else [])]]
    for row in rows:
        beside = [percent(trivial.get(row["case"]))] if trivial else []
        table.append([row["case"], *(_text(key, row.get(key)) for key in keys), *beside])
    return table


def _of_classes(document: Mapping[str, Any], classes: Sequence[str]) -> list[list[str]]:
    cases: dict[tuple[str, Any], dict[str, float | None]] = {}
    for row in document["cases"]:
        cases.setdefault((row["case"], row.get("fold")), {})[row["class"]] = row["DSC"]
    means = {}
    for key, found in cases.items():
        known = [value for name in classes if (value := found[name]) is not None]
        means[key] = mean(known) if known else None
    order = sorted(cases, key=lambda key: (means[key] is None, means[key]))
    rows = [[key[0], percent(means[key]), *(percent(cases[key][name]) for name in classes)] for key in order]
    return [["case", "mDSC", *(f"DSC {name}" for name in classes)], *rows]


def _text(key: str, value: float | None) -> str:
    """A score as a fraction, millimetres and millilitres with one digit."""
    return percent(value) if value is None or key not in MILLIMETRES else f"{value:.1f}"


def _mean_masks(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What the mean training mask reaches: a row a case and class of volumes."""
    return [row for one in _baselines(runs) for row in one.get("mean_mask", []) if row["DSC"] is not None]


def _baselines(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [read_json(run.path / "baseline.json") for run in runs if (run.path / "baseline.json").is_file()]


def _course(path: Path, runs: Sequence[Run]) -> Iterator[Section]:
    """Curves, and what happened inside; drawn here where no figures were written, as of runs that are not finished."""
    charts = {run.path.name if len(runs) > 1 else "": drawn(run) for run in runs}
    for title, names in (("curves", ["curves"]), ("what happened inside", ["inside"])):
        found = {
            f"{fold}: {CHARTS[name]}" if fold else CHARTS[name]: known[name]
            for fold, known in charts.items()
            for name in names
            if name in known
        }
        if found:
            yield Section(title, charts=found, folded=len(runs) > 1)
    figures = path / "figures"
    end = {CHARTS[name]: figures / f"{name}.svg" for name in ("confusion", "calibration")}
    end = {caption: file for caption, file in end.items() if file.is_file()}
    features = figures / "features.png"
    if end:
        yield Section("what is confused, and how sure it is", charts=end)
    if features.is_file():
        yield Section("what the last layer sees", picture=features)


def drawn(run: Run) -> dict[str, Path]:
    """The pictures of a run that its log tells, by name; drawn anew where they are missing or the log has grown."""
    found = {name: run.figures / f"{name}.svg" for name in ("curves", "inside")}
    history = run.history()
    if history and not (run.finished and found["curves"].is_file()):
        aggregation, score = _primary_of(history)
        validated = [entry["validation"] for entry in history if entry.get("validation")]
        classes = list(validated[0][aggregation]["classes"]) if validated else []
        results.draw_history(run.figures, history, classes, aggregation, score)
    return {name: path for name, path in found.items() if path.is_file()}


def _primary_of(history: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Aggregation and name of the score that is logged beside the validation: the one of that value."""
    for entry in history:
        for aggregation, score in product(READINGS, ("mDSC", "mIoU")):
            if entry["score"] is not None and entry["validation"][aggregation][score] == entry["score"]:
                return aggregation, score
    return "dataset", "mIoU"


def _looked_at(document: Mapping[str, Any], runs: Sequence[Run], order: Sequence[Scored], most_bytes: int) -> Section:
    header = document["header"]
    lines = ["Cases are ordered by their mDSC, the worst first."]
    folders = {"prediction": [run.path for run in runs]}
    shown = viewer(
        folders, places({"prediction": order}, "prediction"), header["classes"], background(header), lines, most_bytes
    )
    if shown is None:
        return Section("cases", ["No pictures of cases: an older program has scored this run."])
    return Section("cases", viewer=shown)
