"""Runs and ablations without the names of patients, users and machines: the copy that an anonymous page is made of.

A page shows what files say. So that no name can reach it, wherever it is shown, it is made of a copy: of known files
alone, with pseudonyms in place of ids, and of a configuration only numbers and words of the program.
"""

from __future__ import annotations

import getpass
import os
import random
import re
import shutil
import socket
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from math import inf
from pathlib import Path
from statistics import mean
from typing import Any

from ruamel.yaml import YAML

from datasets import Recorded
from segloss.aggregation import LABEL_RULE, RULE
from segloss.document import Row, ScoresDocument
from segloss.surface import SURFACE_RULE

from ..ablation.arms import PROBES
from ..ablation.documents import arms_of
from ..ablation.record import FILE as RECORD
from ..ablation.record import Record
from ..ablation.tuning import CHOSEN, TRIALS, TUNED, beside
from ..configuration.schema import document as schema_document
from ..errors import UsageError
from ..experiment.run import ENVIRONMENT, SHARED, TRAINED, Run
from ..scoring import results, snapshots
from ..scoring.floors import FILE as FLOORS
from ..scoring.floors import read_baseline
from ..scoring.pooling import read_images
from ..scoring.snapshots import SavedCase
from ..store.files import read_json, write_csv, write_json

NOTE = (
    "Anonymous: cases and groups are numbered, from the worst to the best; names of runs and folders, free text of the "
    "configuration and the commit are left out. Pictures are as the images were: look for text that is burnt in, and "
    "for faces, before you hand this page on."
)
HIDDEN = "…"
HARMLESS = re.compile(r"\d+ epochs?")
"""Text of a configuration that is no word of its schema."""
UID = re.compile(r"\b[0-2](\.\d+){5,}\b")
HOME = re.compile(r"(?:/home/|/Users/|\\Users\\)([^/\\]+)")
INNER = re.compile(rf"(seed|fold|trial)-\d+|{TUNED}|{TRIALS}")
"""Folders of runs, beside those of arms."""
DRAWN = ("curves.svg", "class_curves.svg", "confusion.svg", "calibration.svg", "features.png", "mistakes.png")
"""Pictures of a run that name classes alone."""


@dataclass(frozen=True)
class Pseudonyms:
    """What cases and groups are called: `case_001`, `case_002`, … from the worst to the best, and `group_001`, ….

    The number of a case says no more than its scores: neither its name nor where that stands in the alphabet. A group
    of one case has the name of that case.

    Attributes:
        cases: by id.
        groups: by id.
    """

    cases: Mapping[str, str]
    groups: Mapping[str, str]

    @classmethod
    def of(cls, documents: Sequence[ScoresDocument]) -> Pseudonyms:
        """Those of all cases in some scores documents, by their mean DSC in all of them."""
        scores: dict[str, list[float]] = {}
        members: dict[str, set[str]] = {}
        for document in documents:
            for (case, _), score in document.case_means().items():
                scores.setdefault(case, []).extend([] if score is None else [score])
            for row in document.rows:
                members.setdefault(row.group, set()).add(row.case)
        order = [*scores]
        random.SystemRandom().shuffle(order)  # of equal scores, by chance
        order.sort(key=lambda case: mean(scores[case]) if scores[case] else inf)
        digits = max(3, len(str(len(order))))
        cases = {case: f"case_{number:0{digits}d}" for number, case in enumerate(order, start=1)}
        several = [group for group, of_group in members.items() if of_group != {group}]
        several.sort(key=lambda group: min(cases[case] for case in members[group]))
        groups = {group: f"group_{number:0{digits}d}" for number, group in enumerate(several, start=1)}
        return cls(cases, {group: groups.get(group) or cases[group] for group in members})

    def rows(self, found: Sequence[Row]) -> list[Row]:
        """Rows with them, in their order: that of the names would tell something of them."""
        renamed = [replace(row, case=self.cases[row.case], group=self.groups[row.group]) for row in found]
        return sorted(renamed, key=lambda row: row.case)

    def document(self, found: ScoresDocument) -> ScoresDocument:
        """A scores document with them."""
        pictures = found.pictures and sorted(
            one._replace(case=self.cases[one.case], group=self.groups[one.group]) for one in found.pictures
        )
        calibration = closed(found.calibration, any_key=True)
        return replace(found, rows=self.rows(found.rows), pictures=pictures, calibration=calibration)


