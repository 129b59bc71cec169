"""Being asked to stop: SIGTERM, as schedulers send it before they take a machine away."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


def exit_with_parent() -> None:
    """Send this process SIGTERM when its standard input closes: when who started it has ended."""

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin: forked loaders close it, and would wait for its lock for ever
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


STOPPED = 75
"""The exit code of a cell that was stopped and has saved: to be tried again."""


class Stopped(BaseException):
    """SIGTERM has come and all that was to be saved is saved: exit code 0, so that the job can be queued again."""


class Stop:
    """Turns SIGTERM into a request that is answered between two steps, never within one.

    Args:
        listens: false leaves SIGTERM to do what it does.

    Attributes:
        asked: whether SIGTERM has come.
        alone: false where several processes train together: they must leave at the same step, so none does at once.
    """

    def __init__(self, listens: bool = True) -> None:
        self.asked = False
        self.alone = True
        self._at_once = False
        self._before: object = None
        self._listens = listens and threading.current_thread() is threading.main_thread()  # Python's rule

    def __enter__(self) -> Stop:
        if self._listens:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listens:
            signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)  # type: ignore[arg-type]

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """Within, SIGTERM raises `Stopped` at once: for work that leaves nothing half done."""
        if self.asked and self.alone:
            raise Stopped
        self._at_once = self.alone
        try:
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.asked = True
        if self._at_once:
            raise Stopped
