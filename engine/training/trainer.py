"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

import datasets
from segloss.tensors import exact

from ..configuration import build
from ..console.display import Display, percent
from ..errors import NotFiniteError, UsageError
from ..experiment.device import to_device
from ..experiment.experiment import Experiment
from ..experiment.run import Run
from ..processes import ranks
from ..processes.determinism import refusals
from ..processes.signals import Stop, Stopped
from ..scoring.evaluation import Loaders
from ..scoring.memory import is_out_of_memory, out_of_memory_explained
from ..scoring.overlays import validation_overlays
from ..scoring.part import score_part
from ..store.checkpoint import (
    Checkpoint,
    Snapshot,
    load_model,
    load_optimizer,
    load_random,
    optimizer_state,
    prefixed,
    random_state,
)
from ..store.disk import refuse_small_disk
from ..store.state import State
from ..store.writer import CheckpointWriter
from . import memory
from .averaging import WeightAverage
from .budget import budget_of
from .collapse import only_class, remedies
from .events import events
from .nonfinite import LATE, NonFiniteMonitor
from .resolve import resolved, training_loader
from .shares_probe import SharesProbe
from .speed import SpeedMeter
from .stepper import Stepper
from .targets import Targets

NOTE_SECONDS = 0.5
"""How often the bar shows a loss: reading it waits for the device."""


