"""The loss of a batch that several processes share: exact where it follows from sums over pixels, else an average."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

import segloss
from segloss.overlap import OverlapLoss

from ..configuration.build import Loss
from . import ranks


def global_denominator(denominators: Sequence[Tensor], masks: Sequence[Tensor], loss: Loss) -> Tensor:
    """What the losses of all micro-batches and processes are divided by.

    Args:
        denominators: of the micro-batches of this process, `loss.denominator`, or those of the levels of deep
            supervision.
        masks: the labels of the same.
        loss: as configured.

    Returns:
        Their sum; over several processes without those batches that hold no pixel which counts, and 1 where none does.
        A loss that every process has of the whole batch counts in every process, if any of them holds such a pixel.
    """
    if ranks.world_size() == 1:
        return torch.stack(list(denominators)).sum(0)
    held = torch.stack([(mask != loss.ignore_index).any() for mask in masks])
    counted = [each * here for each, here in zip(denominators, held, strict=True)]
    total = ranks.all_reduce(torch.stack(counted).sum(0))
    exact = torch.tensor([is_exact(part) for part in _parts(loss)]).to(total.device, non_blocking=True)
    batches = ranks.world_size() * (ranks.all_reduce(held.int()) > 0).sum()
    total = torch.where(exact, batches, total).view(total.shape)
    return torch.where(total == 0, 1, total)


@contextmanager
def exact_over_ranks(loss: Loss) -> Iterator[None]:
    """Let losses of sums be those of whole batches, in every process, while these share the batches.

    Divided by `global_denominator`, values and gradients add up over the processes, as those of other losses do.
    """
    parts = [part for part in _parts(loss) if is_exact(part)] if ranks.world_size() > 1 else []
    for part in parts:
        part.over_ranks = _sum_over_ranks
    try:
        yield
    finally:
        for part in parts:
            part.over_ranks = None


def is_exact(loss: nn.Module) -> bool:
    """Whether a loss is a function of sums over pixels; a loss per image is a mean over images."""
    return isinstance(loss, OverlapLoss) and not loss.per_image


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _sum_over_ranks(own: Tensor) -> Tensor:
    return ranks.all_reduce(own.detach().clone()) + ranks.world_size() * (own - own.detach())


def _parts(loss: Loss) -> list[Any]:
    return list(loss.losses) if isinstance(loss, segloss.WeightedSum) else [loss]
