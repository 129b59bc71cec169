"""Several processes for one training: how many, and what Lightning Fabric starts and joins them with."""

from __future__ import annotations

import logging
from inspect import signature
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from ..configuration.config import TrainSection
from ..errors import UsageError
from .launcher import place

ENVIRONMENTS = {None: LightningEnvironment, "torchrun": TorchElasticEnvironment, "srun": SLURMEnvironment}
BUFFERS = "forward_sync_buffers"
"""The option of DDP that, false, keeps it from sending buffers around in each forward pass."""
if BUFFERS not in signature(DistributedDataParallel).parameters:
    BUFFERS = "broadcast_buffers"
ALONE: dict[str, Any] = {"devices": 1, "plugins": [LightningEnvironment()]}
"""Options of Fabric for one process, whatever else a scheduler has started."""


def joint(train: TrainSection, device: str) -> dict[str, Any]:
    """Options of Fabric for all processes of a training.

    Args:
        train: says how many there are, where no launcher has started them.
        device: `cpu`, `cuda` or `mps`.

    Raises:
        UsageError: fewer GPUs here than processes; more processes than samples in a batch; srun does not say enough.
    """
    here = place()
    if here.local == 0:
        raise UsageError("srun: how many processes a machine has is not said; give it --ntasks-per-node, one a GPU")
    local = here.local if here.launcher else train.devices
    machines = here.processes // local if here.launcher else 1
    if machines * local == 1:
        return ALONE
    told = f"{here.launcher} has started {local} a machine" if here.launcher else f"train.devices: {local}"
    if device == "mps":
        raise UsageError(f"{told}, but an Apple GPU trains alone; use train.device: cpu, or one process")
    if device == "cuda" and local > torch.cuda.device_count():
        raise UsageError(
            f"{told}, but torch sees {torch.cuda.device_count()} GPU(s) on this machine; one each is needed"
        )
    if machines * local > train.batch_size:
        raise UsageError(
            f"train.batch_size: {train.batch_size} cannot be shared by {machines * local} processes ({told}); it is of "
            "all of them together: take at least one sample each"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    options: dict[str, Any] = {BUFFERS: False}
    strategy = DDPStrategy(process_group_backend=backend, **options)
    plugins = [ENVIRONMENTS[here.launcher]()]
    return {"devices": local, "num_nodes": machines, "strategy": strategy, "plugins": plugins}
