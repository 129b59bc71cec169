"""Who started this process: torchrun or srun beside others of its training, the first of these itself, or a person."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, NamedTuple

from ..errors import UsageError


class Place(NamedTuple):
    """The place of a process among those that were started with it.

    Attributes:
        launcher: what started them; None for a person, or for the first process of the training itself.
        rank: the number among all of them, from 0.
        local_rank: the number among those of this machine.
        processes: how many there are; what `train.devices` says, not this, where there is no launcher.
        local: how many of them a machine has, 0 where srun was not told.
    """

    launcher: Literal["torchrun", "srun"] | None = None
    rank: int = 0
    local_rank: int = 0
    processes: int = 1
    local: int = 1

    @property
    def tells(self) -> bool:
        """Whether what is found before the processes know each other is this one's to tell: once a machine.

        A process that the training itself has started stands where its first one has passed: what it finds is news.
        """
        return self.launcher is None or self.local_rank == 0


def place(environ: Mapping[str, str] = os.environ) -> Place:
    """The place of this process, by its environment."""

    def number(key: str, default: str = "") -> int:
        return int(environ.get(key, default))

    if "TORCHELASTIC_RUN_ID" in environ:
        local = number("LOCAL_WORLD_SIZE")
        return Place("torchrun", number("RANK"), number("LOCAL_RANK"), number("WORLD_SIZE"), local)
    if (processes := number("SLURM_STEP_NUM_TASKS", "1")) > 1:
        local = number("SLURM_NTASKS_PER_NODE", "0")
        return Place("srun", number("SLURM_PROCID"), number("SLURM_LOCALID"), processes, local)
    rank = number("LOCAL_RANK", "0")
    return Place(rank=rank, local_rank=rank)


def apart(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without what a launcher has put into it: for a training that is started by itself."""
    own = (
        "RANK",
        "LOCAL_RANK",
        "GROUP_RANK",
        "NODE_RANK",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
    )
    return {
        key: value
        for key, value in environ.items()
        if key not in own and not key.startswith(("TORCHELASTIC_", "SLURM_STEP_"))
    }


def refuse_several(verb: str) -> None:
    """Raise a `UsageError` where a launcher has started several processes for a verb that works in one."""
    here = place()
    if here.processes > 1:
        raise UsageError(
            f"{verb}: works in one process, but {here.launcher} has started {here.processes}; only train shares its "
            f"work among several. Call it without {here.launcher}"
        )
