"""Jobs of a cluster's queue as Dask workers, by dask-jobqueue: it writes the script of a job and submits it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..configuration.config import ClusterSection
from ..errors import UsageError


def cluster_of(section: ClusterSection, logs: Path) -> Any:
    """A scheduler in this process, to which the jobs connect; none is submitted yet.

    Args:
        section: what each job asks for.
        logs: the folder where the jobs write what they print.

    Raises:
        UsageError: this machine cannot submit jobs; the network interface does not exist.
    """
    cluster, options = jobqueue(section)
    command = cluster.job_cls.submit_command
    if shutil.which(command) is None:
        raise UsageError(
            f"ablation.cluster: {section.name} needs the command {command}, which this machine does not have; start "
            "on a login node of the cluster, or give --scheduler"
        )
    try:
        return cluster(
            **options,
            log_directory=str(logs.resolve()),
            scheduler_options={"dashboard_address": ":0"},
            silence_logs="critical",
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(f"ablation.cluster: {' '.join(str(error).split())}") from error


def jobqueue(section: ClusterSection) -> tuple[Any, dict[str, Any]]:
    """The class of dask-jobqueue for a queue, and what it is called with."""
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
