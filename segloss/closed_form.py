"""What the closed-form gradients share; internal.

A loss has one where it pays: an autograd function whose forward pass saves little and whose backward pass computes the
gradient by its formula. Beside it is its definition in plain operations, for autograd to differentiate twice, and for
the tests to check the closed form against.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def requires_gradient(*values: object) -> bool:
    """Whether autograd is to compute a gradient for one of these; anything but a tensor requires none."""
    return torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in values)


def transformed() -> bool:
    """Whether a transform of `torch.func` is active, such as `grad` or `vmap`; torch has no public name for it."""
    return torch._C._are_functorch_transforms_active()


def applies(*parameters: object) -> bool:
    """Whether a closed form can replace its definition: it has a gradient for the logits and for no parameter.

    The transforms of `torch.func` cannot differentiate it: they take the definition.
    """
    return not transformed() and not requires_gradient(*parameters)


def twice_differentiable() -> bool:
    """Whether the backward pass that is running is itself to be differentiated."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def derivative(definition: Callable[..., Tensor], logits: Tensor, target: Tensor, grad: Tensor) -> Tensor:
    """The gradient for the logits, made by autograd from the definition, and differentiable itself."""
    value = definition(logits, target)
    (gradient,) = torch.autograd.grad(value, logits, grad, create_graph=True)
    return gradient


def save(inputs: Tensor, computed: Tensor) -> Tensor:
    """What to save for the backward pass: what was computed; in a compiled graph the inputs, to compute it again.

    A compiled graph then keeps nothing of that size, and computing twice takes less time than reading memory. Eager
    blocks are in the cache, where arithmetic takes most of the time.
    """
    return inputs if torch.compiler.is_compiling() else computed


def recompute(saved: Tensor, compute: Callable[[Tensor], Tensor], grad: Tensor) -> Tensor:
    """What was computed in the forward pass, from what `save` returned there."""
    # Adding 0·grad makes the inputs depend on the incoming gradient: otherwise the compiler would move the computation
    # into the forward pass and keep its result.
    return compute(saved + 0 * grad) if torch.compiler.is_compiling() else saved
