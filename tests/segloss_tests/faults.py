"""Kinds of faults: each puts one into a run or a grid, gives the same command again, and compares with one unharmed.

A kind is a function of a `Bench` that returns how the fault ended: `EQUAL`, file for file, after the same command
again; `LINE`, told in one line first, and then equal; `MISSED`, since all was done before it came. Whatever else
happens is an `AssertionError`. Where the kind needs to mount and may not, it is an `UnmountableError`.

A round (`ROUND`) is one of each kind, then again those with a larger share, up to six of each: kinds of grids, which
take longest, come once. What nothing happens to is run anew in each round, which tells how long it takes now. Faults
are numbered; kind and moment follow from the seed of the table and the number.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from segloss_tests.bench import (
    EPOCHS,
    PATIENCE,
    STEPS,
    TWO,
    Bench,
    UnmountableError,
    children,
    forget_seconds,
)
from segloss_tests.cluster import running

EQUAL, LINE, MISSED, LEFT_OUT, LOST = "equal", "line", "missed", "left out", "lost"
TUNED = (
    "data.split.val=3",
    "ablation.tune={keys: {optim.lr: {low: 1e-4, high: 1e-2, log: true}}, trials: 2, epochs: 1}",
)
TORCHRUN_PATIENCE = 30.0
"""Seconds from torchrun's SIGTERM to its SIGKILL."""
VALIDATION = ["engine.training.trainer:score_part"]
SCORING = ["engine.verbs.train:score_checkpoint", "engine.verbs.train:score_held_out", "engine.scoring.results:draw"]
REPORT = ["engine.verbs.train:run_subject", "engine.verbs.train:write_page"]


def killed(bench: Bench, number: int = signal.SIGKILL) -> str:
    """At any moment, one to three times."""
    hits, name = 0, "cut"
    for _ in range(bench.random.randint(1, 3)):
        started = bench.start(name)
        bench.wait(started, bench.moment(bench.whole))
        hits += bench.kill(started, number)
    bench.ends_equal(name)
    return EQUAL if hits else MISSED


def killed_in_a_save(bench: Bench) -> str:
    """While a checkpoint is written, the n-th."""
    started = bench.start("cut", every=["steps=1"])
    bench.wait_for_saves(started, bench.folder / "runs/cut", bench.random.randint(1, STEPS))
    hit = bench.kill(started)
    bench.ends_equal("cut")
    return EQUAL if hit else MISSED


def killed_within(bench: Bench, functions: list[str], calls: int, share: float) -> str:
    """In a call of a function, after up to a share of the time of a run from its begin."""
    plant = {"dies_in": bench.random.choice(functions), "call": bench.random.randint(1, calls)}
    started = bench.start("cut", plant=plant | {"seconds": bench.moment(bench.whole, share)})
    code = bench.code(started, [0, -signal.SIGKILL])
    bench.ends_equal("cut")
    return EQUAL if code else MISSED


def loader_killed(bench: Bench) -> str:
    """A loader process, which the training must tell of in one line."""
    after = bench.moment(bench.whole) + time.monotonic()
    started = bench.start("cut", workers=(1, 2))
    hit = started.until(lambda: time.monotonic() > after and _kill_loader(started.process.pid), PATIENCE)
    code = bench.code(started)
    assert code == 0 or "DataLoader worker" in bench.said(started), bench.said(started)[-2000:]
    bench.ends_equal("cut")
    return LINE if code else EQUAL if hit else MISSED


def _kill_loader(pid: int) -> bool:
    """Kill the first loader process of a run; whether it has one."""
    for process in children(pid):
        with suppress(psutil.NoSuchProcess):
            if process.name() != "git":
                process.kill()
                return True
    return False


def rank_killed(bench: Bench) -> str:
    """One of two processes of a training; the other must end by itself, or when torchrun stops it."""
    seconds = bench.moment(bench.whole_of_two)
    both = bench.two("cut")
    first, other = both if bench.random.random() < 0.5 else both[::-1]
    bench.wait(first, seconds)
    hit = bench.kill(first)
    if not other.until(lambda: False, 60) and other.process.is_alive():
        with suppress(ProcessLookupError):
            os.killpg(other.process.pid, signal.SIGTERM)
        other.until(lambda: False, TORCHRUN_PATIENCE)  # it may be waiting for the first, and hear nothing
    other.kill()
    bench.said(other)
    bench.two_end_equal("cut")
    return EQUAL if hit else MISSED


