"""Stages of an encoder that a shallower network does not use: they are not kept; internal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Value = TypeVar("Value")


class LeftOut(nn.Module):
    """In place of a stage that nothing depends on; an encoder that runs it all the same is given back its input."""

    def forward(self, features: Tensor, *_: Any) -> Tensor:
        """The same."""
        return features


def leave_out_unused(module: nn.Module, encoder: nn.Module, images: Tensor) -> None:
    """Put `LeftOut` in place of the parts of an encoder that the logits do not depend on.

    Args:
        module: the network; its mode is put back.
        encoder: a part of it, changed in place.
        images: that the network can be run on.
    """
    module.to(images.device)  # of shapes alone smp makes the first convolution of other than three channels on the CPU
    try:
        unused = unused_parameters(module, list(encoder.parameters()), images)
    except AssertionError:  # of an encoder for images of one other size: it is kept whole
        return
    _leave_out(encoder, unused)


def unused_parameters(module: nn.Module, parameters: Sequence[nn.Parameter], images: Tensor) -> set[nn.Parameter]:
    """Those of some parameters that the logits do not depend on.

    Args:
        module: the network; its mode is put back.
        parameters: of it, that have gradients.
        images: that the network can be run on.
    """
    training = module.training
    module.eval()
    try:
        with torch.enable_grad():
            slopes = torch.autograd.grad(module(images).sum(), parameters, allow_unused=True)
    finally:
        module.train(training)
    return {parameter for parameter, slope in zip(parameters, slopes, strict=True) if slope is None}


def _leave_out(parent: nn.Module, unused: set[nn.Parameter]) -> None:
    for name, child in parent.named_children():
        own = set(child.parameters())
        if own and own <= unused:
            parent.add_module(name, LeftOut())
        elif own & unused:
            _leave_out(child, unused)


def without_left_out(module: nn.Module, weights: Mapping[str, Value]) -> dict[str, Value]:
    """Weights by name without those of stages that a network has not; files of whole encoders hold them."""
    stages = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, LeftOut))
    return {key: value for key, value in weights.items() if not key.startswith(stages)}
