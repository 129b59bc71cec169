"""Runs that are killed, asked to stop, started twice."""

import errno
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data._utils import signal_handling

import engine.verbs.train
from engine.errors import UsageError
from engine.processes.signals import Stop, Stopped
from engine.store import lock
from engine.store.checkpoint import Checkpoint
from engine.store.lock import Lock
from segloss_tests import ROOT
from segloss_tests.grids import train_here
from segloss_tests.runs import Started, assert_same_run, log, saving, small_yaml, trainer

HISTORY = [
    "model={name: unet2015, width: 8, depth: 2, batch_norm: true, dropout: 0.2, acw: {constraint: positive}}",
    "loss.name=cdb_ce",
    "data.augment=[{name: HorizontalFlip}]",
]
"""What hangs on the past: dropout draws, the loss follows the last validation, the ACW weights are parametrized."""


def test_a_run_stopped_four_times_continues_to_the_bit(tmp_path):
    """Killed in a step and in a save, stopped by Ctrl-C and by a scheduler's SIGTERM to it and its loaders."""
    path, folder = small_yaml(tmp_path), tmp_path / "runs/cut"
    last = folder / "checkpoints/last.safetensors"
    arguments = ["train", path, *HISTORY, "train.epochs=8"]
    whole = Started(tmp_path, *arguments, "name=whole")
    cut, every = [*arguments, "name=cut"], "train.checkpoint_steps=1"

    def step():
        return Checkpoint.load(last).state["progress"]["step"] if last.is_file() else 0

    started = Started(tmp_path, *cut, every, save_seconds=0.02)
    assert started.until(lambda: step() >= 2)
    assert started.kill() == -signal.SIGKILL
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"epoch": 9, "half a li')

    before = step()
    started = Started(tmp_path, *cut, every, "data.workers=2", save_seconds=0.2)
    assert started.until(lambda: step() > before and saving(folder))
    assert started.kill() == -signal.SIGKILL
    assert saving(folder)

    before = step()
    started = Started(tmp_path, *cut, "data.workers=1", "train.checkpoint_minutes=1e-9", save_seconds=0.05)
    assert started.until(lambda: step() > before)
    assert started.kill(signal.SIGINT) == 130
    assert "stopped by Ctrl-C" in (tmp_path / "output.txt").read_text()

    before = step()
    started = Started(tmp_path, *cut, "data.workers=1", "train.checkpoint_minutes=1e-9", save_seconds=0.05)
    assert started.until(lambda: step() > before)
    assert started.kill(signal.SIGTERM) == 0
    assert "stopped by SIGTERM" in (tmp_path / "output.txt").read_text()
    assert 2 <= before <= step() < 24
    assert not (folder / "scores.json").exists()

    assert Started(tmp_path, *cut).end() == 0
    assert whole.end() == 0
    assert_same_run(tmp_path / "runs/whole", folder)
    assert not saving(folder)
    assert not (folder / ".lock").exists()


def test_stopped_while_it_validates_a_run_validates_first(camvid_yaml, monkeypatch):
    """The steps of the epoch are kept, and the log comes out as that of a run that was not stopped."""
    import engine.training.trainer

    whole = trainer(camvid_yaml, "name=whole")
    whole.fit()
    score, calls = engine.training.trainer.score_part, []

    def stopped_once(*arguments, **named):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return score(*arguments, **named)

    monkeypatch.setattr("engine.training.trainer.score_part", stopped_once)
    with Stop() as stop:
        cut = trainer(camvid_yaml, "name=cut")
        cut.stop = stop
        with pytest.raises(Stopped):
            cut.fit()
    assert (cut.state.epoch, cut.state.batch) == (1, len(cut.batches))
    cut = trainer(camvid_yaml, "name=cut")
    cut.fit()
    assert len(calls) == 3
    assert_same_run(whole.run.path, cut.run.path)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_is_answered_between_two_steps():
    with Stop() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
        with pytest.raises(Stopped), stop.interrupts():
            raise AssertionError("never entered")
    with Stop() as stop, pytest.raises(Stopped), stop.interrupts():
        signal.raise_signal(signal.SIGTERM)


def test_a_second_sigterm_leaves_alone_what_the_first_has_ended():
    """Such as a lock that is being given back, or loader processes that are being ended."""
    ended = []

    def work(stop):
        with stop.interrupts():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                ended.append(True)

    with Stop() as stop, pytest.raises(Stopped):
        work(stop)
    assert ended


