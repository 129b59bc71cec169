"""Bit for bit the same: which algorithms the libraries may choose, and with how many threads they sum.

The CPU repeats itself for one number of threads. On a GPU cuDNN's repeatable convolutions are always chosen, and never
by trying which is fastest; networks resize and pool without atomic additions (`models.repeatable`); what else may be
added atomically, in scatter or gather, is what `train.deterministic` replaces or refuses. Float32 is float32: the
convolutions of newer GPUs would round their inputs to TF32.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import UsageError


def settle(deterministic: bool) -> None:
    """Choose the algorithms of this process.

    Args:
        deterministic: only those that repeat themselves, on the GPU too; those that cannot raise a `RuntimeError`.
    """
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when the GPU is first used
    if deterministic == torch.are_deterministic_algorithms_enabled():
        return
    torch.use_deterministic_algorithms(deterministic)
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010  # a debugging aid that costs time


def use_threads(threads: int | None) -> bool:
    """Compute with as many threads as a run began with; whether that is a change."""
    if threads is None or threads == torch.get_num_threads():
        return False
    torch.set_num_threads(threads)
    return True


@contextmanager
def refusals() -> Iterator[None]:
    """Within, what torch refuses under `train.deterministic` is a `UsageError` that names the operation."""
    try:
        yield
    except RuntimeError as error:
        found = re.match(r"(\S+) does not have a deterministic implementation", str(error))
        if found is None:
            raise
        raise UsageError(
            f"train.deterministic: true, but {found[1]} has no deterministic implementation on this device; "
            "choose another network or loss, train.device: cpu, or train.deterministic: false"
        ) from error
