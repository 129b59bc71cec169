"""Where two runs first differ: in their logs, their tensors, their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

TIMES = ("seconds", "images_per_second", "speed")
"""What a log says of time and memory, which is never the same twice."""


def log_difference(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> str | None:
    """The first epoch and number in which two logs differ, but for times and what the first does not say; or None."""
    done = 0
    for a, b in zip(one, other, strict=False):
        for where, here, there in differences(_timeless(a), without_new_keys(_timeless(b), a)):
            return f"epoch {a.get('epoch')} (steps {done + 1} to {a.get('step')}): {where} was {here!r}, is {there!r}"
        done = a.get("step", done)
    if len(one) != len(other):
        return f"the log had {len(one)} epochs, has {len(other)}"
    return None


def _timeless(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in TIMES}


def tensor_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str | None:
    """The first tensor, by name, whose bits differ, by how much, and how many do; None where none does."""
    if one.keys() != other.keys():
        return f"{min(one.keys() ^ other.keys())} is in one of them only"
    unequal = [name for name in sorted(one) if not same_bits(one[name], other[name])]
    if not unequal:
        return None
    a, b = one[unequal[0]], other[unequal[0]]
    if a.shape != b.shape:
        return f"{unequal[0]} was {tuple(a.shape)}, is {tuple(b.shape)}"
    far = (a.double() - b.double()).abs().max().item()
    return f"{unequal[0]} by up to {far:.2g} ({len(unequal)} of {len(one)} tensors differ)"


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal bit for bit, NaN included."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    a, b = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return torch.equal(a, b)


def differences(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The places in which two pieces of plain data differ, in order: `a.b.0`, what stands there, and there."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            yield from differences(one.get(key), other.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{where}.{index}")
    elif one != other:
        yield where, one, other


def without_new_keys(document: Any, older: Any) -> Any:
    """A document without the keys that an older one, of a version that did not write them yet, lacks.

    >>> without_new_keys({"a": {"b": 1, "new": 2}, "c": 3}, {"a": {"b": 4}})
    {'a': {'b': 1}}
    """
    if not (isinstance(document, dict) and isinstance(older, dict)):
        return document
    return {key: without_new_keys(value, older[key]) for key, value in document.items() if key in older}
