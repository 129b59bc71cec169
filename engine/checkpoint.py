"""Checkpoints: one safetensors file each, tensors and a JSON state, written atomically, nothing ever unpickled."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from datasets.files import write_atomically

from .errors import UsageError

FORMAT = "segloss-checkpoint-1"


@dataclass
class Checkpoint:
    """Named tensors, and all else as JSON.

    Attributes:
        tensors: such as `model.*`, `optimizer.<parameter>.<moment>`, `random.*`.
        state: plain data.
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write beside and rename; a `DataError` where the disk is full, the previous file still whole."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        write_atomically(path, save(tensors, {"format": FORMAT, "state": json.dumps(self.state)}))

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint; a `UsageError` that names a file which is missing, damaged or foreign."""
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("format") != FORMAT:
                    raise UsageError(f"{path}: not a checkpoint of this program; restore or remove the file")
                return cls({name: file.get_tensor(name) for name in file.keys()}, json.loads(header["state"]))  # noqa: SIM118
        except FileNotFoundError:
            raise UsageError(f"{path}: no such checkpoint; has the run been trained?") from None
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise UsageError(f"{path}: a damaged checkpoint ({error}); restore or remove the file") from error

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name begins with `prefix.`, without it."""
        start = f"{prefix}."
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with `prefix.` before their names."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def load_model(model: nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    """Put a checkpoint's weights into a model; a `UsageError` where they belong to another."""
    weights, own = checkpoint.part("model"), model.state_dict()
    missing, foreign = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    other = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    if missing or foreign or other:
        facts = [f"it lacks {name}" for name in missing[:1]] + [f"it has {name}" for name in foreign[:1]]
        facts += [f"{name} is {tuple(weights[name].shape)}, not {tuple(own[name].shape)}" for name in sorted(other)[:1]]
        raise UsageError(f"{path}: a checkpoint of another model: {', '.join(facts)}; use the run it belongs to")
    model.load_state_dict(weights)


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimizer's moments as named tensors, and its parameter groups as plain data."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": torch.as_tensor(value)
        for index, moments in state["state"].items()
        for name, value in moments.items()
        if value is not None
    }
    return tensors, state["param_groups"]


def load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
    """Undo `optimizer_state`."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of every random generator of this process: torch's, CUDA's, NumPy's and Python's."""
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    numpy_state = [kind, np.asarray(keys).tolist(), position, has_gauss, cached]
    return tensors, {"python": [version, list(numbers), gauss], "numpy": numpy_state}


def load_random(tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Undo `random_state`."""
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
