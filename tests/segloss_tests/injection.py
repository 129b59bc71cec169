"""The program with a fault put into it, as the target of a process."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import time
from importlib import import_module
from pathlib import Path

from segloss_tests import runs


def faulty(folder, arguments, save_seconds, environment):
    """As `runs.work`, with the fault that the variable FAULT describes, if any."""
    fault = json.loads(environment.pop("FAULT", "{}"))
    if "dies_in" in fault:
        die_in(**fault)
    elif "flush" in fault:
        fail_to_flush(**fault)
    elif "clock" in fault:
        jump(random.Random(fault["clock"]))
    runs.work(folder, arguments, save_seconds, environment)


def die_in(dies_in: str, call: int, seconds: float) -> None:
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


def fail_to_flush(flush: int, note: str) -> None:
    """Let a call of fsync fail, which makes a file."""
    flushed, calls = os.fsync, []

    def failing(handle):
        calls.append(1)
        if len(calls) == flush:
            Path(note).touch()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flushed(handle)

    os.fsync = failing


def jump(draw: random.Random) -> None:
    """Let the clock jump to and fro, and the one that only grows jump ahead, as after a sleep of the machine."""
    now, grown, ahead = time.time, time.monotonic, [0.0]

    def jumping():
        ahead[0] += draw.expovariate(1e-3) if draw.random() < 0.01 else 0.0
        return grown() + ahead[0]

    time.time = lambda: now() + draw.choice((0, 0, -1e6, 3600, 1e7))
    time.monotonic = jumping
