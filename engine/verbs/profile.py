"""Where the time of an epoch goes: a few steps and a validation, timed by their parts, and a trace of some steps."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function

import datasets

from ..configuration.config import Config
from ..console.display import Display
from ..console.sections import Section
from ..experiment.device import launch
from ..experiment.experiment import prepare
from ..experiment.folds import Folds, fold_configs
from ..experiment.run import Run
from ..scoring.evaluation import score
from ..store.checkpoint import Snapshot
from ..store.files import write_json
from ..store.lock import Lock
from ..store.outputs import Outputs
from ..training.speed import TRACED, device_use, peak_mib
from ..training.trainer import Trainer

WARM_UP, TIMED = 3, 20
"""Steps that start what is started once, and that are timed."""
NUMBERS, TRACE = "profile.json", "trace.json"
REST = "rest of the step"


class Part(NamedTuple):
    """A part of an epoch.

    Attributes:
        name: of the part.
        times: how often it comes in an epoch.
        seconds: that it takes each time.
    """

    name: str
    times: int
    seconds: float


def profile_run(config: Config, display: Display) -> None:
    """Take some steps of a training that nobody keeps, and tell where the time of an epoch goes.

    The run itself is not touched: numbers and trace go to output/name-profile.

    Raises:
        UsageError, DataError: bad input.
    """
    folder = Path(config.output) / f"{config.name}-profile"
    outputs = Outputs(folder, "train --profile", "choose another name or output")
    outputs.claim([NUMBERS, TRACE])
    config = fold_configs(config)[0] if Folds.wanted(config) else config
    if config.train.step == "graph":  # a replayed step has no parts
        config = config.model_copy(update={"train": config.train.model_copy(update={"step": "eager"})})
    with Lock(folder):
        scratch = Run(folder)
        trainer = Trainer(prepare(config, scratch, display), scratch, launch(config.train), display)
        with closing(trainer):
            parts = measured(trainer)
            facts = traced(trainer, folder / f".{TRACE}")
        images = sum(map(trainer.batches.size, range(len(trainer.batches))))
        seconds = sum(part.times * part.seconds for part in parts)
        facts |= {"images": images, "seconds_an_epoch": round(seconds, 3)}
        with outputs.writing(NUMBERS, TRACE):
            write_json(folder / NUMBERS, {"parts": [part._asdict() for part in parts], **facts})
            (folder / f".{TRACE}").replace(folder / TRACE)
    display.section(table(parts, facts))
    display.line(f"trace: {folder / TRACE}, for https://ui.perfetto.dev or chrome://tracing; its numbers beside it")


def table(parts: Sequence[Part], facts: dict[str, Any]) -> Section:
    """The parts of an epoch, and what else was found."""
    whole = sum(part.times * part.seconds for part in parts)
    rows = [
        [part.name, f"{part.times}", f"{1e3 * part.seconds:.2f}", f"{part.times * part.seconds / whole:.1%}"]
        for part in parts
    ]
    loading, steps = parts[0], [part for part in parts[1:] if part.times == parts[0].times]
    computing = sum(part.times * part.seconds for part in steps)
    memory = "unknown" if facts["peak_mib"] is None else f"{facts['peak_mib']} MiB"
    lines = [
        f"an epoch takes about {whole:.1f} s",
        f"images/s: {facts['images'] / (computing + loading.times * loading.seconds):.1f} with loading, "
        f"{facts['images'] / computing:.1f} without",
        f"operations a step: {facts['operations_a_step']}; most memory: {memory}",
    ]
    if facts["busy"] is not None:
        lines.append(f"launches a step: {facts['launches_a_step']}; the GPU is busy {facts['busy']:.0%} of the time")
    return Section("Where an epoch's time goes", lines, ["part", "times", "ms each", "of the epoch"], rows)


def measured(trainer: Trainer) -> list[Part]:
    """The parts of an epoch; the first is the wait for batches, and each that comes with every step as often."""
    taken: dict[str, list[float]] = defaultdict(list)
    stepper, wait = trainer.stepper, _waiter(trainer)
    stepper.forward.train()
    groups = _groups(trainer)
    for _ in range(WARM_UP):
        trainer.step(next(groups))
    inner = _parts_of_step(trainer)
    seconds: dict[str, float] = defaultdict(float)
    with _timed(inner, seconds, wait):
        for _ in range(min(TIMED, trainer.steps)):
            seconds.clear()
            began = time.perf_counter()
            group = next(groups)
            loaded = time.perf_counter()
            trainer.step(group)
            wait()
            taken["waiting for batches"].append(loaded - began)
            for name in inner:
                taken[name].append(seconds[name])
            taken[REST].append(time.perf_counter() - loaded - sum(seconds.values()))
    parts = [Part(name, trainer.steps, sum(values) / len(values)) for name, values in taken.items()]
    every = trainer.config.validate_every
    if trainer.validates:
        with _clock(wait) as clock:
            score(stepper.forward, "val", trainer.validated, trainer.fabric, loaders=trainer.validation_loaders)
        parts.append(Part(_of("validation", every), 1, clock() / every))
    with _clock(wait) as clock:
        trainer.probe.shares(stepper.forward, stepper.loss)
    parts.append(Part(_of("shares of the classes", every), 1, clock() / every))
    with _clock(wait) as clock:
        Snapshot(trainer.checkpoint())
    parts.append(Part("copy of a checkpoint, if one is due", 1, clock()))
    return parts


def traced(trainer: Trainer, path: Path) -> dict[str, Any]:
    """Write the trace of some steps; what they are made of."""
    wait = _waiter(trainer)
    trainer.stepper.forward.train()
    gpu = trainer.fabric.device.type == "cuda"
    groups = _groups(trainer)
    for _ in range(WARM_UP):
        trainer.step(next(groups))
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would say that it starts, and that there is no GPU
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with _timed(_parts_of_step(trainer), defaultdict(float), lambda: None), profile(activities=activities) as profiler:
        for _ in range(TRACED):
            trainer.step(next(groups))
        wait()
    profiler.export_chrome_trace(str(path))
    events = profiler.events() or []
    use = device_use(events, TRACED)
    return {
        "operations_a_step": round(sum(event.name.startswith("aten::") for event in events) / TRACED),
        "launches_a_step": None if use is None else use.launches,
        "busy": None if use is None else use.busy,
        "peak_mib": peak_mib(trainer.fabric.device),
    }


def _groups(trainer: Trainer) -> Iterator[list[datasets.PackedSample]]:
    """The batches of one epoch after another."""
    for epoch in count():
        yield from trainer.groups(epoch)


def _parts_of_step(trainer: Trainer) -> dict[str, tuple[Any, str]]:
    """The methods that a step is timed by, by what they do."""
    stepper = trainer.stepper
    return {
        "forward and loss": (stepper, "loss_of"),
        "backward": (stepper.fabric, "backward"),
        "norm of the gradient, optimizer": (stepper.guard, "update"),
    }


def _of(name: str, every: int) -> str:
    return name if every == 1 else f"{name}, one epoch in {every}"


def _waiter(trainer: Trainer) -> Callable[[], None]:
    """What waits for the device."""
    return torch.cuda.synchronize if trainer.fabric.device.type == "cuda" else lambda: None


@contextmanager
def _clock(wait: Callable[[], None]) -> Iterator[Callable[[], float]]:
    """Gives what tells, afterwards, the seconds that the block took."""
    wait()
    began, ended = time.perf_counter(), 0.0
    yield lambda: ended - began
    wait()
    ended = time.perf_counter()


@contextmanager
def _timed(inner: dict[str, tuple[Any, str]], seconds: dict[str, float], wait: Callable[[], None]) -> Iterator[None]:
    """Within, methods add what they take to `seconds` under a name, and are named so in a trace."""

    def wrapped(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            with _clock(wait) as clock, record_function(name):
                found = method(*given, **named)
            seconds[name] += clock()
            return found

        return timed

    for name, (owner, method) in inner.items():
        setattr(owner, method, wrapped(name, getattr(owner, method)))
    try:
        yield
    finally:
        for owner, method in inner.values():
            delattr(owner, method)