class Trainer:
    """Trains one run, from its start or from its last checkpoint.

    Args:
        experiment: configuration and data; the trainer's own has each `auto` of it resolved.
        run: the folder.
        fabric: device and precision.
        display: where progress is shown.
        stop: asked after every step whether to save and leave.

    Validation predicts without `scores.flip` and `scores.largest_component`: what is done to the predictions of a
    trained network decides its scores, not which epoch is kept, so that runs which differ in it share one training.
    """

    def __init__(
        self, experiment: Experiment, run: Run, fabric: Fabric, display: Display, stop: Stop | None = None
    ) -> None:
        experiment = resolved(experiment, run, fabric, display)
        config = experiment.config
        self.experiment, self.run, self.fabric, self.display = experiment, run, fabric, display
        self.config, self.stop = config.train, stop or Stop()
        samples = experiment.training_samples()
        self.batches = experiment.training_batches(samples)
        counts = experiment.class_counts(samples)
        torch.manual_seed(config.seed)
        with fabric.rank_zero_first():
            network = build.build_network(config, experiment.adapter, trained=run.checkpoint("last").is_file())
        model = ranks.share_statistics(to_device(network, fabric), fabric.device)
        ranks.leave_out_unused(model, build.input_channels(config.data, experiment.adapter))
        loss = build.build_loss(config.loss, len(experiment.scored), counts, self.config.epochs or 1)
        average = self.config.average
        self.average = None if average is None else WeightAverage(average, model)
        self.state, self.steps = State(), -(-len(self.batches) // self.config.accumulate)
        self.budget = budget_of(self.config, self.steps, self.state)
        targets = Targets(samples.cases, experiment.adapter.classes, fabric.device, experiment.regions)
        self.stepper = Stepper(config, model, loss, fabric, self.budget, targets)
        if self.config.step == "graph" and self.stepper.graph is None:
            display.line(
                "train.step: graph is eager here, since it needs one GPU, no other process of the training, and no "
                "loss that looks at its values, as blob does"
            )
        self.loader = training_loader(config.data, samples, self.batches, fabric.device)
        self.mixing = build.build_mixing(self.config, experiment.adapter, fabric.to_device)
        probed = -(-self.config.batch_size // fabric.world_size)
        self.validation_loaders: Loaders = {}
        self.probe = SharesProbe(samples, probed, fabric, targets, config.scores.window)
        validation = experiment.data.parts["val"]
        self.validates = bool(validation)
        held = np.flatnonzero(datasets.total_pixels(validation, len(experiment.adapter.classes)))
        self.ranks_epochs = bool(np.any(held != experiment.background))
        if self.config.patience is not None and not self.ranks_epochs:
            display.line(
                "warning: train.patience stops nothing, since no class that counts is in the validation part; see "
                "data.split"
            )
        plain = config.scores.model_copy(update={"flip": False, "largest_component": False})
        self.validated = replace(experiment, config=config.model_copy(update={"scores": plain}))
        if loss.follows_validation and not self.validates:
            raise UsageError(
                f"{run.path}: {', '.join(section.name for section in config.loss)} weighs classes by their validation "
                "scores, but no sample validates; set data.split.val above 0, or use another loss"
            )
        self.watch = NonFiniteMonitor(
            run,
            samples.cases,
            experiment.adapter.classes,
            stops=self.config.nonfinite == "stop",
            late=LATE if self.stepper.guard.on_device else 0,
            tell=display.line,
        )
        self.loss_sum = torch.zeros((), device=fabric.device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=fabric.device)
        self.right = torch.zeros((), dtype=exact(fabric.device), device=fabric.device)
        self.writer = CheckpointWriter()
        self.best: Snapshot | None = None  # goes to the disk with the next `last`, before it
        self.unsaved, self.saved = False, time.monotonic()
        self.seconds = 0.0  # of the steps of the epoch that is under way

    def fit(self, epochs: int | None = None) -> None:
        """Train what is left to train; afterwards the checkpoint `best` is there.

        Args:
            epochs: stop after so many, of which more may be trained later; None for all.

        Raises:
            DataError: the disk is full, or too small; the last checkpoint is still whole.
            UsageError: the last checkpoint is damaged or belongs to another model; a step does not fit into memory.
            NotFiniteError: a step is not finite.
            Stopped: SIGTERM has come; the state is saved.
        """
        if self.run.checkpoint("last").is_file():
            self._resume(self.run.load("last"))
            self.display.line(f"continues after epoch {self.state.epoch}, batch {self.state.batch}")
        elif self.run.cut_log(0):
            self.display.line("begins anew: the last start ended before its first checkpoint")
        if not self.complete:
            refuse_small_disk(
                self.run.checkpoints, self.stepper.model, self.stepper.optimizer, self.average is not None
            )
        self.budget.start(self.display.line)
        total, done = self.budget.bar(len(self.batches), epochs)
        self.saved = time.monotonic()
        draw = partial(validation_overlays, self.stepper.forward, self.validated, self.fabric)
        shown = events(self.run, self.config, draw)
        with self.writer, shown as show, self.display.bar("training", total, done) as advance:
            while not self.complete and (epochs is None or self.state.epoch < epochs):
                if ranks.any_of(self.stop.asked)[0]:
                    self._save_all()
                    raise Stopped
                entry = self.epoch(advance)
                self.display.line(self._summary(entry))
                self._show(entry, show)
            if not self.validates or self.state.best is None:
                self._keep_best(self.state.epoch)
            self._save_all()
        if self.validates and self.state.best is None:
            primary = self.experiment.primary
            self.display.line(f"validation {primary} is undefined in every epoch: the last one is kept as the best")
        if self.average is not None and self.complete and epochs is None:
            self._save_average(self.average)

    def _show(self, entry: Mapping[str, Any], show: Callable[[Mapping[str, Any]], None]) -> None:
        """Show an epoch, in time that no budget counts."""
        try:
            with self.budget.paused(), self.stop.interrupts(), out_of_memory_explained():
                show(entry)
        except Stopped:
            self._save_all()
            raise

    @property
    def complete(self) -> bool:
        """Whether nothing is left to train."""
        return self.state.stopped or self.budget.is_spent

    def epoch(self, advance: Callable[..., None] = lambda *_: None) -> dict[str, Any]:
        """One epoch, or what is left of it: train, validate, log, save when that is due; returns its line of the log.

        Args:
            advance: called after each step with the micro-batches it took and a note.
        """
        speed = self._train(advance)
        taken, skipped = -(-self.state.batch // self.config.accumulate), int(self.skipped)
        if skipped == taken:
            raise NotFiniteError(
                f"{self.run.path}: no step of epoch {self.state.epoch + 1} had a finite loss and gradient; lower "
                "optim.lr or set train.clip_norm, and give the run another name"
            )
        entry: dict[str, Any] = {
            "epoch": self.state.epoch + 1,
            "step": self.state.step,
            "lr": self.stepper.schedule.base_lrs[0] * self.stepper.schedule.lr_lambdas[0](self.state.step - 1),
            "loss": float(self.loss_sum) / (taken - skipped),
            "skipped": skipped,
            "score": None,
            "acw": None if self.stepper.model.acw is None else self.stepper.model.acw.weight.tolist(),
            "shares": None,
            **self._accuracy(),
            **speed,
        }
        self.budget.before_validation()
        self._validate(entry)
        self.budget.after_validation()
        entry |= self.budget.figures
        self.state.epoch, self.state.batch = self.state.epoch + 1, 0
        if self.average is not None:
            self.average.after_epoch(self.budget.share)
        self.loss_sum.zero_()
        self.skipped.zero_()
        self.right.zero_()
        self.seconds = 0.0
        self.run.log(entry)
        self.state.log_lines += 1
        self.unsaved = True
        if ranks.any_of(self._save_is_due())[0]:
            self._save()
        return entry

    def _accuracy(self) -> dict[str, float | None]:
        """What the log says of the pictures of the epoch that were right; nothing where a step does not count them."""
        if not self.stepper.counts_right:
            return {}
        seen, right = sum(map(self.batches.size, range(self.state.batch))), float(self.right)
        return {"train_accuracy": None if math.isnan(right) else right / seen}  # of an older checkpoint it is not known

    def _train(self, advance: Callable[..., None]) -> dict[str, Any]:
        """The steps that are left of this epoch; returns what the log says of their speed."""
        self.stepper.new_epoch(self.state.epoch, self.state.class_accuracy)
        self.stepper.forward.train()
        meter = SpeedMeter(self.fabric.device, traced=self.state.epoch == 0, before=self.seconds)
        images, shown = 0, 0.0
        for group in meter.steps(self.groups(self.state.epoch, self.state.batch)):
            if not self.budget.has_time:
                break
            loss = self.step(group)
            first = self.state.batch - len(group)
            position = first * self.config.batch_size
            self.watch.add(self.state.step, self.state.epoch + 1, position, group, self.stepper.guard.flags)
            self.loss_sum += torch.where(self.stepper.guard.bad, 0.0, loss)
            self.skipped += self.stepper.guard.bad
            self.right += self.stepper.right
            images += sum(map(self.batches.size, range(first, self.state.batch)))
            self.seconds = meter.seconds
            now = time.monotonic()
            note = None
            if now - shown > NOTE_SECONDS:
                shown = now
                best = f" best {percent(self.state.best)}" if self.state.best is not None else ""
                speed = f"{images / (now - meter.began):.1f} images/s"
                note = f"epoch {self.state.epoch + 1} loss {float(loss):.4f}{best} {speed}"
            advance(self.budget.after_step(len(group)), note)
            every = self.config.checkpoint_steps
            asked, due = ranks.any_of(self.stop.asked, self._save_is_due())
            if due or (every and self.state.step % every == 0):
                self._save()
            if asked:
                self._save_all()
                raise Stopped
        self.watch.read()
        return meter.figures(images)

    def groups(self, epoch: int, start: int = 0) -> Iterator[list[datasets.PackedSample]]:
        """The batches of an epoch from a micro-batch on, in lists of those of one step; the last may be shorter."""
        self.batches.set_epoch(epoch, start)
        batches = iter(datasets.unwrap_worker_errors(self.loader))
        if self.mixing is not None:
            batches = self.mixing.batches(batches, self.experiment.config.seed, epoch, start)
        while group := list(islice(batches, self.config.accumulate)):
            yield group

    def close(self) -> None:
        """End the processes of the loaders; call it when no more batches are wanted."""
        for loader in (self.loader, *self.validation_loaders.values()):
            datasets.end_workers(loader)

    def step(self, group: Sequence[datasets.PackedSample]) -> Tensor:
        """One optimizer step; a `UsageError` with the numbers where it does not fit into memory."""
        try:
            ranks.seed_rank(self.experiment.config.seed, self.state.step)
            with refusals():
                loss = self.stepper.take(group)
            self.state.step += 1
            self.state.batch += len(group)
            self.unsaved = True
            if self.average is not None:
                self.average.after_step()
            return loss
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]
        # here the error, and with it the tensors of the step, is gone
        attempt = partial(self.stepper.probe, group[0]) if self.fabric.world_size == 1 else None
        raise UsageError(f"{self.run.path}: {memory.advice(attempt, group[0]['image'], self.config, reason)}")

    def _validate(self, entry: dict[str, Any]) -> None:
        """Where it is due, look at the shares of the classes, score the validation part, and keep the best weights."""
        epoch = entry["epoch"]
        is_due = epoch % self.config.validate_every == 0 and self.budget.affords_validation
        if not (is_due or self.budget.is_last):
            return
        ranks.take_statistics_of_first(self.stepper.model)
        with out_of_memory_explained():
            entry["shares"] = self.probe.shares(self.stepper.forward, self.stepper.loss)
        if not self.validates:
            return
        try:
            with self.stop.interrupts(), out_of_memory_explained():
                scores = score_part(
                    self.stepper.forward, "val", self.validated, self.fabric, loaders=self.validation_loaders
                ).aggregations()
        except Stopped:
            self._save_all()  # all steps of the epoch are done; a resumed run validates first
            raise
        self.state.class_accuracy = [found["recall"] for found in scores["dataset"]["classes"].values()]
        entry["validation"] = scores
        if (name := only_class(scores["dataset"], self.experiment.regions is not None)) is not None:
            helps = " or ".join(remedies(self.experiment.config, self.experiment.adapter, self.stepper.loss))
            self.display.line(
                f"warning: epoch {epoch}: {name} is all that is predicted of the validation part; if that stays so, "
                f"try {helps}"
            )
        primary = self.experiment.primary
        if not self.ranks_epochs:
            return  # the reference holds no class that counts: 0 is a false positive, and a right epoch is undefined
        entry["score"] = found = scores[primary.aggregation][primary.metric]
        if found is not None and (self.state.best is None or found > self.state.best):
            self.state.best, self.state.best_epoch, self.state.epochs_without_improvement = found, epoch, 0
            self._keep_best(epoch)
        else:
            self.state.epochs_without_improvement += 1
            self.state.stopped = (
                self.config.patience is not None and self.state.epochs_without_improvement >= self.config.patience
            )

    def _save_is_due(self) -> bool:
        return time.monotonic() - self.saved > 60 * self.config.checkpoint_minutes

    def _save_all(self) -> None:
        """Save what is not, and wait until it is on the disk; a `DataError` where it cannot be."""
        if self.unsaved or self.best is not None:
            self._save()
        self.writer.wait()

    def _save(self) -> None:
        """Take a checkpoint `last`, and with it a `best` that waits; they are written while training goes on."""
        self.watch.read()
        self.writer.wait()
        if self.run.writes:
            best = [] if self.best is None else [(self.run.checkpoint("best"), self.best)]
            self.writer.start([*best, (self.run.checkpoint("last"), Snapshot(self.checkpoint()))])
        self.best, self.unsaved, self.saved = None, False, time.monotonic()

    def checkpoint(self) -> Checkpoint:
        """Where the training stands, with all that a resumed run goes on from."""
        moments, groups = optimizer_state(self.stepper.optimizer)
        tensors = {
            **prefixed("model", self.stepper.model.state_dict()),
            **prefixed("optimizer", moments),
            **prefixed("random", random_state()),
            "loss_sum": self.loss_sum,
            "skipped": self.skipped,
            "right": self.right,
        }
        state: dict[str, Any] = {
            "run": self.run.fingerprint(),
            "progress": asdict(self.state),
            "groups": groups,
            "schedule": self.stepper.schedule.state_dict() | {"_last_lr": [group["lr"] for group in groups]},
            "seconds": self.seconds,
        }
        if self.average is not None:
            tensors |= prefixed("average", self.average.weights)
            state["averaged"] = self.average.count
        return Checkpoint(tensors, state)

    def _keep_best(self, epoch: int) -> None:
        """Take a checkpoint `best`, in place of one that is not written yet."""
        state = {"run": self.run.fingerprint(), "progress": {"epoch": epoch, "score": self.state.best}}
        if self.run.writes:
            self.best = Snapshot(Checkpoint(prefixed("model", self.stepper.model.state_dict()), state))

    def _save_average(self, average: WeightAverage) -> None:
        """Save the averaged weights; the network holds them afterwards."""
        if not average.count:
            self.display.line("train.average: training stopped before the epochs that count, so it is the last weights")
        average.finish(self.stepper.forward, self._images())
        ranks.take_statistics_of_first(self.stepper.model)
        state = {"run": self.run.fingerprint(), "progress": {"epoch": self.state.epoch, "averaged": average.count}}
        self.run.save("average", Checkpoint(prefixed("model", self.stepper.model.state_dict()), state))

    def _images(self) -> Iterator[Tensor]:
        """The images of the epoch that would come next."""
        with self.display.bar("batch statistics of the average", len(self.batches)) as advance:
            for group in self.groups(self.state.epoch):
                if ranks.any_of(self.stop.asked)[0]:
                    raise Stopped
                for batch in group:
                    images = datasets.unpacked(batch, self.fabric.to_device)["image"]
                    yield images.contiguous(memory_format=torch.channels_last)
                    advance()

    def _resume(self, checkpoint: Checkpoint) -> None:
        load_model(self.stepper.model, checkpoint, self.run.checkpoint("last"))
        try:
            load_optimizer(self.stepper.optimizer, checkpoint.part("optimizer"), checkpoint.state["groups"])
            load_random(checkpoint.part("random"))
            self.stepper.schedule.load_state_dict(checkpoint.state["schedule"])
            self.loss_sum.copy_(checkpoint.tensors["loss_sum"])
            self.skipped.copy_(checkpoint.tensors["skipped"])
            self.state.load(checkpoint.state["progress"])
            self.seconds = checkpoint.state.get("seconds", 0.0)  # older checkpoints do not say
            self.right.copy_(checkpoint.tensors.get("right", torch.tensor(math.nan if self.state.batch else 0.0)))
            if self.average is not None:
                self.average.load(checkpoint.part("average"), checkpoint.state["averaged"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"{self.run.checkpoint('last')}: no checkpoint to train on from ({error})") from error
        self.run.cut_log(self.state.log_lines)

    def _summary(self, entry: dict[str, Any]) -> str:
        found = f"  val {self.experiment.primary} {percent(entry['score'])}" if self.validates else ""
        mark = " *" if self.validates and self.state.best_epoch == entry["epoch"] else ""
        return (
            f"{self.budget.describe(entry['epoch'])}  loss {entry['loss']:.4f}{found}{mark}  "
            f"{entry['images_per_second']:.1f} images/s"
        )
