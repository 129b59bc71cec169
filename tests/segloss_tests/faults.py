"""Kinds of faults: each puts one into a run or a grid, gives the same command again, and compares with one unharmed.

A kind is a function of a `Bench` that returns how the fault ended: `EQUAL`, bit for bit, after the same command again;
`LINE`, told in one line first, and then equal; `MISSED`, since all was done before it came. Whatever else happens is an
`AssertionError`.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from lightning_fabric.plugins.environments.lightning import find_free_network_port

from segloss_tests import ROOT, runs
from segloss_tests.cluster import running
from segloss_tests.grids import grid_yaml, without_hours
from segloss_tests.runs import Started, assert_same_run, saving, small_yaml

EQUAL, LINE, MISSED = "equal", "line", "missed"
PATIENCE = 1800.0
"""Seconds until something hangs: the machine may be busy."""
MODEL = "model={name: unet2015, width: 8, depth: 2, batch_norm: true, dropout: 0.2, acw: {constraint: positive}}"
ARGUMENTS = (MODEL, "loss.name=cdb_ce", "data.augment=[{name: HorizontalFlip}]", "train.epochs=12")
TUNED = (
    "data.split.val=3",
    "ablation.tune={keys: {optim.lr: {low: 1e-4, high: 1e-2, log: true}}, trials: 3, epochs: 1}",
)
RANKS = ("model={name: unet2015, width: 4, depth: 2, batch_norm: false, dropout: 0.1}", "train.epochs=6")
VALIDATION = ["engine.training.trainer:score_part"]
SCORING = ["engine.verbs.train:score_checkpoint", "engine.verbs.train:score_held_out", "engine.scoring.results:draw"]
REPORT = ["engine.verbs.train:run_subject", "engine.verbs.train:write_page"]


@dataclass
class Bench:
    """Where faults happen.

    Attributes:
        folder: of all runs.
        random: draws all that is drawn.
    """

    folder: Path
    random: random.Random = field(default_factory=lambda: random.Random(0))

    @cached_property
    def whole(self) -> tuple[Path, float]:
        """A run that nothing has happened to, and its seconds."""
        return self._whole("whole", self.folder / "runs/whole", lambda: self.ends("whole"))

    @cached_property
    def whole_of_two(self) -> tuple[Path, float]:
        """The same by two processes."""
        return self._whole("two", self.folder / "runs/two", lambda: self.two_end("two"))

    def whole_grid(self, *more: str) -> tuple[Path, float]:
        """The same of a grid of four trainings, with more arguments."""
        name = f"grid-{len(more)}"
        return self._whole(name, self.folder / name / "grid", lambda: self.grid_ends(name, more))

    def _whole(self, name: str, path: Path, make: Callable[[], object]) -> tuple[Path, float]:
        told = self.folder / f"{name}.seconds"
        if not told.is_file():
            began = time.monotonic()
            make()
            told.write_text(str(time.monotonic() - began))
        return path, float(told.read_text())

    @cached_property
    def configuration(self) -> Path:
        """The YAML file of the runs."""
        return small_yaml(self.folder) if not (self.folder / "run.yaml").is_file() else self.folder / "run.yaml"

    def command(self, name: str, *more: str) -> list[str]:
        """The arguments of a run."""
        return ["train", str(self.configuration), *ARGUMENTS, f"name={name}", *more]

    def start(
        self,
        name: str,
        *more: str,
        workers: tuple[int, ...] = (0, 0, 1, 2),
        plant: dict[str, Any] | None = None,
        slow: bool = True,
    ) -> Started:
        """Start a run, checkpoints often and slowly written, with some loader processes; a fault may be planted."""
        every = self.random.choice(("steps=1", "minutes=2e-3"))
        arguments = self.command(
            name, f"data.workers={self.random.choice(workers)}", f"train.checkpoint_{every}", *more
        )
        seconds = self.random.choice((0.01, 0.05)) if slow else 0.0
        environment = {} if plant is None else {"FAULT": json.dumps(plant)}
        return Started(self.folder, *arguments, save_seconds=seconds, environment=environment, target=_planted)

    def wait(self, started: Started, seconds: float) -> None:
        """Wait a random part of some seconds, or for the end of a process."""
        until = time.monotonic() + self.random.uniform(0, seconds)
        started.until(lambda: time.monotonic() > until, seconds)

    def said(self, since: int) -> str:
        """What runs have printed since the output was so long; an `AssertionError` for a traceback."""
        text = self.output.read_text(errors="replace")[since:]
        assert "Traceback" not in text, text[-3000:]
        return text

    @property
    def output(self) -> Path:
        """The file that runs print to."""
        path = self.folder / "output.txt"
        path.touch()
        return path

    def ends(self, name: str, *more: str) -> None:
        """Give the command of a run again; an `AssertionError` where it does not end."""
        code = Started(self.folder, *self.command(name, *more)).end(PATIENCE)
        assert code == 0, f"ends with {code}: {self.output.read_text(errors='replace')[-3000:]}"

    def ends_equal(self, name: str, *more: str, path: Path | None = None, keep: bool = False) -> None:
        """The same, and the run must be the one that nothing has happened to, file for file."""
        whole, run = self.whole[0], path or self.folder / "runs" / name
        self.ends(name, *more)
        assert_same_run(whole, run)
        files, others = ({one.relative_to(top) for one in top.rglob("*")} for top in (whole, run))
        assert files == others, f"other files: {sorted(map(str, files ^ others))}"
        assert (run / "report.html").read_text().rstrip().endswith("</html>")
        if not keep:
            shutil.rmtree(run)

    def two(self, name: str) -> list[Started]:
        """Start a run by two processes."""
        shared = {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
        arguments = ["train", str(self.configuration), *RANKS, f"name={name}", "train.checkpoint_steps=1"]
        return [
            Started(self.folder, *arguments, save_seconds=0.02, environment=shared | {"RANK": rank, "LOCAL_RANK": rank})
            for rank in ("0", "1")
        ]

    def two_end(self, name: str) -> None:
        """Give the command of a run by two processes, which must end."""
        codes = [each.end(PATIENCE) for each in self.two(name)]
        assert codes == [0, 0], f"end with {codes}: {self.output.read_text(errors='replace')[-3000:]}"

    @contextmanager
    def grid(self, name: str, *more: str) -> Iterator[subprocess.Popen[str]]:
        """Start a grid; it and all that it has started are gone afterwards."""
        path = self.folder / "grid.yaml"
        path = path if path.is_file() else grid_yaml(self.folder)
        command = [sys.executable, str(ROOT / "train_seg.py"), "ablate", str(path), f"output={name}", *more]
        with subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as started:
            try:
                yield started
            finally:
                for process in [*_children(started.pid), started]:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()

    def grid_ends(self, name: str, more: tuple[str, ...] = ()) -> None:
        """Give the command of a grid, which must end."""
        with self.grid(name, "ablation.workers=2", *more) as started:
            text, _ = started.communicate(timeout=2 * PATIENCE)
        assert started.returncode == 0, f"ends with {started.returncode}: {text[-3000:]}"

    def grid_ends_equal(self, name: str, more: tuple[str, ...] = ()) -> None:
        """The same, and tables and runs must be those of a grid that nothing has happened to."""
        self.grid_ends(name, more)
        whole, grid = self.whole_grid(*more)[0], self.folder / name / "grid"
        for table in ("table.csv", "table.md", "table.tex"):
            one, other = (without_hours((top / table).read_text()) for top in (grid, whole))
            assert one == other, table
        for scores in whole.rglob("fold-*/scores.json"):
            assert_same_run(scores.parent, grid / scores.parent.relative_to(whole))
        shutil.rmtree(self.folder / name)

    @contextmanager
    def mounted(self, name: str, *options: str) -> Iterator[Path]:
        """A file system of its own, by the arguments of `mount`."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        subprocess.run(["mount", *options, str(path)], check=True)
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _planted(folder, arguments, save_seconds, environment):
    """As the program, with a fault in it."""
    fault = json.loads(environment.pop("FAULT", "{}"))
    if "dies_in" in fault:
        _die_in(**fault)
    elif "flush" in fault:
        _fail_to_flush(fault["flush"])
    elif "clock" in fault:
        _jump(random.Random(fault["clock"]))
    runs._work(folder, arguments, save_seconds, environment)


