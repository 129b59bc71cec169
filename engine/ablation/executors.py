"""Where cells are trained: on this machine, by the workers of a Dask scheduler, or as jobs of a cluster's queue."""

from __future__ import annotations

import logging
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from traceback import clear_frames
from typing import Any
from urllib.parse import urlsplit

import dask
import torch
from distributed import Client, LocalCluster, Status

from ..configuration.config import AblationSection, ClusterSection, Config
from ..errors import UsageError
from .mps import multi_process_service

CONNECT_SECONDS = 15.0
"""How long a scheduler may take to answer, and a lost connection to come back."""
SUBMIT_SECONDS = 60.0
"""How often jobs that have ended are submitted again."""
LOCAL_ADDRESS = "127.0.0.1:0"
"""Where Dask's HTTP servers listen, which it always starts: on this machine alone, on any free port."""

LOCAL = {
    "distributed.comm.require-encryption": False,  # nothing leaves this process
    "distributed.scheduler.worker-ttl": None,  # nor is a worker lost that sleeps as the machine does
}
"""How Dask works within one process."""
OPEN = (
    "whoever reaches {} can run programs as you: Dask asks for no password; keep it inside your network, or use TLS "
    "(docs/scale.md)"
)


@dataclass
class Workers:
    """The Dask workers that a client reaches.

    Attributes:
        client: of their scheduler.
        limit: how many cells are trained at a time.
        environment: what that of each cell holds beside the worker's own.
    """

    client: Client
    limit: int
    environment: Mapping[str, str] = field(default_factory=dict)

    def refill(self) -> None:
        """Replace workers that have ended, where this process has started them."""

    def release(self, addresses: list[str]) -> None:
        """End workers that no cell is left for, where this process has started them."""


@dataclass(frozen=True)
class Executor(ABC):
    """What trains cells.

    Attributes:
        workers: how many cells are trained at a time; None for one a Dask worker, or a job for every cell.
        threads: of each cell; None for those of its Dask worker.
    """

    workers: int | None
    threads: int | None

    def connect(self, cells: int, report: Callable[[str], None]) -> AbstractContextManager[Workers]:
        """The workers, as a context that ends those that this process starts.

        Args:
            cells: how many are to be trained; no more workers are started.
            report: takes a line for each job that the queue refuses.

        Raises:
            UsageError: the scheduler does not answer, the queue refuses all jobs.
        """
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # the grid reports in its own words what is lost
        return self._connect(min(self.workers or cells, cells), report)

    @abstractmethod
    def _connect(self, limit: int, report: Callable[[str], None]) -> AbstractContextManager[Workers]: ...


