"""The cells of an ablation as jobs: where they are trained, how far they are, which have failed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from datasets.files import write_atomically

from ..configuration.config import Config
from ..console.display import Display
from ..errors import UsageError
from ..experiment.run import Run, to_yaml
from . import cells
from .arms import Ablation, Cell
from .cluster import Jobs, Local, Place, Scheduler, workers_of
from .worker import Job, setup_of

PROGRAM = Path(__file__).resolve().parents[2] / "train_seg.py"
LATE_SECONDS = 60.0
"""How much later a file that another machine has written may appear."""
SHOWN = 4
"""Cells that the progress bar names."""


def place_of(ablation: Ablation, scheduler: str | None) -> Place:
    """Where the cells are trained.

    Args:
        ablation: whose section may ask for a cluster.
        scheduler: the address of a Dask scheduler, or None.

    Raises:
        UsageError: both are asked for.
    """
    section = ablation.section
    if scheduler is not None and section.cluster is not None:
        raise UsageError(
            f"--scheduler {scheduler}: the configuration asks for jobs of {section.cluster.name} too; add "
            "ablation.cluster=null"
        )
    if scheduler is not None:
        return Scheduler(scheduler, section.workers)
    if section.cluster is not None:
        return Jobs(section.cluster, section.workers, ablation.path / "jobs")
    workers = section.workers or max(1, len(_gpus(ablation.config)))
    return Local(workers, section.threads or max(1, (os.cpu_count() or 1) // workers))


def train(ablation: Ablation, left: Sequence[Cell], place: Place, display: Display) -> list[str]:
    """Train cells; a line for each that failed, with the end of its log.

    Raises:
        UsageError: the scheduler, the queue or the workers are no use.
    """
    if not left:
        return []
    jobs = _jobs(ablation, left, place)
    failed: dict[int, str] = {}
    epochs = [cell.config.train.epochs for cell in left]
    done = 0
    with (
        workers_of(place, len(jobs), display.line) as pool,
        display.bar("training cells", sum(epochs)) as advance,
    ):
        for ended in cells.run(jobs, pool, display.line):
            for index, code in ended.items():
                cell = left[index]
                if _finished(cell.run, code):
                    display.line(f"{cell.title}: done")
                else:
                    failed[index] = _failure(jobs[index], code)
                    display.line(failed[index])
            now = [epochs[index] if cell.run.finished else _epochs(cell) for index, cell in enumerate(left)]
            running = [
                f"{cell.title}: {epoch}/{total}"
                for cell, epoch, total in zip(left, now, epochs, strict=True)
                if 0 < epoch < total
            ]
            advance(sum(now) - done, ", ".join(running[: min(pool.most, SHOWN)]))
            done = sum(now)
    return [failed[index] for index in sorted(failed)]


def _jobs(ablation: Ablation, left: Sequence[Cell], place: Place) -> list[Job]:
    """The cells with their files written, for workers that start them as this process would."""
    here = isinstance(place, Local)
    python = Path(sys.executable)
    setup = {} if here else setup_of(python, PROGRAM)
    gpus = _gpus(ablation.config) if here else []
    jobs = []
    for cell in left:
        base = cell.run.path
        config, content = base.with_name(f"{base.name}.yaml"), to_yaml(cell.config).encode()
        base.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(config, content)
        log, saves = base.with_name(f"{base.name}.log"), cell.run.checkpoint("last").absolute()
        threads = ablation.section.threads
        jobs.append(
            Job(cell.title, config, content, log, saves, Path.cwd(), python, PROGRAM, setup, threads, gpus),
        )
    return jobs


def _finished(run: Run, code: int | str) -> bool:
    """Whether a cell that has ended is trained and scored; its files may come late from another machine."""
    until = time.monotonic() + LATE_SECONDS
    while code == 0 and not run.finished and time.monotonic() < until:
        time.sleep(0.5)
    return run.finished


def _epochs(cell: Cell) -> int:
    """Epochs that a cell has logged."""
    log = cell.run.path / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.is_file() else 0


def _failure(job: Job, code: int | str) -> str:
    lines = job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if job.log.is_file() else []
    reason = lines[-1].strip() if lines and isinstance(code, int) else f"ended with {code}"
    if isinstance(code, int) and code < 0:
        reason = f"ended by {signal.Signals(-code).name}" + (
            ", out of memory perhaps" if code == -signal.SIGKILL else ""
        )
    return f"{job.title} has failed ({reason}); its log: {job.log}; the same command tries it again"


def _gpus(config: Config) -> list[str]:
    """The devices of this machine that cells may be put on; none where they train on the CPU."""
    if config.train.device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
