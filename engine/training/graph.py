"""A step that is captured once and replayed: the device gets all of its work at once, not operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

import datasets

WARM_UP = 3
"""Steps that are taken as they are before one is captured: they make what a step makes once."""
ON_DEVICE = ("image", "factor", "shift", "mask", "case")
"""What a step reads of a batch."""

Work = Callable[[Sequence[datasets.PackedSample]], list[Tensor]]
Capture = Callable[[Callable[[], list[Tensor]]], tuple[list[Tensor], Callable[[], None]]]
"""Records work on tensors that stay where they are, without doing it: gives its results, tensors that stay too, and
what does it."""


def captured(work: Callable[[], list[Tensor]]) -> tuple[list[Tensor], Callable[[], None]]:
    """A CUDA graph of some work; see `Capture`."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads copy, hash and load meanwhile
        found = work()
    return found, graph.replay


class StepGraph:
    """Takes steps by replaying the capture of one, where their batches have its shapes; others as they are.

    Args:
        work: takes a step on micro-batches and gives its results, without waiting for the device.
        device: that works.
        capture: see `Capture`.
        warm_up: steps of the shapes to be captured that are taken as they are first.
    """

    def __init__(self, work: Work, device: torch.device, capture: Capture = captured, warm_up: int = WARM_UP) -> None:
        self.work, self.device, self.capture = work, device, capture
        self.warm_up = self.left = warm_up
        self.shapes: list[tuple[torch.Size, torch.dtype]] = []
        self.inputs: list[Tensor] = []
        self.results: list[Tensor] = []
        self.replay: Callable[[], None] | None = None

    def __call__(self, group: Sequence[datasets.PackedSample]) -> list[Tensor]:
        """The results of a step, which later steps leave alone."""
        given = [cast("Tensor", batch[key]) for batch in group for key in ON_DEVICE]  # type: ignore[literal-required]
        shapes = [(tensor.shape, tensor.dtype) for tensor in given]
        if self.replay is None and _pixels(shapes) > _pixels(self.shapes):
            self.shapes, self.left = shapes, self.warm_up  # a shorter last batch is not the one that is captured
        if shapes != self.shapes:
            return self.work(group)
        if self.left > 0:
            self.left -= 1
            return self.work(group)
        if self.replay is None:
            self.inputs = [tensor.to(self.device, copy=True) for tensor in given]
            own = iter(self.inputs)
            stays: list[Any] = [{**batch, **{key: next(own) for key in ON_DEVICE}} for batch in group]
            self.results, self.replay = self.capture(lambda: self.work(stays))
        for input_, tensor in zip(self.inputs, given, strict=True):
            input_.copy_(tensor, non_blocking=True)
        self.replay()
        return [result.clone() for result in self.results]

    def forget(self) -> None:
        """Capture anew before the next replay: what the work reads on the host has changed."""
        self.inputs, self.results, self.replay = [], [], None


def _pixels(shapes: Sequence[tuple[torch.Size, torch.dtype]]) -> int:
    return sum(shape.numel() for shape, _ in shapes)