def test_a_request_is_one_whatever_a_library_makes_of_it():
    """As pydantic, which is building a schema and tells what went wrong."""

    def work(stop):
        with stop.interrupts():
            try:
                signal.raise_signal(signal.SIGTERM)
            except Stopped as error:
                raise ValueError("Error building a schema: Stopped") from error

    with Stop() as stop, pytest.raises(Stopped):
        work(stop)


def test_ctrl_c_is_answered_like_sigterm_and_twice_at_once():
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run in the background
    with Stop() as stop:
        signal.raise_signal(signal.SIGINT)
        assert (stop.asked, stop.by) == (True, "Ctrl-C")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does it for a job in the background
    try:
        with Stop() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGINT, outside)


def test_a_checkpoint_by_the_clock(camvid_yaml, monkeypatch):
    made = trainer(camvid_yaml, "train.epochs=3", "train.checkpoint_minutes=3")
    saved, clock = [], [0.0]
    monkeypatch.setattr("engine.training.trainer.time", type("Clock", (), {"monotonic": lambda: clock[0]}))
    step, save = made.stepper.take, made._save

    def slow(group):
        clock[0] += 40
        return step(group)

    def noted():
        saved.append(made.state.step)
        save()

    made.stepper.take, made._save = slow, noted
    made.fit()
    assert saved == [5, 9]  # 200 s after the start, not after each epoch of 120 s; and at the end
    assert made.run.load("last").state["progress"]["step"] == 9
    assert made.run.load("best").state["progress"]["epoch"] == made.state.best_epoch


def test_the_seconds_of_an_epoch_are_those_of_all_starts(camvid_yaml, monkeypatch):
    """Three steps of 40 s: one, a kill after a save, two more; the epoch after it has its own alone."""
    clock = [0.0]
    monkeypatch.setattr("engine.training.speed.time", type("Clock", (), {"monotonic": lambda: clock[0]}))

    def slow(made, stop_after=None):
        step = made.stepper.take

        def take(group):
            clock[0] += 40
            if made.state.step == stop_after:
                signal.raise_signal(signal.SIGTERM)
            return step(group)

        made.stepper.take = take
        return made

    with Stop() as stop:
        cut = slow(trainer(camvid_yaml), stop_after=0)
        cut.stop = stop
        with pytest.raises(Stopped):
            cut.fit()
    assert (cut.state.epoch, cut.state.batch) == (0, 1)
    resumed = slow(trainer(camvid_yaml))
    resumed.fit()
    lines = [json.loads(line) for line in (resumed.run.path / "log.jsonl").read_text().splitlines()]
    assert [line["seconds"] for line in lines] == [120, 120]


def test_killed_between_two_checkpoints_a_run_repeats_what_was_not_saved(camvid_yaml, monkeypatch):
    """Several epochs, and a best one among them, that were logged and never saved."""
    whole = trainer(camvid_yaml, "name=whole", "train.epochs=4")
    whole.fit()
    cut = trainer(camvid_yaml, "name=cut", "train.epochs=4")
    cut.fit(1)
    lost = trainer(camvid_yaml, "name=cut", "train.epochs=4")
    monkeypatch.setattr(lost, "_save_all", lambda: None)
    lost.fit(3)
    assert len(log(cut.run.path)) == 3
    assert cut.run.load("last").state["progress"]["epoch"] == 1
    resumed = trainer(camvid_yaml, "name=cut", "train.epochs=4")
    resumed.fit()
    assert_same_run(whole.run.path, cut.run.path)
    best = [each.run.load("best") for each in (whole, resumed)]
    assert best[0].state["progress"] == best[1].state["progress"]
    assert all(torch.equal(tensor, best[1].tensors[name]) for name, tensor in best[0].tensors.items())


@pytest.mark.parametrize("tail", ["", '{"epoch": 3, "lo'])
def test_killed_before_its_first_checkpoint_a_run_begins_anew(camvid_yaml, monkeypatch, tail):
    """Its log too, whose lines no checkpoint has seen."""
    whole = trainer(camvid_yaml, "name=whole", "train.epochs=3")
    whole.fit()
    lost = trainer(camvid_yaml, "name=cut", "train.epochs=3")
    monkeypatch.setattr(lost, "_save_all", lambda: None)
    lost.fit(2)
    lines = lost.run.path / "log.jsonl"
    lines.write_text(lines.read_text() + tail)
    assert lines.read_text().count("\n") == 2
    assert not lost.run.checkpoint("last").exists()
    trainer(camvid_yaml, "name=cut", "train.epochs=3").fit()
    assert_same_run(whole.run.path, lost.run.path)


