"""The results of a run, or of all of its folds: written, and shown."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

from pydantic import BaseModel

import datasets
from segloss.aggregation import METRICS
from segloss.document import Picture, Primary, ScoresDocument

from ..configuration import build
from ..configuration.config import Config, ScoresSection
from ..console.display import Display
from ..console.sections import Section
from ..errors import UsageError
from ..experiment.experiment import Experiment, primary_of
from ..experiment.folds import Folds
from ..experiment.identity import SCORING
from ..experiment.run import TRAINED, Run
from ..pictures import figures
from ..pictures.chart import save, write_figure
from ..pictures.class_curves import class_curves
from ..pictures.diagnostics import confusion_picture, features_picture, reliability_picture
from ..pictures.gallery import gallery
from ..store.files import write_csv, write_json
from ..store.scores import read_scores
from .baseline import score_floors
from .evaluation import Scores
from .features import embedded, features, principal_components
from .floors import Majority, MaskRow, floor_section, mean_of_folds, read_baseline, read_floors
from .inference import Ensemble
from .labels import majority
from .overlays import save_overlays
from .pooling import pooled, read_images
from .tables import by_fold, rules, score_tables


def draw(run: Run, experiment: Experiment, fabric: Any, model: Any, scores: ScoresDocument, display: Display) -> None:
    """The curves of a run, what its network confuses, how sure it is and what its head sees, pictures of test cases.

    Of an ensemble curves and features are those of the first network.

    Args:
        run: the folder.
        experiment: data and configuration.
        fabric: the device and the precision.
        model: the trained network, set up by Fabric.
        scores: of the test part.
        display: where a log is reported that is damaged, of which no curve is drawn.
    """
    try:
        draw_history(run.figures, run.history(), experiment.scored, scores.header.primary)
    except UsageError as error:
        display.line(f"warning: no curves are drawn: {error}")
    draw_scores(run.figures, scores)
    _draw_features(run.figures, experiment, fabric, model)
    if scores.pictures is not None:
        _draw_mistakes(run.figures, experiment, scores.pictures)
        return
    save_overlays(model, experiment, "test", fabric, scores, run.figures / "overlays")


def draw_history(folder: Path, history: Sequence[dict[str, Any]], classes: Sequence[str], primary: Primary) -> None:
    """The curves of a run as far as its log has come, and those of every class.

    Args:
        folder: where they go.
        history: the log.
        classes: their names; nothing where they are not known.
        primary: the metric that is drawn.
    """
    folder.mkdir(exist_ok=True)
    save(figures.curves(history, str(primary)), folder / "curves")
    by_class = class_curves(history, classes, primary) if classes else None
    if by_class is not None:
        save(by_class, folder / "class_curves")


def draw_scores(folder: Path, scores: ScoresDocument) -> None:
    """The confusion matrix and the reliability curves of a scores document, where it holds them."""
    folder.mkdir(exist_ok=True)
    counted = "pixels" if scores.pictures is None else "images"
    if scores.confusion is not None:
        save(confusion_picture(scores.confusion, scores.header.classes, counted), folder / "confusion")
    if scores.calibration is not None:
        save(
            reliability_picture(scores.calibration, counted, scores.header.mask_classes is not None),
            folder / "calibration",
        )


def _draw_features(folder: Path, experiment: Experiment, fabric: Any, model: Any) -> None:
    """The penultimate features of test pixels in two dimensions, as a picture and as CSV."""
    samples, classes = experiment.samples("test"), experiment.adapter.classes
    model = model.networks[0] if isinstance(model, Ensemble) else model
    found = features(model.module, model, samples, fabric, experiment.config.scores.window)
    points, shares = principal_components(found.vectors)
    chosen, neighbours = embedded(points, found.vectors)
    figure = features_picture(points, shares, found.labels, (chosen, neighbours), classes)
    write_figure(figure, folder / "features.png")
    places = [samples.slices[index] for index in found.samples]
    rows: list[dict[str, Any]] = [
        {"case": samples.cases[case].case.id, "slice": index, "class": classes[label], "pc1": x, "pc2": y}
        for (case, index), label, (x, y) in zip(places, found.labels, points.tolist(), strict=True)
    ]
    for row, (x, y) in zip(chosen.tolist(), neighbours.tolist(), strict=True):
        rows[row] |= {"tsne1": x, "tsne2": y}
    write_csv(folder / "features.csv", rows)


def surest_mistakes(pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures that are given another class than theirs, the surest first; up to `MOST_MISTAKES`."""
    wrong = [one for one in pictures if one.label != one.predicted]
    return sorted(wrong, key=lambda one: -(one.probability or 0.0))[:MOST_MISTAKES]


def _draw_mistakes(folder: Path, experiment: Experiment, pictures: Sequence[Picture]) -> None:
    """The surest mistakes with their true and predicted class; nothing where there is none."""
    shown, path = surest_mistakes(pictures), folder / "mistakes.png"
    path.unlink(missing_ok=True)
    if not shown:
        return
    cases = {cached.case.id: cached for cached in experiment.data.parts["test"]}
    images = [cases[one.case].image(0) for one in shown]
    titles = [
        [one.label, f"→ {one.predicted}", *([] if one.probability is None else [f"{one.probability:.3f}"])]
        for one in shown
    ]
    title = "surest mistakes: class → prediction, with its probability"
    write_figure(gallery(images, titles, title), path)