@dataclass(frozen=True)
class Copy:
    """Anonymous copies of runs and ablations.

    Attributes:
        paths: of the copies.
        names: that are in none of them: ids, the user, the host.
    """

    paths: Sequence[Path]
    names: Collection[str]

    def refuse_names(self, page: str, where: Path) -> None:
        """Raise a `UsageError` where a page that was made of the copies holds one of the names all the same.

        Names of letters alone, numbers and what is short may be any word of a page: these were looked for in the names
        of arms and classes, when the copies were made.

        Args:
            page: its text.
            where: it is to be written, for the error.
        """
        text = re.sub(r"data:[a-z/]+;base64,[A-Za-z0-9+/=]+", "", page)
        for name in self.names:
            told = len(name) > 4 and not name.isalpha() and not name.isdecimal()
            if told and name in text and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text):
                raise UsageError(
                    f"{where}: not written: an anonymous page would hold {name!r}; rename what is called so"
                )


@contextmanager
def anonymous_copies(paths: Mapping[str, Path]) -> Iterator[Copy]:
    """Anonymous copies of some runs and ablations, while the context lasts.

    Args:
        paths: by what the copy is called: runs, folders with the folds of one, arms, ablations, and what `evaluate`
            has written of a run.

    Raises:
        UsageError: a file is damaged; a path is of another kind; the name of an arm or a class holds that of a case,
            of the user or of the host. In the context, errors that name a copy name what it was made of.
    """
    folders = {path: [*_folders(path)] for path in paths.values()}
    every = dict.fromkeys(folder for of_path in folders.values() for folder in of_path)
    runs = {folder: Run(folder) for folder in every if (folder / "config.yaml").is_file()}
    scored = [folder for folder in every if (folder / "scores.json").is_file()]
    for path in paths.values():
        if {*runs, *scored}.isdisjoint(folders[path]):
            raise UsageError(
                f"{path}: cannot be made anonymous: neither a run nor an evaluation of one lies in it; of other "
                "programs rename the files themselves"
            )
    configs = {folder: run.config().document() for folder, run in runs.items()}
    documents = {folder: results.read(folder) for folder in scored}
    pseudonyms = Pseudonyms.of([*documents.values()])
    users = {user for config in configs.values() for text in _texts(config) for user in HOME.findall(text)}
    users = {*users, _user()} - {"root"}  # who is nobody, and may be a class
    host = socket.gethostname()
    others = {case for folder, run in runs.items() for case in _other_cases(run, configs[folder])}
    names = {*pseudonyms.cases, *pseudonyms.groups, *others, *users, host, host.split(".")[0]} - {""}
    with tempfile.TemporaryDirectory() as temporary:
        copies = {path: Path(temporary).resolve() / name for name, path in paths.items()}
        for path, folder in ((path, folder) for path, of_path in folders.items() for folder in of_path):
            inner = folder.relative_to(path)
            _refuse([part for part in inner.parts if not INNER.fullmatch(part)], names, "the arm", path)
            target = copies[path] / inner
            target.mkdir(parents=True)
            if (folder / RECORD).is_file():
                _copy_record(folder, target, names)
            _copy_choices(folder, target)
            if folder in runs:
                _refuse_outside(runs[folder], path)
                _copy_run(runs[folder], configs[folder], target, names)
            if folder in documents:
                _copy_scores(folder, target, documents[folder], pseudonyms, names)
        for path, copy in copies.items():
            if beside(path).is_dir():  # by which `compare` knows that it was tuned
                beside(copy).mkdir(exist_ok=True)
                _copy_choices(beside(path), beside(copy))
        try:
            yield Copy([*copies.values()], names - {*pseudonyms.cases.values(), *pseudonyms.groups.values()})
        except UsageError as error:
            text = str(error)
            for path, copy in copies.items():
                text = text.replace(str(copy), str(path))
            raise UsageError(text) from error


def _folders(folder: Path) -> Iterator[Path]:
    """The folder, and those below it that are of its arms, seeds, folds and trials."""
    yield folder
    arms = {*Record.read(folder).arms} if (folder / RECORD).is_file() else {*arms_of(folder)}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and (path.name in arms or INNER.fullmatch(path.name)):
            yield from _folders(path)


