"""The report of a run, or of all folds of one: how good it is, on whom it is worst and why, how it came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from segloss.readings import CLASS_SCORES, READINGS

from . import results
from .display import Display, percent
from .folds import Folds, by_fold
from .report import Section, Subject
from .run import Run, read_json
from .settings import settings
from .viewer import viewer
from .worst import background, places, reason, scored

CHARTS = {
    "curves": "loss and headline score by epoch",
    "inside": "scores, class weights and shares of loss and gradient by class",
    "confusion": "what is taken for what",
    "calibration": "how sure it is, and how often rightly",
}
MILLIMETRES = {"HD95": "HD95 mm", "ASSD": "ASSD mm", "volume_ml": "ml", "reference_ml": "reference ml"}


def run_subject(path: Path, most_bytes: int) -> Subject:
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
    title = path.resolve().name
    sections = [_result(runs, finished, document)]
    if document is not None:
        sections += _tables(document)
        if len(documents) > 1:
            sections.append(by_fold(documents, Display.reading(document)))
        sections.append(_cases(document, finished))
    sections += _course(path, runs)
    if document is not None:
        sections.append(_looked_at(document, finished, most_bytes))
        rule = [document["header"][key] for key in ("rule", "surface_rule") if key in document["header"]]
        sections.append(Section("how this is worked out", rule))
    sections += settings({title: runs[0]})
    return Subject(title, sections)


def _result(runs: Sequence[Run], finished: Sequence[Run], document: dict[str, Any] | None) -> Section:
    """The result in sentences."""
    lines = []
    if len(finished) < len(runs):
        begun = ", ".join(f"{run.path.name} ({len(run.history())} epochs)" for run in runs if not run.finished)
        lines.append(f"Not finished: {begun}; the same `train` command goes on, and makes this page anew.")
    if document is not None:
        lines += headline(document, finished)
    return Section("result", lines)


def headline(document: Mapping[str, Any], runs: Sequence[Run]) -> list[str]:
    """The score with its spread over cases, what a trivial method reaches, and the worst case with its reason."""
    header, order = document["header"], scored(runs)
    reading = Display.reading(dict(document))
    groups = len({row["group"] for row in document["cases"]})
    units = "patients" if header["background"] is not None else "groups"
    score = "mDSC" if header["background"] is not None else "mIoU"
    cases = len({(row["case"], row.get("fold")) for row in document["cases"]})
    lines = [f"{reading} {score} {percent(document[reading][score])} on {cases} held-out cases of {groups} {units}."]
    values = [one.score for one in order]
    if len(values) > 1:
        lines.append(
            f"By case, mDSC: mean {mean(values):.4f}, standard deviation {stdev(values):.4f}, median "
            f"{median(values):.4f}, from {values[0]:.4f} ({order[0].case}) to {values[-1]:.4f} ({order[-1].case})."
        )
    lines += _baselines(runs)
    if order:
        why = reason(order[0], runs, header)
        lines.append(f"Worst case: {order[0].case}, mDSC {order[0].score:.3f}{f'; {why}' if why else ''}.")
    return lines


def _baselines(runs: Sequence[Run]) -> Iterator[str]:
    """What no network is needed for."""
    found = [read_json(run.path / "baseline.json") for run in runs if (run.path / "baseline.json").is_file()]
    masks = [row["DSC"] for one in found for row in one.get("mean_mask", []) if row["DSC"] is not None]
    if masks:
        yield f"For comparison, the mean training mask reaches a mean DSC of {mean(masks):.4f}."
    thresholds = [one["threshold_DSC"] for one in found if "threshold_DSC" in one]
    if thresholds:
        yield f"The best global threshold, chosen in hindsight, reaches a DSC of {mean(thresholds):.4f}."


def _tables(document: Mapping[str, Any]) -> Iterator[Section]:
    columns = ["reading", "mDSC", "mIoU", "pixel accuracy", "units"]
    rows = [
        [name, *(percent(document[name][key]) for key in ("mDSC", "mIoU", "accuracy")), str(document[name]["units"])]
        for name in READINGS
    ]
    header = document["header"]
    left_out = f"without {header['background']}" if header["background"] else "over all classes"
    yield Section("scores of the held-out cases", [f"Means {left_out}; grid: {header['grid']}."], columns, rows)
    reading = Display.reading(dict(document))
    found = document[reading]["classes"]
    more = [key for key in ("HD95", "ASSD") if any(values.get(key) is not None for values in found.values())]
    columns = ["class", *CLASS_SCORES, *(MILLIMETRES[key] for key in more)]
    rows = [[name, *(percent(values[key]) for key in (*CLASS_SCORES, *more))] for name, values in found.items()]
    yield Section(f"by class, reading: {reading}", columns=columns, rows=rows)


def _cases(document: Mapping[str, Any], runs: Sequence[Run]) -> Section:
    """A row a case, the worst first: of one class all of its scores, of several the DSC of each."""
    header = document["header"]
    classes = [name for name in header["classes"] if name != header["background"]]
    rows: dict[tuple[str, Any], dict[str, Mapping[str, Any]]] = {}
    for row in document["cases"]:
        rows.setdefault((row["case"], row.get("fold")), {})[row["class"]] = row
    trivial = _mean_masks(runs)
    scores = list(CLASS_SCORES) if len(classes) == 1 else []
    scores += [key for key in MILLIMETRES if scores and any(row.get(key) is not None for row in document["cases"])]
    columns = ["case", *(MILLIMETRES.get(key, key) for key in scores)]
    columns += ["mean mask's DSC"] if scores and trivial else []
    columns += [] if scores else ["mDSC", *(f"DSC {name}" for name in classes)]
    told = []
    for (case, _), by_class in rows.items():
        of_classes = [by_class[name] for name in classes]
        known = [row["DSC"] for row in of_classes if row["DSC"] is not None]
        values = [of_classes[0].get(key) for key in scores] if scores else [mean(known) if known else None]
        values += [] if scores else [row["DSC"] for row in of_classes]
        values += [trivial.get((case, classes[0]))] if scores and trivial else []
        told.append((mean(known) if known else 2.0, [case, *map(percent, values)]))
    told.sort(key=lambda pair: pair[0])
    return Section("by case, the worst first", columns=columns, rows=[row for _, row in told])


def _mean_masks(runs: Sequence[Run]) -> dict[tuple[str, str], float]:
    found = {}
    for run in runs:
        path = run.path / "baseline.json"
        for row in read_json(path).get("mean_mask", []) if path.is_file() else []:
            found[row["case"], row["class"]] = row["DSC"]
    return found


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
    if end or features.is_file():
        yield Section("what is confused, and how sure it is", charts=end)
    if features.is_file():
        yield Section("what the last layer sees", picture=features)


def drawn(run: Run) -> dict[str, Path]:
    """The pictures of a run that its log tells, by name; drawn anew where they are missing or the log has grown."""
    found = {name: run.figures / f"{name}.svg" for name in ("curves", "inside")}
    history = run.history()
    if history and not (run.finished and found["curves"].is_file()):
        reading, score = _headline_of(history)
        validated = [entry["validation"] for entry in history if entry.get("validation")]
        classes = list(validated[0][reading]["classes"]) if validated else []
        results.draw_history(run.figures, history, classes, reading, score)
    return {name: path for name, path in found.items() if path.is_file()}


def _headline_of(history: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Reading and name of the score that is logged beside the validation: the one of that value."""
    for entry in history:
        for reading, score in product(READINGS, ("mDSC", "mIoU")):
            if entry["score"] is not None and entry["validation"][reading][score] == entry["score"]:
                return reading, score
    return "dataset", "mIoU"


def _looked_at(document: Mapping[str, Any], runs: Sequence[Run], most_bytes: int) -> Section:
    header = document["header"]
    lines = ["Cases are ordered by their mDSC, the worst first."]
    arms = {"prediction": runs}
    folders = {"prediction": [run.path for run in runs]}
    order = places(arms, "prediction")
    shown = viewer(folders, order, header["classes"], background(header), lines, most_bytes)
    if shown is None:
        return Section("cases", ["No pictures of cases: an older program has scored this run."])
    return Section("cases", viewer=shown)