def evaluation_folder(part: str, checkpoint: str, scores: ScoresSection) -> str:
    """The name of the folder that scores of `evaluate` go to; it follows from all that an override may decide of them.

    >>> evaluation_folder("test", "best", ScoresSection(flip=True, window=(64, 96)))
    'evaluation-test-best-original-window-64x96-flip'
    """
    words = [part, checkpoint, scores.grid]
    for key in ("window", "overlap", *(key.removeprefix("scores.") for key in SCORING)):
        if key == "checkpoint":  # named already
            continue
        value = getattr(scores, key)
        if value is True:
            words.append(key)
        elif value != type(scores).model_fields[key].default:
            shown = "x".join(map(str, value)) if isinstance(value, tuple) else _plain(value)
            words.append(f"{key}-{shown}")
    return "-".join(["evaluation", *words])


def _plain(value: float | BaseModel) -> str:
    """A number, or the values of a section."""
    if isinstance(value, BaseModel):
        return "-".join(one if isinstance(one, str) else f"{one:g}" for one in value.model_dump().values())
    return f"{value:g}"


MOST_MISTAKES = 100
FILES = ("scores.json", "cases.csv", "classes.csv", "images.csv")
"""Of scores; the last one of volumes alone."""


def write(folder: Path, scores: Scores) -> None:
    """scores.json, and as CSV its rows of cases, those of slices and the classes of each aggregation; the JSON last."""
    classes = [
        {"aggregation": aggregation, "class": name, **values}
        for aggregation, found in scores.document.aggregations.items()
        for name, values in found["classes"].items()
    ]
    write_csv(folder / "cases.csv", scores.document.flat_cases())
    write_csv(folder / "classes.csv", classes)
    if scores.images:
        write_csv(folder / "images.csv", [row.flat() for row in scores.images])
    write_json(folder / "scores.json", scores.document.to_json())


def read(folder: Path) -> ScoresDocument:
    """The scores document of a folder."""
    return read_document(folder / "scores.json")


def read_document(path: Path, own: bool = True) -> ScoresDocument:
    """A scores document; what those of earlier versions do not say of themselves is taken from their run.

    Args:
        path: the file.
        own: see `read_scores`.
    """
    return read_scores(path, own, partial(_configured, path.parent))


def _configured(folder: Path) -> dict[str, Any]:
    """Kind and primary metric of the run whose scores lie in a folder; empty where there is none."""
    for run in map(Run, (folder, folder.parent, folder / "fold-0")):
        if run.config_file.is_file():
            config = run.config()
            kind = build.build_adapter(config.data).kind
            primary = primary_of(config, kind)
            return {"kind": kind, "primary": {"aggregation": primary.aggregation, "metric": primary.metric}}
    return {}


def pool(runs: Sequence[Run], where: str = "") -> Scores:
    """The scores of all held-out cases of some folds together.

    Args:
        runs: one a fold.
        where: the folder in each run's folder that holds them.
    """
    documents = [read(run.path / where) for run in runs]
    images = [
        read_images(run.path / where / "images.csv", document.header.classes)
        for run, document in zip(runs, documents, strict=True)
    ]
    return Scores(
        pooled(documents, images), [replace(row, fold=fold) for fold, rows in enumerate(images) for row in rows]
    )


def baselines(experiment: Experiment) -> dict[str, Any]:
    """What no network is needed for: of masks the floors, and of volumes one by case; the commonest class of labels."""
    adapter, parts = experiment.adapter, experiment.data.parts
    if not parts["train"]:
        return {}
    if adapter.kind == "label":
        return {"majority": majority(parts["train"], parts["test"], adapter.classes)}
    found: dict[str, Any] = {"floors": {}}
    cases = [cached.case for cached in parts["test"]]
    for name, counts in score_floors(experiment):
        kept = counts.aggregations(experiment.scored)
        found["floors"][name] = {way: {metric: one.get(metric) for metric in METRICS} for way, one in kept.items()}
        if name == "mean_mask" and adapter.kind == "volume":
            ids, groups = [case.id for case in cases], [case.group for case in cases]
            rows = counts.document(experiment.scored, ids, groups, kind=adapter.kind).rows
            scored, regions = experiment.scored, experiment.regions
            known = {case.id: datasets.labelled_parts(case, adapter.classes, regions) for case in cases}
            found["mean_mask"] = [
                {"case": row.case, "class": row.label, "DSC": row.scores["DSC"]}
                for row in rows
                if row.label != adapter.background and known[row.case][scored.index(row.label)]
            ]
    return found


def show_scores(document: ScoresDocument, title: str, display: Display) -> None:
    """A scores document as tables, and how they are worked out."""
    for section in score_tables(document, title):
        display.section(section)
    for line in rules(document):
        display.line(line)


