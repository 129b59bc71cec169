"""One optimizer step: forward, loss, backward, update; as it is, compiled, or captured and replayed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

import datasets
import segloss
from models import SegmentationModel

from ..configuration import build
from ..configuration.config import Config, TrainSection
from ..configuration.optim import scheduled, warmup_steps
from ..processes import ranks
from ..processes.whole_batch import exact_over_ranks, global_denominator
from .budget import Budget
from .graph import StepGraph
from .guard import Guard
from .targets import Given, Targets


class Stepper:
    """The network with its loss, optimizer and schedule, and a step of theirs.

    Args:
        config: what is asked for.
        model: the network, on its device.
        loss: what it is trained with.
        fabric: device and precision.
        budget: how long the training is, which the schedule follows.
        targets: what the loss is called with, from the labels of a batch.

    Attributes:
        forward: the network as Fabric runs it, compiled where that is asked for.
        objective: the loss, of every level of a network with deep supervision.
        compiled: the objective, compiled where that is asked for; else None.
        graph: replays captured steps where that is asked for and can be; else None.
        guard: skips the update of a step that is not finite.
        counts_right: whether a step counts the pictures that its network gives their one label.
        right: how many they were in the last step, of all processes.
    """

    def __init__(
        self,
        config: Config,
        model: SegmentationModel,
        loss: build.Loss,
        fabric: Fabric,
        budget: Budget,
        targets: Targets,
    ) -> None:
        self.config, self.model, self.loss, self.fabric, self.targets = config.train, model, loss, fabric, targets
        self.objective = segloss.DeepSupervision(loss) if model.coarse_heads else loss
        fabric.to_device(self.objective)
        optimizer = build.build_optimizer(config.optim, model)
        self.guard = Guard(model, optimizer)
        self.counts_right = model.whole_image and self.config.mix is None
        self.right = torch.zeros((), dtype=torch.int64, device=fabric.device)
        network: Any = torch.compile(model) if self.config.step == "compiled" else model
        self.compiled: Any = torch.compile(self.objective) if self.config.step == "compiled" else None
        self.graph = StepGraph(self._compute, fabric.device) if captures(self.config, loss, fabric) else None
        self.forward: Any
        self.forward, self.optimizer = fabric.setup(network, optimizer)
        warmup = warmup_steps(config.optim.schedule.warmup if config.optim.schedule else 0, budget.steps)
        self.schedule = scheduled(optimizer, build.build_schedule(config.optim), budget.progress, warmup)
        if fabric.device.type == "cuda":
            for options in optimizer.param_groups:  # where a captured step reads it, and others round alike
                options["lr"] = torch.tensor(options["lr"], device=fabric.device)
                options |= {"capturable": True} if "capturable" in options else {}

    def new_epoch(self, epoch: int, accuracy: Sequence[float | None] | None) -> None:
        """Tell the loss that an epoch begins; a captured step is captured anew, since the loss may change.

        Args:
            epoch: from 0.
            accuracy: of each class, in the last validation.
        """
        self.loss.new_epoch(epoch, accuracy)
        if self.graph is not None:
            self.graph.forget()

    def take(self, group: Sequence[datasets.PackedSample]) -> Tensor:
        """One optimizer step over some micro-batches, divided by the pixels of all of them; skipped if not finite.

        Of several processes each has its share of the micro-batches; the loss is that of all of them.
        """
        found = self._compute(group) if self.graph is None else self.graph(group)
        total, self.guard.flags, self.guard.bad, self.guard.norm, self.right = found
        self.schedule.step()
        return total

    def _compute(self, group: Sequence[datasets.PackedSample]) -> list[Tensor]:
        """A step up to the update of the weights: the loss, what the guard says of it, and `right`."""
        batches = [datasets.unpacked(batch, self.fabric.to_device) for batch in group]
        images = [batch["image"].contiguous(memory_format=torch.channels_last) for batch in batches]
        masks = [batch["mask"] for batch in batches]
        given = [self.targets(batch["mask"], torch.as_tensor(batch["case"])) for batch in batches]
        denominators = [self.denominator(image, each) for image, each in zip(images, given, strict=True)]
        denominator = global_denominator(denominators, masks, self.loss)
        total = torch.zeros((), device=self.fabric.device)
        right = torch.zeros((), dtype=torch.int64, device=self.fabric.device)
        self.guard.begin()
        for left, image, each in zip(reversed(range(len(group))), images, given, strict=True):
            last = nullcontext() if left == 0 else self.fabric.no_backward_sync(self.forward)
            with last, exact_over_ranks(self.loss):
                loss, logits = self.loss_of(image, each, denominator)
                self.fabric.backward(loss * self.fabric.world_size)  # DDP takes the mean over processes
            total = total + loss.detach()
            if self.counts_right:
                right = right + (logits.detach().argmax(1) == each["target"]).sum()
        ranks.all_reduce(total)
        if self.counts_right:
            ranks.all_reduce(right)
        norm = None
        if self.config.clip_norm is not None:
            norm = self.fabric.clip_gradients(
                self.forward, self.optimizer, max_norm=self.config.clip_norm, error_if_nonfinite=False
            )
        self.guard.update(total, norm)
        self.optimizer.zero_grad()
        return [total, self.guard.flags, self.guard.bad, self.guard.norm, right]

    def probe(self, batch: datasets.PackedSample, samples: int) -> None:
        """What a step on some samples of a batch holds at once, without changing a weight."""
        self.optimizer.zero_grad()  # what the step that failed has left
        room = [] if self.optimizer.state else [torch.zeros_like(p) for p in self.model.parameters() for _ in "mv"]
        there = datasets.unpacked(batch, lambda tensor: self.fabric.to_device(tensor[:samples]))
        image = there["image"].contiguous(memory_format=torch.channels_last)
        given = self.targets(there["mask"], torch.as_tensor(there["case"])[:samples])
        self.fabric.backward(self.loss_of(image, given, self.denominator(image, given))[0])
        self.optimizer.zero_grad()
        del room

    def loss_of(self, image: Tensor, given: Given, denominator: Tensor) -> tuple[Tensor, Any]:
        """The loss of one micro-batch, and the logits that it is of."""
        if self.config.upsampled_loss:
            loss = segloss.upsampled(self.loss, self.model.padded_size(image))
            logits = self.forward(image, resize=False)
            value: Tensor = loss(logits, **given, denominator=denominator)
        else:
            supervised = {"supervised": True} if self.model.coarse_heads else {}
            logits = self.forward(image, **supervised)
            objective = self.objective if self.compiled is None else self.compiled  # whose truth is that of its length
            value = objective(logits, **given, denominator=denominator)
        return value, logits

    def denominator(self, image: Tensor, given: Given) -> Tensor:
        """What the loss of one micro-batch is divided by, at every level."""
        if isinstance(self.objective, segloss.DeepSupervision):
            return self.objective.denominator(**given, sizes=self.model.supervised_sizes(image))
        return self.objective.denominator(**given)


def captures(train: TrainSection, loss: build.Loss, fabric: Fabric) -> bool:
    """Whether steps are captured: where that is asked for, on one GPU, with a loss that looks at none of its values."""
    alone_on_gpu = fabric.device.type == "cuda" and fabric.world_size == 1
    return train.step == "graph" and alone_on_gpu and loss.capturable
