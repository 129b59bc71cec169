"""What is wrong with data, or with the processes that load it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class DataError(ValueError):
    """Data that cannot be used: one line naming the file, what was found, what was expected and what to do."""


@contextmanager
def killed_workers_explained() -> Iterator[None]:
    """Within, that a loader process was killed is a `DataError` of one line.

    A signal handler of torch raises it between any two lines of the training, not only where batches are waited for.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        reason = str(error).splitlines()[0].rstrip(". ")
        raise DataError(
            f"{reason}: out of memory, or of shared memory (/dev/shm)? Lower data.workers; run the same command to "
            "resume from the last checkpoint"
        ) from error
