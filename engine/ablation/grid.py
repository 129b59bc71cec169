"""Cells that workers train, one a worker at a time, until each is finished or has failed.

Where a worker is lost, another resumes its cell from the last checkpoint; the lock of the run decides who may write.
Which worker trains what is decided here and not by Dask, which knows nothing of walltimes and GPUs.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle
from distributed import Client, Future, KilledWorker

from datasets.files import write_atomically

from ..console.display import Display
from ..errors import UsageError
from ..processes import launcher
from ..processes.signals import STOPPED
from . import worker
from .arms import Cell
from .executors import Executor, LocalExecutor, Workers
from .worker import Job, setup_of

PROGRAM = Path(__file__).resolve().parents[2] / "train_seg.py"
POLL_SECONDS = 0.5
QUIET_SECONDS = 10.0
"""How long no worker may be there before that is reported."""
LATE_SECONDS = 60.0
"""How much later a file that another machine has written may appear."""
CLOSED = ("closing", "closed")
"""What the status of a Dask client is once it has given its scheduler up."""
LOSSES = 3
"""How often in a row a cell may lose its worker without a new checkpoint."""
SHOWN = 4
"""Cells that the progress bar names."""


def train_cells(cells: Sequence[Cell], executor: Executor, display: Display) -> list[str]:
    """Train cells, those that share a checkpoint one after the other.

    Args:
        cells: in the order in which they are begun.
        executor: where they are trained.
        display: where progress is shown, and every worker that is lost, missing or unfit.

    Returns:
        A line for each cell that failed, with the end of its log.

    Raises:
        UsageError: the scheduler, the queue or the workers cannot train them.
    """
    if not cells:
        return []
    jobs = jobs_of(cells, executor)
    failed: dict[int, str] = {}
    warned: set[str] = set()
    # what shares a training is only scored; what trains by the clock counts as a whole
    epochs = [0 if cell.training_of else cell.trial or cell.config.train.epochs or 1 for cell in cells]
    shown = 0
    with (
        executor.connect(len(cells), display.line) as workers,
        display.bar("training cells", sum(epochs)) as advance,
    ):
        jobs = [replace(job, environment=workers.environment) for job in jobs]
        grid = Grid(jobs, workers, display.line)
        while grid.waiting or grid.running:
            for index, outcome in grid.step().items():
                if _finished(cells[index], outcome):
                    display.line(f"{cells[index].title}: done")
                    new = [line for line in _warnings(jobs[index].log) if line not in warned]
                    warned.update(new)
                    for line in new:
                        display.line(f"{line} ({cells[index].title})")
                else:
                    failed[index] = _failure(jobs[index], outcome)
                    display.line(failed[index])
            done = [epochs[index] if cell.finished else _epochs(cell) for index, cell in enumerate(cells)]
            running = [
                f"{cell.title}: {epoch}/{total}"
                for cell, epoch, total in zip(cells, done, epochs, strict=True)
                if 0 < epoch < total
            ]
            advance(sum(done) - shown, ", ".join(running[: min(workers.limit, SHOWN)]))
            shown = sum(done)
            time.sleep(POLL_SECONDS)
    return [failed[index] for index in sorted(failed)]


def jobs_of(cells: Sequence[Cell], executor: Executor) -> list[Job]:
    """The processes that train cells, once their configurations are written."""
    python = Path(sys.executable)
    local = isinstance(executor, LocalExecutor)
    setup = {} if local else setup_of(python, PROGRAM)
    jobs = []
    for cell in cells:
        base = cell.run.path
        config, content = base.with_name(f"{base.name}.yaml"), cell.config.to_yaml().encode()
        base.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(config, content)
        jobs.append(
            Job(
                title=cell.title,
                config=config,
                content=content,
                log=base.with_name(f"{base.name}.log"),
                checkpoint=cell.run.checkpoint("last").absolute(),
                folder=Path.cwd(),
                python=python,
                program=PROGRAM,
                setup=setup,
                threads=executor.threads,
                gpus=executor.gpus if isinstance(executor, LocalExecutor) else (),
                options=() if cell.trial is None else ("--trial", str(cell.trial)),
            )
        )
    return jobs


def _finished(cell: Cell, outcome: int | str) -> bool:
    """Whether nothing is left of a cell that has ended; its files may come late from another machine."""
    until = time.monotonic() + LATE_SECONDS
    while outcome == 0 and not cell.finished and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
    return cell.finished


def _epochs(cell: Cell) -> int:
    """Epochs that a cell has logged; 0 of one by the clock."""
    if cell.config.train.epochs is None:
        return 0
    log = cell.run.path / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.is_file() else 0


def _warnings(log: Path) -> list[str]:
    """What the log of a cell warns of, each once; cells of one data set warn of the same."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    return [line for line in dict.fromkeys(lines) if line.startswith("warning: ")]


def _failure(job: Job, outcome: int | str) -> str:
    lines = job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if job.log.is_file() else []
    reason = lines[-1].strip() if lines and isinstance(outcome, int) else f"ended with {outcome}"
    if isinstance(outcome, int) and outcome < 0:
        killed = ", perhaps out of memory" if outcome == -signal.SIGKILL else ""
        reason = f"ended by {signal.Signals(-outcome).name}{killed}"
    return f"{job.title} has failed ({reason}); its log: {job.log}; run the same command to try it again"


