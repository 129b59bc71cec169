"""What the closed-form gradients share.

A loss has one where it pays: an autograd function whose forward pass saves little and whose backward pass writes the
gradient out. Beside it stands its definition in plain operations, for autograd to differentiate twice, and for the
tests to check the closed form against.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def twice_differentiable() -> bool:
    """Whether the backward pass under way is itself to be differentiated."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def derivative(definition: Callable[..., Tensor], logits: Tensor, target: Tensor, grad: Tensor) -> Tensor:
    """The gradient for the logits, made by autograd from the definition, and differentiable in its turn."""
    value = definition(logits, target)
    (gradient,) = torch.autograd.grad(value, logits, grad, create_graph=True)
    return gradient


def late(values: Tensor, grad: Tensor) -> Tensor:
    """The values themselves, in a compiled graph tied to the gradient `grad` that comes in.

    Otherwise the compiler works out in the forward pass whatever of the backward pass it can, and keeps it.
    """
    return values + 0 * grad if torch.compiler.is_compiling() else values
