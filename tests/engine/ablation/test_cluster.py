"""Grids in processes of their own, on this machine and others: workers that die, queues, and what can go wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError

from engine.ablation import executors, grid, worker
from engine.ablation.arms import Ablation
from engine.ablation.executors import Workers, executor_of, jobqueue
from engine.ablation.grid import Grid, jobs_of
from engine.configuration import checking
from engine.configuration.config import ClusterSection
from engine.errors import ConfigError, UsageError
from engine.processes.signals import STOPPED
from engine.store import lock
from engine.store.lock import Lock
from segloss_tests.cluster import running
from segloss_tests.grids import grid_yaml, without_hours


def until(condition, seconds=300):
    """Wait for a condition; whether it came."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(found)


def test_cells_are_trained_at_the_same_time_in_processes_of_their_own(program, tmp_path):
    arms = "ablation.arms={ce: {}, adfl: null, wild: {optim: {lr: 1e30}}}"
    given = (arms, "ablation.workers=2", "data.split={kind: official}", "data.group=null", "train.epochs=1")
    said = program("ablate", grid_yaml(tmp_path), *given, check=2)
    assert "2 cells, 0 finished; 2 at a time" in said.stdout
    assert "ce seed 0 fold 0: done" in said.stdout
    assert said.stderr.startswith("wild seed 0 fold 0 has failed (")
    assert (tmp_path / "runs/grid/ce/seed-0/fold-0/scores.json").is_file()
    assert "epoch 1/1" in (tmp_path / "runs/grid/ce/seed-0/fold-0.log").read_text()


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_a_cell(module_program, tmp_path):
    """The other worker resumes its cell, and the tables are those of an ablation without interruption.

    Before that an ablation ends that has begun one of the cells: the cell saves and stops, and is resumed.
    """
    path, cut, whole = grid_yaml(tmp_path), tmp_path / "cut", tmp_path / "whole"
    arguments = (path, "train.epochs=8", "train.checkpoint_steps=1", "ablation.arms.adfl=null", "ablation.threads=1")
    ablation = Ablation.load(path, [*arguments[1:], f"output={cut}"])
    first, second = ablation.cells
    killed = []

    def kill(workers):
        """Kill the worker that trains the second cell, once it has saved."""
        until(second.run.checkpoint("last").is_file)
        holder = json.loads((second.run.path / ".lock").read_text())["process"]
        parent = psutil.Process(holder).parent().pid
        killed.extend(process.pid for process in workers if process.pid == parent)
        os.kill(parent, signal.SIGKILL)

    with running(tmp_path / "elsewhere", 2) as (address, workers, _):
        executor = executor_of(ablation.config, ablation.section, ablation.path, address)
        with executor.connect(1, print) as pool:
            begun = Grid(jobs_of([first], executor), pool, print)
            while not first.run.checkpoint("last").is_file():
                assert begun.step() == {}
                time.sleep(0.5)
        assert until(lambda: not (first.run.path / ".lock").exists(), 60)
        assert not first.run.finished
        killer = threading.Thread(target=kill, args=(workers,))
        killer.start()
        said = module_program("ablate", *arguments, f"output={cut}", "--scheduler", address, check=0, cwd=tmp_path)
        killer.join()
    assert len(killed) == 1
    assert f"2 cells, 0 finished; one a worker at a time, on {address}" in said.stdout
    assert "ce seed 0 fold 1: stopped, or its worker tcp://" in said.stdout
    for cell in (first, second):
        assert f"{cell.title}: done" in said.stdout
        log = (cell.run.path.parent / f"{cell.run.path.name}.log").read_text()
        assert "stopped by SIGTERM" in log
        assert re.search(r"continues after epoch (0, batch [1-9]|[1-7], batch)", log)
        other = ("output=" + str(whole / "grid/ce/seed-0"), f"name={cell.run.path.name}")
        module_program("train", cell.run.path.with_suffix(".yaml"), *other, check=0, cwd=tmp_path)
    module_program("ablate", *arguments, f"output={whole}", check=0, cwd=tmp_path)
    for name in ("table.md", "table.csv", "ce/seed-0/fold-0/scores.json", "ce/seed-0/fold-1/scores.json"):
        ours, theirs = (without_hours((path / "grid" / name).read_text()) for path in (cut, whole))
        assert ours == theirs