def _die_in(dies_in: str, call: int, seconds: float) -> None:
    """Be killed so many seconds into a call of a function, `module:name`."""
    module, name = dies_in.split(":")
    function, calls = getattr(import_module(module), name), []

    def dying(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
        return function(*arguments, **options)

    setattr(import_module(module), name, dying)


def _fail_to_flush(call: int) -> None:
    """Let a call of fsync fail."""
    flush, calls = os.fsync, []

    def failing(handle):
        calls.append(1)
        if len(calls) == call:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(handle)

    os.fsync = failing


def _jump(draw: random.Random) -> None:
    """Let the clock jump to and fro, and the one that only grows jump ahead, as after a sleep of the machine."""
    now, grown, ahead = time.time, time.monotonic, [0.0]

    def jumping():
        ahead[0] += draw.expovariate(1e-3) if draw.random() < 0.01 else 0.0
        return grown() + ahead[0]

    time.time = lambda: now() + draw.choice((0, 0, -1e6, 3600, 1e7))
    time.monotonic = jumping


def killed(bench: Bench, number: int = signal.SIGKILL) -> str:
    """At any moment, one to three times."""
    hits, name = 0, "cut"
    for _ in range(bench.random.randint(1, 3)):
        started = bench.start(name)
        bench.wait(started, bench.whole[1])
        code = started.kill(number)
        assert code in ((0, None) if number == signal.SIGTERM else (-number, None)), code
        hits += code is not None
    bench.ends_equal(name)
    return EQUAL if hits else MISSED


def killed_in_a_save(bench: Bench) -> str:
    """While a checkpoint is written, the n-th."""
    started, run = bench.start("cut"), bench.folder / "runs/cut"
    for _ in range(bench.random.randint(1, 20)):
        started.until(lambda: not saving(run), PATIENCE)
        started.until(lambda: saving(run), PATIENCE)
    code = started.kill()
    bench.ends_equal("cut")
    return MISSED if code is None else EQUAL


def killed_within(bench: Bench, functions: list[str], calls: int, seconds: float) -> str:
    """In a call of a function, up to so many seconds after its begin."""
    plant = {"dies_in": bench.random.choice(functions), "call": bench.random.randint(1, calls)}
    code = bench.start("cut", plant=plant | {"seconds": bench.random.uniform(0, seconds)}).end(PATIENCE)
    assert code in (0, -signal.SIGKILL), code
    bench.ends_equal("cut")
    return EQUAL if code else MISSED


def loader_killed(bench: Bench) -> str:
    """A loader process, which the training must tell of in one line."""
    since = len(bench.output.read_text(errors="replace"))
    started = bench.start("cut", workers=(1, 2))
    found: list[psutil.Process] = []
    after = time.monotonic() + bench.random.uniform(0, bench.whole[1])

    def look() -> bool:
        found.extend(_children(started.process.pid) if time.monotonic() > after else [])
        return bool(found)

    started.until(look, PATIENCE)
    for process in found[:1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    code = started.end(PATIENCE)
    said = bench.said(since)
    assert code in (0, 2), code
    assert code == 0 or "DataLoader worker" in said, said[-2000:]
    bench.ends_equal("cut")
    return LINE if code else EQUAL if found else MISSED


def rank_killed(bench: Bench) -> str:
    """One of two processes of a training; the other must end by itself, or when torchrun stops it."""
    whole, seconds = bench.whole_of_two
    since = len(bench.output.read_text(errors="replace"))
    both = bench.two("cut")
    first, other = both if bench.random.random() < 0.5 else both[::-1]
    bench.wait(first, seconds)
    hit = first.kill() is not None
    if not other.until(lambda: False, 60) and other.process.is_alive():
        other.kill(signal.SIGTERM if bench.random.random() < 0.5 else signal.SIGKILL)
    other.end(PATIENCE)
    bench.said(since)
    bench.two_end("cut")
    assert_same_run(whole, bench.folder / "runs/cut")
    shutil.rmtree(bench.folder / "runs/cut")
    return EQUAL if hit else MISSED


def grid_killed(bench: Bench, more: tuple[str, ...] = ()) -> str:
    """The process of a grid of four trainings, one to three times."""
    _, seconds = bench.whole_grid(*more)
    hits = 0
    for _ in range(bench.random.randint(1, 3)):
        with bench.grid("cut", "ablation.workers=2", *more) as started, suppress(subprocess.TimeoutExpired):
            started.communicate(timeout=bench.random.uniform(0.1, 1) * seconds)
        hits += started.returncode == -signal.SIGKILL
    bench.grid_ends_equal("cut", more)
    return EQUAL if hits else MISSED


def cell_killed(bench: Bench) -> str:
    """One training of a grid: the others go on, and one line tells of it."""
    _, seconds = bench.whole_grid()
    hit = False
    with bench.grid("cut", "ablation.workers=2") as started:
        end = time.monotonic() + bench.random.uniform(0.1, 1) * seconds
        while started.poll() is None and not hit:
            time.sleep(0.05)
            cells = [one for one in _children(started.pid) if time.monotonic() > end and _is_cell(one)]
            for cell in cells[:1]:
                cell.kill()
                hit = True
        text, _ = started.communicate(timeout=PATIENCE)
    assert started.returncode in (0, 2), text[-3000:]
    assert "Traceback" not in text, text[-3000:]
    bench.grid_ends_equal("cut")
    return LINE if started.returncode else EQUAL if hit else MISSED


def _is_cell(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        command = process.cmdline()
        return "train" in command and any(part.endswith("train_seg.py") for part in command)
    return False


def dask_killed(bench: Bench, scheduler: bool) -> str:
    """A worker of Dask, whose cell another resumes; or the scheduler, whose end is told in one line."""
    _, seconds = bench.whole_grid()
    with (
        running(bench.folder / "elsewhere", 2) as (address, workers, boss),
        bench.grid("cut", "--scheduler", address) as started,
    ):
        with suppress(subprocess.TimeoutExpired):
            started.wait(bench.random.uniform(0.1, 1) * seconds)
        hit = started.poll() is None
        (boss if scheduler else bench.random.choice(workers)).kill()
        text, _ = started.communicate(timeout=PATIENCE)
    assert "Traceback" not in text, text[-3000:]
    assert started.returncode in ((0, 2) if scheduler else (0,)), text[-3000:]
    bench.grid_ends_equal("cut")
    return MISSED if not hit else LINE if started.returncode else EQUAL


def full_disk(bench: Bench) -> str:
    """Something else fills the disk at any moment; with room again the run goes on."""
    _, seconds = bench.whole
    since = len(bench.output.read_text(errors="replace"))
    with bench.mounted("disk", "-t", "tmpfs", "-o", "size=64m", "tmpfs") as disk:
        shutil.copytree(bench.folder / "runs/.cache", disk / ".cache")
        started = bench.start("cut", f"output={disk}")
        bench.wait(started, seconds)
        filler, tight = disk / "filler", lambda: _fill(disk / "filler")
        started.until(tight, PATIENCE)
        code = started.end(PATIENCE)
        filler.unlink(missing_ok=True)
        said = bench.said(since)
        assert code in (0, 2), (code, said[-2000:])
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
    data = bench.configuration.parent / "camvid"
    with bench.mounted("read-only", "--bind", str(data)) as place:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        root = f"data.root={place}"
        started = bench.start("cut", root)
        bench.wait(started, bench.whole[1])
        started.kill()
        bench.ends_equal("cut", root)
    return EQUAL


def clock_jumps(bench: Bench) -> str:
    """To and fro all the time; the run is killed besides."""
    started = bench.start("cut", plant={"clock": bench.random.random()})
    if bench.random.random() < 0.5:
        bench.wait(started, bench.whole[1])
        started.kill()
    else:
        code = started.end(PATIENCE)
        assert code == 0, bench.output.read_text(errors="replace")[-3000:]
    bench.ends_equal("cut")
    return EQUAL


def started_twice(bench: Bench) -> str:
    """The second start of a run is refused in one line, or comes when all is done; neither harms the other."""
    since = len(bench.output.read_text(errors="replace"))
    first = bench.start("cut")
    bench.wait(first, bench.random.choice((0.0, 0.3, bench.whole[1])))
    codes = sorted([bench.start("cut").end(PATIENCE), first.end(PATIENCE)])
    said = bench.said(since)
    assert codes in ([0, 0], [0, 2]), (codes, said[-2000:])
    assert codes == [0, 0] or "is at work on this run" in said, said[-2000:]
    bench.ends_equal("cut")
    return LINE if codes[1] else EQUAL


def copied(bench: Bench) -> str:
    """The folder of a run is copied while it trains: the copy goes on, or is refused in one line; the run goes on."""
    started = bench.start("cut")
    bench.wait(started, bench.whole[1])
    source, target = bench.folder / "runs/cut", bench.folder / "copies/cut"
    begun = (source / "config.yaml").is_file()
    _copy(source, target)
    code = started.end(PATIENCE)
    assert code == 0, code
    bench.ends_equal("cut")
    since = len(bench.output.read_text(errors="replace"))
    other = f"output={target.parent}"
    shutil.copytree(bench.folder / "runs/.cache", target.parent / ".cache", dirs_exist_ok=True)
    code = Started(bench.folder, *bench.command("cut", other)).end(PATIENCE)
    bench.said(since)
    assert code in (0, 2), code
    if code == 0:
        bench.ends_equal("cut", other, path=target, keep=True)
    shutil.rmtree(target, ignore_errors=True)
    return MISSED if not begun else LINE if code else EQUAL


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
    since = len(bench.output.read_text(errors="replace"))
    code = bench.start("cut", plant={"flush": bench.random.randint(1, 60)}, slow=False).end(PATIENCE)
    said = bench.said(since)
    assert code in (0, 2), (code, said[-2000:])
    bench.ends_equal("cut")
    return LINE if code else EQUAL


class Kind(NamedTuple):
    """A kind of fault: the function, and how many come in a round of all kinds."""

    fault: Callable[[Bench], str]
    share: int = 6


KINDS = {
    "SIGKILL at any moment": Kind(killed),
    "SIGTERM at any moment": Kind(partial(killed, number=signal.SIGTERM)),
    "SIGKILL in a save": Kind(killed_in_a_save),
    "SIGKILL in validation": Kind(partial(killed_within, functions=VALIDATION, calls=12, seconds=0.1)),
    "SIGKILL in scoring": Kind(partial(killed_within, functions=SCORING, calls=1, seconds=3)),
    "SIGKILL while the page is written": Kind(partial(killed_within, functions=REPORT, calls=1, seconds=0.5)),
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


def attempt(folder: Path, seed: int, number: int) -> tuple[str, str, str]:
    """One fault.

    Args:
        folder: of the runs, for all faults.
        seed: of the table.
        number: of the fault; kind and moments follow from both.

    Returns:
        Its kind, how it has ended (`lost` beside the three), and what was found lost.
    """
    kind = ROUND[number % len(ROUND)]
    for name in ("runs/cut", "cut", "copies", "read-only", "disk"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "output.txt").unlink(missing_ok=True)
    try:
        ended = KINDS[kind].fault(Bench(folder, random.Random(f"{seed} {number}")))
        for told in folder.glob("*.seconds"):  # the machine may have become faster or slower
            told.write_text(str(float(told.read_text()) * (0.7 if ended == MISSED else 1.05)))
        return kind, ended, ""
    except (AssertionError, OSError, ValueError, LookupError, psutil.Error, subprocess.SubprocessError) as error:
        return kind, "lost", f"{type(error).__name__}: {error}"[:3000]
