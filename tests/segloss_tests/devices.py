"""A device without values in place of a GPU: what would wait for one is an error."""

import contextlib

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from segloss import resize

META = torch.device("meta")
"""It knows shapes alone: to look at a value is an error of torch."""


@contextlib.contextmanager
def no_wait():
    """Within, tensors of `META` and of the CPU may not meet, nor be copied to each other but without waiting."""
    with _Copies(), _Lists():
        yield


class _Copies(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        found = function(*args, **kwargs)
        tensors = [one for one in (*args, found) if isinstance(one, torch.Tensor) and (one.dim() or one.is_meta)]
        waits = len({one.device for one in tensors}) > 1 and not kwargs.get("non_blocking") and True not in args[2:]
        assert not waits, f"{function} of {[(one.device, tuple(one.shape)) for one in tensors]}"
        return found


class _Lists(TorchFunctionMode):
    """What a list is made of is copied too, which no dispatch shows."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        made = function in (torch.tensor, torch.as_tensor) and not isinstance(args[0], torch.Tensor)
        assert not made or torch.device(kwargs.get("device") or "cpu") != META, f"{function} of {args[0]}"
        return function(*args, **kwargs)


class MetaFabric:
    """What a step needs of Fabric, on `META`."""

    device, world_size = META, 1

    def to_device(self, one):
        return one.to(META, non_blocking=True)

    def setup(self, network, optimizer):
        return network, optimizer

    def backward(self, loss):
        loss.backward()

    def no_backward_sync(self, network):
        return contextlib.nullcontext()

    def clip_gradients(self, network, optimizer, max_norm, error_if_nonfinite):
        return torch.nn.utils.clip_grad_norm_(network.parameters(), max_norm, error_if_nonfinite=error_if_nonfinite)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Maps of `META` are resized by matrices, as those of a GPU."""
    monkeypatch.setattr(resize, "BY_MATRIX", {"meta"})
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda kind, **rest: autocast("cpu" if kind == "meta" else kind, **rest))
