"""Scores documents of a method from files: ours, another trainer's, nnU-Net's, or a CSV file's."""

from __future__ import annotations

from pathlib import Path

from segloss.document import ScoresDocument

from ..errors import UsageError
from ..scoring.mask_options import Options
from ..scoring.nnunet import read_summary, summaries
from ..scoring.results import read_document
from ..scoring.score_csv import read_score_csv
from ..store.files import read_json
from .comparison import Method, refuse_different
from .record import FILE
from .tuning import CHOSEN, TUNED, beside

CSV_KEYS, SUMMARY_KEYS = {"background", "name", "group"}, {"labels", "background", "name", "group"}
"""The options that say what scores of other programs mean."""
FORMS = "give a run, a scores.json, nnU-Net's summary.json, a CSV file of scores, or masks with --ref"


def method(path: Path, options: Options | None = None, name: str | None = None) -> Method:
    """The scores that lie under a path.

    Args:
        path: a `scores.json` or other JSON of that form, a run, a folder with the folds of one, an arm of an ablation
            with its seeds, a CSV file of scores, a `summary.json` of nnU-Net or a folder with those of its folds.
        options: what scores of other programs mean.
        name: what the method is called; None for the path.

    Raises:
        UsageError: nothing of that kind is there, the file is of another form, or files are not scored alike.
    """
    options = options or Options()
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    read_as: list[str] = []
    found: list[Path] = []
    if path.is_file() and path.suffix.lower() == ".csv":
        documents, how = read_score_csv(path, options)
        read_as = [how]
    elif found := scores_files(path):
        documents = [read_document(one, own=False) for one in found]
    elif found := summaries(path):
        read = {one: read_summary(one, options) for one in found}
        documents = [document for document, _ in read.values()]
        read_as = [f"{one.relative_to(path)}: {how}" if path.is_dir() else how for one, (_, how) in read.items()]
    else:
        arms = ", ".join(arms_of(path))
        hint = f"it is an ablation; give one of its arms: {arms}" if arms else FORMS
        raise UsageError(f"{path}: no scores in it; {hint}")
    alone = [Method(str(file), {None: [document]}) for file, document in zip(found, documents, strict=False)]
    for other in alone[1:]:
        refuse_different(other, alone[0])
    by_seed: dict[int | None, list[ScoresDocument]] = {}
    for document in documents:
        by_seed.setdefault(document.header.seed, []).append(document)
    return Method(name or str(path), by_seed, _chosen_by_fold(path), read_as)


def _chosen_by_fold(path: Path) -> bool:
    """Whether each fold of a run or an arm has chosen values of its own; so where it is not known what was chosen."""
    files = [one.resolve() for one in scores_files(path)]
    of_arms = {one.parents[3] for one in files if len(one.parents) > 3 and one.parents[2].name == TUNED}
    tunings = [one for one in of_arms if not (one / FILE).is_file()]  # else it is an arm of this name
    tunings += [beside(path)] if beside(path).is_dir() else []
    return any(not _chosen_together(one / CHOSEN) for one in tunings)


def _chosen_together(path: Path) -> bool:
    """Whether all folds have one choice, by one score: with `per: grid`, the mean over folds."""
    choices = read_json(path) if path.is_file() else []
    return len(choices) > 1 and len({(one["trial"], one["score"]) for one in choices}) == 1


def option_keys(path: Path) -> set[str]:
    """The options that say what the scores under a path mean; none for our own."""
    if path.is_file() and path.suffix.lower() == ".csv":
        return CSV_KEYS
    return set() if scores_files(path) or not summaries(path) else SUMMARY_KEYS


def scores_files(path: Path) -> list[Path]:
    """The scores documents of a method: the path itself, the one in it, or those of its folds.

    Those of an arm are of its tuned runs, where it has any.
    """
    if path.is_file():
        return [] if summaries(path) else [path]
    if (path / "scores.json").is_file():
        return [path / "scores.json"]
    patterns = ("fold-*/scores.json", f"{TUNED}/seed-*/fold-*/scores.json", "seed-*/fold-*/scores.json")
    return next(filter(None, (sorted(path.glob(pattern)) for pattern in patterns)), [])


def arms_of(path: Path) -> list[str]:
    """The arms of an ablation whose folder this is; none where it is not one."""
    found = [*path.glob("*/seed-*"), *path.glob(f"*/{TUNED}")]
    arms = sorted({one.parent.name for one in found})
    return [] if arms == [TUNED] else arms  # alone it is in the folder of an arm, whose tuned runs these are


def seeds_of(path: Path) -> list[Path]:
    """The folders of the seeds of an arm whose folder this is, of its tuned runs where it has any; none elsewhere."""
    found = [path.glob(f"{pattern}/fold-*/config.yaml") for pattern in (f"{TUNED}/seed-*", "seed-*")]
    return next(filter(None, (sorted({one.parents[1] for one in each}) for each in found)), [])
