"""The device of a process: Lightning Fabric with its precision, and the network on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from models import SegmentationModel

from ..configuration.config import TrainSection
from ..errors import UsageError
from ..processes.determinism import settle
from ..processes.fabric import SINGLE_PROCESS, fabric_options
from ..store.checkpoint import Checkpoint, load_model


def launch(train: TrainSection, together: bool = False) -> Fabric:
    """Device, precision and determinism; a `UsageError` where the device is not there.

    Args:
        train: what is asked for.
        together: train with several processes, as many as torchrun or srun has started or else as `train.devices` says.
    """
    settle(train.deterministic)
    if train.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("train.device: cuda, but torch sees no GPU on this machine; use auto or cpu")
    if train.device == "mps" and not torch.backends.mps.is_available():
        raise UsageError("train.device: mps, but torch sees no Apple GPU on this machine; use auto or cpu")
    device = train.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = train.precision
    if precision == "auto":
        precision = "bf16-mixed" if device == "cuda" and torch.cuda.is_bf16_supported() else "32-true"
    options = fabric_options(train, device) if together else SINGLE_PROCESS
    fabric = Fabric(accelerator=device, precision=precision, **options)
    fabric.launch()
    return fabric


def to_device(model: SegmentationModel, fabric: Fabric) -> SegmentationModel:
    """The model on its device, its kernels in the memory order that convolutions are fastest in."""
    fabric.to_device(model.to(memory_format=torch.channels_last))
    return model


def load_trained(network: SegmentationModel, checkpoint: Checkpoint, path: Path, fabric: Fabric) -> Any:
    """A network with the weights of a checkpoint, set up by Fabric on its device.

    Args:
        network: changed in place.
        checkpoint: whose weights it takes.
        path: of the checkpoint's file, for errors.
        fabric: the device and the precision.

    Raises:
        UsageError: the weights belong to another network.
    """
    model = to_device(network, fabric)
    load_model(model, checkpoint, path)
    return fabric.setup(model)
