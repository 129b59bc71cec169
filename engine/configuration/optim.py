"""Optimizers and learning-rate schedules by name.

A schedule is a pure function of how far the training has come; torch's `LambdaLR` applies it at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.optim import Optimizer


class Progress(NamedTuple):
    """How far a training has come.

    Attributes:
        step: steps taken; of a training by the clock, seconds passed.
        steps: of the whole training, in the same unit.
        epoch: counted from 0.
    """

    step: float
    steps: float
    epoch: int


Schedule = Callable[[Progress], float]
"""The factor on the learning rate."""
Groups = list[dict[str, Any]]


def adam(
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    *,
    groups: Groups,
) -> Optimizer:
    """Adam, with L2 weight decay added to the gradient.

    Args:
        lr: the learning rate, > 0.
        betas: how much of the running means of the gradient and of its square is kept at each step.
        eps: added to the denominator.
        weight_decay: ≥ 0; of what `decay` says.
        groups: of parameters.
    """
    _check_rates(lr, weight_decay)
    return torch.optim.Adam(groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def adamw(
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    *,
    groups: Groups,
) -> Optimizer:
    """Adam with decoupled weight decay.

    Args:
        lr: the learning rate, > 0.
        betas: how much of the running means of the gradient and of its square is kept at each step.
        eps: added to the denominator.
        weight_decay: ≥ 0, times the learning rate; of what `decay` says.
        groups: of parameters.
    """
    _check_rates(lr, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def sgd(
    lr: float = 0.01, momentum: float = 0.9, nesterov: bool = False, weight_decay: float = 0.0, *, groups: Groups
) -> Optimizer:
    """Stochastic gradient descent with momentum (the papers' SGDM).

    Args:
        lr: the learning rate, > 0.
        momentum: in [0, 1), how much of the last step is taken again.
        nesterov: look ahead along the momentum.
        weight_decay: ≥ 0; of what `decay` says.
        groups: of parameters.
    """
    _check_rates(lr, weight_decay)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}")
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adam": adam, "adamw": adamw, "sgd": sgd}


def constant() -> Schedule:
    """The same learning rate throughout."""
    return lambda _: 1.0


def step(every: int, factor: float = 0.1) -> Schedule:
    """Multiply by `factor` every `every` epochs.

    Args:
        every: epochs, ≥ 1.
        factor: > 0.
    """
    _positive("every", every)
    _positive("factor", factor)
    return lambda at: float(factor ** (at.epoch // every))


def multistep(at: list[int], factor: float = 0.1) -> Schedule:
    """Multiply by `factor` at each of these epochs, counted from 0.

    Args:
        at: epochs, each ≥ 1.
        factor: > 0.
    """
    if not at or min(at) < 1:
        raise ValueError(f"at must list epochs ≥ 1, got {at}")
    _positive("factor", factor)
    return lambda now: float(factor ** sum(now.epoch >= epoch for epoch in at))


def poly(power: float = 0.9) -> Schedule:
    """(1 − step/steps)^power, as DeepLab and PSPNet use it.

    Args:
        power: > 0; 1 falls along a line.
    """
    _positive("power", power)
    return lambda at: float((1 - at.step / at.steps) ** power)


def cosine(floor: float = 0.0) -> Schedule:
    """From 1 to `floor` along half a cosine, step by step.

    Args:
        floor: the factor at the end, in [0, 1].
    """
    if not 0 <= floor <= 1:
        raise ValueError(f"floor must be in [0, 1], got {floor}")
    return lambda at: floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * at.step / at.steps))


def one_cycle(rise: float = 0.3, start: float = 25.0, end: float = 1e4) -> Schedule:
    """Up from 1/`start` to 1 over the share `rise` of the steps, then down to 1/`start`/`end` (Smith 2018).

    Args:
        rise: the share of the steps that goes up, in (0, 1).
        start: the rate is divided by so much at first, > 0.
        end: and by so much more at the end, > 0.
    """
    if not 0 < rise < 1:
        raise ValueError(f"rise must be in (0, 1), got {rise}")
    _positive("start", start)
    _positive("end", end)

    def factor(at: Progress) -> float:
        peak, last = rise * at.steps - 1, at.steps - 1
        if at.step <= peak:
            low, high, share = 1 / start, 1.0, at.step / max(peak, 1)
        else:
            low, high, share = 1.0, 1 / start / end, (at.step - peak) / max(last - peak, 1)
        return high + (low - high) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

    return factor


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "step": step,
    "multistep": multistep,
    "poly": poly,
    "cosine": cosine,
    "one_cycle": one_cycle,
}


def warmup_steps(warmup: int | str, steps_per_epoch: int) -> int:
    """Steps of a warm-up that is given as their number or as epochs.

    >>> warmup_steps(100, 40), warmup_steps("5 epochs", 40)
    (100, 200)
    """
    return warmup if isinstance(warmup, int) else int(warmup.split()[0]) * steps_per_epoch


def scheduled(
    optimizer: Optimizer, schedule: Schedule, progress: Callable[[int], Progress], warmup: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Let a schedule set the learning rate at every step, rising linearly over the first `warmup` steps.

    Args:
        optimizer: its groups' learning rates are multiplied.
        schedule: the factor.
        progress: how far the training is at a step.
        warmup: steps from 1/(warmup + 1) to the schedule's own factor.
    """

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / (warmup + 1)) * schedule(progress(step))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _check_rates(lr: float, weight_decay: float) -> None:
    _positive("lr", lr)
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be ≥ 0, got {weight_decay}")


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be > 0, got {value}")
