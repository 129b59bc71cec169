"""The options with which Lightning Fabric starts the processes of one training, or joins those of a launcher."""

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
from .launcher import process_info

ENVIRONMENTS = {None: LightningEnvironment, "torchrun": TorchElasticEnvironment, "srun": SLURMEnvironment}
BUFFERS = "forward_sync_buffers"
"""The option of DDP that, false, keeps it from sending buffers around in each forward pass."""
if BUFFERS not in signature(DistributedDataParallel).parameters:
    BUFFERS = "broadcast_buffers"
SINGLE_PROCESS: dict[str, Any] = {"devices": 1, "plugins": [LightningEnvironment()]}
"""The options for one process, whatever else a scheduler has started."""


def fabric_options(train: TrainSection, device: str) -> dict[str, Any]:
    """The options for all processes of a training.

    Args:
        train: its `devices` says how many there are where no launcher has started them.
        device: `cpu`, `cuda` or `mps`.

    Raises:
        UsageError: fewer GPUs on this machine than processes; more processes than samples in a batch; srun does not say
            how many processes a machine has.
    """
    info = process_info()
    if info.local_world_size == 0:
        raise UsageError("srun does not say how many processes a machine has; give it --ntasks-per-node, one a GPU")
    local = info.local_world_size if info.launcher else train.devices
    machines = info.world_size // local if info.launcher else 1
    if machines * local == 1:
        return SINGLE_PROCESS
    origin = f"{info.launcher} has started {local} a machine" if info.launcher else f"train.devices: {local}"
    if device == "mps":
        raise UsageError(f"{origin}, but an Apple GPU takes one process; use one, or train.device: cpu")
    if device == "cuda" and local > torch.cuda.device_count():
        raise UsageError(
            f"{origin}, but torch sees {torch.cuda.device_count()} GPU(s) on this machine; one each is needed"
        )
    if machines * local > train.batch_size:
        raise UsageError(
            f"train.batch_size: {train.batch_size} cannot be shared by {machines * local} processes ({origin}); the "
            "batch is that of all processes together: take at least one sample each"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    options: dict[str, Any] = {BUFFERS: False}
    strategy = DDPStrategy(process_group_backend=backend, **options)
    plugins = [ENVIRONMENTS[info.launcher]()]
    return {"devices": local, "num_nodes": machines, "strategy": strategy, "plugins": plugins}
