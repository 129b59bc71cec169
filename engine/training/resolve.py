"""What `auto` becomes on the device that trains, and the loader that follows from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric

import datasets

from ..configuration.build import build_batch_augmentation
from ..configuration.config import DataSection
from ..console.display import Display
from ..experiment.experiment import Experiment
from ..experiment.run import Run
from ..processes import ranks


def resolved(experiment: Experiment, run: Run, fabric: Fabric, display: Display) -> Experiment:
    """The experiment without `auto` in `data.resident`: as the run began, or as suits the device.

    Args:
        experiment: its configuration and data.
        run: whose config.yaml holds the choices once it has begun.
        fabric: the device.
        display: is told what does not come out as one might expect.
    """
    config, gpu = experiment.config, fabric.device.type == "cuda"
    began = run.config() if run.config_file.is_file() else None
    resident = config.data.resident
    if resident == "auto" and began is not None:
        resident = began.data.resident is True
    elif resident == "auto":
        reason = why_not_resident(experiment, fabric.device)
        resident = not ranks.any_of(reason is not None)[0]
        if reason is not None and gpu:
            display.line(f"data.resident: auto is false, since {reason}; albumentations augments on the CPU")
    data = config.data.model_copy(update={"resident": resident})
    return replace(experiment, config=config.model_copy(update={"data": data}))


def why_not_resident(experiment: Experiment, device: torch.device) -> str | None:
    """Why `auto` leaves the data where they are; None where it does not."""
    if device.type != "cuda":
        return f"the device is {device.type}"
    try:
        build_batch_augmentation(experiment.config.data)
    except ValueError as error:
        return str(error)
    cases = [case for part in ("train", "val") for case in experiment.data.parts[part]]
    if (reason := datasets.why_not_resident(cases)) is not None:
        return reason
    needed, memory = datasets.resident_bytes(cases), torch.cuda.get_device_properties(device).total_memory
    if needed > memory / 4:  # not of the free memory, which other processes change: all arms are to resolve alike
        return f"the data take {needed / 2**30:.2f} GiB, and a quarter of the GPU's memory is {memory / 2**32:.2f} GiB"
    return None


def training_loader(
    data: DataSection, samples: datasets.Samples, batches: datasets.TrainingBatches, device: torch.device
) -> Any:
    """The loader of the training batches: of resident data, or with processes that decode and augment."""
    if data.resident is True:
        resident = datasets.ResidentSamples(samples, device)
        return datasets.ResidentLoader(resident, batches, build_batch_augmentation(data))
    return datasets.training_loader(samples, batches, data.workers, pinned=device.type == "cuda")
