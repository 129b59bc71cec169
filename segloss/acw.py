"""The adaptive class-weight layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .names import check_choice

Constraint = Literal["none", "positive"]


class AdaptiveClassWeight(nn.Module):
    """z = w ⊙ x: one learnt weight a class on the logits, before softmax (Hossain 2019, eq. 21).

    After a linear head the layer is a reparameterisation: w folds into the head's last convolution
    (`fold`), so it can change the optimisation, never the capacity. The paper's claim that it makes cross entropy equal
    to weighted cross entropy up to a constant does not hold, since Σ_j exp(w_j x_j) depends on x: with w = (1, 3) and
    true class 0, the weighted cross entropy of x minus the cross entropy of w ⊙ x is 0 at x = (0, 0), but −1.74 at x =
    (0, 1).

    It is not invariant to a shift of the logits, and weight decay would pull w to 0: give it a parameter group without
    decay. It is part of the model: saved with it and used at inference. Making it draws no random number.

    Args:
        num_classes: C ≥ 2.
        init: the first weight, one number or one a class.
        constraint: `none`: any w, which may change its sign and with it the order of the classes; `positive`: w =
            exp(v) with v learnt.

    Attributes:
        weight: w, `(C,)`.

    Raises:
        ValueError: fewer than two classes, `init` of the wrong length or not finite, an `init` ≤ 0 under `positive`.

    >>> layer = AdaptiveClassWeight(2, init=[1.0, 3.0])
    >>> layer(torch.tensor([[2.0, 2.0]])).tolist()
    [[2.0, 6.0]]
    """

    def __init__(self, num_classes: int, init: float | Sequence[float] = 1.0, constraint: Constraint = "none") -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"an adaptive class weight needs num_classes ≥ 2, got {num_classes}")
        check_choice("constraint", constraint, get_args(Constraint))
        start = torch.as_tensor(init, dtype=torch.float32)
        if start.dim() > 1 or (start.dim() == 1 and len(start) != num_classes) or not bool(start.isfinite().all()):
            raise ValueError(f"init must be one finite number or one a class ({num_classes}), got {init}")
        if constraint == "positive" and not bool((start > 0).all()):
            raise ValueError(f"init must be > 0 under constraint: positive, got {init}")
        self.constraint = constraint
        learnt = start.expand(num_classes).clone()
        name, value = ("weight", learnt) if constraint == "none" else ("log_weight", learnt.log())
        self._parameters[name] = nn.Parameter(value)  # `register_parameter` refuses the name of the property

    @property
    def weight(self) -> Tensor:
        """w, `(C,)`: the parameter itself, or exp of the parameter `log_weight` under `positive`."""
        if self.constraint == "none":
            return cast(Tensor, self._parameters["weight"])
        return cast(Tensor, self._parameters["log_weight"]).exp()

    def forward(self, logits: Tensor) -> Tensor:
        """Logits `(N, C, *spatial)` times the weight of their class, in the logits' dtype; multiplied in float32."""
        weight = self.weight
        if logits.dim() < 2 or logits.shape[1] != len(weight):
            raise ValueError(f"logits must have {len(weight)} classes, got shape {tuple(logits.shape)}")
        return (logits * weight.view(1, -1, *[1] * (logits.dim() - 2))).to(logits.dtype)

    @torch.no_grad()
    def fold(self, head: nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear) -> nn.Module:
        """A copy of the linear head with w merged in: `fold(head)(x)` equals `self(head(x))`.

        Raises:
            TypeError: a head that is no convolution or linear layer, or a parametrized one.
            ValueError: a head of another width.
        """
        if not isinstance(head, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            raise TypeError(f"w folds into a convolution or a linear layer, got {type(head).__name__}")
        if parametrize.is_parametrized(head):
            raise TypeError("w cannot be merged into a parametrized head: remove its parametrizations first")
        if len(head.weight) != len(self.weight):
            raise ValueError(f"the head has {len(head.weight)} outputs, the layer {len(self.weight)} classes")
        folded = copy.deepcopy(head)
        folded.weight.mul_(self.weight.view(-1, *[1] * (head.weight.dim() - 1)))
        if folded.bias is not None:
            folded.bias.mul_(self.weight)
        return folded

    def extra_repr(self) -> str:
        """The parameters that the representation shows."""
        return f"{len(self.weight)}, constraint={self.constraint!r}"
