"""The queues of clusters: what a job that trains cells asks for, and how it is handed in.

dask-jobqueue writes the script of a job and hands it in; each job is one Dask worker, which trains one cell at a time
and reports to the scheduler of the ablation.
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import UsageError

NAME = "segloss"
"""What the jobs are called in the queue."""


class Queue:
    """Jobs of a cluster, each a worker that trains one cell at a time.

    Args:
        cores: of a job; a cell computes with as many threads, unless ablation.threads says otherwise.
        memory: of a job, such as 32GB.
        walltime: after which a job ends, such as "24:00:00"; its cell goes on in another.
        gpus: of a job.
        queue: the queue or partition; null for the cluster's own.
        account: that is charged.
        interface: the network that workers and scheduler talk over, such as ib0.
        directives: further lines of the job's head, without #SBATCH or #PBS.
        prologue: commands before the worker starts, such as `module load cuda`.

    Raises:
        ValueError: a value out of its range; dask-jobqueue is not installed.
    """

    name: str

    def __init__(
        self,
        cores: int,
        memory: str,
        walltime: str,
        gpus: int = 0,
        queue: str | None = None,
        account: str | None = None,
        interface: str | None = None,
        directives: list[str] | None = None,
        prologue: list[str] | None = None,
    ) -> None:
        if cores < 1:
            raise ValueError(f"cores must be at least 1, got {cores}")
        if gpus < 0:
            raise ValueError(f"gpus must not be negative, got {gpus}")
        if not re.fullmatch(r"\d+(\.\d+)? ?[KMGT]i?B", memory):
            raise ValueError(f"memory must be a number and KB, MB, GB or TB, such as 32GB, got {memory!r}")
        if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", walltime):
            raise ValueError(f'walltime must be hours, minutes and seconds, such as "24:00:00", got {walltime!r}')
        if find_spec("dask_jobqueue") is None:
            raise ValueError(f"name: {self.name} needs dask-jobqueue: pip install '.[cluster]'")
        self.cores, self.memory, self.walltime, self.gpus = cores, memory, walltime, gpus
        self.queue, self.account, self.interface = queue, account, interface
        self.directives, self.prologue = directives or [], prologue or []

    def options(self) -> dict[str, Any]:
        """The arguments of dask-jobqueue's cluster."""
        return {
            "cores": self.cores,
            "memory": self.memory,
            "processes": 1,
            "walltime": self.walltime,
            "queue": self.queue,
            "account": self.account,
            "interface": self.interface,
            "job_extra_directives": self.directives,
            "job_script_prologue": self.prologue,
            "job_name": NAME,
        }

    def cluster(self, logs: Path) -> Any:
        """A scheduler in this process, to which the jobs report; none is handed in yet.

        Args:
            logs: the folder where the jobs write what they print.

        Raises:
            UsageError: this machine cannot hand in jobs; the network interface does not exist.
        """
        kind = self._cluster_class()
        command = kind.job_cls.submit_command
        if shutil.which(command) is None:
            raise UsageError(
                f"ablation.cluster: {self.name} needs the command {command}, which this machine does not have; start "
                "on a login node of the cluster, or give --scheduler"
            )
        try:
            return kind(
                **self.options(),
                log_directory=str(logs.resolve()),
                scheduler_options={"dashboard_address": ":0"},
                silence_logs="critical",
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise UsageError(f"ablation.cluster: {' '.join(str(error).split())}") from error

    def _cluster_class(self) -> Any:
        raise NotImplementedError


class Slurm(Queue):
    """A cluster with SLURM."""

    name = "slurm"

    def options(self) -> dict[str, Any]:
        """See `Queue.options`."""
        gpus = [f"--gres=gpu:{self.gpus}"] if self.gpus else []
        return super().options() | {"job_extra_directives": [*gpus, *self.directives]}

    def _cluster_class(self) -> Any:
        from dask_jobqueue.slurm import SLURMCluster

        return SLURMCluster


class Pbs(Queue):
    """A cluster with PBS."""

    name = "pbs"

    def options(self) -> dict[str, Any]:
        """See `Queue.options`."""
        from dask.utils import parse_bytes
        from dask_jobqueue.pbs import pbs_format_bytes_ceil

        memory = pbs_format_bytes_ceil(parse_bytes(self.memory))
        gpus = f":ngpus={self.gpus}" if self.gpus else ""
        return super().options() | {"resource_spec": f"select=1:ncpus={self.cores}:mem={memory}{gpus}"}

    def _cluster_class(self) -> Any:
        from dask_jobqueue.pbs import PBSCluster

        return PBSCluster


CLUSTERS = {"slurm": Slurm, "pbs": Pbs}
"""The queues that `ablation.cluster` names."""
