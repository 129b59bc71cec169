"""The verb `report`: the page of a run, of an ablation, or of several together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from datasets.files import write_atomically
from segloss.compare import mean_ranks

from ..ablation.conclusion import Conclusion
from ..ablation.documents import arms_of
from ..ablation.record import FILE
from ..ablation.verdicts import chance
from ..console.display import Display
from ..console.sections import Section, Subject
from ..errors import UsageError
from ..experiment.folds import Folds
from ..report.ablation_report import ablation_subject
from ..report.page import page
from ..report.run_report import run_subject
from ..report.viewer import BYTES
from ..store.outputs import Outputs

PAGE = "report.html"


def report(paths: Sequence[Path], out: Path | None, display: Display) -> None:
    """Write the page of some runs and ablations.

    Args:
        paths: runs, folders with the folds of one, ablations.
        out: the file; None for `report.html` in the folder, or of several folders in the working folder.
        display: where its path is shown.

    Raises:
        UsageError, DataError: a path that is neither, one given twice, a file that is damaged, a full disk.
    """
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        raise UsageError(f"{next(path for path in paths if resolved.count(path.resolve()) > 1)}: given twice")
    for path in paths:
        kind(path)  # refused before anything is drawn
    wanted = out or (paths[0] / PAGE if len(paths) == 1 else Path(PAGE))
    if wanted.is_dir():
        raise UsageError(f"{wanted}: a folder; --out is a file, such as {wanted / PAGE}")
    if not wanted.parent.is_dir():
        raise UsageError(f"{wanted.parent}: no such folder; make it, or choose another --out")
    own = _is_run(wanted.parent) or (wanted.parent / FILE).is_file()  # where train and ablate write their pages
    outputs = None if wanted.name == PAGE and own else Outputs(wanted.parent, "report")
    if outputs is not None:
        outputs.claim([wanted.name])
    found = {path: Conclusion.of(path) for path in paths if kind(path) == "ablation"}
    share = BYTES // len(paths)
    subjects = [ablation_subject(found[path], share) if path in found else run_subject(path, share) for path in paths]
    title = ", ".join(one.title for one in subjects)
    content = page(title, subjects, joined(list(found.values()))).encode()
    with nullcontext() if outputs is None else outputs.writing(wanted.name):
        write_atomically(wanted, content)
    display.line(f"page: {wanted} ({wanted.stat().st_size / 1e6:.1f} MB)")


def write_page(folder: Path, subject: Subject) -> Path:
    """Write the page of a run or an ablation into its folder; the file."""
    write_atomically(folder / PAGE, page(subject.title, [subject]).encode())
    return folder / PAGE


def _is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, or of all folds of one."""
    return (folder / "config.yaml").is_file() or Folds.holds(folder)


def kind(path: Path) -> str:
    """`run` or `ablation`; a `UsageError` where a path is neither."""
    if _is_run(path):
        return "run"
    if (path / FILE).is_file() or arms_of(path):
        return "ablation"
    if not path.exists():
        raise UsageError(f"{path}: no such folder; give a run, or an ablation: output/name")
    raise UsageError(f"{path}: neither a run nor an ablation; give the folder that train or ablate made, output/name")


def joined(ablations: Sequence[Conclusion]) -> Subject | None:
    """The mean ranks of the arms that several ablations share; None where there are no two of either."""
    found = [one for one in ablations if one.verdicts]
    shared = [arm for arm in found[0].arms if all(arm in one.arms for one in found)] if found else []
    if len(found) < 2 or len(shared) < 2:
        return None
    scores = np.array([[_score(one, arm) for arm in shared] for one in found])
    ranks, p_value = mean_ranks(scores)
    each = zip(shared, ranks, scores.T, strict=True)
    rows = [[arm, f"{rank:.2f}", *(f"{score:.4f}" for score in of_arm)] for arm, rank, of_arm in each]
    rows.sort(key=lambda row: float(row[1]))
    columns = ["arm", "mean rank", *(f"{one.record.name}: {one.verdicts[0].measure.title}" for one in found)]
    lines = [f"The best arm of a data set has rank 1. Friedman's test: p = {chance(p_value)}."]
    if p_value is None:
        lines = ["The best arm of a data set has rank 1. Friedman's test needs three arms and three data sets."]
    return Subject("together", [Section(f"mean ranks over {len(found)} data sets", lines, columns, rows)])


def _score(found: Conclusion, arm: str) -> float:
    first = found.verdicts[0]
    others = first.found
    return others[arm].mean_a if arm in others else next(iter(others.values())).mean_b
