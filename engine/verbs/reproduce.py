"""A finished run, run again from its own folder and compared with itself."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from datasets.files import first_of

from ..console.display import Display
from ..errors import UsageError
from ..experiment.contents import changed_between
from ..experiment.device import launch
from ..experiment.difference import differences, log_difference, tensor_difference, without_new_keys
from ..experiment.folds import Folds
from ..experiment.identity import FREE
from ..experiment.run import Run
from ..processes.determinism import use_threads
from ..processes.signals import Stop
from ..store.lock import Lock
from .train import complete

MAY_CHANGE = (*FREE, "data.root")
WHY = ("python", "platform", "packages", "git", "device", "threads")
"""What of the environment may make a difference."""
MARK = ".reproduces"
"""The file that tells a second run from one that somebody owns; it names the first."""


def reproduce(path: Path, overrides: Sequence[str], display: Display, stop: Stop) -> bool:
    """Run a finished run again, with its configuration and its split, and say where the two first differ.

    The second run lies beside the first, as NAME-reproduced. One that was interrupted is continued; it is removed when
    it comes out the same bit for bit, and kept to be looked at when it does not. One that was kept is compared again.

    Args:
        path: the folder of the first run, or of a run with every fold.
        overrides: where data lies, and how to run.
        display: where progress and the result are shown.
        stop: asked between steps whether to save and leave.

    Returns:
        Whether log, weights, optimizer and scores are the same bit for bit.

    Raises:
        UsageError: no finished run, one by the clock, one of several processes, or one whose files are damaged; an
            override that would make it another run; a run NAME-reproduced that is not one of these.
    """
    if Folds.holds(path):
        same = [reproduce(run.path, overrides, display, stop) for run in Folds(path).runs]
        return all(same)
    run = Run.open(path)
    config = run.config_with(overrides, MAY_CHANGE)
    output = config.output if any(override.startswith("output=") for override in overrides) else str(path.parent)
    config = config.model_copy(update={"name": f"{path.resolve().name}-reproduced", "output": output})
    if not run.finished:
        raise UsageError(f"{path}: not finished (no scores.json in it); train it to its end, then reproduce it")
    for name in _checkpoints(run):
        run.load(name)  # all that will be compared is whole, before hours are spent on its counterpart
    run.history()
    run.read_json("scores.json")
    split = run.read_json("split.json")
    if (minutes := config.train.minutes) is not None:
        raise UsageError(
            f"{path}: trained for {minutes:g} minutes by the clock (train.minutes), so a second run takes other steps; "
            "only runs of train.epochs repeat bit for bit"
        )
    if (together := run.environment().get("processes", 1)) != 1:
        raise UsageError(
            f"{path}: trained by {together} processes, whose sums one process rounds otherwise; train it again under "
            "another name by the command it was trained with, and compare the two"
        )
    again = Run.of(config)
    use_threads(run.threads())
    with Lock(again.path):
        _refuse_own(again, run)
        again.create(config)
        for line in _changes(run, again):
            display.line(f"changed since the first run: {line}")
        if again.finished:
            display.line(f"{again.path}: compared as it was left; remove it to train it again")
        else:
            again.write_json("split.json", split)
            complete(config, again, launch(config.train), display, stop)
        found = list(compare(run, again))
        for line in found:
            display.line(f"differs: {line}")
        if found:
            display.line(f"{path}: not reproduced; the second run is {again.path}")
            return False
        display.line(f"{path}: reproduced bit for bit: log, weights, optimizer and scores")
        own = {path.name for path in run.path.iterdir()}
        foreign = sorted(path.name for path in again.path.glob("[!.]*") if path.name not in own)
        if foreign:
            display.line(f"{again.path}: kept, since it holds {first_of(foreign)}, which no run writes")
            return True
        shutil.rmtree(again.path)
    return True


def compare(run: Run, again: Run) -> list[str]:
    """Where two runs differ: the first place in their logs, in each checkpoint, in their scores."""
    found = [("data: ", changed_between([run, again])), ("log: ", log_difference(run.history(), again.history()))]
    for name in _checkpoints(run):
        one, other = run.load(name).tensors, again.load(name).tensors
        for part in ("model.", ""):
            chosen = [{k: v for k, v in tensors.items() if k.startswith(part)} for tensors in (one, other)]
            if line := tensor_difference(chosen[0], chosen[1]):
                found.append((f"checkpoint {name}: ", line))
                break
    then = run.read_json("scores.json")
    scores = next(differences(then, without_new_keys(again.read_json("scores.json"), then)), None)
    if scores is not None:
        found.append(("scores: ", f"{scores[0]} was {scores[1]!r}, is {scores[2]!r}"))
    return [f"{where}{line}" for where, line in found if line is not None]


def _checkpoints(run: Run) -> list[str]:
    """The names of the checkpoints that a finished run has."""
    return ["last", "best"] + (["average"] if run.config().train.average is not None else [])


def _refuse_own(again: Run, run: Run) -> None:
    """Mark the folder of the second run; a `UsageError` where it holds a run that was not made here."""
    if again.config_file.is_file() and not (again.path / MARK).is_file():
        raise UsageError(
            f"{again.path}: a run of yours, which reproduce would remove; give the second run another place, output=DIR"
        )
    again.write_json(MARK, {"run": str(run.path.resolve())})


def _changes(run: Run, again: Run) -> list[str]:
    """What differs around two runs: versions, code, machine."""
    then, now = ({key: each.environment().get(key) for key in WHY} for each in (run, again))
    return [f"{where} was {a}, is {b}" for where, a, b in differences(then, now)]
