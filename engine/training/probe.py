"""A few steps of a training that nobody keeps: how long it will take, and how large its first gradient is."""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import datasets

from ..configuration.config import Config
from ..console.display import Display
from ..experiment.device import launch
from ..experiment.experiment import Experiment, prepare
from ..experiment.run import Run
from ..scoring.evaluation import images_a_batch, predict
from .trainer import Trainer

STEPS = 4
"""Optimizer steps tried; the first, which warms up, is not timed."""


class Probe(NamedTuple):
    """What a few steps tell of a training.

    Attributes:
        gradient_norm: of the first step, over all weights, before clipping.
        seconds: that the whole training is about to take, its scoring included.
    """

    gradient_norm: float
    seconds: float


def probe(config: Config, display: Display) -> Probe:
    """Take a few steps of a training, in a folder that is removed again.

    Raises:
        UsageError, DataError: bad input.
    """
    fabric = launch(config.train)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        experiment = prepare(config, run, display)
        trainer = Trainer(experiment, run, fabric, display)
        seconds, norm = [], None
        trainer.stepper.forward.train()
        with closing(trainer):
            for group in islice(trainer.groups(0), STEPS):
                started = time.perf_counter()
                trainer.step(group)
                found = float(trainer.stepper.guard.norm)  # waits for the device
                seconds.append(time.perf_counter() - started)
                norm = found if norm is None else norm
        step = statistics.median(seconds[1:] or seconds)
        scoring = _seconds_an_image(trainer, experiment)
    images = {part: sum(case.original[0] for case in cases) for part, cases in experiment.data.parts.items()}
    epochs = config.train.epochs
    assert epochs is not None  # as in every ablation
    validations = epochs // config.train.validate_every
    total = epochs * trainer.steps * step + scoring * (validations * images["val"] + images["test"])
    return Probe(norm or 0.0, total)


def _seconds_an_image(trainer: Trainer, experiment: Experiment) -> float:
    """How long it takes to predict an image, by the test cases that are in batches with the first one."""
    model, fabric, samples = trainer.stepper.forward, trainer.fabric, experiment.samples("test")
    batches = datasets.evaluation_batches(samples, images_a_batch(samples, experiment, fabric), [0])
    cases = sorted({samples.slices[index][0] for batch in batches for index in batch})
    started = time.perf_counter()
    images = sum(len(one.labels) for one in predict(model, samples, experiment, fabric, cases))
    return (time.perf_counter() - started) / images