class Client:
    """Dask as the grid sees it: each worker answers with what it is given, an exception being how a task ends."""

    def __init__(self, workers, answers):
        self.workers, self.answers, self.status, self.given = workers, answers, "running", []

    def nthreads(self):
        return dict.fromkeys(self.workers, 1)

    def submit(self, function, key, workers):
        [job], [address] = function.args, workers
        self.given.append((job.title, address))
        answer = self.answers(job.title, address)
        if answer is None:
            self.workers.remove(address)
        status = "pending" if answer is None else "error" if isinstance(answer, Exception) else "finished"
        return SimpleNamespace(
            status=status,
            done=lambda: answer is not None,
            result=lambda: answer,
            exception=lambda: answer if isinstance(answer, Exception) else None,
            cancel=lambda: None,
        )


def outcomes(client, titles, folder, limit=9, saves=lambda title: None):
    """What became of the cells, and what was reported."""
    said = []
    jobs = [SimpleNamespace(title=title, checkpoint=folder / title) for title in titles]
    tested = Grid(jobs, Workers(client, limit), said.append)
    ended = {}
    for _ in range(50):
        ended |= {titles[index]: outcome for index, outcome in tested.step().items()}
        for title in titles:
            saves(title)
    return ended, said


def test_a_worker_trains_one_cell_at_a_time_and_the_next_when_it_is_free(tmp_path):
    client = Client(["a", "b"], lambda title, address: 0)
    ended, said = outcomes(client, ["1", "2", "3"], tmp_path)
    assert ended == {"1": 0, "2": 0, "3": 0}
    assert client.given == [("1", "a"), ("2", "b"), ("3", "a")]
    assert said == []
    client = Client(["a", "b"], lambda title, address: 0)
    outcomes(client, ["1", "2"], tmp_path, limit=1)
    assert client.given == [("1", "a"), ("2", "a")]


def test_a_cell_that_kills_its_workers_is_given_up_and_the_others_are_trained(tmp_path):
    client = Client(list("abcdefg"), lambda title, address: None if title == "1" else 0)
    ended, said = outcomes(client, ["1", "2"], tmp_path)
    assert ended == {"1": "stopped or lost its worker 4 times without a new checkpoint", "2": 0}
    assert len([title for title, _ in client.given if title == "1"]) == 4
    assert len(said) == 3


def test_a_cell_that_saves_between_two_losses_is_never_given_up(tmp_path):
    count = iter(range(10))
    client = Client(["a"], lambda title, address: STOPPED if next(count) < 9 else 0)

    def save(title):
        (tmp_path / title).write_text("x")
        os.utime(tmp_path / title, ns=(0, len(client.given) + 1))

    ended, _ = outcomes(client, ["1"], tmp_path, saves=save)
    assert ended == {"1": 0}
    assert len(client.given) == 10


def test_cells_with_one_checkpoint_are_trained_one_after_the_other(tmp_path):
    """Also where the worker of the first is lost: then the first is resumed before the second begins."""
    ends, given = {}, []

    class Busy(Client):
        def submit(self, function, key, workers):
            title = function.args[0].title
            given.append(title)
            ends[title] = False
            done = lambda: ends[title]  # noqa: E731
            return SimpleNamespace(status="finished", done=done, result=lambda: 0, cancel=lambda: None)

    shared = tmp_path / "shared"
    jobs = [SimpleNamespace(title=title, checkpoint=shared) for title in "12"]
    jobs.append(SimpleNamespace(title="3", checkpoint=tmp_path / "other"))
    tested = Grid(jobs, Workers(Busy(["a", "b", "c"], None), 9), print)
    tested.step()
    tested.step()
    assert given == ["1", "3"]
    tested.running[0].future.status = "lost"
    ends["1"] = True
    tested.step()
    assert given == ["1", "3", "1"]
    ends["1"] = True
    assert tested.step() == {0: 0}
    assert given == ["1", "3", "1", "2"]
    ends |= {"2": True, "3": True}
    assert tested.step() == {1: 0, 2: 0}


