"""Checkpoints: one safetensors file each, tensors and a JSON state, written atomically, nothing ever unpickled.

The header holds a digest of all the rest, so a file in which one bit has changed is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim import Optimizer

from datasets.files import write_atomically

from ..errors import UsageError

FORMAT = "segloss-checkpoint-2"
KERNELS = ("fused", "foreach")
"""Options of an optimizer that belong to the device, not to the state: a run may be resumed elsewhere."""


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
        state = json.dumps(self.state)
        header = {"format": FORMAT, "state": state, "digest": _digest(tensors, state)}
        write_atomically(path, save(tensors, header))

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint; a `UsageError` that names a file which is missing, damaged or foreign."""
        try:
            content = path.read_bytes()  # at once: a training that still runs may replace the file meanwhile
            tensors = load(content)
            header = _header(content)
            if header.get("format") != FORMAT:
                found = f", or of another version: its format is {header.get('format')!r}, not {FORMAT!r}"
                raise UsageError(f"{path}: not a checkpoint of this program{found}; restore or remove the file")
            if header["digest"] != _digest(tensors, header["state"]):
                raise ValueError("its content does not agree with its digest")
            return cls(tensors, json.loads(header["state"]))
        except FileNotFoundError:
            raise UsageError(f"{path}: no such checkpoint; has the run been trained?") from None
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise UsageError(f"{path}: a damaged checkpoint ({error}); restore or remove the file") from error

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name begins with `prefix.`, without it."""
        start = f"{prefix}."
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def _header(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file that has been found whole: its length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    header: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return header


def _digest(tensors: dict[str, Tensor], state: str) -> str:
    """SHA-256 of names, types, shapes and bytes of the tensors and of the state."""
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
    kernels = [{key: group.get(key) for key in KERNELS} for group in optimizer.param_groups]
    groups = [group | own for group, own in zip(groups, kernels, strict=True)]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def random_state() -> dict[str, Tensor]:
    """The state of the generators that a training draws from, torch's and CUDA's; each sample has one of its own."""
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    return tensors


def load_random(tensors: dict[str, Tensor]) -> None:
    """Undo `random_state`."""
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