@dataclass
class _Attempt:
    future: Future[int | str]
    address: str
    saved: int


class Grid:
    """Which cells wait, and which worker trains which.

    Args:
        jobs: the cells, in the order in which they are begun.
        workers: what trains them.
        report: takes a line for each worker that is lost or unfit, and where none is there.
    """

    def __init__(self, jobs: Sequence[Job], workers: Workers, report: Callable[[str], None]) -> None:
        self.jobs, self.workers, self.report = jobs, workers, report
        self.waiting = list(range(len(jobs)))
        self.running: dict[int, _Attempt] = {}
        self.losses = [0] * len(jobs)
        self.unfit: dict[str, str] = {}
        self.quiet_until = time.monotonic() + QUIET_SECONDS
        for module in (launcher, worker):
            cloudpickle.register_pickle_by_value(module)

    def step(self) -> dict[int, int | str]:
        """Take back what has ended, and hand out what waits.

        Returns:
            Of each cell that has ended, by index, its exit code or what went wrong.

        Raises:
            UsageError: no worker can train the cells; the connection to the scheduler is lost.
        """
        addresses = _addresses(self.workers.client)
        ended = {}
        for index, attempt in [*self.running.items()]:
            if attempt.future.done() or (addresses is not None and attempt.address not in addresses):
                del self.running[index]
                outcome = self._outcome(index, attempt)
                if outcome is not None:
                    ended[index] = outcome
        if addresses is not None:
            self._hand_out(addresses)
        return ended

    def _outcome(self, index: int, attempt: _Attempt) -> int | str | None:
        """The exit code of a cell, or what went wrong; None where it waits again."""
        future = attempt.future
        error = future.exception() if future.status == "error" else None
        if error is not None and not isinstance(error, KilledWorker):
            return f"{attempt.address}: {type(error).__name__}: {' '.join(str(error).split())}"
        result = _result(future)
        if isinstance(result, int) and result != STOPPED:
            return result
        future.cancel()
        if isinstance(result, str):
            self.unfit[attempt.address] = result
            self.report(f"{attempt.address} gets no cells: {result}")
        else:
            new = _saved(self.jobs[index]) != attempt.saved
            self.losses[index] = 1 if new else self.losses[index] + 1
            if self.losses[index] > LOSSES:
                return f"stopped or lost its worker {self.losses[index]} times without a new checkpoint"
            self.report(
                f"{self.jobs[index].title}: stopped, or its worker {attempt.address} is lost; resumes from its last "
                "checkpoint"
            )
        self.waiting.insert(0, index)
        return None

    def _hand_out(self, addresses: set[str]) -> None:
        busy = {attempt.address for attempt in self.running.values()}
        free = sorted(addresses - busy - self.unfit.keys())
        if not self.waiting:
            if free:
                self.workers.release(free)
            return
        self.workers.refill()
        if busy or free:
            self.quiet_until = time.monotonic() + QUIET_SECONDS
        elif addresses:
            raise UsageError("\n".join(f"{address}: {self.unfit[address]}" for address in sorted(addresses)))
        elif time.monotonic() >= self.quiet_until:
            self.quiet_until = math.inf
            self.report("no worker is there; the cells wait until one comes")
        for address in free[: self.workers.limit - len(self.running)]:
            index = self._next()
            if index is not None:
                self.waiting.remove(index)
                self.running[index] = self._begin(self.jobs[index], address)

    def _next(self) -> int | None:
        """The first cell that waits and shares its checkpoint with none that runs."""
        written = {self.jobs[index].checkpoint for index in self.running}
        return next((index for index in self.waiting if self.jobs[index].checkpoint not in written), None)

    def _begin(self, job: Job, address: str) -> _Attempt:
        key = f"{job.title}-{uuid4()}"  # a new one for every attempt: Dask would return the result that it has
        future = self.workers.client.submit(_ByValue(worker.train, job), key=key, workers=[address])
        return _Attempt(future, address, _saved(job))


class _ByValue(partial[int | str]):
    """A call that is pickled with its code: workers cannot import this package."""

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return cloudpickle.loads, (cloudpickle.dumps(partial(self.func, *self.args)),)


def _result(future: Future[int | str]) -> int | str:
    """The exit code of a cell, or why its worker is unfit; `STOPPED` where worker or scheduler are lost before."""
    if future.status != "finished":
        return STOPPED
    try:
        return future.result()
    except (OSError, CancelledError):
        return STOPPED


def _addresses(client: Client) -> set[str] | None:
    """The addresses of the workers; None while the scheduler cannot be asked.

    Raises:
        UsageError: the connection is lost.
    """
    if client.status in CLOSED:  # after it has tried to connect again for a while
        raise UsageError(
            "the Dask scheduler has ended or cannot be reached; the cells save and stop; start it again and run the "
            "same command to resume"
        )
    try:
        return set(client.nthreads())
    except OSError:
        return None
    except RuntimeError:  # how it says that it has been closed meanwhile
        if client.status not in CLOSED:
            raise
        return None


def _saved(job: Job) -> int:
    """When the cell has last saved, in nanoseconds; 0 for never."""
    return job.checkpoint.stat().st_mtime_ns if job.checkpoint.exists() else 0