def grid_killed(bench: Bench, more: Sequence[str] = ()) -> str:
    """The process of a grid of four trainings, one to three times; its cells with it, or left to notice it."""
    hits = 0
    with bench.cells() as cells:
        whole = bench.whole_grid(more)
        for _ in range(bench.random.randint(1, 3)):
            started = bench.grid("cut", TWO, *more)
            bench.wait(started, bench.moment(whole))
            hits += bench.kill(started)
            if bench.random.random() < 0.5:
                cells.kill()
        bench.grid_ends_equal("cut", more)
    return EQUAL if hits else MISSED


def cell_killed(bench: Bench) -> str:
    """One training of a grid: the others go on, and one line tells of it."""
    with bench.cells() as cells:
        after = bench.moment(bench.whole_grid()) + time.monotonic()
        started = bench.grid("cut", TWO)
        hit = started.until(lambda: time.monotonic() > after and cells.kill_one(), PATIENCE)
        code = bench.code(started)
        bench.grid_ends_equal("cut")
    return LINE if code else EQUAL if hit else MISSED


def dask_killed(bench: Bench, scheduler: bool) -> str:
    """A worker of Dask, whose cell another resumes; or the scheduler, whose end is told in one line."""
    with bench.cells():
        seconds = bench.moment(bench.whole_grid())
        with running(bench.folder / "elsewhere", 2) as (address, workers, boss):
            started = bench.grid("cut", "--scheduler", address)
            bench.wait(started, seconds)
            hit = started.process.is_alive()
            (boss if scheduler else bench.random.choice(workers)).kill()
            code = bench.code(started, (0, 2) if scheduler else (0,))
        bench.grid_ends_equal("cut")
    return MISSED if not hit else LINE if code else EQUAL


def full_disk(bench: Bench) -> str:
    """Something else fills the disk at any moment; with room again the run goes on."""
    seconds = bench.moment(bench.whole)
    with bench.mounted("disk", "-t", "tmpfs", "-o", "size=64m", "tmpfs") as disk:
        shutil.copytree(bench.folder / "runs/.cache", disk / ".cache")
        started = bench.start("cut", f"output={disk}")
        bench.wait(started, seconds)
        filler = disk / "filler"
        started.until(lambda: _fill(filler), PATIENCE)
        code = bench.code(started)
        filler.unlink(missing_ok=True)
        bench.ends_equal("cut", f"output={disk}", path=disk / "cut")
    return LINE if code else MISSED


def _fill(filler: Path) -> bool:
    """Write until nothing fits any more; always false: it is asked for again and again."""
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with suppress(OSError):
                while file.write(b"x" * size):
                    pass
    return False


def read_only_data(bench: Bench) -> str:
    """Nothing may be written beside the data; the run is killed besides."""
    seconds, data = bench.moment(bench.whole), bench.configuration.parent / "camvid"
    with bench.mounted("read-only", "--bind", str(data)) as place:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        root = f"data.root={place}"
        started = bench.start("cut", root)
        bench.wait(started, seconds)
        hit = bench.kill(started)
        bench.ends_equal("cut", root)
    return EQUAL if hit else MISSED


def clock_jumps(bench: Bench) -> str:
    """To and fro all the time; the run is killed besides."""
    seconds = bench.moment(bench.whole)
    started = bench.start("cut", plant={"clock": bench.random.random()})
    if bench.random.random() < 0.5:
        bench.wait(started, seconds)
        bench.kill(started)
    else:
        bench.code(started, [0])
    bench.ends_equal("cut")
    return EQUAL


def started_twice(bench: Bench) -> str:
    """The second start of a run is refused in one line; neither harms the other."""
    seconds = bench.random.choice((0.0, 0.3, bench.moment(bench.whole)))
    first = bench.start("cut")
    bench.wait(first, seconds)
    both = [bench.start("cut"), first]
    codes = [bench.code(one) for one in both]
    said = "".join(map(bench.said, both))
    assert codes != [2, 2], said[-2000:]
    assert codes == [0, 0] or "is at work on this run" in said, said[-2000:]
    bench.ends_equal("cut")
    return LINE if any(codes) else MISSED


def copied(bench: Bench) -> str:
    """The folder of a run is copied while it trains: the copy goes on, or is refused in one line; the run goes on."""
    seconds = bench.moment(bench.whole)
    started = bench.start("cut")
    bench.wait(started, seconds)
    source, target = bench.folder / "runs/cut", bench.folder / "copies/cut"
    trains = (source / "config.yaml").is_file() and started.process.is_alive()
    _copy(source, target)
    bench.code(started, [0])
    bench.ends_equal("cut")
    other = f"output={target.parent}"
    shutil.copytree(bench.folder / "runs/.cache", target.parent / ".cache", dirs_exist_ok=True)
    code = bench.code(bench.begin(*bench.command("cut", other)))
    if code == 0:
        bench.ends_equal("cut", other, path=target, keep=True)
    shutil.rmtree(target, ignore_errors=True)
    return MISSED if not trains else LINE if code else EQUAL