def test_a_worker_that_sees_other_files_gets_no_cells(tmp_path):
    client = Client(["a", "b"], lambda title, address: "does not see /x" if address == "a" else 0)
    ended, said = outcomes(client, ["1", "2"], tmp_path)
    assert ended == {"1": 0, "2": 0}
    assert said == ["a gets no cells: does not see /x"]
    client = Client(["a"], lambda title, address: "does not see /x")
    with pytest.raises(UsageError, match=r"^a: does not see /x$"):
        outcomes(client, ["1"], tmp_path)


def test_what_goes_wrong_on_a_worker_is_the_cells_failure(tmp_path):
    client = Client(["a"], lambda title, address: ValueError("spoilt\nbeyond use") if title == "1" else 2)
    assert outcomes(client, ["1", "2"], tmp_path)[0] == {"1": "a: ValueError: spoilt beyond use", "2": 2}


@pytest.mark.parametrize("error", [CommClosedError("closed"), FutureCancelledError("1", "scheduler-connection-lost")])
def test_a_cell_whose_result_is_lost_with_the_scheduler_is_given_out_again(tmp_path, error):
    client = Client(["a"], lambda title, address: 0)
    submit = client.submit

    def lost():
        raise error

    def first_lost(*arguments, **options):
        future = submit(*arguments, **options)
        return SimpleNamespace(**vars(future) | ({"result": lost} if len(client.given) == 1 else {}))

    client.submit = first_lost
    ended, said = outcomes(client, ["1"], tmp_path)
    assert (ended, len(client.given), len(said)) == ({"1": 0}, 2, 1)


def test_cells_wait_for_workers_and_a_scheduler_that_is_gone_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "QUIET_SECONDS", 0)
    client = Client([], lambda title, address: 0)
    assert outcomes(client, ["1"], tmp_path) == ({}, ["no worker is there; the cells wait until one comes"])

    def gone():
        raise OSError("Timed out")

    client.nthreads, client.status = gone, "connecting"
    assert outcomes(client, ["1"], tmp_path) == ({}, [])

    def closed_meanwhile():
        client.status = "closing"
        raise RuntimeError("ConnectionPool is closed")

    client.nthreads = closed_meanwhile
    with pytest.raises(UsageError, match=r"^the Dask scheduler has ended"):
        outcomes(client, ["1"], tmp_path)
    client.status = "closed"
    with pytest.raises(UsageError, match=r"^the Dask scheduler has ended"):
        outcomes(client, ["1"], tmp_path)


