"""Resizing and pooling that repeat bit for bit on a GPU, within the networks of any library; internal.

`F.interpolate` and `F.adaptive_avg_pool2d` are called deep inside of those, and there add their gradients atomically.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, wraps
from types import CodeType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from segloss.resize import adaptive_avg_pool, interpolate

CALLED = {"interpolate", "adaptive_avg_pool2d", "resample_abs_pos_embed"}
"""Functions that resize or pool maps; the last one is timm's, which calls the first."""


def make_repeatable(network: nn.Module) -> None:
    """Let the methods of a network's modules that call one of `CALLED` do so within `Repeatable`.

    Only these pay for it, a few microseconds an operation. Names, parameters and isinstance stay as they are.
    """
    for module in network.modules():
        module.__class__ = _repeatable(type(module))  # type: ignore[arg-type]  # to mypy a class of modules has no hash


class Repeatable(TorchFunctionMode):
    """Within, bilinear and bicubic `F.interpolate` and `F.adaptive_avg_pool2d` of maps repeat on every device.

    The rest of torch is left as it is: nearest neighbours, and the mean over a whole map, repeat by themselves.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        ours = {F.interpolate: _interpolate, F.adaptive_avg_pool2d: _pool}.get(function, function)
        return ours(*args, **(kwargs or {}))


@cache
def _repeatable(kind: type[nn.Module]) -> type[nn.Module]:
    """The class itself, or one below it whose methods that resize or pool are `Repeatable`."""
    calling = {
        name
        for each in kind.__mro__
        for name, method in vars(each).items()
        if inspect.isfunction(method) and CALLED & _names(method.__code__)
    }
    methods = {name: _within(getattr(kind, name)) for name in sorted(calling)}
    return type(kind.__name__, (kind,), methods | {"__module__": kind.__module__}) if methods else kind


def _names(code: CodeType) -> set[str]:
    """What a function refers to, generators within it too."""
    inner = [_names(each) for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*inner)


def _within(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def repeatable(*given: Any, **named: Any) -> Any:
        with Repeatable():
            return method(*given, **named)

    return repeatable


def _interpolate(
    x: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    factor = 1 if scale_factor is None else scale_factor
    if mode not in ("bilinear", "bicubic") or not isinstance(factor, int | float) or factor % 1:
        return F.interpolate(x, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    height, width = (side * int(factor) for side in x.shape[2:]) if size is None else _pair(size)
    return interpolate(x, (height, width), mode, bool(align_corners), antialias)


def _pool(x: Tensor, output_size: Any) -> Tensor:
    height, width = _pair(output_size)
    if None in (height, width) or (height, width) == (1, 1):
        return F.adaptive_avg_pool2d(x, output_size)
    return adaptive_avg_pool(x, (height, width))


def _pair(size: Any) -> Any:
    return (size, size) if isinstance(size, int) else size