@pytest.mark.parametrize("damage", ["cut", "missing", "spoilt"])
def test_a_log_that_lacks_what_the_checkpoint_has_seen_is_refused(program, camvid_yaml, tmp_path, damage):
    program("train", camvid_yaml, check=0)
    path = tmp_path / "runs/small/log.jsonl"
    for name in ("scores.json", "trained.json"):  # as of a run that was stopped while it trained
        (tmp_path / "runs/small" / name).unlink()
    lines = path.read_text().splitlines(keepends=True)
    if damage == "missing":
        path.unlink()
    else:
        path.write_text(lines[0] if damage == "cut" else lines[0] + lines[1].replace('"epoch"', "epoch"))
    says = {"cut": "holds 1 of the 2 lines", "missing": "holds 0 of the 2 lines", "spoilt": "log.jsonl:2: damaged"}
    assert says[damage] in program("train", camvid_yaml, check=2).stderr


HOLD = """
import sys, time
from pathlib import Path
from engine.store.lock import Lock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_processes_on_one_run(program, camvid_yaml, tmp_path):
    """The second is refused with the number of the first; when that was killed, its lock is none."""
    folder = tmp_path / "runs/small"
    arguments = [sys.executable, "-c", HOLD, str(folder)]
    holder = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    said = program("train", camvid_yaml, check=2).stderr
    assert f"runs/small: process {holder.pid} on {socket.gethostname()} is at work on this run" in said
    holder.kill()
    holder.wait()
    assert (folder / ".lock").is_file()
    program("train", camvid_yaml, "train.epochs=1", check=0)
    assert not (folder / ".lock").exists()

    holder = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    assert "finished already" in program("train", camvid_yaml, "train.epochs=1", check=0).stdout  # waits for nobody
    assert (folder / ".lock").exists()
    holder.kill()
    holder.wait()
    assert "finished already" in program("train", camvid_yaml, "train.epochs=1", check=0).stdout
    assert not (folder / ".lock").exists()


def test_a_lock_of_another_machine_is_known_by_its_heartbeat(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.5)
    folder = tmp_path / "run"
    folder.mkdir()
    note = json.dumps({"process": 7, "host": "elsewhere"})
    (folder / ".lock").write_text(note)
    with Lock(folder):
        assert json.loads((folder / ".lock").read_text())["process"] == os.getpid()
    folder.mkdir()
    (folder / ".lock").write_text(note)
    done = threading.Event()

    def beat():
        while not done.wait(0.02):
            os.utime(folder / ".lock")

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(UsageError, match="process 7 on elsewhere is at work"), Lock(folder):
            pass
    finally:
        done.set()
        thread.join()


def test_a_system_without_locks(tmp_path, monkeypatch):
    """There the heartbeat tells, of the same machine too; a folder that nothing came into goes again."""
    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(lock, "PATIENCE", 0.4)
    monkeypatch.setattr(lock, "HEARTBEAT", 0.05)
    with Lock(tmp_path / "run"), pytest.raises(UsageError, match=f"process {os.getpid()} on"), Lock(tmp_path / "run"):
        pass
    with Lock(tmp_path / "other"):
        pass
    assert not (tmp_path / "other").exists()


def test_a_lock_removes_half_written_files_but_none_of_another_run(tmp_path):
    """Nor what only looks like one, nor of a run that has not come as far as its configuration but holds its lock."""
    left = [".report.html.99-0123abcd", "figures/.forest.svg.99-0123abcd", "adfl/seed-0/.fold-0.yaml.99-0123abcd"]
    others = [
        "adfl/seed-0/fold-0/checkpoints/.last.safetensors.99-0123abcd",
        "adfl/seed-0/fold-1/.config.yaml.99-0123abcd",
    ]
    kept = ["adfl/seed-0/fold-0/config.yaml", "adfl/seed-0/fold-1/.lock", ".wandb.run-0", "notes.99-0123abcd"]
    for name in (*left, *others, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with Lock(tmp_path):
        assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {
            *others, *kept, ".lock"
        }  # fmt: skip
    (tmp_path / "adfl/seed-0/fold-1/.lock").unlink()
    with Lock(tmp_path / "adfl/seed-0/fold-1"), Lock(tmp_path / "adfl/seed-0/fold-0"):
        assert not any((tmp_path / name).exists() for name in others)


def test_looking_for_half_written_files_is_no_silence_and_stops_no_run(tmp_path, monkeypatch):
    """Of a folder of many files on a slow server; and what cannot be removed stays."""
    monkeypatch.setattr(lock, "HEARTBEAT", 0.01)
    (tmp_path / ".figures.99-0123abcd").mkdir()
    find, touched = lock.leftovers, []

    def slow(folder, pattern):
        before, until = (tmp_path / ".lock").stat().st_mtime_ns, time.monotonic() + 30
        while (tmp_path / ".lock").stat().st_mtime_ns == before and time.monotonic() < until:
            time.sleep(0.01)
        touched.append((tmp_path / ".lock").stat().st_mtime_ns > before)
        return find(folder, pattern)

    monkeypatch.setattr(lock, "leftovers", slow)
    with Lock(tmp_path):
        assert touched[0]
    assert (tmp_path / ".figures.99-0123abcd").is_dir()


@pytest.mark.parametrize("within", ["leftovers", "threading.Thread.start"])
def test_an_end_while_half_written_files_are_looked_for_gives_the_lock_back(tmp_path, monkeypatch, within):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"engine.store.lock.{within}", stopped)
    with pytest.raises(KeyboardInterrupt), Lock(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


def test_what_an_evaluation_is_writing_is_left_alone(program, camvid_yaml, tmp_path, monkeypatch):
    """It holds another lock than the run, which a training may take and leave meanwhile."""
    program("train", camvid_yaml, "train.epochs=1", check=0)
    run, replace, seen = tmp_path / "runs/small", Path.replace, []

    def meanwhile(self, target):
        if Path(target).parent.name.startswith("evaluation-"):
            seen.append(Path(target).name)
            with Lock(run):
                pass
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    program("evaluate", run, check=0)
    assert "scores.json" in seen


@pytest.mark.parametrize("fold", ["0", "all"])
def test_pages_are_written_under_the_lock(program, module_program, camvid_yaml, monkeypatch, fold):
    train_here(monkeypatch, module_program)
    held = []
    write = engine.verbs.train.write_page

    def noted(folder, subject):
        held.append((folder.name, (folder / ".lock").is_file()))
        return write(folder, subject)

    monkeypatch.setattr("engine.verbs.train.write_page", noted)
    split = f"data.split={{kind: kfold, folds: 2, val: 0, fold: {fold}}}"
    program("train", camvid_yaml, split, "train.epochs=1", check=0)
    assert held[-1] == ("small", True)
    assert all(locked for _, locked in held)


def test_damaged_data_met_in_training_is_one_line(program, camvid_yaml, tmp_path):
    """By a loader process, whose errors come with their traceback."""
    program("train", camvid_yaml, "train.epochs=1", check=0)
    import datasets

    whole = datasets.Samples.packed

    def gone(self, key):
        raise datasets.DataError("/data/x.png: gone")

    try:
        datasets.Samples.packed = gone
        said = program("train", camvid_yaml, "name=b", "data.workers=1", check=2).stderr
    finally:
        datasets.Samples.packed = whole
    assert said == "/data/x.png: gone\n"


@pytest.mark.parametrize("function", ["engine.training.trainer.score_part", "engine.verbs.train.score_checkpoint"])
def test_a_loader_that_is_killed_while_nobody_waits_for_it_is_one_line(
    program, camvid_yaml, tmp_path, monkeypatch, function
):
    """Torch tells of it in a signal handler, between any two lines of the training."""
    program("train", camvid_yaml, "name=whole", check=0)

    def killed(*_, **__):
        loader = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        loader.start()
        signal_handling._set_worker_pids(7, (loader.pid,))
        signal_handling._set_SIGCHLD_handler()
        os.kill(loader.pid, signal.SIGKILL)
        time.sleep(60)

    monkeypatch.setattr(function, killed)
    try:
        said = program("train", camvid_yaml, check=2).stderr
    finally:
        signal_handling._remove_worker_pids(7)
    monkeypatch.undo()
    assert re.fullmatch(r"DataLoader worker \(pid \d+\) is killed by signal: Killed: out of memory.*\n", said)
    program("train", camvid_yaml, check=0)
    assert_same_run(tmp_path / "runs/whole", tmp_path / "runs/small")


def test_a_run_goes_on_with_the_threads_it_began_with(program, camvid_yaml, tmp_path):
    program("train", camvid_yaml, "train.epochs=1", check=0)
    (tmp_path / "runs/small/scores.json").unlink()
    torch.set_num_threads(2)
    try:
        assert "computes with 1 threads" in program("train", camvid_yaml, "train.epochs=1", check=0).stdout
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)


def test_what_does_not_repeat_itself_is_refused_by_name(camvid_yaml, monkeypatch):
    """As torch says it on a GPU; on the CPU everything repeats itself."""
    made = trainer(camvid_yaml, "train.deterministic=true")
    assert torch.are_deterministic_algorithms_enabled()
    made.epoch()

    def refused(group):
        raise RuntimeError(
            "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set"
        )

    made.stepper.take = refused
    with pytest.raises(UsageError, match="adaptive_avg_pool2d_backward_cuda has no deterministic implementation"):
        made.fit()
    trainer(camvid_yaml, "name=b")
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_run_begun_by_another_process_meanwhile_is_refused(program, camvid_yaml, tmp_path, monkeypatch):
    """Between the first look at the folder and the lock."""
    take = Lock.__enter__

    def late(self):
        monkeypatch.undo()
        program("train", camvid_yaml, "seed=1", "train.epochs=1", check=0)
        (tmp_path / "runs/small/scores.json").unlink()
        return take(self)

    monkeypatch.setattr(Lock, "__enter__", late)
    assert "holds another run: seed is 1 there and 0 here" in program("train", camvid_yaml, check=2).stderr


@pytest.mark.parametrize("at", ["curves.svg", "features.png", "scores.json", "cases.json", "report.html"])
def test_a_disk_that_fills_while_a_run_is_scored_is_one_line(program, camvid_yaml, tmp_path, monkeypatch, at):
    """Of every file: what was there is whole, nothing lies beside it, and the same command ends the run."""
    replace = Path.replace

    def full(self, target):
        if Path(target).name == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    said = program("train", camvid_yaml, "train.epochs=1", check=2).stderr
    monkeypatch.undo()
    assert re.fullmatch(rf"\S*{at}: the disk is full .*\n", said)
    program("train", camvid_yaml, "train.epochs=1", check=0)
    program("train", camvid_yaml, "train.epochs=1", "name=whole", check=0)
    files = [{str(path.relative_to(top)) for path in top.rglob("*")} for top in (tmp_path / "runs").iterdir()
             if top.name != ".cache"]  # fmt: skip
    assert files[0] == files[1]


def test_a_disk_without_room_for_what_is_printed_is_one_line(program, camvid_yaml, monkeypatch):
    """As of output into a file: the error names none."""

    def full(self, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("engine.console.display.Display.line", full)
    said = program("train", camvid_yaml, "train.epochs=1", check=2).stderr
    assert re.fullmatch(r"what is printed, .*: No space left on device; free space .*\n", said)


def test_a_page_of_a_run_that_was_not_finished_is_not_taken_for_the_last(program, camvid_yaml, tmp_path, monkeypatch):
    """`report` has written one while the run stood still; then the run is killed between its scores and its page."""
    page = tmp_path / "runs/small/report.html"

    class KilledError(BaseException):
        pass

    def killed(*_):
        raise KilledError

    for place in ("score_held_out", "write_page"):
        with monkeypatch.context() as patch:
            patch.setattr(f"engine.verbs.train.{place}", killed)
            with pytest.raises(KilledError):
                program("train", camvid_yaml, "train.epochs=1")
        if place == "score_held_out":
            program("report", page.parent, check=0)
            assert "Not finished" in page.read_text()
    program("train", camvid_yaml, "train.epochs=1", check=0)
    assert "Not finished" not in page.read_text()


@pytest.mark.parametrize("at", ["trained.json", "curves.svg", "scores.json", "report.html"])
def test_what_a_kill_leaves_of_a_file_goes_with_the_next_start(program, camvid_yaml, tmp_path, monkeypatch, at):
    class KilledError(BaseException):
        """In place of a kill: nothing is tidied up."""

    replace, run = Path.replace, tmp_path / "runs/small"

    def killed(self, target):
        if Path(target).name == at:
            self.with_name(f".{at}.99-0123abcd").write_bytes(b"a part")
            raise KilledError
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KilledError):
        program("train", camvid_yaml, "train.epochs=1")
    monkeypatch.undo()
    assert [*run.rglob(".*-0123abcd")]
    program("train", camvid_yaml, "train.epochs=1", check=0)
    assert [path for path in run.rglob(".*") if path.name != ".cache"] == []
