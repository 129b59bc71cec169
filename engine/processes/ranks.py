"""What the processes of one training tell each other; where there is one process, each function gives what it is given.

Numbers that a GPU works out are summed on the GPUs; all else goes from processor to processor, and waits for no GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, zip_longest
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

import datasets
from models import SegmentationModel, unused_parameters

from ..errors import UsageError

Value = TypeVar("Value")


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return distributed.get_rank() if world_size() > 1 else 0


def all_reduce(tensor: Tensor) -> Tensor:
    """The sum of a tensor over the processes, on its device; the tensor itself holds it afterwards."""
    if world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def all_gather(value: Value) -> list[Value]:
    """What each process gives, by their numbers."""
    if world_size() == 1:
        return [value]
    values: list[Value | None] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def any_of(*flags: bool) -> list[bool]:
    """Of each flag, whether it is set in any process."""
    found: list[bool] = all_reduce(torch.tensor(flags, dtype=torch.int32)).bool().tolist()
    return found


def barrier() -> None:
    """Wait until all processes have come here."""
    any_of(False)


def seed_rank(seed: int, step: int) -> None:
    """Seed what this process draws in a step, dropout say: others than its neighbours, and the same after a resume."""
    if world_size() > 1:
        torch.manual_seed(int(np.random.SeedSequence([seed, step, rank()]).generate_state(1)[0]))


def gather_batches(group: Sequence[datasets.PackedSample]) -> Sequence[datasets.PackedSample]:
    """Batches that processes have divided among them, as `datasets.TrainingBatches` does, put together again."""
    if world_size() == 1:
        return group
    return [_interleaved(parts) for parts in zip(*all_gather(group), strict=True)]


def _interleaved(parts: Sequence[datasets.PackedSample]) -> datasets.PackedSample:
    parts = [part for part in parts if datasets.PADDING not in torch.as_tensor(part["index"])]  # it is alone
    joined: Any = {}
    for key in parts[0]:
        each: list[Any] = [torch.as_tensor(part[key]).unbind() for part in parts]  # type: ignore[literal-required]
        joined[key] = torch.stack([row for rows in zip_longest(*each) for row in rows if row is not None])
    found: datasets.PackedSample = joined
    return found


def partition(sizes: Sequence[int], number: int, count: int) -> list[int]:
    """The items that a process works on: of `count` runs of neighbours, about equal in size, the one of its number."""
    middles = [end - size / 2 for end, size in zip(accumulate(sizes), sizes, strict=True)]
    return [item for item, middle in enumerate(middles) if int(middle * count / sum(sizes)) == number]


def share_statistics(model: SegmentationModel, device: torch.device) -> SegmentationModel:
    """The model, its batch normalisation over the batches of all processes where they have GPUs; its names stay.

    Raises:
        UsageError: on the CPU, where each process normalises by itself, a network that cannot by one image.
    """
    if world_size() == 1:
        return model
    if device.type != "cpu":
        from timm.layers.norm_act import convert_sync_batchnorm  # takes a second to import

        shared: SegmentationModel = convert_sync_batchnorm(model)  # that of torch would drop activations of timm
        return shared
    if model.pools_image:
        raise UsageError(
            "model: has batch normalisation over one value an image, and on the CPU each process normalises by its own "
            "share of a batch; train with GPUs, or with one process"
        )
    return model


def take_statistics_of_first(model: nn.Module) -> None:
    """Give all processes the running statistics of the first, where they may differ."""
    if world_size() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def leave_out_unused(model: SegmentationModel, channels: int) -> None:
    """Mark the parameters that no logit depends on as not trained: the processes would wait for their gradients."""
    if world_size() == 1:
        return
    coarse = tuple(
        f"{name}." for name in model.coarse_heads
    )  # no logit of a prediction depends on them, but a loss does
    wanted = [one for name, one in model.named_parameters() if one.requires_grad and not name.startswith(coarse)]
    images = torch.zeros(1, channels, 8, 8, device=wanted[0].device)
    for parameter in unused_parameters(model, wanted, images):
        parameter.requires_grad_(False)


def has_batch_statistics(model: nn.Module) -> bool:
    """Whether a network normalises by the batch."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())
