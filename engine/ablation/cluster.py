"""Where the cells of an ablation are trained: this machine, a Dask scheduler that runs already, or jobs of a queue."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import clear_frames
from typing import Any

from distributed import Client, LocalCluster, Status

from ..configuration.config import ClusterSection
from ..errors import UsageError
from .queues import cluster_of

CONNECT_SECONDS = 15.0
"""How long a scheduler may take to answer, and a connection that is lost to come back."""
REFILL_SECONDS = 60.0
"""How often jobs that have ended are handed in again."""
LOGGERS = ("distributed", "distributed.client")
"""Those of Dask that are silenced: what is lost is told in our words."""


@dataclass(frozen=True)
class Local:
    """Processes of this machine.

    Attributes:
        workers: cells trained at a time.
        threads: of each.
    """

    workers: int
    threads: int

    def __str__(self) -> str:
        return f"{self.workers} at a time, {self.threads} threads each"


@dataclass(frozen=True)
class Scheduler:
    """A Dask scheduler that others have started, with its workers.

    Attributes:
        address: such as tcp://host:8786.
        workers: cells trained at a time; None for one a worker.
    """

    address: str
    workers: int | None

    def __str__(self) -> str:
        return f"{self.workers or 'one a worker'} at a time, on {self.address}"


@dataclass(frozen=True)
class Jobs:
    """Jobs of a queue.

    Attributes:
        section: what each job asks for.
        workers: jobs at a time; None for one a cell.
        logs: where they write what they print.
    """

    section: ClusterSection
    workers: int | None
    logs: Path

    def __str__(self) -> str:
        return f"{self.workers or 'all'} at a time, as jobs of {self.section.name} (their logs: {self.logs})"


Place = Local | Scheduler | Jobs


@dataclass(frozen=True)
class Pool:
    """Workers that a client reaches.

    Attributes:
        client: of the scheduler.
        most: cells trained at a time.
        refill: hands in the jobs anew that have ended.
        release: ends the workers at these addresses.
    """

    client: Client
    most: int
    refill: Callable[[], None] = lambda: None
    release: Callable[[list[str]], None] = lambda _: None


@contextmanager
def workers_of(place: Place, cells: int, tell: Callable[[str], None]) -> Iterator[Pool]:
    """The workers of a place, as long as they are wanted.

    Args:
        place: where they are.
        cells: to be trained: no more of them are started.
        tell: is told what becomes of jobs.

    Raises:
        UsageError: the scheduler does not answer, the queue refuses the jobs.
    """
    most = min(place.workers or cells, cells)
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        if isinstance(place, Scheduler):
            with _client(place.address) as client:
                yield Pool(client, most)
        elif isinstance(place, Jobs):
            with cluster_of(place.section, place.logs) as cluster, Client(cluster) as client:
                handed = _HandedIn(place.section.name, cluster, most, tell)
                handed.hand_in(first=True)
                yield Pool(client, most, handed.refill, lambda addresses: client.retire_workers(addresses))
        else:
            with (
                LocalCluster(
                    n_workers=most,
                    threads_per_worker=place.threads,
                    memory_limit=0,
                    dashboard_address=":0",
                    silence_logs=logging.CRITICAL,
                ) as cluster,
                Client(cluster) as client,
            ):
                yield Pool(client, most)
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _client(address: str) -> Client:
    try:
        return Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"--scheduler {address}: no Dask scheduler answers ({reason}); give the address that `dask scheduler` "
            "prints, such as tcp://host:8786"
        ) from error


class _HandedIn:
    """The jobs of a queue, handed in and kept up."""

    def __init__(self, name: str, cluster: Any, jobs: int, tell: Callable[[str], None]) -> None:
        self.name, self.cluster, self.jobs, self.tell = name, cluster, jobs, tell
        self.asked = time.monotonic()

    def hand_in(self, first: bool = False) -> None:
        """Hand in the jobs that are missing; those that the queue refuses are told, and handed in again later.

        Raises:
            UsageError: it refuses all, at the first time.
        """
        self.asked = time.monotonic()
        refusal = self._ask()
        for name in [name for name, job in self.cluster.workers.items() if job.job_id is None]:
            self.cluster.workers.pop(name).status = Status.failed
        if refusal is None:
            return
        line = f"ablation.cluster: {self.name} refuses a job: {refusal}"
        if first and not self.cluster.workers:
            raise UsageError(line)
        self.tell(line)

    def refill(self) -> None:
        """Hand in anew the jobs that have ended, now and then."""
        if time.monotonic() - self.asked > REFILL_SECONDS:
            self.hand_in()

    def _ask(self) -> str | None:
        """Hand in, and return what the queue says where it refuses; `scale` would only log it."""

        async def ask() -> None:
            while len(self.cluster.worker_spec) < self.jobs:
                self.cluster.worker_spec.update(self.cluster.new_worker_spec())
            await self.cluster

        try:
            self.cluster.sync(ask)
        except (RuntimeError, ValueError, OSError) as error:
            clear_frames(error.__traceback__)  # they keep jobs alive, which closing the cluster takes for running ones
            said = str(error).partition("stderr:")[2] or str(error)
            return " ".join(said.split())
        return None