def _other_cases(run: Run, config: Mapping[str, Any]) -> Iterator[str]:
    """The cases that a run names beside those that it has scored: of its other parts, and those that are left out."""
    if (run.path / "split.json").is_file():
        yield from Recorded(run.read_json("split.json"), str(run.path / "split.json")).ids
    yield from (one["case"] for one in config["data"]["exclude"])
    labelled = config["data"]["labelled"]
    yield from labelled if isinstance(labelled, dict) else ()


def _copy_record(folder: Path, target: Path, names: Collection[str]) -> None:
    """Copy what an ablation says of itself, without the values in which arms differ and without a paper."""
    record = Record.read(folder)
    _refuse(record.arms, names, "the arm", folder)
    arms = {
        arm: one.model_copy(
            update={"differs": [text.split(" ")[0] for text in one.differs], "trials": closed(one.trials, any_key=True)}
        )
        for arm, one in record.arms.items()
    }
    record.model_copy(update={"name": target.name, "arms": arms, "paper": None}).write(target)
    if (folder / PROBES).is_file():
        write_json(target / PROBES, closed(read_json(folder / PROBES), any_key=True))


def _copy_choices(folder: Path, target: Path) -> None:
    """Copy the scores by which values were chosen, which tell whether each fold has chosen its own."""
    if (folder / CHOSEN).is_file():
        choices = read_json(folder / CHOSEN)
        write_json(target / CHOSEN, [{key: one[key] for key in ("fold", "trial", "score")} for one in choices])