@pytest.fixture
def job(tmp_path):
    """A job that this machine can train, were its files a configuration and a program."""
    for name in ("cell.yaml", "train_seg.py", "engine/run.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    program = tmp_path / "train_seg.py"
    setup = worker.setup_of(Path(sys.executable), program)
    path = Path("cell.yaml")
    return worker.Job("cell", path, b"cell.yaml", path, path, tmp_path, Path(sys.executable), program, setup)


def test_a_worker_checks_that_it_would_train_the_same(job, monkeypatch):
    assert worker.unfit(job) is None
    assert re.fullmatch(r"\d+\.\d+.*", job.setup["torch"])
    other = replace(job, setup={**job.setup, "torch": "1.0"})
    assert worker.unfit(other).startswith(f"torch is {job.setup['torch']} there and was 1.0 where the ablation began;")
    (job.folder / "engine/run.py").write_text("changed")
    assert worker.unfit(job).startswith("code is ")
    (job.folder / "cell.yaml").write_text("changed")
    assert worker.unfit(job).startswith(f"sees another {job.folder / 'cell.yaml'}; checkout, environment, data")
    (job.folder / "cell.yaml").unlink()
    assert worker.unfit(job).startswith(f"does not see {job.folder / 'cell.yaml'}; checkout, environment, data")


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("slurm", ["#SBATCH -p gpu", "#SBATCH -A me", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=15G"]),
        ("slurm", ["#SBATCH -t 12:00:00", "#SBATCH --gres=gpu:1", "#SBATCH --qos=low", "#SBATCH -J segloss"]),
        ("pbs", ["#PBS -q gpu", "#PBS -A me", "#PBS -l select=1:ncpus=4:mem=15GB:ngpus=1", "#PBS -N segloss"]),
        ("pbs", ["#PBS -l walltime=12:00:00", "#PBS --qos=low"]),
    ],
)
def test_the_script_of_a_job(name, lines):
    section = ClusterSection(
        name=name,
        cores=4,
        memory="16GB",
        walltime="12:00:00",
        gpus=1,
        queue="gpu",
        account="me",
        interface="ib0",
        directives=["--qos=low"],
        prologue=["module load cuda"],
    )
    cluster, options = jobqueue(section)
    script = cluster.job_cls("tcp://head:1", name="x", **options).job_script().splitlines()
    assert not set(lines) - set(script)
    assert "module load cuda" in script
    [started] = [line for line in script if "distributed.cli.dask_worker" in line]
    assert started.startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://head:1 --name x --nthreads 4")
    assert "--interface ib0" in started
    assert "--nworkers" not in started


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (", gpu: 1", "ablation.cluster: unknown key 'gpu'; did you mean 'gpus'?"),
        (", gpus: -1", "ablation.cluster.gpus: must be greater than or equal to 0, got -1"),
        (", memory: much", 'ablation.cluster.memory: must be a number and KB, MB, GB or TB, such as 32GB, got "much"'),
        (
            ", walltime: long",
            'ablation.cluster.walltime: must be hours, minutes and seconds, such as "24:00:00", got "long"',
        ),
        (", name: slrum", "ablation.cluster.name: unknown value 'slrum'; did you mean 'slurm'?"),
    ],
)
def test_mistakes_in_the_section_are_one_line_each(tmp_path, more, message):
    path = tmp_path / "grid.yaml"
    grid_yaml(tmp_path)
    key = more.split(":")[0].strip(", ")
    keys = {"name": "slurm", "cores": "4", "memory": "16GB", "walltime": '"12:00:00"', key: more.split(": ")[1]}
    section = ", ".join(f"{name}: {value}" for name, value in keys.items())
    with pytest.raises(ConfigError) as error:
        Ablation.load(path, [f"ablation.cluster={{{section}}}"])
    assert len(error.value.problems) == 1
    assert message in error.value.problems[0]


def test_a_queue_needs_dask_jobqueue(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "find_spec", lambda name: None if name == "dask_jobqueue" else find_spec(name))
    path = grid_yaml(tmp_path)
    with pytest.raises(ConfigError) as error:
        Ablation.load(path, ["ablation.cluster={name: pbs, cores: 1, memory: 1GB, walltime: '1:00:00'}"])
    [line] = error.value.problems
    assert line.endswith(": ablation.cluster.name: pbs needs dask-jobqueue: pip install '.[cluster]'")


