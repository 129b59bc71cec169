"""The report of a run, or of all folds of one: how good it is, on whom it is worst and why, how it came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from segloss.aggregation import CLASS_SCORES
from segloss.document import Picture, Primary, Row, ScoresDocument

from ..console.display import percent
from ..console.sections import Section, Subject
from ..experiment.folds import Folds
from ..experiment.run import Run
from ..scoring import results
from ..scoring.floors import MaskRow, read_baseline
from ..scoring.leading import leading_class
from ..scoring.tables import by_fold, rules, score_tables
from .settings import settings
from .viewer import BYTES, viewer
from .worst import Scored, background, case_entries, reason, scored

CHARTS = {
    "curves": "loss and primary metric by epoch",
    "class_curves": "scores, class weights and shares of loss and gradient by class",
    "confusion": "confusion matrix",
    "calibration": "reliability: confidence and accuracy",
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
    of_labels = document is not None and document.pictures is not None
    title, order = _title(path.resolve()), [] if of_labels else scored(finished)
    sections = [_result(_unfinished(path, runs), finished, document, order)]
    if document is not None:
        if (floors := results.floors_beside(documents, finished)) is not None:
            sections.append(floors)
        sections += score_tables(document, f"scores of the held-out {'images' if of_labels else 'cases'}")
        if len(documents) > 1:
            sections.append(by_fold(documents, document.header.primary.aggregation))
        sections.append(_cases(document, finished))
    sections += _course(path, runs)
    sections += _speed(runs)
    if document is not None and document.pictures is not None:
        sections += _mistaken(finished)
    elif document is not None:
        sections.append(_looked_at(document, finished, order, most_bytes))
    if document is not None:
        sections.append(Section("how this is worked out", rules(document)))
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
    left: Sequence[Run], finished: Sequence[Run], document: ScoresDocument | None, order: Sequence[Scored]
) -> Section:
    """The result in sentences."""
    lines = []
    if left:
        names = ", ".join(f"{run.path.name} ({progress(run)})" for run in left)
        lines.append(f"Not finished: {names}; run the same `train` command to resume, which makes this page anew.")
    if document is not None:
        lines += _summary(document, finished, order)
    return Section("result", lines)


def _summary(document: ScoresDocument, runs: Sequence[Run], order: Sequence[Scored]) -> list[str]:
    """The score with its spread over cases, what a trivial method reaches, and the worst case with its mistakes."""
    header, primary = document.header, document.header.primary
    if document.pictures is not None:
        return _label_summary(document, document.pictures, runs)
    groups = len({row.group for row in document.rows})
    cases = len({(row.case, row.fold) for row in document.rows})
    score, rarer = f"{primary.metric} {percent(document.primary)}", leading_class(header, document.rows)
    if rarer is not None:
        of_class = document.aggregations[primary.aggregation]["classes"][rarer][primary.score]
        score = f"{primary.score} of {rarer}, the rarer of two classes, {percent(of_class)}; {score}"
    lines = [f"{score} (aggregation: {primary.aggregation}) on {cases} held-out cases of {groups} {header.units}."]
    values = [one.score for one in order]
    if len(values) > 1:
        average = "" if primary == Primary("case", "mDSC") else f"mean {mean(values):.4f}, "  # said already
        lines.append(
            f"By case, mDSC: {average}standard deviation {stdev(values):.4f}, median "
            f"{median(values):.4f}, from {values[0]:.4f} ({order[0].case}) to {values[-1]:.4f} ({order[-1].case})."
        )
    if order:
        why = reason(order[0], runs, header)
        lines.append(f"Worst case: {order[0].case}, mDSC {order[0].score:.3f}{f'; {why}' if why else ''}.")
    return lines


def _label_summary(document: ScoresDocument, pictures: Sequence[Picture], runs: Sequence[Run]) -> list[str]:
    """The scores of pictures with one label, what the commonest class reaches, and the surest mistake."""
    found = document.aggregations["dataset"]
    lines = [
        f"Accuracy {percent(found['accuracy'])}, balanced accuracy {percent(found['balanced_accuracy'])}, macro F1 "
        f"{percent(found['f1'])} on {found['units']} held-out images; primary: {document.header.primary}."
    ]
    commonest = next((known for run in runs if (known := read_baseline(run.path).majority) is not None), None)
    lines += [] if commonest is None else [results.majority_line(commonest)]
    if wrong := results.surest_mistakes(pictures)[:1]:
        sure = "" if wrong[0].probability is None else f", with probability {wrong[0].probability:.3f}"
        lines.append(f"Surest mistake: {wrong[0].case}, {wrong[0].label}, is given {wrong[0].predicted}{sure}.")
    return lines


def _cases(document: ScoresDocument, runs: Sequence[Run]) -> Section:
    """A row a case, the worst first: of one class all of its scores, of several the DSC of each.

    Of pictures with one label the surest mistakes.
    """
    if document.pictures is not None:
        shown = results.surest_mistakes(document.pictures)
        rows = [[one.case, one.label, one.predicted, percent(one.probability)] for one in shown]
        return Section("surest mistakes", columns=["image", "class", "prediction", "probability"], rows=rows)
    classes = document.header.counted
    table = _of_one_class(document.rows, classes[0], runs) if len(classes) == 1 else _of_classes(document, classes)
    return Section("by case, the worst first", columns=table[0], rows=table[1:])


def _of_one_class(rows: Sequence[Row], name: str, runs: Sequence[Run]) -> list[list[str]]:
    rows = [row for row in rows if row.label == name]
    rows.sort(key=lambda row: _worst_first(row.scores["DSC"]))
    keys = [*CLASS_SCORES, *(key for key in MILLIMETRES if any(row.scores.get(key) is not None for row in rows))]
    trivial = {row.case: row.DSC for row in _mean_masks(runs) if row.label == name}
    table = [["case", *(MILLIMETRES.get(key, key) for key in keys), *(["mean mask's DSC"] if trivial else [])]]
    for row in rows:
        beside = [percent(trivial.get(row.case))] if trivial else []
        table.append([row.case, *(_text(key, row.scores.get(key)) for key in keys), *beside])
    return table


def _of_classes(document: ScoresDocument, classes: Sequence[str]) -> list[list[str]]:
    means = document.case_means()
    scores = {(row.case, row.fold, row.label): row.scores["DSC"] for row in document.rows}
    order = sorted(means, key=lambda key: _worst_first(means[key]))
    rows = [[key[0], percent(means[key]), *(percent(scores.get((*key, name))) for name in classes)] for key in order]
    return [["case", "mDSC", *(f"DSC {name}" for name in classes)], *rows]


def _worst_first(value: float | None) -> tuple[bool, float]:
    """A key to sort by: what is undefined comes last."""
    return value is None, value or 0.0


def _text(key: str, value: float | None) -> str:
    """A score as a fraction, millimetres and millilitres with one digit."""
    return percent(value) if value is None or key not in MILLIMETRES else f"{value:.1f}"


def _mean_masks(runs: Sequence[Run]) -> list[MaskRow]:
    """What the mean training mask reaches: a row a case and class of volumes."""
    return [row for run in runs for row in read_baseline(run.path).mean_mask if row.DSC is not None]


def _course(path: Path, runs: Sequence[Run]) -> Iterator[Section]:
    """Curves of the training; drawn here where no figures were written, as of runs that are not finished."""
    charts = {run.path.name if len(runs) > 1 else "": drawn(run) for run in runs}
    for title, names in (("curves", ["curves"]), ("by class during training", ["class_curves"])):
        found = {
            f"{fold}: {CHARTS[name]}" if fold else CHARTS[name]: known[name]
            for fold, known in charts.items()
            for name in names
            if name in known
        }
        if found:
            yield Section(title, charts=found, folded=len(runs) > 1)
    figures = path / "figures"
    drawn_at_end = [name for name in ("confusion", "calibration") if (figures / f"{name}.svg").is_file()]
    features = figures / "features.png"
    if drawn_at_end:
        end = {CHARTS[name]: figures / f"{name}.svg" for name in drawn_at_end}
        yield Section(" and ".join(drawn_at_end), charts=end)
    if features.is_file():
        yield Section("features of the last layer", picture=features)


def _speed(runs: Sequence[Run]) -> Iterator[Section]:
    """How fast the steps were, the median of the epochs, and what they took; nothing of runs of an older program."""
    rows = []
    for run in runs:
        logged = [entry for entry in run.history() if "speed" in entry]
        found = [entry["speed"] for entry in logged]
        if not found:
            continue
        rate = [median(entry["images_per_second"] for entry in logged)]
        rate.append(median(one["images_per_second_without_loading"] for one in found))
        peaks = [one["peak_mib"] for one in found if one["peak_mib"] is not None]
        traced = next((one for one in found if one["busy"] is not None), None)
        use = ["-", "-"] if traced is None else [str(traced["launches_a_step"]), f"{traced['busy']:.0%}"]
        rows.append([run.path.name, *(f"{one:.1f}" for one in rate), str(max(peaks)) if peaks else "-", *use])
    columns = ["run", "images/s", "images/s without loading", "most memory, MiB", "launches a step", "GPU busy"]
    if rows:
        yield Section("speed of training", columns=columns, rows=rows, folded=True)


def drawn(run: Run) -> dict[str, Path]:
    """The pictures that follow from a run's log, by name; drawn where one is missing or the log has grown."""
    found = {name: run.figures / f"{name}.svg" for name in ("curves", "class_curves")}
    complete = run.finished and all(path.is_file() for path in found.values())
    if not complete and (history := run.history()):
        primary = _primary_of(run, history)
        validated = [entry["validation"] for entry in history if entry.get("validation")]
        classes = list(validated[0][primary.aggregation]["classes"]) if validated else []
        results.draw_history(run.figures, history, classes, primary)
    return {name: path for name, path in found.items() if path.is_file()}


