"""Cells handed out to workers, one at a time each, until all are trained or have failed.

A cell whose worker is lost goes on elsewhere from its last checkpoint; the lock of its run decides who may write.
Which worker trains what is decided here and not by Dask, which knows nothing of hours and GPUs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import cloudpickle
from distributed import Client, Future, KilledWorker

from ..errors import UsageError
from ..processes import launcher
from ..processes.signals import STOPPED
from . import worker
from .cluster import Pool
from .worker import Job

POLL_SECONDS = 0.5
QUIET_SECONDS = 10.0
"""How long no worker may be there before it is told."""
LOSSES = 3
"""How often in a row a cell may lose its worker without having saved anything new."""


@dataclass
class _Attempt:
    future: Future[int | str]
    address: str
    saved: int


def run(jobs: Sequence[Job], pool: Pool, tell: Callable[[str], None]) -> Iterator[dict[int, int | str]]:
    """Train all jobs.

    Args:
        jobs: in the order in which they are begun.
        pool: the workers.
        tell: is told of workers that are lost, missing or unfit.

    Yields:
        Twice a second, the jobs that have ended since, by index: the exit code, or what went wrong.

    Raises:
        UsageError: no worker can train them; the scheduler is gone.
    """
    for module in (launcher, worker):
        cloudpickle.register_pickle_by_value(module)
    grid = _Grid(jobs, pool, tell)
    while grid.waiting or grid.trained:
        started = time.monotonic()
        ended = grid.step()
        yield ended
        if grid.waiting or grid.trained:
            time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - started)))


class _Grid:
    """Which cells wait, which are trained, and where."""

    def __init__(self, jobs: Sequence[Job], pool: Pool, tell: Callable[[str], None]) -> None:
        self.jobs, self.pool, self.tell = jobs, pool, tell
        self.waiting = deque(range(len(jobs)))
        self.trained: dict[int, _Attempt] = {}
        self.losses = [0] * len(jobs)
        self.unfit: dict[str, str] = {}
        self.seen = time.monotonic()
        self.quiet = False

    def step(self) -> dict[int, int | str]:
        """Take what has ended, and hand out what waits; the exit codes, or what went wrong, by index."""
        workers = _workers(self.pool.client)
        ended = {}
        for index, attempt in [*self.trained.items()]:
            if attempt.future.done() or (workers is not None and attempt.address not in workers):
                del self.trained[index]
                outcome = self._outcome(index, attempt)
                if outcome is not None:
                    ended[index] = outcome
        if workers is not None:
            self._hand_out(workers)
        return ended

    def _outcome(self, index: int, attempt: _Attempt) -> int | str | None:
        """The exit code or what went wrong; None where the cell waits again."""
        future = attempt.future
        error = future.exception() if future.status == "error" else None
        if error is not None and not isinstance(error, KilledWorker):
            return f"{attempt.address}: {type(error).__name__}: {' '.join(str(error).split())}"
        result = future.result() if future.status == "finished" else STOPPED
        if isinstance(result, int) and result != STOPPED:
            return result
        future.cancel()
        self.waiting.appendleft(index)
        if isinstance(result, str):
            self.unfit[attempt.address] = result
            self.tell(f"{attempt.address} gets no cells: {result}")
            return None
        return self._lost(index, attempt)

    def _lost(self, index: int, attempt: _Attempt) -> str | None:
        job = self.jobs[index]
        self.losses[index] = 1 if _saved(job) != attempt.saved else self.losses[index] + 1
        if self.losses[index] > LOSSES:
            self.waiting.remove(index)
            return f"stopped or without its worker {LOSSES + 1} times, and never saved anything new"
        self.tell(f"{job.title}: stopped, or its worker {attempt.address} is lost; goes on from its last checkpoint")
        return None

    def _hand_out(self, workers: set[str]) -> None:
        busy = {attempt.address for attempt in self.trained.values()}
        free = [address for address in sorted(workers - busy) if address not in self.unfit]
        if not self.waiting:
            if free:
                self.pool.release(free)
            return
        self.pool.refill()
        if busy or free:
            self.seen, self.quiet = time.monotonic(), False
        elif workers:
            raise UsageError("\n".join(f"{address}: {self.unfit[address]}" for address in sorted(workers)))
        elif not self.quiet and time.monotonic() - self.seen > QUIET_SECONDS:
            self.quiet = True
            self.tell("no worker is there; the cells wait until one comes")
        for address in free[: self.pool.most - len(self.trained)]:
            if self.waiting:
                index = self.waiting.popleft()
                self.trained[index] = self._begin(self.jobs[index], address)

    def _begin(self, job: Job, address: str) -> _Attempt:
        key = f"{job.title}-{uuid4()}"  # another one for every attempt: Dask would answer with what it knows
        future = self.pool.client.submit(_Whole(partial(worker.train, job)), key=key, workers=[address])
        return _Attempt(future, address, _saved(job))


class _Whole:
    """A call that is sent with its code: workers have no path to this package."""

    def __init__(self, call: Callable[[], int | str]) -> None:
        self.call = call

    def __call__(self) -> int | str:
        return self.call()

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return cloudpickle.loads, (cloudpickle.dumps(self.call),)


def _workers(client: Client) -> set[str] | None:
    """The addresses of the workers; None while the scheduler cannot be asked.

    Raises:
        UsageError: it is gone.
    """
    if client.status in ("closing", "closed"):  # it has tried to connect again for a while
        raise UsageError(
            "the Dask scheduler is gone and does not come back; the cells stop, and save; start it again, then the "
            "same command goes on"
        )
    try:
        return set(client.nthreads())
    except OSError:
        return None


def _saved(job: Job) -> int:
    """When the cell has last saved; 0 for never."""
    return job.saves.stat().st_mtime_ns if job.saves.exists() else 0
