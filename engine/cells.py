"""Trainings as processes, so many at a time: each ends with the worker that started it, and the others go on.

Dask hands them out. A cell is `train_seg.py train` on a file of its own, at a leash: it stops, and saves, when the pipe
to the worker closes, however the worker has ended.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from distributed import Client, LocalCluster, TimeoutError, get_worker, wait

PROGRAM = Path(__file__).resolve().parent.parent / "train_seg.py"
POLL_SECONDS = 0.5
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """A training process.

    Attributes:
        config: the YAML file to train.
        log: where what it prints is appended to.
        threads: that it computes with.
        gpus: the devices to choose from; a worker takes one.
    """

    config: Path
    log: Path
    threads: int
    gpus: Sequence[str] = ()


def train(job: Job) -> int:
    """Train in a process of its own and wait for it; its exit code."""
    environment = os.environ | dict.fromkeys(THREADS, str(job.threads))
    if job.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = job.gpus[int(get_worker().name) % len(job.gpus)]
    command = [sys.executable, str(PROGRAM), "train", str(job.config), "--leashed"]
    with (
        job.log.open("ab") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment) as cell,
    ):
        return cell.wait()


def run(jobs: Sequence[Job], workers: int) -> Iterator[dict[int, int | str]]:
    """Train all jobs, `workers` at a time.

    Yields:
        Twice a second, the jobs that have ended since, by index: the exit code, or what became of the worker.
    """
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        left = {
            client.submit(train, job, key=f"{index}-{job.config}", pure=False, priority=-index): index
            for index, job in enumerate(jobs)
        }
        while left:
            started = time.monotonic()
            try:
                done = wait(list(left), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                done = set()
            ended: dict[int, int | str] = {}
            for future in done:
                error = future.exception()
                ended[left.pop(future)] = future.result() if error is None else str(error)
            yield ended
            time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - started)) if left else 0.0)