def _primary_of(run: Run, history: Sequence[Mapping[str, Any]]) -> Primary:
    """The primary metric of a run: by its scores, its configuration, or the kind of its cases where neither says it."""
    section = run.config().scores.primary
    if section is not None:
        return Primary(section.aggregation or "dataset", section.metric)
    if run.finished:
        return results.read(run.path).header.primary
    validated = [entry["validation"] for entry in history if entry.get("validation")]
    if validated and "image" not in validated[0]:
        return Primary.of_kind("label")
    sliced = bool(validated) and validated[0]["image"]["units"] > validated[0]["case"]["units"]
    return Primary.of_kind("volume" if sliced else "still")


def _mistaken(runs: Sequence[Run]) -> Iterator[Section]:
    """The pictures of the surest mistakes, of each fold."""
    for run in runs:
        path = run.figures / "mistakes.png"
        if path.is_file():
            title = "pictures of the surest mistakes"
            yield Section(title if len(runs) == 1 else f"{title}, {run.path.name}", picture=path, folded=len(runs) > 1)


def _looked_at(document: ScoresDocument, runs: Sequence[Run], order: Sequence[Scored], most_bytes: int) -> Section:
    header = document.header
    lines = ["Cases are ordered by their mDSC, the worst first."]
    folders = {"prediction": [run.path for run in runs]}
    shown = viewer(
        folders,
        case_entries({"prediction": order}, "prediction"),
        header.pictured,
        background(header),
        lines,
        most_bytes,
    )
    if shown is None:
        return Section("cases", ["No pictures of cases: an older program has scored this run."])
    return Section("cases", viewer=shown)