def _copy_run(run: Run, config: Mapping[str, Any], target: Path, names: Collection[str]) -> None:
    """Copy how a run was configured, and the log of its training."""
    classes = [name for key in ("labels", "regions") for name in config["data"].get(key) or ()]
    _refuse(classes, names, "the class", run.path)
    with (target / "config.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(closed(config, classes) | {"name": "run"}, file)
    if (run.path / SHARED).is_file():
        write_json(target / SHARED, run.read_json(SHARED))
    if (run.path / ENVIRONMENT).is_file():
        found = run.environment()
        known = ("format", "python", "packages", "device", "threads")
        write_json(target / ENVIRONMENT, {key: found[key] for key in known if key in found})
    if (run.path / TRAINED).is_file():
        write_json(target / TRAINED, closed(run.read_json(TRAINED), any_key=True))
    if not run.shares_training:
        for entry in run.history():
            Run(target).log(closed(entry, any_key=True))


def _copy_scores(
    folder: Path, target: Path, found: ScoresDocument, pseudonyms: Pseudonyms, names: Collection[str]
) -> None:
    """Copy scores, what lies beside them, and what was drawn of them."""
    header = found.header
    _refuse([*header.classes, *header.pictured], names, "the class", folder)
    known = (RULE, LABEL_RULE, SURFACE_RULE, *_words())
    texts = (header.rule, header.grid, header.inference, header.surface_rule)
    _refuse([text for text in texts if text is not None and text not in known], names, "the header's", folder)
    write_json(target / "scores.json", pseudonyms.document(found).to_json())
    if images := read_images(folder / "images.csv", header.classes):
        _refuse_unknown({row.case: row.group for row in images}, pseudonyms, folder / "images.csv")
        write_csv(target / "images.csv", [row.flat() for row in pseudonyms.rows(images)])
    if (folder / FLOORS).is_file():
        floors = read_baseline(folder)
        _refuse_unknown({row.case: None for row in floors.mean_mask}, pseudonyms, folder / FLOORS)
        for row in floors.mean_mask:
            row.case = pseudonyms.cases[row.case]
        names_of = {*header.classes, *pseudonyms.cases.values()}
        write_json(
            target / FLOORS, closed(floors.model_dump(by_alias=True, exclude_unset=True), names_of, any_key=True)
        )
    if kept := snapshots.read(folder):
        _refuse_unknown({one.case: None for one in kept}, pseudonyms, folder / snapshots.FOLDER / "cases.json")
        (target / snapshots.FOLDER).mkdir()
        renamed = [_copy_pictures(folder, target, one, pseudonyms) for one in kept]
        renamed.sort(key=lambda one: one.case)
        write_json(target / snapshots.FOLDER / "cases.json", [asdict(one) for one in renamed])
    for picture in (folder / "figures" / name for name in DRAWN):
        if picture.is_file():
            (target / "figures").mkdir(exist_ok=True)
            shutil.copyfile(picture, target / "figures" / picture.name)


def _refuse_unknown(found: Mapping[str, str | None], pseudonyms: Pseudonyms, path: Path) -> None:
    """Raise a `UsageError` where a file holds a case, with its group if it is known, that no scores document holds."""
    for case, group in found.items():
        if case not in pseudonyms.cases or (group is not None and group not in pseudonyms.groups):
            what = f"the case {case!r}" + ("" if group is None else f" of the group {group!r}")
            raise UsageError(f"{path}: holds {what}, which no scores.json does; restore it or score the run again")


def _copy_pictures(folder: Path, target: Path, kept: SavedCase, pseudonyms: Pseudonyms) -> SavedCase:
    """Copy the pictures of a case; a page takes their pixels alone."""
    renamed = replace(kept, case=pseudonyms.cases[kept.case])
    if kept.stem is None:
        return renamed
    number = kept.stem.split("-")[0]
    for path in (folder / snapshots.FOLDER).glob(f"{kept.stem}.*"):
        shutil.copyfile(path, target / snapshots.FOLDER / path.name.replace(kept.stem, f"{number}-", 1))
    return replace(renamed, stem=f"{number}-")


def closed(value: Any, known: Collection[str] = (), any_key: bool = False) -> Any:
    """What is known of a value of JSON: numbers, and words of the configuration's schema.

    Args:
        value: any; text that is not known becomes `…`, and what stands under a key that is not known is left out.
        known: words beside those of the schema.
        any_key: keys are kept as they are.
    """
    if isinstance(value, dict):
        return {
            key: closed(inner, known, any_key or key == "augment")
            for key, inner in value.items()
            if any_key or key in known or key in _words()
        }
    if isinstance(value, (list, tuple)):
        return [closed(inner, known, any_key) for inner in value]
    if isinstance(value, str) and value not in known and value not in _words() and not HARMLESS.fullmatch(value):
        return HIDDEN
    return value


@cache
def _words() -> frozenset[str]:
    """The keys and the choices of the configuration's schema."""
    return frozenset(_schema_words(schema_document()))


def _schema_words(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for inner in node:
            yield from _schema_words(inner)
    elif isinstance(node, dict):
        yield from node.get("properties", ())
        for key in ("enum", "const", "default"):
            found = node.get(key)
            yield from (one for one in (found if isinstance(found, list) else [found]) if isinstance(one, str))
        for key, inner in node.items():
            if key not in ("description", "title"):
                yield from _schema_words(inner)


def _refuse(texts: Collection[str], names: Collection[str], what: str, folder: Path) -> None:
    """Raise a `UsageError` where free text that a page shows holds a name or a UID."""
    for text in texts:
        words = {*re.split(r"[\W_]+", text.lower())}
        held = [name for name in names if (name.lower() in text.lower() if len(name) > 3 else name.lower() in words)]
        held = [name for name in held if not (name.isdecimal() and len(name) < 5)]
        if held or UID.search(text):
            holds = f"the name {held[0]!r}" if held else "a UID"
            raise UsageError(
                f"{folder}: cannot be made anonymous: {what} {text!r} holds {holds} of a case, a group, the user or "
                "the host; rename it, or write the page without --anonymous"
            )


def _refuse_outside(run: Run, folder: Path) -> None:
    """Raise a `UsageError` where the training of a run lies in a folder that is not copied."""
    for one in run.members if run.shares_training else ():
        if not one.path.resolve().is_relative_to(folder.resolve()):
            raise UsageError(
                f"{run.path}: cannot be made anonymous alone: its training lies in {one.path}; give the whole ablation"
            )


def _texts(value: Any) -> Iterator[str]:
    """All text in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for key, inner in value.items() for text in (*_texts(key), *_texts(inner)))
    elif isinstance(value, list):
        yield from (text for inner in value for text in _texts(inner))


def _user() -> str:
    """Who is at work; empty where the system does not know."""
    with suppress(KeyError, OSError, ImportError):
        return getpass.getuser()
    return os.environ.get("USER", "")
