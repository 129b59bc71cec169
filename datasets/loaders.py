"""Loaders of batches, their processes, and what these have to say."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, get_worker_info

from .errors import DataError
from .samples import PackedSample, Samples, TrainingBatches

GRACE_SECONDS = 10.0
"""How long a loader process outlives a SIGTERM."""
MASKS = hasattr(signal, "pthread_sigmask")
"""Whether signals can be blocked: not on Windows."""


def training_loader(
    samples: Samples, batches: TrainingBatches, workers: int, start_method: str | None = None, pinned: bool = False
) -> Any:
    """A loader of the batches, packed.

    Args:
        samples: what to load.
        batches: in which order.
        workers: processes that load; 0 loads in this one.
        start_method: `fork`, `spawn` or `forkserver`; None for the platform's.
        pinned: the batches lie in pinned memory, from which a GPU copies without waiting.
    """
    context = start_method if workers else None
    options = {"persistent_workers": workers > 0, "multiprocessing_context": context}
    return _loader(samples, batches, workers, pinned, **options)


def evaluation_loader(
    samples: Samples,
    batch_size: int,
    workers: int,
    cases: Sequence[int] | None = None,
    pinned: bool = False,
    persistent: bool = False,
) -> Any:
    """A loader of every sample once, in order, packed, not augmented.

    Args:
        samples: what to load.
        batch_size: see `evaluation_batches`.
        workers: processes that load; 0 loads in this one.
        cases: see `evaluation_batches`.
        pinned: see `training_loader`.
        persistent: the processes wait for another pass, until `end_workers`.
    """
    batches = evaluation_batches(samples, batch_size, cases)
    return _loader(samples, batches, workers, pinned, persistent_workers=persistent and workers > 0)


def evaluation_batches(samples: Samples, batch_size: int, cases: Sequence[int] | None = None) -> list[list[int]]:
    """The numbers of every sample once, in order; a batch holds images of one size.

    The batches are the same whichever cases are wanted, so that their results are the same bit for bit; those that hold
    none of these cases are left out.

    Args:
        samples: what to load.
        batch_size: the largest batch.
        cases: the numbers of the cases wanted, ascending, None for all.
    """
    batches: list[list[int]] = []
    for _, run in groupby(range(len(samples)), key=lambda index: samples.cases[samples.slices[index][0]].shape[1:]):
        equal = list(run)
        batches += [equal[start : start + batch_size] for start in range(0, len(equal), batch_size)]
    if cases is not None:
        wanted = set(cases)
        batches = [batch for batch in batches if any(samples.slices[index][0] in wanted for index in batch)]
    return batches


def _loader(samples: Samples, batches: Iterable[list[Any]], workers: int, pinned: bool, **options: Any) -> Any:
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        worker_init_fn=_start,
        pin_memory=pinned,
        generator=torch.Generator(),  # else each epoch would draw from the generator that dropout draws from
        **options,
    )


def end_workers(loader: Any) -> None:
    """End the processes of a loader at once, in the middle of an epoch too; its next epoch starts new ones.

    Python would end them otherwise when it comes across the loader, or waits for them when it exits.
    """
    epoch = getattr(loader, "_iterator", None)  # no public name for it: torch ends them when the last reference goes
    if epoch is not None:
        loader._iterator = None
        epoch._shutdown_workers()


def unwrap_worker_errors(loader: Iterable[PackedSample]) -> Iterator[PackedSample]:
    """The batches of a loader; what a loader process has to say of the data comes as its one line: a `DataError`.

    Raises:
        DataError: of the data, by a loader process or this one.
        RuntimeError: a loader process was killed.
    """
    with _signals_held():
        batches = iter(loader)
    try:
        yield from batches
    except DataError as error:
        raise DataError(str(error).rstrip().rpartition("DataError: ")[2]) from error
    except (EOFError, ConnectionError) as error:
        if not getattr(loader, "num_workers", 0) or str(error).startswith("Caught"):  # which a loader process has met
            raise
        raise RuntimeError("DataLoader worker was killed before its batch was fetched") from error


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold SIGTERM and Ctrl-C back within: what their handlers raise would leave a loader with half of its processes.

    torch cannot end such a loader, and says so in a traceback of its own. What comes to a process that is started
    within waits until `_start`: torch's own handler would end it.
    """
    came: list[int] = []
    heard: list[int] = [number for number in (signal.SIGTERM, signal.SIGINT) if callable(signal.getsignal(number))]
    if threading.current_thread() is not threading.main_thread():  # only this one may set handlers, and has them run
        heard = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in heard}
    try:
        with _blocked(heard) if MASKS else nullcontext():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


@contextmanager
def _blocked(numbers: list[int]) -> Iterator[None]:
    """Let no such signal come to this thread within, nor to a process that is started there until it allows it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(worker: int) -> None:  # noqa: ARG001
    """One thread a process, files stay open; signals to the whole job are for the training process, which needs it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _leave_in(GRACE_SECONDS))
    if MASKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGINT])
    cv2.setNumThreads(0)
    process: Any = get_worker_info()
    if isinstance(process.dataset, Samples):
        process.dataset.hold_files()


def _leave_in(seconds: float) -> None:
    """End this process later: a SIGTERM may also be the last word of a training process that waits for its end."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()
