"""When memory runs out: the numbers, and the largest batch that would have fitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..configuration.config import TrainSection
from ..scoring.memory import is_out_of_memory


def largest_batch(attempt: Callable[[int], Any], failed: int) -> int:
    """The most samples, below `failed`, for which `attempt` does not run out of memory; 0 where not even one will do.

    Args:
        attempt: does the work of a step on so many samples.
        failed: samples that were too many.
    """
    fits = 0
    while failed - fits > 1:
        middle = (fits + failed) // 2
        if _fits(attempt, middle):
            fits = middle
        else:
            failed = middle
    return fits


def _fits(attempt: Callable[[int], Any], samples: int) -> bool:
    try:
        attempt(samples)
    except RuntimeError as error:
        if is_out_of_memory(error):
            return False
        raise
    except ValueError:
        if samples > 1:
            raise
        return False  # batch normalisation cannot train on one value a channel
    finally:
        release()
    return True


def release() -> None:
    """Give cached memory of the GPU back."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def usage(device: torch.device) -> str:
    """What a GPU holds, in words."""
    free, total = torch.cuda.mem_get_info(device)
    own, most = torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
    others = total - free - torch.cuda.memory_reserved(device)
    return (
        f"the device has {gib(total)}, of which other programs hold {gib(others)}; "
        f"network and optimizer take {gib(own)}, the step had reached {gib(most)}"
    )


def gib(size: int) -> str:
    """Bytes in GiB."""
    return f"{size / 2**30:.2f} GiB"


def advice(attempt: Callable[[int], Any] | None, images: Tensor, train: TrainSection, reason: str) -> str:
    """The message about a batch that did not fit: its size, the device's numbers, the batch that fits.

    Args:
        attempt: see `largest_batch`; None where this process cannot try by itself.
        images: of the batch that failed.
        train: how large a step is to be.
        reason: what torch said, used where the device has no numbers.
    """
    held = usage(torch.device("cuda")) if torch.cuda.is_initialized() else ""
    size = "x".join(map(str, images.shape[1:]))
    if attempt is None:
        remedy = "lower train.batch_size, and raise train.accumulate for the same step in parts"
    else:
        remedy = smaller(largest_batch(attempt, len(images)), train.batch_size, train.accumulate)
    return f"out of memory with {len(images)} images of {size} a batch ({held or reason}); {remedy} (and another name)"


def smaller(fits: int, batch_size: int, accumulate: int) -> str:
    """The line that mends it: a batch that fits, and how to keep the step as large as it was."""
    if fits < 1:
        return "not even one sample fits: take a smaller data.size or a smaller network"
    parts = -(-batch_size // fits)
    same = batch_size // parts
    keeps = f"; the same step in parts: train.batch_size={same} train.accumulate={accumulate * parts}"
    return f"the largest batch that fits is train.batch_size={fits}" + (keeps if same * parts == batch_size else "")
