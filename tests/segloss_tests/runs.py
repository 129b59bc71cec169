"""Runs to be looked at: trainers in this process, runs in processes of their own to be killed, and their comparison."""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from multiprocessing import forkserver

import pytest
import torch
from safetensors.torch import load_file

import engine.verbs.train  # noqa: F401  # for the processes
from engine.configuration.checking import load_config
from engine.console.display import Display
from engine.experiment.device import launch
from engine.experiment.experiment import Experiment
from engine.experiment.run import Run
from engine.training.trainer import Trainer
from segloss_tests import ROOT
from segloss_tests.figures import with_few_points, without_rendering
from segloss_tests.stills import make_camvid

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])  # imported once: starting a run takes no seconds
TIMES = ("seconds", "images_per_second", "speed")
YAML = """\
name: small
data: {{name: camvid, root: {root}, size: [24, 32], workers: 0, split: {{kind: official}}}}
model: {{name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 16, 8]}}
loss: {{name: ce}}
optim: {{name: adam, lr: 1e-3}}
train: {{epochs: 2, batch_size: 2, device: cpu}}
"""


def small_yaml(folder):
    """A configuration that trains on a small CamVid in seconds."""
    path = folder / "run.yaml"
    path.write_text(YAML.format(root=json.dumps(str(make_camvid(folder / "camvid")))))
    return path


def trainer(path, *overrides, display=None, together=False):
    config = load_config(path, [f"output={path.parent / 'runs'}", *overrides])
    fabric = launch(config.train, together)
    with fabric.rank_zero_first():
        experiment = Experiment.prepare(config)
    run = Run.of(config, fabric.is_global_zero)
    run.create(config)
    return Trainer(experiment, run, fabric, display or Display())


def work(folder, arguments, save_seconds, environment):
    """The program in this process, which prints to a file, OUTPUT; flushing a file takes so many seconds longer."""
    flush = os.fsync

    def slowly(handle):
        time.sleep(save_seconds)
        flush(handle)

    if save_seconds:
        os.fsync = slowly
    with (
        (folder / environment.get("OUTPUT", "output.txt")).open("a", buffering=1) as out,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        try:
            code = program(folder, arguments, environment)
        except Exception:  # noqa: BLE001  # as Python does it at the end of a program
            traceback.print_exc()
            code = 1
    sys.exit(code)


def program(folder, arguments, environment):
    """The program in this process, as in one of its own, with what makes small runs short; the exit code."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in front: tests may run in the background
    os.environ.update(environment)
    os.chdir(folder)
    multiprocessing.set_start_method("fork", force=True)  # its loaders are to be its own children
    torch.set_num_threads(1)
    sys.path.insert(0, str(ROOT))
    import train_seg

    patch = pytest.MonkeyPatch()  # for as long as the process lives
    without_rendering(patch)
    with_few_points(patch)
    return train_seg.main([*map(str, arguments)])


def forked(target, *arguments):
    """Start a process that runs a function, forked from one that has imported this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "tests"), str(ROOT)]))
        forkserver.ensure_running()
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


class Started:
    """`train_seg.py` with arguments in a process of its own.

    Args:
        folder: where it is started.
        arguments: of the command line.
        save_seconds: how much longer flushing a file takes.
        environment: variables to set in it.
        target: what it runs in place of the program.
    """

    def __init__(self, folder, *arguments, save_seconds=0.0, environment=None, target=work):
        self.process = forked(target, folder, arguments, save_seconds, environment or {})

    def until(self, condition, seconds=120.0):
        """Wait for a condition, or for the end of the process; whether the condition holds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.is_alive():
            if condition():
                return True
            time.sleep(0.002)
        return condition()

    def kill(self, number=signal.SIGKILL):
        """Send a signal to the process and its loaders, and wait for its end; None where it had ended."""
        if not self.process.is_alive():
            return None
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.kill(self.process.pid, number)  # its loaders are left to notice
            else:
                os.killpg(self.process.pid, number)  # as a scheduler does it
        return self.end()

    def end(self, seconds=240.0):
        """The exit code."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, "still running"
        return self.process.exitcode


def saving(run):
    """Whether a checkpoint is being written."""
    return any((run / "checkpoints").glob(".last.*"))


def weights(run):
    return {
        name: tensor for name, tensor in load_file(run / "checkpoints/last.safetensors").items() if name != "loss_sum"
    }


def log(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def assert_same_run(one, other):
    """The same weights, moments, random states, log but for the times, and scores where there are any."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    assert log(one) == log(other)
    scores = [(run / "scores.json").read_text() for run in (one, other) if (run / "scores.json").is_file()]
    assert scores[1:] == scores[:1] or not scores
