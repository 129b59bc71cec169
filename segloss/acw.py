"""The adaptive class-weight layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .tensors import per_class


class AdaptiveClassWeight(nn.Module):
    """z = w ⊙ x: one learnt weight a class on the logits, before softmax (Hossain 2019, eq. 21).

    What it is, told straight. After a linear head it is a reparameterisation: w folds into the head's last
    convolution (`fold`), so it can change the optimisation, never the capacity. The paper's claim that it makes cross
    entropy equal to weighted cross entropy up to a constant does not hold, since Σ_j exp(w_j x_j) depends on x. It is
    not invariant to a shift of the logits, and weight decay would pull w to 0: give it a parameter group without decay.

    It is part of the model: saved with it and used at inference. Making it draws no random number.

    Args:
        num_classes: C ≥ 2.
        init: the first weight, one number or one a class.

    Raises:
        ValueError: fewer than two classes, `init` of the wrong length.
    """

    def __init__(self, num_classes: int, init: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"an adaptive class weight needs num_classes ≥ 2, got {num_classes}")
        start = torch.as_tensor(init, dtype=torch.float32)
        if start.dim() > 1 or (start.dim() == 1 and len(start) != num_classes):
            raise ValueError(f"init must be one number or one a class ({num_classes}), got {init}")
        self.weight = nn.Parameter(start.expand(num_classes).clone())

    def forward(self, logits: Tensor) -> Tensor:
        """Logits `(N, C, *spatial)` times the weight of their class, in the logits' dtype."""
        if logits.shape[1] != len(self.weight):
            raise ValueError(f"logits must have {len(self.weight)} classes, got shape {tuple(logits.shape)}")
        return logits * per_class(self.weight.to(logits.dtype), logits)

    @torch.no_grad()
    def fold(self, head: nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear) -> nn.Module:
        """A copy of the linear head with w merged in: `fold(head)(x)` equals `self(head(x))`.

        Raises:
            ValueError: a head of another width.
        """
        if len(head.weight) != len(self.weight):
            raise ValueError(f"the head has {len(head.weight)} outputs, the layer {len(self.weight)} classes")
        folded = copy.deepcopy(head)
        folded.weight.mul_(self.weight.view(-1, *[1] * (head.weight.dim() - 1)))
        if folded.bias is not None:
            folded.bias.mul_(self.weight)
        return folded
