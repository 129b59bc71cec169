"""The device of a process: Lightning Fabric with its precision, and the network on it."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric

from datasets import Adapter
from models import SegmentationModel

from ..configuration import build
from ..configuration.config import Config, TrainSection
from ..errors import UsageError
from ..processes.determinism import settle
from ..processes.fabric import SINGLE_PROCESS, fabric_options
from ..store.checkpoint import Checkpoint, load_model
from .run import Run


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
        native = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16-mixed" if native else "32-true"
    options = fabric_options(train, device) if together else SINGLE_PROCESS
    fabric = Fabric(accelerator=device, precision=precision, **options)
    fabric.launch()
    return fabric


def to_device(model: SegmentationModel, fabric: Fabric) -> SegmentationModel:
    """The model on its device, its kernels in the memory order that convolutions are fastest in."""
    fabric.to_device(model.to(memory_format=torch.channels_last))
    return model


def load_trained(run: Run, checkpoint: Checkpoint, name: str, config: Config, adapter: Adapter, fabric: Fabric) -> Any:
    """The network of a run with the weights of a checkpoint, set up by Fabric on its device.

    Args:
        run: whose configuration and checkpoint they are.
        checkpoint: as `run.load(name)` gives it.
        name: `best` or `last`.
        config: of the run.
        adapter: of its data.
        fabric: the device and the precision.

    Raises:
        UsageError: the configuration describes no network, or another one than the weights belong to.
    """
    try:
        network = build.build_network(config, adapter, trained=True)
    except ValueError as error:
        raise UsageError(f"{run.config_file}: model: {error}; restore the file") from error
    model = to_device(network, fabric)
    load_model(model, checkpoint, run.checkpoint(name))
    return fabric.setup(model)
