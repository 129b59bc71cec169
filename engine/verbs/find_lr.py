"""A learning rate from a short sweep: the rate grows with every step until the loss does (Smith 2017)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.optim.lr_scheduler import LambdaLR

from ..configuration.config import Config
from ..console.display import Display
from ..errors import UsageError
from ..experiment.device import launch
from ..experiment.experiment import prepare
from ..experiment.folds import Folds, fold_configs
from ..experiment.run import Run
from ..pictures.chart import write_figure
from ..pictures.palette import OKABE_ITO
from ..scoring.results import training_command
from ..store.files import write_json
from ..store.lock import Lock
from ..store.outputs import Outputs
from ..training.trainer import Trainer

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
NUMBERS, PICTURE = "lr.json", "lr.png"
WIDTH = 3.0
"""The deviation, in steps, of the mean around a step: the loss of one batch says little."""
DIVERGED = 4.0
"""The sweep ends where the loss is so many times the lowest one so far; see `diverged`."""
BELOW = 10.0
"""The rate at the lowest loss is about to be too high: training takes one so many times lower."""


def find_lr(config: Config, path: Path, overrides: Sequence[str], display: Display) -> None:
    """Sweep the learning rate over up to 100 steps on the training part, draw the losses and name a rate.

    The run itself is not touched: curve and numbers go to output/name-lr.

    Raises:
        UsageError, DataError: bad input; a loss that falls at no rate.
    """
    folder = Path(config.output) / f"{config.name}-lr"
    outputs = Outputs(folder, "train --find-lr", "choose another name or output")
    outputs.claim([NUMBERS, PICTURE])
    config = fold_configs(config)[0] if Folds.wanted(config) else config
    with Lock(folder):
        rates, losses = _try_rates(config, Run(folder), display)
        best = suggestion(rates, losses)
        with outputs.writing(NUMBERS, PICTURE):
            write_json(folder / NUMBERS, {"suggestion": best, "rates": rates, "losses": losses})
            write_figure(curve(rates, losses, best), folder / PICTURE)
    display.line(f"curve: {folder / PICTURE}, its numbers beside it")
    if best is None:
        raise UsageError(
            f"{folder / NUMBERS}: the loss falls at no learning rate from {LOWEST:g} to {HIGHEST:g}; look at the "
            "data (train_seg.py check) and the loss"
        )
    display.line(f"learning rate: {best:.1e}, a tenth of the one that led to the lowest loss; now {config.optim.lr:g}")  # type: ignore[attr-defined]
    display.line(f"  {training_command(config, path, *overrides, f'optim.lr={best:.1e}')}")


def _try_rates(config: Config, scratch: Run, display: Display) -> tuple[list[float], list[float]]:
    """The rates that were tried, until the loss diverged, and the loss before the step at each."""
    trainer = Trainer(prepare(config, scratch, display), scratch, launch(config.train), display)
    rates = np.geomspace(LOWEST, HIGHEST, STEPS).tolist()
    losses: list[float] = []
    with closing(trainer):
        for loss in display.track("trying learning rates")(sweep(trainer, rates), STEPS):
            if not math.isfinite(loss):
                break
            losses.append(loss)
            if diverged(smoothed(losses)):
                break
    return rates[: len(losses)], losses


def sweep(trainer: Trainer, rates: Sequence[float]) -> Iterator[float]:
    """Take one step at each learning rate, over as many epochs as that needs; gives the loss of each."""
    stepper = trainer.stepper
    base = float(stepper.schedule.base_lrs[0])
    last = len(rates) - 1
    stepper.schedule = LambdaLR(stepper.optimizer.optimizer, lambda step: rates[min(step, last)] / base)
    stepper.forward.train()
    for epoch in count():
        for group in trainer.groups(epoch):
            yield float(trainer.step(group))
            if trainer.state.step == len(rates):
                return


def smoothed(losses: Sequence[float]) -> NDArray[np.float64]:
    """The mean of the losses around each step, Gaussian, so that it lags neither way."""
    steps = np.arange(len(losses))
    weights = np.exp(-0.5 * ((steps - steps[:, None]) / WIDTH) ** 2)
    return np.asarray(weights @ np.asarray(losses) / weights.sum(1), dtype=np.float64)


def diverged(means: NDArray[np.float64]) -> bool:
    """Whether the last of some smoothed losses is far above the lowest: `DIVERGED` times as high.

    Of a loss that falls below 0, as `boundary` does, so much in terms of how far it had fallen, or of its size.
    """
    lowest = float(means.min())
    scale = lowest if lowest > 0 else max(float(means[0]) - lowest, -lowest)
    return bool(means[-1] - lowest > (DIVERGED - 1) * scale)


def suggestion(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """A tenth of the rate that led to the lowest smoothed loss; None where it never falls below its start.

    Args:
        rates: of each step.
        losses: of each step, before its update: that of a step comes of the rates before.
    """
    if len(losses) < 2:
        return None
    lowest = int(smoothed(losses).argmin())
    return rates[lowest - 1] / BELOW if lowest else None


def curve(rates: Sequence[float], losses: Sequence[float], best: float | None) -> Figure:
    """The losses over the learning rates, as they are and smoothed, and the rate to take."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.plot(rates, losses, ".", color=OKABE_ITO[2], label="loss of a batch")
    axis.plot(rates, smoothed(losses), color=OKABE_ITO[5], label="smoothed")
    if best is not None:
        axis.axvline(best, color=OKABE_ITO[6], linestyle="--", label=f"suggestion {best:.1e}")
    axis.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axis.xaxis.set_major_formatter("{x:.0e}")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure
