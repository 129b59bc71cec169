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

from .checking import load_config
from .display import Display
from .errors import UsageError
from .experiment import launch
from .folds import Folds, fold_configs
from .palette import OKABE_ITO
from .run import Run, write_json
from .training import Trainer
from .verbs import prepare

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
SMOOTH = 0.9
"""How much of the mean of the losses before goes into the next: one batch says little."""
DIVERGED = 4.0
"""The sweep ends where the loss is so many times the lowest one so far."""
BELOW = 10.0
"""The rate at the lowest loss is about to be too high: training takes one so many times lower."""


def find_lr(path: Path, overrides: Sequence[str], display: Display) -> None:
    """Sweep the learning rate over up to 100 steps on the training part, draw the losses and name a rate.

    The run itself is not touched: curve and numbers go to output/name-lr.

    Raises:
        UsageError, DataError: bad input; a loss that falls at no rate.
    """
    config = load_config(path, overrides)
    folder = Path(config.output) / f"{config.name}-lr"
    config = fold_configs(config)[0] if Folds.wanted(config) else config
    scratch = Run(folder)
    fabric = launch(config.train)
    trainer = Trainer(prepare(config, scratch, display), scratch, fabric, display)
    rates = np.geomspace(LOWEST, HIGHEST, STEPS).tolist()
    losses: list[float] = []
    lowest = math.inf
    with closing(trainer):
        for loss in display.track("trying learning rates")(sweep(trainer, rates), STEPS):
            if not math.isfinite(loss):
                break
            losses.append(loss)
            now = float(smoothed(losses)[-1])
            lowest = min(lowest, now)
            if now > DIVERGED * lowest:
                break
    rates = rates[: len(losses)]
    best = suggestion(rates, losses)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "lr.json", {"suggestion": best, "rates": rates, "losses": losses})
    curve(rates, losses, best).savefig(folder / "lr.png", dpi=110)
    display.line(f"curve: {folder / 'lr.png'}, its numbers beside it")
    if best is None:
        raise UsageError(
            f"{folder / 'lr.json'}: the loss falls at no learning rate from {LOWEST:g} to {HIGHEST:g}; look at the "
            "data (train_seg.py check) and the loss"
        )
    display.line(f"learning rate: {best:.1e}, a tenth of that with the lowest loss; now {config.optim.lr:g}")  # type: ignore[attr-defined]
    display.line(f"  train_seg.py train {path} {' '.join([*overrides, f'optim.lr={best:.1e}'])}")


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
    """The exponential mean of the losses up to each step, its start corrected as in Adam."""
    mean, means = 0.0, []
    for step, loss in enumerate(losses, start=1):
        mean = SMOOTH * mean + (1 - SMOOTH) * loss
        means.append(mean / (1 - SMOOTH**step))
    return np.array(means)


def suggestion(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """A tenth of the rate at the lowest smoothed loss; None where it never falls below its start."""
    if len(losses) < 2:
        return None
    means = smoothed(losses)
    lowest = int(means.argmin())
    return rates[lowest] / BELOW if lowest else None


def curve(rates: Sequence[float], losses: Sequence[float], best: float | None) -> Figure:
    """The losses over the learning rates, as they are and smoothed, and the rate to take."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.plot(rates, losses, ".", color=OKABE_ITO[2], label="loss of a batch")
    axis.plot(rates, smoothed(losses), color=OKABE_ITO[5], label="smoothed")
    if best is not None:
        axis.axvline(best, color=OKABE_ITO[6], linestyle="--", label=f"suggestion {best:.1e}")
    axis.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure
