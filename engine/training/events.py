"""What TensorBoard shows of a training, where it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHOWN = ("loss", "score", "lr")


@contextmanager
def events(folder: Path, wanted: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Gives what writes a line of the log as events into a folder; it does nothing where they are not wanted."""
    if not wanted:
        yield lambda _: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:

        def write(entry: Mapping[str, Any]) -> None:
            for name in SHOWN:
                if entry[name] is not None:
                    writer.add_scalar(name, entry[name], entry["epoch"])

        yield write
