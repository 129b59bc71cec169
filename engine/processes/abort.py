"""The processes of one training end together: an error of one is reported once, and no other waits for ever.

Others may then be waiting for the one that failed, in a sum that no Python error can reach. So each has a thread that
looks for the word of the failed one, in a store that the first process keeps, and ends its process when it comes.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from datasets import DataError
from models import WeightsError

from ..errors import UsageError
from . import ranks
from .signals import Stopped

POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0
"""How long a process that has told its error waits for the others to know, and they for it."""
LOST = (
    *("Connection closed by peer", "Connection reset by peer", "Connection was likely closed"),
    *("Broken pipe", "remote process exited"),
)
"""What torch says when another process is gone."""


@contextmanager
def lost_processes_explained() -> Iterator[None]:
    """Within, that another process of the training is gone is a `UsageError` of one line."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in LOST):
            raise
        raise UsageError(
            "another process of this training exited unexpectedly (killed, or out of memory?); run the same command to "
            "resume from the last checkpoint"
        ) from error


class AbortTogether:
    """Within, an error of one process of the training ends all of them; in a single process it does nothing.

    The process whose error it is raises it. The others leave without a word; the exit code of the first process is
    that of the one that failed. Leave it in step: at its end the processes wait for each other.
    """

    def __init__(self) -> None:
        self.alone = ranks.world_size() == 1
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> AbortTogether:
        if not self.alone:
            first, host = ranks.rank() == 0, os.environ["MASTER_ADDR"]
            store = TCPStore(host, 0, is_master=True, wait_for_workers=False) if first else None
            port = ranks.all_gather(store.port if store else 0)[0]
            self._store = store or TCPStore(host, port, is_master=False)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.alone:
            return
        if error is None or isinstance(error, Stopped):
            ranks.barrier()
            self._done.set()
            self._thread.join()
            ranks.barrier()  # the first process keeps the store until nobody looks into it
            atexit.register(_part)
            return
        if isinstance(error, KeyboardInterrupt):  # which the terminal gives to all of them
            return
        self._tell(2 if isinstance(error, UsageError | DataError | WeightsError | OSError) else 1)

    def _tell(self, code: int) -> None:
        """Say that this process fails, and wait until the others know; where another was first, end silently."""
        mine = f"{ranks.rank()} {code}"
        self._done.set()
        with suppress(RuntimeError):  # the first process is gone, and its store with it: nobody is left to be told
            word = self._store.compare_set("failed", "", mine).decode()
            if word != mine:
                self._leave(word)
            atexit.register(self._told)
            self._until("known", ranks.world_size() - 1)

    def _told(self) -> None:
        with suppress(RuntimeError):
            self._store.add("told", 1)

    def _listen(self) -> None:
        while not self._done.wait(POLL_SECONDS):
            try:
                failed = self._store.check(["failed"])
            except RuntimeError:  # the first process is gone; this one finds that out itself, or waits for ever
                if not self._done.wait(GRACE_SECONDS):
                    os._exit(2)
                return
            if failed and not self._done.is_set():
                self._leave(self._store.get("failed").decode())

    def _leave(self, word: str) -> None:
        """End this process at once, and let who has failed know; what is on disk is always whole."""
        first = ranks.rank() == 0
        self._store.add("known", 1)
        if first:  # its store must last until all others know
            self._until("known", ranks.world_size() - 1)
            self._until("told", 1)  # who started the first process waits for it alone
        os._exit(int(word.split()[1]) if first else 0)

    def _until(self, key: str, count: int) -> None:
        """Wait until so many processes know of the error, or have told it, for a while."""
        until = time.monotonic() + GRACE_SECONDS
        while self._store.add(key, 0) < count and time.monotonic() < until:
            time.sleep(POLL_SECONDS)


def _part() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
