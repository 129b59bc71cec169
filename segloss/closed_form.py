"""What the closed-form gradients share.

A loss has one where it pays: an autograd function whose forward pass saves little and whose backward pass writes the
gradient out. Beside it stands its definition in plain operations, for autograd to differentiate twice, and for the
tests to check the closed form against.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def wants_gradient(*values: object) -> bool:
    """Whether autograd is to work out a gradient for one of these; what is no tensor wants none."""
    return torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in values)


def transformed() -> bool:
    """Whether a transform of `torch.func` is under way, such as `grad` or `vmap`; torch has no public name for it."""
    return torch._C._are_functorch_transforms_active()


def serves(*parameters: object) -> bool:
    """Whether a closed form can stand for its definition: it has a gradient for the logits and for no parameter.

    Nor do the transforms of `torch.func` know it: they take the definition.
    """
    return not transformed() and not wants_gradient(*parameters)


def twice_differentiable() -> bool:
    """Whether the backward pass under way is itself to be differentiated."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def derivative(definition: Callable[..., Tensor], logits: Tensor, target: Tensor, grad: Tensor) -> Tensor:
    """The gradient for the logits, made by autograd from the definition, and differentiable in its turn."""
    value = definition(logits, target)
    (gradient,) = torch.autograd.grad(value, logits, grad, create_graph=True)
    return gradient


def keep(inputs: Tensor, worked_out: Tensor) -> Tensor:
    """What to save for the backward pass: what was worked out; in a compiled graph the inputs, to work it out again.

    A compiled graph then keeps nothing of that size, and does the work twice for less than a trip to memory. Eager
    blocks are in the cache, and arithmetic is what they cost.
    """
    return inputs if torch.compiler.is_compiling() else worked_out


def again(kept: Tensor, work_out: Callable[[Tensor], Tensor], grad: Tensor) -> Tensor:
    """What was worked out, from what `keep` has kept.

    The inputs are tied to the incoming gradient: otherwise the compiler would do all that in the forward pass, and keep
    the result.
    """
    return work_out(kept + 0 * grad) if torch.compiler.is_compiling() else kept
