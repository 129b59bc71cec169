"""The verb `report`: the page of a run, of an ablation, or of several together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from datasets.files import write_atomically

from ..ablation.conclusion import Conclusion
from ..ablation.data_sets import joined
from ..ablation.documents import arms_of, seeds_of
from ..ablation.record import FILE
from ..console.display import Display
from ..console.sections import Subject
from ..errors import UsageError
from ..experiment.folds import Folds
from ..report.ablation_report import ablation_subject
from ..report.anonymous import NOTE, anonymous_copies
from ..report.page import page
from ..report.run_report import run_subject
from ..report.viewer import BYTES
from ..store.outputs import Outputs

PAGE, ANONYMOUS = "report.html", "report-anonymous.html"


def report(paths: Sequence[Path], out: Path | None, anonymous: bool, display: Display) -> None:
    """Write the page of some runs and ablations.

    Args:
        paths: runs, folders with the folds of one, ablations.
        out: the file; None for `report.html`, or `report-anonymous.html`, in the folder, or of several folders in the
            working folder.
        anonymous: without names of cases, paths, user and host; see `engine.report.anonymous`.
        display: where its path is shown.

    Raises:
        UsageError, DataError: a path that is neither, one given twice, a file that is damaged, a full disk; a name that
            would stand on an anonymous page.
    """
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        raise UsageError(f"{next(path for path in paths if resolved.count(path.resolve()) > 1)}: given twice")
    for path in paths:
        kind(path)  # refused before anything is drawn
    name = ANONYMOUS if anonymous else PAGE
    wanted = out or (paths[0] / name if len(paths) == 1 else Path(name))
    outputs = claim_page(wanted, "report", "--out")
    if not anonymous:
        write_claimed(wanted, outputs, _content(paths), display)
        return
    called = {f"{kind(path)}-{number}" if len(paths) > 1 else kind(path): path for number, path in enumerate(paths, 1)}
    with anonymous_copies(called) as copy:
        content = _content(copy.paths, NOTE)
    copy.refuse_names(content, wanted)
    write_claimed(wanted, outputs, content, display)


def _content(paths: Sequence[Path], note: str = "") -> str:
    """The page of some runs and ablations, with what is said under its title."""
    found = {path: Conclusion.of(path) for path in paths if kind(path) == "ablation"}
    share = BYTES // len(paths)
    subjects = [ablation_subject(found[path], share) if path in found else run_subject(path, share) for path in paths]
    return page(", ".join(one.title for one in subjects), subjects, joined(list(found.values())), note)


def claim_page(wanted: Path, command: str, option: str) -> Outputs | None:
    """Refuse a page that cannot be written, or would overwrite what the command did not write.

    Args:
        wanted: the file.
        command: the verb.
        option: that names the file, for errors.

    Returns:
        What takes note of it; None in the folder of a run or an ablation, where `train` and `ablate` write theirs.
    """
    if wanted.is_dir():
        raise UsageError(f"{wanted}: a folder; {option} is a file, such as {wanted / PAGE}")
    if not wanted.parent.is_dir():
        raise UsageError(f"{wanted.parent}: no such folder; make it, or choose another {option}")
    if (
        wanted.name in (PAGE, ANONYMOUS)
        and command == "report"
        and (_is_run(wanted.parent) or (wanted.parent / FILE).is_file())
    ):
        return None
    outputs = Outputs(wanted.parent, command, f"choose another {option}")
    outputs.claim([wanted.name])
    return outputs


def write_claimed(wanted: Path, outputs: Outputs | None, content: str, display: Display) -> None:
    """Write a page, and show where it is."""
    with nullcontext() if outputs is None else outputs.writing(wanted.name):
        write_atomically(wanted, content.encode())
    display.line(f"page: {wanted} ({wanted.stat().st_size / 1e6:.1f} MB)")


def write_page(folder: Path, subject: Subject) -> Path:
    """Write the page of a run or an ablation into its folder, which must be locked; the file."""
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
    if seeds := seeds_of(path):
        folders = path.resolve().parents
        whole = next((f"the ablation, {folder}, or " for folder in folders[:2] if (folder / FILE).is_file()), "")
        raise UsageError(f"{path}: an arm of an ablation; give {whole}the folds of one seed, {seeds[0]}")
    raise UsageError(f"{path}: neither a run nor an ablation; give the folder that train or ablate made, output/name")
