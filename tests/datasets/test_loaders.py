"""What loader processes leave to say."""

import os
import signal
import time

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

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
