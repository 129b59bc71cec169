"""The bench of the faults: starts runs and grids, gives their command again, and compares with one unharmed.

Runs are small and short, and forked from a process that has imported everything; so are the grids and their cells
(`segloss_tests.cells`). Each is a process of its own all the same, and a signal kills it at whatever it is at.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import yaml
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from safetensors.torch import load_file

from engine.experiment.identity import FREE, MAY_CHANGE, flat, within
from segloss_tests import cells, runs
from segloss_tests.grids import grid_yaml, without_hours
from segloss_tests.injection import faulty
from segloss_tests.runs import Started, assert_same_run, saving, small_yaml

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a process whose other one is killed prints forty lines
runs.CONTEXT.set_forkserver_preload([runs.__name__, "segloss_tests.late"])
PATIENCE = 1800.0
"""Seconds until something hangs: the machine may be busy."""
EPOCHS, STEPS = 6, 18
"""Of a run."""
MODEL = "model={name: unet2015, width: 8, depth: 2, batch_norm: true, dropout: 0.2, acw: {constraint: positive}}"
ARGUMENTS = (MODEL, "loss.name=cdb_ce", "data.augment=[{name: HorizontalFlip}]", f"train.epochs={EPOCHS}")
RANKS = ("model={name: unet2015, width: 4, depth: 2, batch_norm: false, dropout: 0.1}", f"train.epochs={EPOCHS}")
TWO = "ablation.workers=2"
"""What is given to a grid: two cells at a time."""
OF_THE_START = ("name", *FREE, *MAY_CHANGE)
"""Keys that the command of a fault may set otherwise than the same command without one."""
SECTION = re.compile(r"<section.*?</section>", re.DOTALL)
TOLD_OF_THE_START = re.compile(">(speed of training|configuration|environment)</h2>")


class UnmountableError(Exception):
    """This process may not mount."""


@dataclass
class Bench:
    """Where faults happen.

    Attributes:
        folder: of all runs.
        random: draws all that is drawn.
        pace: how long runs and grids take now, a multiple of what those took that nothing has happened to.
        started: in this fault.
    """

    folder: Path
    random: random.Random = field(default_factory=lambda: random.Random(0))
    pace: float = 1.0
    started: list[Started] = field(default_factory=list)

    @cached_property
    def whole(self) -> Path:
        """A run that nothing has happened to."""
        return self._whole("runs/whole", lambda: self.ends("whole"))

    @cached_property
    def whole_of_two(self) -> Path:
        """The same by two processes."""
        return self._whole("runs/whole-two", lambda: self.two_end("whole-two"))

    def whole_grid(self, more: Sequence[str] = ()) -> Path:
        """The folder of a grid that nothing has happened to, with more arguments; cells must be forked."""
        return self._whole(f"whole-{len(more)}", lambda: self.grid_ends(f"whole-{len(more)}", more))

    def _whole(self, name: str, make: Callable[[], object]) -> Path:
        told = self.folder / f"{name}.seconds"
        if not told.is_file():
            shutil.rmtree(self.folder / name, ignore_errors=True)
            runs.forked(int).join()  # everything is imported
            began = time.monotonic()
            make()
            told.write_text(str(time.monotonic() - began))
        return self.folder / name

    def moment(self, whole: Path, share: float = 1.0) -> float:
        """Seconds, at random in so much of the time that a run or a grid takes."""
        return self.random.uniform(0, share * self.pace * float(whole.with_name(f"{whole.name}.seconds").read_text()))

    @cached_property
    def configuration(self) -> Path:
        """The YAML file of the runs."""
        path = self.folder / "run.yaml"
        return path if path.is_file() else small_yaml(self.folder)

    def command(self, name: str, *more: str) -> list[str]:
        """The arguments of a run."""
        return ["train", str(self.configuration), *ARGUMENTS, f"name={name}", *more]

    def begin(self, *arguments: str, environment: Mapping[str, str] | None = None, **options: Any) -> Started:
        """Start the program, as `Started` does."""
        output = self._output(len(self.started))
        output.unlink(missing_ok=True)
        own = {**(environment or {}), "OUTPUT": output.name}
        self.started.append(Started(self.folder, *arguments, environment=own, **options))
        return self.started[-1]

    def clear(self) -> None:
        """Kill what is still there of a fault."""
        for one in self.started:
            one.kill()

    def start(
        self,
        name: str,
        *more: str,
        workers: Sequence[int] = (0, 0, 1, 2),
        every: Sequence[str] = ("steps=1", "minutes=2e-3"),
        plant: dict[str, Any] | None = None,
        slow: bool = True,
    ) -> Started:
        """Start a run, checkpoints often and slowly written, with some loader processes; a fault may be planted."""
        loaders, often = f"data.workers={self.random.choice(workers)}", f"train.checkpoint_{self.random.choice(every)}"
        seconds = self.random.choice((0.005, 0.02)) if slow else 0.0
        environment = {} if plant is None else {"FAULT": json.dumps(plant)}
        arguments = self.command(name, loaders, often, *more)
        return self.begin(*arguments, save_seconds=seconds, environment=environment, target=faulty)

    def wait(self, started: Started, seconds: float) -> None:
        """Wait, or for the end of a process."""
        until = time.monotonic() + seconds
        started.until(lambda: time.monotonic() > until, seconds)

    def wait_for_saves(self, started: Started, run: Path, count: int) -> None:
        """Wait for the begin of the n-th checkpoint from now, or for the end of the process."""
        for _ in range(count):
            started.until(lambda: not saving(run), PATIENCE)
            started.until(lambda: saving(run), PATIENCE)

    def said(self, started: Started) -> str:
        """What a run or a grid has printed; an `AssertionError` for a traceback.

        Each has a file of its own: what is left of a killed one, as its loader processes, may still print to that.
        """
        text = self._output(self.started.index(started)).read_text(errors="replace")
        assert "Traceback" not in text, text[-3000:]
        return text

    def _output(self, number: int) -> Path:
        return self.folder / f"output-{number}.txt"

    def code(self, started: Started, allowed: Sequence[int] = (0, 2)) -> int:
        """The exit code of a run or a grid, once it ends; an `AssertionError` for another than is allowed."""
        code = started.end(PATIENCE)
        if code == -signal.SIGKILL and code in allowed:
            return code
        said = self.said(started)
        assert code in allowed, f"ends with {code}: {said[-3000:]}"
        return code

    def kill(self, started: Started, number: int = signal.SIGKILL) -> bool:
        """Send a signal to a run or a grid, and wait for its end; false where it had ended, as it should."""
        hit = started.kill(number) is not None
        code = self.code(started, [0, -number])
        if number == signal.SIGKILL:
            return code == -number
        assert code == 0 or not self.said(started), f"ended by SIGTERM: {self.said(started)[-3000:]}"
        return hit and code == 0  # else it came before the program could listen

    def ends(self, name: str, *more: str) -> None:
        """Give the command of a run again; an `AssertionError` where it does not end."""
        self.code(self.begin(*self.command(name, *more)), [0])

    def ends_equal(self, name: str, *more: str, path: Path | None = None, keep: bool = False) -> None:
        """The same, and the run must be the one that nothing has happened to, file for file."""
        run = path or self.folder / "runs" / name
        self.ends(name, *more)
        assert_same_files(self.whole, run)
        if not keep:
            shutil.rmtree(run)

    def two(self, name: str) -> list[Started]:
        """Start a run by two processes."""
        shared = {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
        arguments = ["train", str(self.configuration), *RANKS, f"name={name}", "train.checkpoint_steps=1"]
        return [
            self.begin(*arguments, save_seconds=0.01, environment=shared | {"RANK": rank, "LOCAL_RANK": rank})
            for rank in ("0", "1")
        ]

    def two_end(self, name: str) -> None:
        """Give the command of a run by two processes, which must end."""
        both = self.two(name)
        for one in both:
            one.end(PATIENCE)
        for one in both:
            self.code(one, [0])

    def two_end_equal(self, name: str) -> None:
        """The same, and the run must be the one that nothing has happened to."""
        self.two_end(name)
        assert_same_files(self.whole_of_two, self.folder / "runs" / name)
        shutil.rmtree(self.folder / "runs" / name)

    def cells(self) -> cells.Cells:
        """A context in which cells of grids are forked."""
        return cells.Cells(self.folder)

    def grid(self, name: str, *more: str) -> Started:
        """Start a grid."""
        path = self.folder / "grid.yaml"
        path = path if path.is_file() else grid_yaml(self.folder)
        return self.begin("ablate", str(path), f"output={name}", *more, target=_grid)

    def grid_ends(self, name: str, more: Sequence[str] = ()) -> None:
        """Give the command of a grid, which must end."""
        self.code(self.grid(name, TWO, *more), [0])

    def grid_ends_equal(self, name: str, more: Sequence[str] = ()) -> None:
        """The same, and tables and runs must be those of a grid that nothing has happened to."""
        self.grid_ends(name, more)
        whole, grid = self.whole_grid(more), self.folder / name
        assert_same_names(whole / "grid", grid / "grid")
        for table in ("table.csv", "table.md", "table.tex"):
            one, other = (without_hours((top / "grid" / table).read_text()) for top in (grid, whole))
            assert one == other, table
        assert (grid / "grid/report.html").read_text().rstrip().endswith("</html>")
        for scores in whole.rglob("fold-*/scores.json"):
            assert_same_files(scores.parent, grid / scores.parent.relative_to(whole))
        shutil.rmtree(grid)

    @contextmanager
    def mounted(self, name: str, *options: str) -> Iterator[Path]:
        """A file system of its own, by the arguments of `mount`; an `UnmountableError` where that is not allowed."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        try:
            subprocess.run(["mount", *options, str(path)], check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
            raise UnmountableError(said) from error
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def _grid(folder: Path, arguments: Sequence[str], save_seconds: float, environment: dict[str, str]) -> None:
    """As the program, but for the file that is started for a cell, and without long waits."""
    from engine.ablation import executors, grid

    grid.PROGRAM = Path(cells.__file__)
    grid.POLL_SECONDS = 0.05
    executors.CONNECT_SECONDS = 5.0
    runs.work(folder, arguments, save_seconds, environment)


def forget_seconds(folder: Path) -> None:
    """Have what nothing happens to run anew when it is needed next: the machine may have become faster or slower."""
    for told in [*folder.glob("*.seconds"), *folder.glob("runs/*.seconds")]:
        told.unlink()


def children(pid: int) -> list[psutil.Process]:
    """The processes that a process has started, and those that these have."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def assert_same_names(one: Path, other: Path) -> None:
    """The same files in two folders."""
    files, others = ({path.relative_to(top) for path in top.rglob("*")} for top in (one, other))
    assert files == others, f"other files: {sorted(map(str, files ^ others))}"


def assert_same_files(one: Path, other: Path) -> None:
    """The same run, byte for byte, but for its times and what its command may set otherwise."""
    assert_same_run(one, other)
    assert_same_names(one, other)
    for path in one.rglob("*"):
        if path.is_file():
            name = path.relative_to(one)
            assert _content(path, one) == _content(other / name, other), f"{name} differs"


def _content(path: Path, run: Path) -> object:
    """What a file of a run holds that follows from its configuration and seed."""
    match path.name:
        case "last.safetensors" | "log.jsonl":
            return None  # `assert_same_run` compares them
        case "best.safetensors":
            return {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}
        case "environment.json":
            return {key: value for key, value in json.loads(path.read_text()).items() if key not in ("git", "run")}
        case "config.yaml":
            keys = flat(yaml.safe_load(path.read_text()))
            return {key: value for key, value in keys if not within(key, OF_THE_START)}
        case "report.html":
            return _page(path.read_text(), run.name)
    return path.read_bytes()


def _page(text: str, name: str) -> list[str]:
    """The sections of a page, and how it ends; without the name of the run, its speed and what it was started with."""
    kept = [one for one in SECTION.findall(text) if not TOLD_OF_THE_START.search(one)]
    return [*(re.sub(rf"\b{name}\b", "NAME", one) for one in kept), text.rstrip()[-7:]]
