"""Whether a run has room to write, asked before it trains for hours."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from datasets import DataError

REST = 16 * 2**20
"""Bytes for the log, the figures and the scores."""


def refuse_small_disk(folder: Path, model: nn.Module, optimizer: Optimizer, average: bool = False) -> None:
    """Raise a `DataError` with the numbers where the checkpoints of a run will not fit.

    Args:
        folder: where they go; what is there already, is overwritten by and by and needs no more room.
        model: saved in `best` and `last`.
        optimizer: its moments are saved in `last`.
        average: of the weights, is saved in `last` too, and in the end by itself.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    trained = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    moments = 1 if isinstance(optimizer, torch.optim.SGD) else 2
    last = weights + (moments + average) * trained
    held = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    needed = last + (1 + average) * weights + last + REST - held  # the old `last` is kept until the new one is whole
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{folder}: {free / 2**20:.0f} MiB free, but the checkpoints need {needed / 2**20:.0f} MiB; "
            "free some space, or choose another output"
        )