def show(folder: Path, display: Display) -> None:
    """The scores of a run that has been trained."""
    document, run = read(folder), Run(folder)
    show_scores(document, f"{folder}: test part, checkpoint {run.config().scores.checkpoint}", display)
    found = read_baseline(folder)
    _show_cases(document, found.mean_mask, display)
    if (floors := floors_beside([document], [run])) is not None:
        display.section(floors)
    if found.majority is not None:
        display.line(majority_line(found.majority))


def floors_beside(documents: Sequence[ScoresDocument], runs: Sequence[Run]) -> Section | None:
    """The score of the folds of a training beside what no network is needed for; None where that is not known."""
    primary = documents[0].header.primary
    reached = {"this training": mean_of_folds(documents)}
    return floor_section(read_floors(runs, primary), reached, primary, len(documents))


def majority_line(found: Majority) -> str:
    """What the commonest class of the training part scores, as a sentence."""
    return (
        f"For comparison, giving every picture the commonest training class, {found.label}: accuracy "
        f"{found.accuracy:.4f}, balanced accuracy {found.balanced_accuracy:.4f}, macro F1 {found.f1:.4f}."
    )


def show_folds(folds: Folds, display: Display) -> None:
    """The scores of every fold, and of all held-out cases together."""
    documents = [read(run.path) for run in folds.runs]
    found = [row for run in folds.runs for row in read_baseline(run.path).mean_mask]
    document = read(folds.path)
    show_scores(document, f"{folds.path}: the held-out cases of all {len(documents)} folds", display)
    display.section(by_fold(documents, document.header.primary.aggregation))
    _show_cases(document, found, display)
    if (floors := floors_beside(documents, folds.runs)) is not None:
        display.section(floors)
    display.line(f"scores: {folds.path / 'scores.json'}, as CSV by case and by class beside it; pictures in each fold")


def _show_cases(document: ScoresDocument, baseline: Sequence[MaskRow], display: Display) -> None:
    """Of volumes, how the DSC of the cases is spread, beside the mean training mask's."""
    for name in document.header.classes if baseline else []:
        found = [
            (dsc, row.case) for row in document.rows if row.label == name and (dsc := row.scores["DSC"]) is not None
        ]
        trivial = [row.DSC for row in baseline if row.label == name and row.DSC is not None]
        if not found or not trivial:
            continue
        worst, case = min(found, key=lambda pair: pair[0])
        values = [dsc for dsc, _ in found]
        display.line(
            f"{name} by case: DSC mean {mean(values):.4f}, median {median(values):.4f}, worst {worst:.4f} "
            f"({case}); by the mean training mask: mean {mean(trivial):.4f}, median {median(trivial):.4f}"
        )


def hint(path: Path, overrides: Sequence[str], run: Run, config: Config, display: Display) -> None:
    """Where the results lie, and commands to go on with: another loss, and another epoch if there is one to score."""
    of_labels = build.build_adapter(config.data).kind == "label"
    last = "mistakes.png" if of_labels else "overlays/"
    display.line(f"scores:   {run.path / 'scores.json'}, as CSV by case and by class beside it")
    others = "class_curves.png" if config.data.regions else "class_curves.png, confusion.png"
    display.line(f"pictures: {run.figures / 'curves.png'}, {others} and others beside it, {last}")
    kept = [override for override in overrides if override.split("=")[0].split(".")[0] not in ("name", "loss")]
    acw = ["model.acw=true"] if config.model.acw is True else []
    pair = ("sigmoid_focal", "sigmoid_ce") if config.data.regions else ("focal", "ce")
    other = next(name for name in pair if name != config.loss[0].name)
    again = [*dict.fromkeys([*kept, f"name={run.path.name}-{other}", f"loss.name={other}", *acw])]
    unscored = _unscored(run, config.scores.checkpoint)
    beside = "" if unscored is None else f", and the scores of the {unscored} epoch"
    display.line(f"next: the same training with another loss{beside}:")
    display.line(f"  {command('train', path, *again)}")
    if unscored is not None:
        display.line(f"  {command('evaluate', run.path, '--checkpoint', unscored)}")


def _unscored(run: Run, scored: str) -> str | None:
    """The checkpoint of another epoch than the one that is scored; None where the best epoch is the last one."""
    done = run.training.read_json(TRAINED)
    if scored != "average" and done.get("best_epoch") in (0, done["epochs"]):  # 0 where no epoch was ranked
        return None
    return "best" if scored == "last" else "last"


def training_command(config: Config, path: Path, *arguments: object) -> str:
    """The command that trains a configuration: `ablate` the arms, `train --tune` where it says what to tune."""
    if config.ablation is not None:
        return command("ablate", path, *arguments)
    return command("train", path, *arguments, *(["--tune"] if config.tune is not None else []))


def command(verb: str, *arguments: object) -> str:
    """A command line of this program, quoted for the shell."""
    python = Path(sys.executable)
    python = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else Path("python")
    return shlex.join([str(python), "train_seg.py", verb, *map(str, arguments)])
