"""Checkpoints: one safetensors file each, tensors and a JSON state, written atomically, nothing ever unpickled.

The header holds a digest of all the rest, so a file in which one bit has changed is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.optim import Optimizer

from datasets.files import write_atomically
from models import without_left_out

from ..errors import UsageError
from .formats import CHECKPOINT

FORMAT = f"segloss-checkpoint-{CHECKPOINT}"
KERNELS = ("fused", "foreach", "capturable")
"""Options of an optimizer that belong to the device, not to the state: a run may be resumed elsewhere."""


DTYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What safetensors calls them."""


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
        Snapshot(self).write(path)

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


class Entry(NamedTuple):
    """Where a tensor lies in the data of a safetensors file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


class Snapshot:
    """A checkpoint in the bytes of its file, as it is now: what its tensors become later changes nothing.

    Those of a GPU are gathered there, and travel while it goes on computing: `write` alone waits for them.

    Args:
        checkpoint: what to keep.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.state = json.dumps(checkpoint.state)
        self.entries: dict[str, Entry] = {}
        size = 0
        for name, tensor in sorted(checkpoint.tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
            self.entries[name] = Entry(tensor.dtype, tuple(tensor.shape), size, size + tensor.nbytes)
            size += tensor.nbytes
        self.head_size = len(self._head("0" * 64))
        devices = [tensor.device for tensor in checkpoint.tensors.values() if tensor.is_cuda]
        content = torch.empty(self.head_size + size, dtype=torch.uint8, device=devices[0] if devices else "cpu")
        for name, part in self._tensors(content).items():
            tensor = checkpoint.tensors[name].detach()
            part.copy_(tensor.pin_memory() if devices and not tensor.is_cuda else tensor, non_blocking=True)
        self.content = _fetched(content)

    def write(self, path: Path) -> None:
        """Write beside and rename; a `DataError` where the disk is full, the previous file still whole."""
        content = self.content()
        head = self._head(_digest(self._tensors(content), self.state))
        content[: self.head_size] = torch.frombuffer(bytearray(head), dtype=torch.uint8)
        write_atomically(path, content.numpy().data)

    def _head(self, digest: str) -> bytes:
        """The length of the JSON that describes the tensors, then that, filled up so that these are aligned."""
        described: dict[str, Any] = {"__metadata__": {"format": FORMAT, "state": self.state, "digest": digest}}
        for name, (dtype, shape, *place) in self.entries.items():
            described[name] = {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": place}
        text = json.dumps(described).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def _tensors(self, content: Tensor) -> dict[str, Tensor]:
        """Views of the file's content, by name."""
        data = content[self.head_size :]
        return {
            name: data[entry.start : entry.stop].view(entry.dtype).view(entry.shape)
            for name, entry in self.entries.items()
        }


def _fetched(content: Tensor) -> Callable[[], Tensor]:
    """What waits for the bytes of a GPU and gives them; they travel on a stream of their own."""
    if not content.is_cuda:
        return lambda: content
    here = torch.empty_like(content, device="cpu", pin_memory=True)
    stream, arrived = torch.cuda.Stream(content.device), torch.cuda.Event()
    stream.wait_stream(torch.cuda.current_stream(content.device))
    with torch.cuda.stream(stream):
        here.copy_(content, non_blocking=True)
        arrived.record()
    content.record_stream(stream)

    def fetch() -> Tensor:
        arrived.synchronize()
        return here

    return fetch


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
    weights, own = without_left_out(model, checkpoint.part("model")), model.state_dict()
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
    groups = [
        {key: float(value) if isinstance(value, Tensor) else value for key, value in group.items()}
        for group in state["param_groups"]
    ]
    return tensors, groups


def load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
    """Undo `optimizer_state`."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = tensor
    kernels = [{key: group[key] for key in KERNELS if key in group} for group in optimizer.param_groups]
    groups = [group | own for group, own in zip(groups, kernels, strict=True)]
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(rate, Tensor):  # where a captured step reads it
            group["lr"] = rate.fill_(group["lr"])


def random_state() -> dict[str, Tensor]:
    """The state of the generators that a training draws from; each sample has one of its own.

    CUDA's is among them where this process uses a GPU; to ask for it would begin to.
    """
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        tensors["cuda"] = torch.cuda.get_rng_state()
    return tensors


def load_random(tensors: dict[str, Tensor]) -> None:
    """Undo `random_state`."""
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(tensors["cuda"])