def command(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_queue_that_is_not_there_or_refuses(module_program, tmp_path, monkeypatch):
    path = grid_yaml(tmp_path)
    section = "ablation.cluster={name: slurm, cores: 1, memory: 1GB, walltime: '1:00:00', queue: gpu}"
    monkeypatch.setenv("PATH", str(tmp_path))
    said = module_program("ablate", path, section, check=2, cwd=tmp_path).stderr
    assert said.startswith("ablation.cluster: slurm needs the command sbatch, which this machine does not have;")
    command(tmp_path, "sbatch", "echo 'sbatch: error: invalid partition: gpu' >&2; exit 1")
    command(tmp_path, "scancel", "exit 0")
    said = module_program("ablate", path, section, check=2, cwd=tmp_path).stderr
    assert said == "ablation.cluster: slurm refuses a job: sbatch: error: invalid partition: gpu\n"
    both = module_program("ablate", path, section, "--scheduler", "tcp://x:1", check=2, cwd=tmp_path).stderr
    assert both == "--scheduler tcp://x:1: the configuration asks for jobs of slurm too; add ablation.cluster=null\n"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "htp://x:1", "nonsense"])
def test_a_scheduler_that_does_not_answer(module_program, tmp_path, monkeypatch, address):
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 0.3)
    said = module_program("ablate", grid_yaml(tmp_path), "--scheduler", address, check=2, cwd=tmp_path)
    assert said.stderr.startswith(f"--scheduler {address}: no Dask scheduler answers (")
    assert said.stderr.count("\n") == 1
    assert "trying a few steps" not in said.stdout


@pytest.mark.parametrize(
    ("address", "open_"),
    [
        ("tcp://node1:8786", True),
        ("node1:8786", True),
        ("tcp://[fd00::1]:8786", True),
        ("tls://node1:8786", False),
        ("tcp://127.0.0.1:8786", False),
        ("tcp://[::1]:8786", False),
        ("localhost:8786", False),
    ],
)
def test_a_scheduler_that_others_reach_is_warned_of(monkeypatch, address, open_):
    class Silent:
        def __init__(self, address, timeout):
            raise OSError("nobody")

    monkeypatch.setattr(executors, "Client", Silent)
    said = []
    with pytest.raises(UsageError), executors.SchedulerExecutor(1, 1, address).connect(1, said.append):
        pass
    assert bool(said) == open_
    assert not open_ or f"whoever reaches {address} can run programs as you" in said[0]


def test_certificates_that_are_not_configured(monkeypatch):
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 0.3)
    with (
        pytest.raises(UsageError, match=r"--scheduler tls://127.0.0.1:1: no certificates are configured here"),
        executors.SchedulerExecutor(1, 1, "tls://127.0.0.1:1").connect(1, print),
    ):
        pass


HOLD = """
import fcntl, sys
handle = open(sys.argv[1], "a+")
fcntl.lockf(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A run's folder that another process has locked: it holds the lock until its standard input closes."""
    (tmp_path / ".lock").write_text(json.dumps({"process": 7, "host": "elsewhere"}))
    arguments = [sys.executable, "-c", HOLD, str(tmp_path / ".lock")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process


def test_a_cell_waits_for_the_process_that_still_trains_it(held, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    told = []
    threading.Timer(0.3, held.stdin.close).start()
    with Lock(tmp_path, told.append):
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()
    assert told == [f"{tmp_path}: process 7 on elsewhere is at work on this run; waits for it"]


def test_a_lock_that_outlives_its_machine_is_told(held, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "SILENCE", 0.2)
    with (
        pytest.raises(UsageError, match=r"has not been touched for .* remove .*/\.lock$"),
        Lock(tmp_path, lambda _: None),
    ):
        pass


@pytest.mark.parametrize("how", ["written over", "removed and made anew"])
def test_a_process_that_has_lost_its_run_ends(tmp_path, monkeypatch, capfd, how):
    """It was silent, frozen say, and another has taken the run over."""
    monkeypatch.setattr(lock, "HEARTBEAT", 0.02)
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: ended.set())
    with Lock(tmp_path / "run"):
        assert not ended.wait(0.1)
        if how == "removed and made anew":
            (tmp_path / "run/.lock").unlink()
        (tmp_path / "run/.lock").write_text(json.dumps({"process": 7, "host": "elsewhere"}))
        assert ended.wait(5)
    assert f"{tmp_path / 'run'}: taken over by another process while this one was silent" in capfd.readouterr().err
