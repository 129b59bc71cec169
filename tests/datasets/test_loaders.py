"""What loader processes leave to say."""

import gc
import os
import signal
import time
from multiprocessing.process import BaseProcess as Process

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from datasets import loaders
from datasets.loaders import unwrap_worker_errors


class Dying(Dataset):
    """The process that loads the second of two items is killed."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if index == 1:
            time.sleep(0.5)  # until the first has been sent
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(1000)


class Meeting(Dataset):
    """Data whose reading ends too early."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise EOFError("cut off")


@pytest.fixture
def untold(monkeypatch):
    """Torch's handler, which tells of processes that end, is not at work."""
    monkeypatch.setattr(torch.utils.data._utils.signal_handling, "_set_SIGCHLD_handler", lambda: None)
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("untold")
def test_a_batch_of_a_killed_process(monkeypatch):
    """It is in the queue, but its memory can be had of its process alone."""
    torch.multiprocessing.set_sharing_strategy("file_descriptor")
    loader = DataLoader(Dying(), batch_size=None, num_workers=1, multiprocessing_context="fork")
    batches = iter(loader)
    worker = batches._workers[0]
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    monkeypatch.setattr(type(loader), "__iter__", lambda _: batches)
    monkeypatch.setattr(type(worker), "is_alive", lambda _: True)  # as it may seem for a moment after the signal
    with pytest.raises(RuntimeError, match=r"^DataLoader worker was killed before its batch was fetched$"):
        next(unwrap_worker_errors(loader))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_end_that_the_data_has(workers):
    """It is not taken for the end of a process."""
    loader = DataLoader(
        Meeting(), batch_size=None, num_workers=workers, multiprocessing_context="fork" if workers else None
    )
    with pytest.raises(EOFError, match="cut off"):
        next(unwrap_worker_errors(loader))


class Asked(BaseException):
    """What a handler of signals raises."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_processes_start(monkeypatch, number):
    """It is answered once they all are there, and they end; torch has nothing to say about a loader half made."""

    def answer(*_):
        raise Asked

    start, started, odd = Process.start, [], []

    def interrupted(process):
        start(process)
        started.append(process)
        if len(started) == 1:
            signal.raise_signal(number)

    monkeypatch.setattr(Process, "start", interrupted)
    monkeypatch.setattr("sys.unraisablehook", odd.append)
    before = signal.signal(number, answer)
    try:
        with pytest.raises(Asked):
            next(unwrap_worker_errors(DataLoader(TensorDataset(torch.zeros(4)), num_workers=2)))
        assert signal.getsignal(number) is answer
    finally:
        signal.signal(number, before)
    gc.collect()
    assert len(started) == 2
    assert not odd
    for process in started:
        process.join(60)
        assert not process.is_alive()


def test_a_signal_to_a_process_that_starts_waits_until_it_can_answer():
    """As one to the whole job; torch's own handler would end the process."""

    def asked(worker):
        os.kill(os.getpid(), signal.SIGTERM)
        loaders._start(worker)

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        options = {"num_workers": 1, "worker_init_fn": asked, "multiprocessing_context": "fork"}
        assert len(list(unwrap_worker_errors(DataLoader(TensorDataset(torch.zeros(3)), **options)))) == 3
    finally:
        signal.signal(signal.SIGTERM, before)
