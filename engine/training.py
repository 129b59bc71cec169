"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

import datasets
import segloss

from . import build
from .checkpoint import (
    Checkpoint,
    load_model,
    load_optimizer,
    load_random,
    optimizer_state,
    prefixed,
    random_state,
)
from .display import Display, percent
from .errors import UsageError
from .evaluation import score
from .experiment import Experiment, place
from .optim import scheduled
from .run import Run

NOTE_SECONDS = 0.5
"""How often the bar shows a loss: reading it waits for the device."""


@dataclass
class State:
    """Where a training stands; all of it is in every checkpoint.

    Attributes:
        epoch: epochs completed.
        batch: micro-batches done in the epoch that is under way.
        step: optimizer steps done.
        best: the best headline score on validation so far.
        best_epoch: the epoch it came from, counted from 1.
        stale: validations since then.
        log_lines: lines of log.jsonl that belong to this state.
        stopped: whether early stopping has ended the training.
        class_accuracy: recall of each class in the last validation, null where it was absent; null before the first.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    log_lines: int = 0
    stopped: bool = False
    class_accuracy: list[float | None] | None = None


class Trainer:
    """Trains one run, from its start or from its last checkpoint.

    Args:
        experiment: configuration and data.
        run: the folder.
        fabric: device and precision.
        display: where progress is shown.
    """

    def __init__(self, experiment: Experiment, run: Run, fabric: Fabric, display: Display) -> None:
        config = experiment.config
        self.experiment, self.run, self.fabric, self.display = experiment, run, fabric, display
        self.config = config.train
        samples = experiment.training_samples()
        self.batches = experiment.training_batches(samples)
        counts = experiment.class_counts()
        torch.manual_seed(config.seed)
        self.model = place(experiment.network(trained=run.checkpoint("last").is_file()), fabric)
        self.loss = build.build_loss(config.loss, len(experiment.adapter.classes), counts)
        fabric.to_device(self.loss)
        optimizer = build.build_optimizer(config.optim, self.model)
        network: Any = torch.compile(self.model) if self.config.compile else self.model
        self.forward: Any
        self.forward, self.optimizer = fabric.setup(network, optimizer)
        self.loader = datasets.training_loader(samples, self.batches, config.data.workers)
        steps = -(-len(self.batches) // self.config.accumulate)
        warmup = config.optim.schedule.warmup if config.optim.schedule else 0
        schedule = build.build_schedule(config.optim)
        self.schedule = scheduled(self.optimizer, schedule, steps, self.config.epochs, warmup)
        self.validates = bool(experiment.data.parts["val"])
        if self.loss.follows_validation and not self.validates:
            raise UsageError(
                f"{run.path}: {', '.join(section.name for section in config.loss)} weighs classes by their validation "
                "scores, but no sample validates; set data.split.val above 0, or use another loss"
            )
        self.state = State()
        self.loss_sum = torch.zeros((), device=fabric.device)

    def fit(self) -> None:
        """Train what is left to train; afterwards the checkpoint `best` is there.

        Raises:
            DataError: the disk is full; the last checkpoint is still whole.
            UsageError: the last checkpoint is damaged or belongs to another model.
        """
        last = self.run.checkpoint("last")
        if last.is_file():
            self._resume(Checkpoint.load(last))
            self.display.line(f"continues after epoch {self.state.epoch}, batch {self.state.batch}")
        total = self.config.epochs * len(self.batches)
        done = self.state.epoch * len(self.batches) + self.state.batch
        events = self._events() if self.config.tensorboard else None
        with self.display.bar("training", total, done) as advance:
            while self.state.epoch < self.config.epochs and not self.state.stopped:
                entry = self.epoch(advance)
                self.display.line(self._summary(entry))
                for name in ("loss", "score", "lr"):
                    if events is not None and entry[name] is not None:
                        events.add_scalar(name, entry[name], entry["epoch"])
        if events is not None:
            events.close()
        if not self.validates or self.state.best is None:
            self._save_best()

    def epoch(self, advance: Callable[..., None] = lambda *_: None) -> dict[str, Any]:
        """One epoch, or what is left of it: train, validate, log, save; returns its line of the log.

        Args:
            advance: called after each step with the micro-batches it took and a note.
        """
        entry = self._train(advance)
        self._validate(entry)
        self.run.log(entry)
        self.state.log_lines += 1
        self._save()
        return entry

    def _train(self, advance: Callable[..., None]) -> dict[str, Any]:
        self.loss.new_epoch(self.state.epoch, self.state.class_accuracy)
        self.forward.train()
        self.batches.set_epoch(self.state.epoch, self.state.batch)
        started, images, shown = time.monotonic(), 0, 0.0
        rate: Any = None
        for group in _grouped(self.loader, self.config.accumulate):
            rate = self.schedule.get_last_lr()[0]
            loss = self._step(group)
            self.loss_sum += loss
            images += sum(len(batch["image"]) for batch in group)
            now = time.monotonic()
            note = None
            if now - shown > NOTE_SECONDS:
                shown = now
                best = f" best {percent(self.state.best)}" if self.state.best is not None else ""
                speed = f"{images / (now - started):.1f} images/s"
                note = f"epoch {self.state.epoch + 1} loss {float(loss):.4f}{best} {speed}"
            advance(len(group), note)
            every = self.config.checkpoint_steps
            if every and self.state.step % every == 0 and self.state.batch < len(self.batches):
                self._save()
        if not math.isfinite(float(self.loss_sum)):
            raise UsageError(
                f"{self.run.path}: the loss became NaN or infinite in epoch {self.state.epoch + 1}; lower optim.lr "
                "or set train.clip_norm, and give the run another name"
            )
        seconds = time.monotonic() - started
        steps = -(-len(self.batches) // self.config.accumulate)
        entry = {
            "epoch": self.state.epoch + 1,
            "step": self.state.step,
            "lr": rate,
            "loss": float(self.loss_sum) / steps,
            "score": None,
            "acw": None if self.model.acw is None else self.model.acw.weight.tolist(),
            "seconds": round(seconds, 3),
            "images_per_second": round(images / seconds, 2),
        }
        self.loss_sum.zero_()
        self.state.epoch, self.state.batch = self.state.epoch + 1, 0
        return entry

    def _step(self, group: Sequence[datasets.Sample]) -> Tensor:
        """One optimizer step over some micro-batches, divided by the pixels of all of them."""
        images = [self.fabric.to_device(b["image"]).contiguous(memory_format=torch.channels_last) for b in group]
        masks = [self.fabric.to_device(b["mask"]) for b in group]
        denominator = torch.stack([self.loss.denominator(mask) for mask in masks]).sum(0)
        total = torch.zeros((), device=self.fabric.device)
        for image, mask in zip(images, masks, strict=True):
            loss = self._loss(image, mask, denominator)
            self.fabric.backward(loss)
            total = total + loss.detach()
        if self.config.clip_norm is not None:
            self.fabric.clip_gradients(self.forward, self.optimizer, max_norm=self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.state.step += 1
        self.state.batch += len(group)
        return total

    def _loss(self, image: Tensor, mask: Tensor, denominator: Tensor) -> Tensor:
        """The loss of one micro-batch."""
        if self.config.upsampled_loss:
            loss = segloss.upsampled(self.loss, self.model._padded(image))
            value: Tensor = loss(self.forward(image, resize=False), mask, denominator=denominator)
        else:
            value = self.loss(self.forward(image), mask, denominator=denominator)
        return value

    def _validate(self, entry: dict[str, Any]) -> None:
        """Score the validation part where it is due, and keep the best weights."""
        due = self.state.epoch % self.config.validate_every == 0 or self.state.epoch == self.config.epochs
        if not self.validates or not due:
            return
        scores = score(self.forward, "val", self.experiment, self.fabric)
        self.state.class_accuracy = [found["recall"] for found in scores["dataset"]["classes"].values()]
        entry["validation"] = {name: scores[name] for name in ("dataset", "case", "image")}
        entry["score"] = found = self.experiment.headline_of(scores)
        if found is not None and (self.state.best is None or found > self.state.best):
            self.state.best, self.state.best_epoch, self.state.stale = found, self.state.epoch, 0
            self._save_best()
        else:
            self.state.stale += 1
            self.state.stopped = self.config.patience is not None and self.state.stale >= self.config.patience

    def _save(self) -> None:
        moments, groups = optimizer_state(self.optimizer)
        generators, numbers = random_state()
        tensors = {
            **prefixed("model", self.model.state_dict()),
            **prefixed("optimizer", moments),
            **prefixed("random", generators),
            "loss_sum": self.loss_sum,
        }
        state = {
            "progress": asdict(self.state),
            "groups": groups,
            "schedule": self.schedule.state_dict(),
            "random": numbers,
        }
        Checkpoint(tensors, state).save(self.run.checkpoint("last"))

    def _save_best(self) -> None:
        state = {"progress": {"epoch": self.state.epoch, "score": self.state.best}}
        Checkpoint(prefixed("model", self.model.state_dict()), state).save(self.run.checkpoint("best"))

    def _resume(self, checkpoint: Checkpoint) -> None:
        missing = {"progress", "groups", "schedule", "random"} - checkpoint.state.keys()
        if missing:
            raise UsageError(f"{self.run.checkpoint('last')}: no checkpoint to train on from (it lacks {min(missing)})")
        load_model(self.model, checkpoint, self.run.checkpoint("last"))
        load_optimizer(self.optimizer, checkpoint.part("optimizer"), checkpoint.state["groups"])
        load_random(checkpoint.part("random"), checkpoint.state["random"])
        self.schedule.load_state_dict(checkpoint.state["schedule"])
        self.loss_sum.copy_(checkpoint.tensors["loss_sum"])
        self.state = State(**checkpoint.state["progress"])
        self.run.cut_log(self.state.log_lines)

    def _events(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.run.path / "tensorboard"))

    def _summary(self, entry: dict[str, Any]) -> str:
        headline = self.experiment.headline
        found = f"  val {headline.reading} {headline.score} {percent(entry['score'])}" if self.validates else ""
        mark = " *" if self.validates and self.state.best_epoch == entry["epoch"] else ""
        return (
            f"epoch {entry['epoch']}/{self.config.epochs}  loss {entry['loss']:.4f}{found}{mark}  "
            f"{entry['images_per_second']:.1f} images/s"
        )


def _grouped(loader: Any, size: int) -> Iterator[list[datasets.Sample]]:
    """The batches of a loader in lists of `size`; the last may be shorter."""
    batches = iter(loader)
    while group := list(islice(batches, size)):
        yield group
