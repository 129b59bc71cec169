"""What a Dask worker does: train one cell in a process of its own, as long as the cell is wanted.

`train` is pickled by value, with what it calls of this package, which workers cannot import.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Status, get_worker

from ..experiment.environment import PACKAGES
from ..processes.launcher import without_launcher

ROOMS = ("datasets", "engine", "models", "segloss")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
POLL_SECONDS = 0.5
GRACE_SECONDS = 120.0
"""How long a cell may take to save after SIGTERM."""
VERSIONS = """\
import json, platform, sys
from importlib.metadata import PackageNotFoundError, version
found = {"Python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = "missing"
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Job:
    """The process that trains a cell.

    Attributes:
        title: of the cell.
        config: the YAML file to train.
        content: what it holds; a worker that reads something else there does not share the file system.
        log: the file that its output is appended to.
        checkpoint: the file that it saves to; cells with one checkpoint are not trained at the same time.
        folder: the working directory.
        python: the interpreter.
        program: train_seg.py.
        setup: see `setup_of`; empty for workers of this machine.
        threads: that it computes with; None for those of the worker.
        gpus: the devices, of which a worker takes one; empty where the worker's own environment names them.
        environment: what its environment holds beside the worker's own.
        options: of the command `train`.
    """

    title: str
    config: Path
    content: bytes
    log: Path
    checkpoint: Path
    folder: Path
    python: Path
    program: Path
    setup: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    gpus: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()


def train(job: Job) -> int | str:
    """Train in a process of its own and wait for it; its exit code, or why this machine cannot train the cell.

    The process is asked to save and stop when the ablation has ended or the worker is about to. Its standard input is
    a pipe from the worker, so it does the same where the worker is killed.
    """
    try:
        if (reason := unfit(job)) is not None:
            return reason
        worker = get_worker()
        environment = without_launcher(os.environ) | dict.fromkeys(THREADS, str(job.threads or worker.state.nthreads))
        environment |= job.environment
        if job.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = job.gpus[int(worker.name) % len(job.gpus)]
        return _watch(job, worker, environment)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"


def _watch(job: Job, worker: Any, environment: dict[str, str]) -> int:
    key = worker.get_current_task()
    command = [str(job.python), str(job.program), "train", str(job.config), "--exit-with-parent", *job.options]
    with (
        (job.folder / job.log).open("ab") as log,
        subprocess.Popen(
            command, cwd=job.folder, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment
        ) as cell,
    ):
        while _wanted(worker, key):
            with suppress(subprocess.TimeoutExpired):
                return cell.wait(POLL_SECONDS)
        try:
            cell.communicate(timeout=GRACE_SECONDS)  # closes its standard input, so it saves and stops
        except subprocess.TimeoutExpired:
            cell.kill()
        return cell.wait()


def _wanted(worker: Any, key: str) -> bool:
    """Whether the worker keeps running and still has the task, which the scheduler takes back after the ablation."""
    task = worker.state.tasks.get(key)
    return worker.status in (Status.running, Status.paused) and task is not None and task.state == "executing"


def unfit(job: Job) -> str | None:
    """Why this machine cannot train the cell as the one that sent it would; None where it can."""
    shared = "checkout, environment, data and output must lie on a file system that all machines share"
    config = job.folder / job.config
    for path in (job.folder, job.python, job.program, config):
        if not path.exists():
            return f"does not see {path}; {shared}"
    if config.read_bytes() != job.content:
        return f"sees another {config}; {shared}"
    found = setup_of(job.python, job.program) if job.setup else {}
    other = [name for name in job.setup if found[name] != job.setup[name]]
    if other:
        here = f"{other[0]} is {found[other[0]]} there"
        return f"{here} and was {job.setup[other[0]]} where the ablation began; use one environment and checkout"
    return None


def setup_of(python: Path, program: Path) -> dict[str, str]:
    """What results depend on: the versions that an interpreter finds, and a digest of the code beside a program."""
    code = hashlib.sha256()
    for path in (program, *sorted(path for room in ROOMS for path in (program.parent / room).rglob("*.py"))):
        code.update(path.read_bytes())
    said = subprocess.run([str(python), "-c", VERSIONS, *PACKAGES], stdout=subprocess.PIPE, check=False)
    versions: dict[str, str] = json.loads(said.stdout) if said.returncode == 0 else {}
    return {"code": code.hexdigest()[:12], **dict.fromkeys(("Python", *PACKAGES), "unknown"), **versions}
