"""How fast slices come from the cache, against decoding the scans in every epoch, and what training needs.

python -m benchmarks.loader configs/promise12/deeplabv3plus_adfl.yaml data.root=…
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

import datasets
from datasets.grid import network_shape, resize_image, resize_mask
from datasets.samples import normalised, packed_image
from engine.configuration import build
from engine.configuration.checking import load_config
from engine.console.display import Display
from engine.experiment.device import launch
from engine.experiment.experiment import Experiment
from engine.experiment.folds import Folds, fold_configs
from engine.experiment.run import Run
from engine.training.trainer import Trainer


def decoded(experiment: Experiment) -> Iterator[torch.Tensor]:
    """The slices of the training part without a cache: every scan is read, scaled and resized anew."""
    adapter, data = experiment.adapter, experiment.config.data
    normalisation = build.build_normalisation(data.normalise, adapter)
    for cached in experiment.data.parts["train"]:
        case = adapter.read(cached.case)
        scaled = normalisation(case.image.array)
        shape = network_shape(cached.original, case.spacing, data.size, data.spacing)
        image, _ = resize_image(scaled.image, shape), resize_mask(case.mask, shape)
        for plane in image:
            yield normalised(*packed_image(plane, scaled.mean, scaled.deviation))


def loaded(experiment: Experiment, workers: int, rounds: int) -> Callable[[], Iterable[Any]]:
    """The batches of the training part from the cache, epoch after epoch by the same loader."""
    samples = experiment.training_samples()
    batches = experiment.training_batches(samples)
    loader: Iterable[Any] = datasets.training_loader(samples, batches, workers)
    epochs = iter(range(rounds + 1))

    def epoch() -> Iterable[Any]:
        batches.set_epoch(next(epochs))
        return loader

    for _ in epoch():  # starts the workers
        pass
    return epoch


def rate(slices: int, iterate: Callable[[], Iterable[Any]]) -> float:
    """Slices a second."""
    started = time.perf_counter()
    for _ in iterate():
        pass
    return slices / (time.perf_counter() - started)


def resident() -> float:
    """MiB that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    """Print the rates, medians of rounds taken in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*options.overrides, f"output={folder}/runs", "data.workers=0"]
        config = load_config(options.config, overrides)
        config = fold_configs(config)[0] if Folds.wanted(config) else config
        experiment = Experiment.prepare(config)
        samples = experiment.training_samples()
        count = len(experiment.training_batches(samples)) * config.train.batch_size
        every = sum(cached.original[0] for cached in experiment.data.parts["train"])
        ways: dict[str, Callable[[], float]] = {
            "decoding every epoch": lambda: rate(every, lambda: decoded(experiment))
        }
        for workers in (0, 2):
            epoch = loaded(experiment, workers, options.rounds)
            ways[f"cache, {workers} workers"] = lambda epoch=epoch: rate(count, epoch)  # type: ignore[misc]
        before = resident()
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                found[name].append(way())
        grown = resident() - before
        run = Run.of(config)
        run.create(config)
        trainer = Trainer(experiment, run, launch(config.train), Display())
        training = trainer.epoch()["images_per_second"]
    slowest = median(found["decoding every epoch"])
    print(f"{every} slices of {len(experiment.data.parts['train'])} scans; medians of {options.rounds} rounds in turn")
    for name, values in found.items():
        ratios = f"{median(values) / slowest:6.1f}x decoding, {median(values) / training:6.1f}x training"
        print(f"{name:22} {median(values):8.0f} slices/s  ({min(values):.0f} to {max(values):.0f})  {ratios}")
    print(f"{'training step':22} {training:8.1f} slices/s; memory grew by {grown:.1f} MiB over {options.rounds} rounds")


if __name__ == "__main__":
    main()
