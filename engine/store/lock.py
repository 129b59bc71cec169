"""One process at a time on a run's folder.

The kernel's lock on `.lock` is what counts: it goes when its process dies, however that dies, and loader processes do
not inherit it. The note in the file names the holder. Where the kernel cannot say (another machine on a file system
whose locks are local, or one without locks) the holder's heartbeat does: it touches the file every few seconds. A
holder that was silent so long that another has taken the run over ends when it comes back, and writes nothing more.

Who holds the folder alone may tell a half-written file of a process that was killed from one that is being written, so
the lock removes them when it is taken.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from datasets import DataError
from datasets.files import cannot_write, leftovers

from ..errors import UsageError

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None  # Windows: the heartbeat alone
HEARTBEAT = 5.0
"""Seconds between two signs of life."""
PATIENCE = 4 * HEARTBEAT
"""How long a holder that only its heartbeat can tell of may be silent."""
SILENCE = 24 * HEARTBEAT
"""How long a holder may be silent that the kernel says is there: file servers keep the locks of a dead machine."""
FILE, CONFIG = ".lock", "config.yaml"
"""The file that is locked, and the one that a run has from its beginning to its end."""


class _HeldError(UsageError):
    """Another process holds the run."""


class Lock:
    """Holds a run's folder, which is made where it is missing, and removed again if nothing has come into it.

    Half-written files of processes that were killed are removed, in the folders below too, but not in those of other
    runs: these have locks of their own.

    Args:
        folder: the run's folder.
        waits: wait for another process that holds it, and tell this; None to refuse.

    Raises:
        UsageError: on entering, where another process holds it, or has gone silent while it was waited for; the line
            names its process number and machine.
        DataError: the folder cannot be written.
    """

    def __init__(self, folder: Path, waits: Callable[[str], None] | None = None) -> None:
        self.folder, self.path, self.waits = folder, folder / FILE, waits
        self._note: dict[str, Any] = {"process": os.getpid(), "host": socket.gethostname()}
        self._handle = -1
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Lock:
        try:
            self._hold()
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, json.dumps(self._note).encode(), 0)
        except OSError as error:
            self._close()
            raise DataError(f"{self.path}: {cannot_write(error, self.folder)}") from error
        except BaseException:
            self._close()
            raise
        try:
            self._thread.start()
            self._remove_leftovers()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(OSError):
            self.path.unlink()  # while it is still held: who opened this file meanwhile sees that it is gone
        self._close()
        with suppress(OSError):
            self.folder.rmdir()  # succeeds where nothing has come into it

    def _remove_leftovers(self) -> None:
        for name, below, _ in os.walk(self.folder):
            folder = Path(name)
            below[:] = [one for one in below if not any((folder / one / own).exists() for own in (FILE, CONFIG))]
            for path in leftovers(folder, "*"):
                with suppress(OSError):  # a folder of this name, or one that others may write: it stops no run
                    path.unlink()

    def _hold(self) -> None:
        """Take the file, from nobody who lives."""
        announced, changed, since = False, 0, time.monotonic()
        while True:
            try:
                if not self._take():
                    self._await_silence()
                return
            except _HeldError as held:
                if self.waits is None:
                    raise
                if not announced:
                    self.waits(f"{self._at_work()}; waits for it")
                    announced = True
                if os.fstat(self._handle).st_mtime_ns != changed:
                    changed, since = os.fstat(self._handle).st_mtime_ns, time.monotonic()
                elif time.monotonic() - since > SILENCE:
                    raise UsageError(
                        f"{self._at_work()}, but its lock has not been touched for {SILENCE:.0f} seconds; if its "
                        f"machine is down, remove {self.path}"
                    ) from held
                self._close()
                time.sleep(min(1.0, SILENCE / 4))

    def _take(self) -> bool:
        """Open and lock the file; whether the kernel's word is enough that nobody else holds it."""
        while True:
            with suppress(FileNotFoundError):  # the folder or the file went with its last holder: once more
                self.folder.mkdir(parents=True, exist_ok=True)
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
                locked = self._lock()
                if os.path.samestat(self.path.stat(), os.fstat(self._handle)):
                    return locked and self._holder().get("host") in (None, socket.gethostname())
            self._close()

    def _lock(self) -> bool:
        """Ask the kernel; false where it knows no locks here."""
        if fcntl is None:
            return False
        try:
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise self._refusal() from None
            return False
        return True

    def _await_silence(self) -> None:
        """Refuse where the file is touched while we look."""
        if not self._holder():
            return
        before, until = os.fstat(self._handle).st_mtime_ns, time.monotonic() + PATIENCE
        while time.monotonic() < until:
            time.sleep(min(0.5, PATIENCE / 4))
            if self.path.stat().st_mtime_ns != before:
                raise self._refusal()

    def _refusal(self) -> UsageError:
        return _HeldError(f"{self._at_work()}; wait for it or stop it, or give this one a name of its own")

    def _at_work(self) -> str:
        holder = self._holder()
        who = f"process {holder.get('process')} on {holder.get('host')}" if holder else "another process"
        return f"{self.folder}: {who} is at work on this run"

    def _holder(self) -> dict[str, Any]:
        """The note in the file; empty where there is none."""
        try:
            found = json.loads(os.pread(self._handle, 4096, 0))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT):
            with suppress(OSError):
                os.utime(self._handle)
                if self._holder() != self._note or not os.path.samestat(self.path.stat(), os.fstat(self._handle)):
                    sys.stderr.write(f"{self.folder}: taken over by another process while this one was silent\n")
                    sys.stderr.flush()
                    os._exit(2)  # at once: what this process would save is not the last word any more

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


def remove_left(folder: Path) -> None:
    """Remove the lock and the half-written files that a killed process has left; none where another is at work."""
    if (folder / FILE).exists():
        with suppress(_HeldError, DataError), Lock(folder):  # a folder that cannot be written is left as it is
            pass
