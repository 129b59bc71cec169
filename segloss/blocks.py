"""The engine under every loss: what a loss adds up over pixels, computed whole or in blocks; internal.

A loss is given as a function of one block of pixels. In a compiled graph it is called with the whole batch and the
compiler fuses it; so is it, by autograd, with a batch that is small. Otherwise it is called with blocks small enough to
stay in the cache, one after the other, and its intermediate results are held for one of them at a time. Where the loss
is a plain sum, its gradient is computed in the same pass, and the backward pass returns it. Where it is a function of
sums, the blocks keep their graphs until the sums are known; those of an upsampled map are computed again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .closed_form import applies, requires_gradient
from .labels import Labels, cut
from .resize import Resize
from .tensors import exact, full, of_valid

BLOCK = {"cpu": 2**19, "other": 2**24}
"""Logits a block, counting 16 a pixel or more: few enough for the caches of a CPU, enough to occupy a GPU."""

WHOLE = 2**22
"""Logits of a batch up to which it is computed whole: blocks would cost time and save little memory."""

OfBlock = Callable[[Tensor, Labels], Tensor]
"""From logits and labels of some pixels to what a loss adds up over them."""
Join = Literal["batch", "image", "pixel"]
"""How the results of blocks come together: added up, added up for each image by itself, or side by side as a map."""
Gradient = Literal["none", "in_forward", "saved_graph", "recompute"]
"""How the gradient of the logits is computed: not at all; in the forward pass; or in the backward pass, from the graphs
that the blocks have saved until the sums were known, or from blocks that are computed again."""


class Plan(NamedTuple):
    """What to compute over the pixels of a batch.

    Attributes:
        of_block: see `OfBlock`; any shape for `batch`, `(n, …)` for `image`, `(n, *spatial)` for `pixel`.
        join: see `Join`.
        resize: makes the logits of a block from those of a smaller map, where the caller has given those.
        draws: `of_block` draws random numbers, so it must not run twice.
        parameters: what else it computes from; a tensor among it may require a gradient too.
    """

    of_block: OfBlock
    join: Join = "batch"
    resize: Resize | None = None
    draws: bool = False
    parameters: tuple[object, ...] = ()

    def gradient(self, logits: Tensor, slope: Tensor | None) -> Gradient:
        """How to compute the gradient of these logits; see `over_pixels`."""
        if not logits.requires_grad:
            return "none"
        if slope is not None:
            # The loss scale of mixed precision is known in the backward pass only. In float16, which alone needs one, a
            # gradient that is computed before would underflow.
            return "recompute" if logits.dtype == torch.float16 else "in_forward"
        return "saved_graph" if self.resize is None and self.join != "pixel" else "recompute"

    def whole(self, logits: Tensor, labels: Labels) -> Tensor:
        """The result in one piece, for autograd or the compiler."""
        if self.resize is not None:
            logits = self.resize.whole(logits, labels.target)
        return self.of_block(of_valid(logits, labels.counted), labels)

    def empty_like(self, logits: Tensor) -> Tensor:
        """Room for the gradient, not in half precision; zeros where several blocks add to the same logits."""
        dtype = full(logits[:0]).dtype
        return torch.empty_like(logits, dtype=dtype) if self.resize is None else torch.zeros_like(logits, dtype=dtype)

    def blocks(self, logits: Tensor, labels: Labels, graph: bool) -> Iterator[Block]:
        """The blocks, computed one after the other; with their graphs, for `Block.pull_back`."""
        for images, rows in _cuts(labels, logits):
            source = rows if self.resize is None else self.resize.source(rows)
            small = cut(logits, images, source, 1).detach()
            of_block = labels.cut(images, rows)
            with torch.set_grad_enabled(graph):
                # Two graphs that do not touch: small → large, and block → found. Between the two, `pull_back` masks the
                # gradient: a NaN at an ignored pixel would otherwise spread to its neighbours in the small map.
                if self.resize is not None:
                    small.requires_grad_(graph)
                    large = self.resize.slab(small, rows, of_block.target)
                block = full(small if self.resize is None else large).detach()
                block.requires_grad_(graph)
                found = self.of_block(block, of_block)
            at = {"batch": (), "image": (images,), "pixel": (images, rows)[: len(labels.shape)]}[self.join]
            yield Block(
                found, at, (images, source), block, of_block.counted, None if self.resize is None else (small, large)
            )


class Block(NamedTuple):
    """One block, computed.

    Attributes:
        found: what it adds to the result,
        at: where in the result,
        source: the images and rows of the logits that it is made of.
        logits: of its pixels.
        counted: `(n, 1, *spatial)` bool, or `(n, C, *spatial)`: what counts.
        resized: the logits of the smaller map and those made of them, where there is one.
    """

    found: Tensor
    at: tuple[slice, ...]
    source: tuple[slice, slice]
    logits: Tensor
    counted: Tensor
    resized: tuple[Tensor, Tensor] | None

    def pull_back(self, cotangent: Tensor, gradient: Tensor) -> None:
        """Put the gradient of its logits into that of all: the vector-Jacobian product of the block.

        Args:
            cotangent: the derivative of the loss by the joined result.
            gradient: of all logits; changed in place.
        """
        (slope,) = torch.autograd.grad(self.found, self.logits, cotangent[self.at].to(self.found.dtype))
        place = cut(gradient, *self.source, 1)
        if self.resized is None:
            torch.where(self.counted, slope, slope.new_zeros(()), out=place)
        else:
            small, large = self.resized  # neighbouring blocks share rows of the small map, so they add to them
            place += torch.autograd.grad(large, small, torch.where(self.counted, slope, 0.0))[0]


def over_pixels(plan: Plan, logits: Tensor, labels: Labels, slope: Tensor | None = None) -> Tensor:
    """What a plan adds up over the pixels, with its gradient for the logits.

    Small batches are left to autograd whole. Of others a second backward pass computes again, and a gradient that is to
    be differentiated itself is made by autograd from the whole batch at once. So is everything where more than the
    logits requires a gradient, and under `torch.func`.

    Args:
        plan: see `Plan`.
        logits: `(N, C, *spatial)`.
        labels: see `Labels`.
        slope: multiplies a result that is one number; the gradient is then made in the forward pass.

    Returns:
        The result, float32, or float64 for logits of that.
    """
    if (
        torch.compiler.is_compiling()
        or logits.shape[1] * math.prod(labels.shape) <= WHOLE
        or plan.draws
        or not applies(labels.target, labels.weight, slope, *plan.parameters)
    ):
        whole = plan.whole(logits, labels)
        return whole if slope is None else whole * slope.to(whole)
    logits = logits if requires_gradient(logits) else logits.detach()
    result: Tensor = _OverPixels.apply(logits, slope, plan, labels, *labels[:4])
    return result


class _OverPixels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, slope: Tensor | None, plan: Plan, labels: Labels, *tensors: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(logits, slope, *tensors)
        ctx.plan, ctx.rest = plan, labels[len(tensors) :]
        how = plan.gradient(logits, slope)
        ctx.gradient = plan.empty_like(logits) if how == "in_forward" else None
        ctx.saved_blocks = []
        result: Tensor | None = None
        for block in plan.blocks(logits, labels, graph=how in ("in_forward", "saved_graph")):
            if result is None:
                result = _empty(block.found, labels, plan.join)
            result[block.at] += block.found.detach()
            if how == "in_forward" and slope is not None:
                block.pull_back(slope, ctx.gradient)
            elif how == "saved_graph":
                ctx.saved_blocks.append(block)
        assert result is not None
        result = result if slope is None else result * slope
        return result.to(logits.dtype if logits.dtype == torch.float64 else torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        logits, slope, *tensors = ctx.saved_tensors
        labels = Labels(*tensors, *ctx.rest)
        gradient, ctx.gradient = ctx.gradient, None
        saved_blocks, ctx.saved_blocks = ctx.saved_blocks, []
        cotangent = grad if slope is None else grad * slope
        if torch.is_grad_enabled():  # the gradient is to be differentiated itself
            result = ctx.plan.whole(logits, labels)
            (gradient,) = torch.autograd.grad(result, logits, cotangent.to(result.dtype), create_graph=True)
        elif gradient is None:
            gradient = ctx.plan.empty_like(logits)
            for block in saved_blocks or ctx.plan.blocks(logits, labels, graph=True):
                block.pull_back(cotangent, gradient)
        elif grad.device.type != "cpu" or bool(grad != 1):  # on a GPU to look at the value would wait for the device
            gradient.mul_(grad)
        return gradient.to(logits.dtype), *[None] * (3 + len(tensors))


def _cuts(labels: Labels, logits: Tensor) -> Iterator[tuple[slice, slice]]:
    """Images and rows (of the first spatial axis) of each block; at least one block, be it empty."""
    images, *spatial = labels.shape
    rows = spatial[0] if spatial else 1
    a_row = max(logits.shape[1], 16) * math.prod(spatial[1:])
    most = BLOCK.get(logits.device.type, BLOCK["other"])
    tall = min(max(most // max(a_row, 1), 1), max(rows, 1))
    many = max(most // max(a_row * rows, 1), 1)
    for image in range(0, max(images, 1), many):
        for row in range(0, max(rows, 1), tall):
            yield slice(image, image + many), slice(row, min(row + tall, rows))


def _empty(found: Tensor, labels: Labels, join: Join) -> Tensor:
    """Zeros for the joined result; sums are taken in float64."""
    if join == "pixel":
        return found.new_zeros(labels.shape)
    shape = found.shape if join == "batch" else (labels.shape[0], *found.shape[1:])
    return found.new_zeros(shape, dtype=exact(found.device))
