"""What TensorBoard and Weights & Biases show of a training, where they are wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from ..configuration.config import TrainSection
from ..errors import UsageError
from ..experiment.run import Run
from ..pictures.chart import rendered

SHOWN = ("loss", "score", "lr")
PROJECT = "segloss"
"""Of Weights & Biases, where WANDB_PROJECT names none."""

Pictures = Mapping[str, NDArray[np.uint8]]
Write = Callable[[int, Mapping[str, float], Pictures], None]
"""Is given an epoch, its numbers, and its pictures, `(rows, columns, 3)` each."""


@contextmanager
def events(
    run: Run, config: TrainSection, draw: Callable[[], Mapping[str, Figure]]
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Gives what writes a line of the log where it is wanted; it does nothing, and draws nothing, where it is not.

    Args:
        run: the folder; of several processes the first one writes.
        config: says what is wanted.
        draw: draws the pictures of an epoch that was validated.
    """
    with ExitStack() as stack:
        writers: list[Write] = []
        if config.tensorboard and run.writes:
            writers.append(stack.enter_context(_tensorboard(run)))
        if config.wandb and run.writes:
            writers.append(stack.enter_context(_wandb(run)))

        def write(entry: Mapping[str, Any]) -> None:
            drawn = draw() if writers and entry.get("validation") else {}
            pictures = {name: _pixels(figure) for name, figure in drawn.items()}
            numbers = {name: entry[name] for name in SHOWN if entry[name] is not None}
            for each in writers:
                each(entry["epoch"], numbers, pictures)

        yield write


@contextmanager
def _tensorboard(run: Run) -> Iterator[Write]:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run.path / "tensorboard")) as writer:

        def write(epoch: int, numbers: Mapping[str, float], pictures: Pictures) -> None:
            for name, number in numbers.items():
                writer.add_scalar(name, number, epoch)
            for name, picture in pictures.items():
                writer.add_image(name, picture, epoch, dataformats="HWC")

        yield write


@contextmanager
def _wandb(run: Run) -> Iterator[Write]:
    """One run of Weights & Biases for each start of a run; a `UsageError` where nobody is logged in."""
    import wandb

    folder = run.path.resolve()
    name = folder.name
    while folder.name.startswith(("fold-", "seed-")):
        folder = folder.parent
        name = f"{folder.name}, {name}"
    try:
        begun = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=name,
            group=folder.parent.name,
            dir=str(run.path),
            config=run.config().document(),
            settings=wandb.Settings(console="off", disable_git=True, save_code=False),
        )
    except (wandb.errors.Error, OSError) as error:
        raise UsageError(f"train.wandb: {error}; WANDB_MODE=offline needs no login") from error
    with begun:

        def write(epoch: int, numbers: Mapping[str, float], pictures: Pictures) -> None:
            shown = {name: wandb.Image(picture) for name, picture in pictures.items()}
            begun.log({"epoch": epoch, **numbers, **shown}, step=epoch)

        yield write


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(rendered(figure, ".png", dpi=80))).convert("RGB"))
