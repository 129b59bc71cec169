"""An average of the weights, kept beside a training that it changes nothing of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn, update_bn

from ..configuration.config import AverageSection, EmaSection, SwaSection


class WeightAverage:
    """The exponential moving average of the weights over steps (EMA), or their mean over the last epochs (SWA).

    Args:
        section: which of them.
        model: whose weights they are.

    Attributes:
        count: how many weights are in it; the first is taken as it is.
        weights: the average of each parameter, by name.
    """

    def __init__(self, section: AverageSection, model: nn.Module) -> None:
        self.section, self.model = section, model
        self.count = 0
        self.weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def after_step(self) -> None:
        """Take in the weights after an optimizer step.

        The decay of step n is at most (1 + n) / (10 + n), so that the first weights do not linger in short trainings.
        """
        if isinstance(self.section, EmaSection):
            decay = min(self.section.decay, (1 + self.count) / (10 + self.count))
            self._take(get_ema_multi_avg_fn(decay))

    def after_epoch(self, share: float) -> None:
        """Take in the weights after an epoch; `share` of the training is done."""
        if isinstance(self.section, SwaSection) and share > self.section.start:
            self._take(get_swa_multi_avg_fn())

    @torch.no_grad()
    def finish(self, forward: nn.Module, images: Iterable[Tensor]) -> None:
        """Put the average into the network, whose batch statistics are then those of a pass over images.

        Statistics that were collected with other weights do not fit the average: batch normalisation is given the mean
        over the batches of one pass in place of them (Izmailov 2018, section 3.2).

        Args:
            forward: the network as it is run.
            images: batches of the training part, on the device.
        """
        if not self.count:
            self._take(get_swa_multi_avg_fn())
        torch._foreach_copy_([*self.model.parameters()], [*self.weights.values()])
        update_bn(images, forward)

    def _take(self, average: Any) -> None:
        kept, new = [*self.weights.values()], [parameter.detach() for parameter in self.model.parameters()]
        if self.count:
            average(kept, new, self.count)
        else:
            torch._foreach_copy_(kept, new)
        self.count += 1

    def load(self, weights: dict[str, Tensor], count: int) -> None:
        """Take up an average where a checkpoint has left it; a `ValueError` where it is of another network."""
        if weights.keys() != self.weights.keys():
            raise ValueError("it holds no average of these weights")
        for name, weight in weights.items():
            self.weights[name].copy_(weight)
        self.count = count
