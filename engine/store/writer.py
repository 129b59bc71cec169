"""Checkpoints are hashed and written in a thread while training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from datasets import DataError

from .checkpoint import Snapshot

Files = Sequence[tuple[Path, Snapshot]]


class CheckpointWriter:
    """Writes one group of files at a time, each atomically, in the order given.

    As a context it has written all when it is left; an error that leads out of it goes before one of writing.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def start(self, files: Files) -> None:
        """Begin to write, once what is being written is whole; a `DataError` of `wait`."""
        self.wait()
        self._writing = self._thread.submit(_write, files)

    def wait(self) -> None:
        """Wait until all is written; a `DataError` where it could not be, the previous files still whole."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        except DataError:
            if kind is None:
                raise


def _write(files: Files) -> None:
    for path, snapshot in files:
        snapshot.write(path)