@dataclass(frozen=True)
class LocalExecutor(Executor):
    """This machine: Dask's scheduler and workers are threads of this process, and listen for no other.

    Where more cells are trained at a time than there are GPUs, they share them through NVIDIA's multi-process service.

    Attributes:
        gpus: the devices, of which each worker takes one; empty where cells train on the CPU.
    """

    workers: int
    threads: int
    gpus: Sequence[str] = ()

    def __str__(self) -> str:
        return f"{self.workers} at a time, {self.threads} threads each"

    @contextmanager
    def _connect(self, limit: int, report: Callable[[str], None]) -> Iterator[Workers]:
        service: AbstractContextManager[dict[str, str]] = nullcontext({})
        if 0 < len(self.gpus) < limit:
            service = multi_process_service(report)
        with (
            service as environment,
            dask.config.set(LOCAL),
            LocalCluster(
                n_workers=limit,
                threads_per_worker=1,
                processes=False,
                memory_limit=0,
                dashboard_address=LOCAL_ADDRESS,
                worker_dashboard_address=LOCAL_ADDRESS,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield Workers(client, limit, environment)


@dataclass(frozen=True)
class SchedulerExecutor(Executor):
    """The workers of a Dask scheduler that runs already.

    Attributes:
        address: of the scheduler, such as tcp://host:8786.
    """

    address: str

    def __str__(self) -> str:
        return f"{self.workers or 'one a worker'} at a time, on {self.address}"

    @contextmanager
    def _connect(self, limit: int, report: Callable[[str], None]) -> Iterator[Workers]:
        if self._is_open():
            report(f"warning: {OPEN.format(self.address)}")
        try:
            client = Client(self.address, timeout=CONNECT_SECONDS)
        except TypeError as error:  # Dask has no context for TLS
            raise UsageError(
                f"--scheduler {self.address}: no certificates are configured here; set Dask's distributed.comm.tls "
                "(docs/scale.md)"
            ) from error
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UsageError(
                f"--scheduler {self.address}: no Dask scheduler answers ({reason}); give the address that "
                "`dask scheduler` prints, such as tcp://host:8786"
            ) from error
        with client:
            yield Workers(client, limit)

    def _is_open(self) -> bool:
        """Whether others than this machine may reach the scheduler, and need no certificate."""
        found = urlsplit(self.address if "://" in self.address else f"tcp://{self.address}")
        host = found.hostname or ""
        return found.scheme not in ("tls", "wss") and host not in ("localhost", "::1") and not host.startswith("127.")


@dataclass(frozen=True)
class QueueExecutor(Executor):
    """Jobs of a cluster's queue, each a Dask worker; the scheduler runs in this process.

    Attributes:
        section: what each job asks for.
        logs: the folder where the jobs write what they print.
    """

    section: ClusterSection
    logs: Path

    def __str__(self) -> str:
        return f"{self.workers or 'all'} at a time, as jobs of {self.section.name} (their logs: {self.logs})"

    @contextmanager
    def _connect(self, limit: int, report: Callable[[str], None]) -> Iterator[Workers]:
        cluster_class, options = jobqueue(self.section)
        command = cluster_class.job_cls.submit_command
        if shutil.which(command) is None:
            raise UsageError(
                f"ablation.cluster: {self.section.name} needs the command {command}, which this machine does not have; "
                "start on a login node of the cluster, or give --scheduler"
            )
        try:
            cluster = cluster_class(
                **options,
                log_directory=str(self.logs.resolve()),
                scheduler_options={"dashboard": False, "dashboard_address": LOCAL_ADDRESS},
                silence_logs="critical",
            )
        except (RuntimeError, ValueError, OSError) as error:  # such as a network interface that does not exist
            raise UsageError(f"ablation.cluster: {' '.join(str(error).split())}") from error
        report(f"warning: {OPEN.format(f'the scheduler, {cluster.scheduler_address},')}")
        with cluster, Client(cluster) as client:
            yield _Jobs(client, limit, cluster, self.section.name, report)


def executor_of(config: Config, section: AblationSection, folder: Path, scheduler: str | None) -> Executor:
    """Where cells are trained.

    Args:
        config: of the cells; says whether they train on GPUs.
        section: how many are trained at a time, and whether as jobs of a queue.
        folder: of the cells; the jobs of a queue write what they print into its folder `jobs`.
        scheduler: the address of a Dask scheduler, or None.

    Raises:
        UsageError: a scheduler and a queue are asked for.
    """
    cluster, workers, threads = section.cluster, section.workers, section.threads
    if scheduler is not None and cluster is not None:
        raise UsageError(
            f"--scheduler {scheduler}: the configuration asks for jobs of {cluster.name} too; add ablation.cluster=null"
        )
    if scheduler is not None:
        return SchedulerExecutor(workers, threads, scheduler)
    if cluster is not None:
        return QueueExecutor(workers, threads, cluster, folder / "jobs")
    return local_executor(config, workers, threads)


def local_executor(config: Config, workers: int | None = None, threads: int | None = None) -> LocalExecutor:
    """This machine.

    Args:
        config: of the cells; says whether they train on GPUs.
        workers: cells trained at a time; None for one a GPU, or one.
        threads: of each cell; None for the cores divided by the workers.
    """
    gpus = _gpus(config)
    workers = workers or max(1, len(gpus))
    return LocalExecutor(workers, threads or max(1, (os.cpu_count() or 1) // workers), gpus)


def _gpus(config: Config) -> list[str]:
    """The devices of this machine that cells may be put on; none where they train on the CPU."""
    if config.train.device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]


def jobqueue(section: ClusterSection) -> tuple[Any, dict[str, Any]]:
    """The class of dask-jobqueue that submits jobs to a queue, and its arguments."""
    directives = section.directives or []
    options: dict[str, Any] = {
        "cores": section.cores,
        "memory": section.memory,
        "processes": 1,
        "walltime": section.walltime,
        "queue": section.queue,
        "account": section.account,
        "interface": section.interface,
        "job_script_prologue": section.prologue or [],
        "job_name": "segloss",
        "worker_extra_args": ["--no-dashboard"],
    }
    if section.name == "slurm":
        from dask_jobqueue.slurm import SLURMCluster

        gpus = [f"--gres=gpu:{section.gpus}"] if section.gpus else []
        return SLURMCluster, {**options, "job_extra_directives": [*gpus, *directives]}
    from dask.utils import parse_bytes
    from dask_jobqueue.pbs import PBSCluster, pbs_format_bytes_ceil

    memory = pbs_format_bytes_ceil(parse_bytes(section.memory))
    resources = f"select=1:ncpus={section.cores}:mem={memory}" + (f":ngpus={section.gpus}" if section.gpus else "")
    return PBSCluster, {**options, "resource_spec": resources, "job_extra_directives": directives}


class _Jobs(Workers):
    """The jobs of a queue: submitted again after they have ended, as long as cells wait.

    Raises:
        UsageError: the queue refuses all of them at first.
    """

    def __init__(self, client: Client, limit: int, cluster: Any, queue: str, report: Callable[[str], None]) -> None:
        super().__init__(client, limit)
        self.cluster, self.queue, self.report = cluster, queue, report
        refusal = self._submit()
        if refusal is not None and not cluster.workers:
            raise UsageError(refusal)
        if refusal is not None:
            report(refusal)

    def refill(self) -> None:
        """Submit the jobs that have ended, once a minute."""
        if time.monotonic() - self.submitted > SUBMIT_SECONDS and (refusal := self._submit()) is not None:
            self.report(refusal)

    def release(self, addresses: list[str]) -> None:
        """End the jobs of workers."""
        self.client.retire_workers(addresses)

    def _submit(self) -> str | None:
        """Submit the jobs that are missing; a line where the queue refuses one, which `scale` would only log."""

        async def submit() -> None:
            while len(self.cluster.worker_spec) < self.limit:
                self.cluster.worker_spec.update(self.cluster.new_worker_spec())
            await self.cluster

        refusal = None
        try:
            self.cluster.sync(submit)
        except (RuntimeError, ValueError, OSError) as error:
            clear_frames(error.__traceback__)  # they keep jobs alive, which closing the cluster takes for running ones
            reason = str(error).partition("stderr:")[2] or str(error)
            refusal = f"ablation.cluster: {self.queue} refuses a job: {' '.join(reason.split())}"
        for name in [name for name, job in self.cluster.workers.items() if job.job_id is None]:
            self.cluster.workers.pop(name).status = Status.failed
        self.submitted = time.monotonic()
        return refusal
