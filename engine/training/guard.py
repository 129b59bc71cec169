"""No step with a loss or a gradient that is not finite changes anything.

Whether it is finite is a flag on the device: it is worked out and acted upon there, without waiting for the device.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import SGD, Optimizer


class Guard:
    """Judges each step, and skips the update where it must.

    On the CPU, where nothing runs behind our back, the optimizer is not called. Elsewhere the fused optimizers of torch
    are given the flag (`found_inf`, as its gradient scaler gives it) and leave weights, moments and their step count
    alone. What the forward pass has changed meanwhile, the running statistics of batch normalisation, is put back.

    Args:
        model: its parameters and buffers are guarded; the buffers become views of one tensor a dtype, so that they are
            copied and put back in one operation each.
        optimizer: as it was before Fabric wrapped it.
        on_device: skip by the flag alone; None where the parameters are not on the CPU.

    Attributes:
        flags: `(2,)` bool of the last step, on the device: the loss is not finite, a gradient is not.
        bad: whether the last step was skipped, a bool on the device.
        norm: of the gradient of the last step before it was clipped, on its device.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, on_device: bool | None = None) -> None:
        self.optimizer = optimizer
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.buffers = flattened(model)
        self.before = [torch.empty_like(flat) for flat in self.buffers]
        device = self.parameters[0].device
        self.on_device = device.type != "cpu" if on_device is None else on_device
        self.flags = torch.zeros(2, dtype=torch.bool, device=device)
        self.bad = self.flags.any()
        self.norm = torch.zeros((), device=device)
        if self.on_device:
            fuse(optimizer)

    def begin(self) -> None:
        """Remember what the forward pass will change."""
        for before, buffers in zip(self.before, self.buffers, strict=True):
            before.copy_(buffers)

    def update(self, loss: Tensor, norm: Tensor | None = None) -> None:
        """Take the optimizer's step, unless the loss or a gradient is not finite.

        Args:
            loss: of the whole step, detached; the gradients are those of the parameters.
            norm: of the gradient before it was clipped; None where it was not.
        """
        self.norm = gradient_norm(self.parameters) if norm is None else norm
        self.flags = ~torch.isfinite(torch.stack([loss.float(), self.norm.to(loss.device).float()]))
        self.bad = self.flags.any()
        if self.on_device:
            self.optimizer.found_inf = self.bad.float()  # type: ignore[attr-defined]
            self.optimizer.step()
            for buffers, before in zip(self.buffers, self.before, strict=True):
                torch.where(self.bad, before, buffers, out=buffers)
        elif not self.bad:
            self.optimizer.step()
        else:
            self.optimizer._opt_called = True  # type: ignore[attr-defined]  # else the schedule warns of the first step
            for buffers, before in zip(self.buffers, self.before, strict=True):
                buffers.copy_(before)


def flattened(model: nn.Module) -> list[Tensor]:
    """One flat tensor for each dtype of a model's buffers, whose views these are from now on; names and values stay."""
    alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for buffer in model.buffers():
        alike.setdefault((buffer.dtype, buffer.device), []).append(buffer)
    flat = [torch.cat([buffer.flatten() for buffer in buffers]) for buffers in alike.values()]
    for values, buffers in zip(flat, alike.values(), strict=True):
        for buffer, part in zip(buffers, values.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.data = part.view(buffer.shape)
    return flat


def fuse(optimizer: Optimizer) -> None:
    """Let torch's fused kernel do the steps; a momentum starts at zero, which the kernel would leave unset."""
    for group in optimizer.param_groups:
        group["fused"], group["foreach"] = True, False
        if isinstance(optimizer, SGD) and group["momentum"]:
            for parameter in group["params"]:
                optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """The norm of all gradients together; NaN or infinite where one is, or where squares pass what float32 holds."""
    there = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return get_total_norm(there) if there else torch.zeros(())
