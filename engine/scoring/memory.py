"""When memory runs out while scoring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import UsageError


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether this is torch's way to say that memory is short, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@contextmanager
def out_of_memory_explained() -> Iterator[None]:
    """Within, running out of memory is a `UsageError` that says what scoring can do about it."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UsageError(
            f"out of memory while scoring ({str(error).splitlines()[0]}); predict large images in windows: "
            "scores.window=[height, width] (for training under another name), or score on the network's grid: "
            "scores.grid=network"
        ) from error
