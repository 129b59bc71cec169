"""What started this process: torchrun, srun, the first process of its training, or a person."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, NamedTuple

from ..errors import UsageError

OWN = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
"""The environment variables of a launcher, beside those that begin with one of `OWN_PREFIXES`."""
OWN_PREFIXES = ("TORCHELASTIC_", "SLURM_STEP_")


class ProcessInfo(NamedTuple):
    """This process among those that were started with it.

    Attributes:
        launcher: what started them; None for a person, or for the first process of the training itself.
        rank: the number among all of them, from 0.
        local_rank: the number among those of this machine.
        world_size: how many there are; without a launcher 1, whatever `train.devices` says.
        local_world_size: how many of them a machine has; 0 where srun does not say.
    """

    launcher: Literal["torchrun", "srun"] | None = None
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    local_world_size: int = 1

    @property
    def reports_errors(self) -> bool:
        """Whether this process prints an error from before the process group exists: one process a machine does.

        A process that the training itself has started runs where the first one found no error: its own are new.
        """
        return self.launcher is None or self.local_rank == 0


def process_info(environ: Mapping[str, str] = os.environ) -> ProcessInfo:
    """What the environment says of this process."""

    def number(key: str, default: str = "") -> int:
        return int(environ.get(key, default))

    if "TORCHELASTIC_RUN_ID" in environ:
        local = number("LOCAL_WORLD_SIZE")
        return ProcessInfo("torchrun", number("RANK"), number("LOCAL_RANK"), number("WORLD_SIZE"), local)
    if (world_size := number("SLURM_STEP_NUM_TASKS", "1")) > 1:
        local = number("SLURM_NTASKS_PER_NODE", "0")
        return ProcessInfo("srun", number("SLURM_PROCID"), number("SLURM_LOCALID"), world_size, local)
    rank = number("LOCAL_RANK", "0")
    return ProcessInfo(rank=rank, local_rank=rank)


def without_launcher(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without what a launcher has put into it: for a training that is started by itself."""
    return {key: value for key, value in environ.items() if key not in OWN and not key.startswith(OWN_PREFIXES)}


def refuse_several(verb: str) -> None:
    """Raise a `UsageError` where a launcher has started several processes for a verb that works in one."""
    info = process_info()
    if info.world_size > 1:
        raise UsageError(
            f"{verb}: works in one process, but {info.launcher} has started {info.world_size}; only train shares its "
            f"work among several. Call it without {info.launcher}"
        )