def _copy(source: Path, target: Path) -> None:
    """As `cp -r` does, which tells of files that vanish and goes on."""
    for path in sorted(source.rglob("*")) if source.is_dir() else ():
        with suppress(FileNotFoundError):
            if path.is_dir():
                (target / path.relative_to(source)).mkdir(parents=True, exist_ok=True)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target / path.relative_to(source))


def flush_fails(bench: Bench) -> str:
    """An fsync, of a file or a folder: told in one line, and the file is as it was before, or whole."""
    note = bench.folder / "flush-failed"
    note.unlink(missing_ok=True)
    plant = {"flush": bench.random.randint(1, 60), "note": str(note)}
    code = bench.code(bench.start("cut", plant=plant, slow=False))
    bench.ends_equal("cut")
    return MISSED if not note.exists() else LINE if code else EQUAL


class Kind(NamedTuple):
    """A kind of fault: the function, and how many come in a round of all kinds."""

    fault: Callable[[Bench], str]
    share: int = 6


KINDS = {
    "SIGKILL at any moment": Kind(killed),
    "SIGTERM at any moment": Kind(partial(killed, number=signal.SIGTERM)),
    "SIGKILL in a save": Kind(killed_in_a_save),
    "SIGKILL in validation": Kind(partial(killed_within, functions=VALIDATION, calls=EPOCHS, share=0.02)),
    "SIGKILL in scoring": Kind(partial(killed_within, functions=SCORING, calls=1, share=0.3)),
    "SIGKILL while the page is written": Kind(partial(killed_within, functions=REPORT, calls=1, share=0.05)),
    "SIGKILL of a loader process": Kind(loader_killed),
    "SIGKILL of one of two processes of a training": Kind(rank_killed, 2),
    "SIGKILL of a cell of a grid": Kind(cell_killed, 1),
    "SIGKILL of a grid": Kind(grid_killed, 1),
    "SIGKILL of a grid that is tuned": Kind(partial(grid_killed, more=TUNED), 1),
    "SIGKILL of a worker of Dask": Kind(partial(dask_killed, scheduler=False), 1),
    "SIGKILL of the scheduler of Dask": Kind(partial(dask_killed, scheduler=True), 1),
    "the disk is full": Kind(full_disk),
    "the data is read-only, and SIGKILL": Kind(read_only_data, 3),
    "the clock jumps, and SIGKILL": Kind(clock_jumps, 3),
    "started twice at once": Kind(started_twice),
    "copied while it trains": Kind(copied, 3),
    "fsync fails": Kind(flush_fails),
}
"""What can happen to a run; the disk and the data need the right to mount."""
ROUND = [name for turn in range(6) for name, kind in KINDS.items() if turn < kind.share]


class Fault(NamedTuple):
    """A fault that has happened.

    Attributes:
        kind: of `KINDS`.
        ended: `EQUAL`, `LINE`, `MISSED`, `LEFT_OUT` or `LOST`.
        why: what was found lost, or why it was left out.
    """

    kind: str
    ended: str
    why: str = ""


def attempt(folder: Path, seed: int, before: Sequence[Fault]) -> Fault:
    """One fault.

    Args:
        folder: of the runs, for all faults.
        seed: of the table.
        before: the faults that have happened; kind and moment follow from their number.
    """
    kind = ROUND[len(before) % len(ROUND)]
    for name in ("runs/cut", "cut", "copies", "read-only", "disk"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in folder.glob("output-*.txt"):
        path.unlink()
    if len(before) % len(ROUND) == 0:
        forget_seconds(folder)
    bench = Bench(folder, random.Random(f"{seed} {len(before)}"), pace(kind, before))
    try:
        return Fault(kind, KINDS[kind].fault(bench))
    except UnmountableError as error:
        return Fault(kind, LEFT_OUT, str(error))
    except Exception as error:  # noqa: BLE001  # whatever a damaged run leads to is a finding
        return Fault(kind, LOST, f"{type(error).__name__}: {error}"[:3000])
    finally:
        bench.clear()


def pace(kind: str, before: Sequence[Fault]) -> float:
    """How long runs take now, by how many of the last faults of a kind came too late: about one in eight should."""
    found = 1.0
    for one in before:
        if one.kind == kind:
            found *= 0.7 if one.ended == MISSED else 1.05
    return found
