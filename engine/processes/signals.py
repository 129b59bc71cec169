"""SIGTERM, which schedulers send before they take a machine away, and Ctrl-C: requests to save and stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


def exit_with_parent() -> None:
    """Send this process SIGTERM when its standard input closes, as it does when its parent process ends."""

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin: forked data loaders close it, and would wait for its lock for ever
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


STOPPED = 75
"""The exit code of `train --exit-with-parent` after SIGTERM: it has saved, and can be resumed."""


class Stopped(BaseException):
    """After a request to stop, once everything is saved.

    After SIGTERM the exit code is 0, so that a scheduler can queue the job again; after Ctrl-C it is 130.
    """


class Stop:
    """Turns SIGTERM and Ctrl-C into a request that training answers between two steps, never within one.

    A second Ctrl-C stops at once, as a `KeyboardInterrupt`, and what is not saved is lost.

    Args:
        listens: false leaves both signals their usual effect.

    Attributes:
        asked: whether one of them has come.
        by: what asked, in words.
        alone: false where several processes train together: they must stop after the same step, so none stops at once.
    """

    def __init__(self, listens: bool = True) -> None:
        self.asked = False
        self.by = "SIGTERM"
        self.alone = True
        self._at_once = False
        self._before: dict[int, object] = {}
        self._listens = listens and threading.current_thread() is threading.main_thread()  # Python's rule

    def __enter__(self) -> Stop:
        if self._listens:
            # a shell has background jobs ignore Ctrl-C, which is for what stands in front
            heard = [signal.SIGTERM, *([] if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else [signal.SIGINT])]
            self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before or signal.SIG_DFL)  # type: ignore[arg-type]

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """A block in which a request raises `Stopped` at once: for work that can end anywhere without harm."""
        self._at_once = self.alone
        try:
            if self.asked and self.alone:
                raise Stopped
            yield
        except Exception as error:
            if self.asked and self.alone:
                raise Stopped from error  # some libraries raise an error of their own in its place
            raise
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if number == signal.SIGINT:
            if self.asked:
                raise KeyboardInterrupt
            self.by = "Ctrl-C"
        self.asked = True
        if self._at_once:
            self._at_once = False  # once: what ends by the first signal is not interrupted by the next
            raise Stopped
