"""What the trainer costs: an epoch of train_seg.py against a bare PyTorch loop over arrays in memory.

    python -m benchmarks.epoch configs/camvid/deeplabv3plus_ce.yaml data.root=… --repeats 3

Both train the same network with the same loss on the same images and score the same validation part; ours also loads
from the cache, augments by name, writes log and checkpoints. The data is decoded
before the clock starts. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from rich.console import Console

from engine.configuration.build import build_loss
from engine.configuration.checking import load_config
from engine.configuration.config import Config
from engine.console.display import Display
from engine.experiment.device import launch
from engine.experiment.experiment import Experiment
from engine.experiment.run import Run
from engine.training.trainer import Trainer


class BareLoop:
    """A plain script: arrays in memory, smp's network, torch's Adam, a flip."""

    def __init__(self, experiment: Experiment) -> None:
        self.config = experiment.config
        parts = experiment.data.parts
        self.arrays = {
            part: (
                np.stack([case.image(0) for case in parts[part]]),
                np.stack([case.mask(0) for case in parts[part]]),
            )
            for part in ("train", "val")
        }
        classes = len(experiment.adapter.classes)
        self.classes = classes
        model, optim = self.config.model.model_dump(), self.config.optim.model_dump()
        self.network = smp.create_model(model["name"], model["encoder"], encoder_weights=None, classes=classes)
        counts = experiment.class_counts(experiment.training_samples())
        self.loss = build_loss(self.config.loss, classes, counts, self.config.train.epochs or 1)
        self.optimizer = torch.optim.Adam(self.network.parameters(), optim["lr"])
        self.mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        self.deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    def tensor(self, images: np.ndarray) -> torch.Tensor:
        """Normalised `(N, 3, H, W)`."""
        planes = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        return (planes.float() / 255 - self.mean) / self.deviation

    def epoch(self) -> None:
        """Train and score once."""
        images, masks = self.arrays["train"]
        size = self.config.train.batch_size
        order = np.random.permutation(len(images))
        self.network.train()
        for start in range(0, len(order) - 1, size):
            chosen = order[start : start + size]
            x, y = images[chosen], masks[chosen]
            if np.random.rand() < 0.5:
                x, y = x[:, :, ::-1], y[:, :, ::-1]
            target = torch.from_numpy(np.ascontiguousarray(y)).long()
            loss = self.loss(self.network(self.tensor(x)), target)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.score()

    @torch.no_grad()
    def score(self) -> None:
        """Count the confusion matrix of the validation part."""
        images, masks = self.arrays["val"]
        self.network.eval()
        matrix = torch.zeros(self.classes, self.classes)
        for start in range(0, len(images), 8):
            labels = self.network(self.tensor(images[start : start + 8])).argmax(1)
            target = torch.from_numpy(masks[start : start + 8]).long()
            valid = target < self.classes
            cells = torch.bincount(target[valid] * self.classes + labels[valid], minlength=self.classes**2)
            matrix += cells.view(self.classes, self.classes)


def ours(config: Config, experiment: Experiment) -> Trainer:
    """The trainer in a run folder of its own."""
    run = Run.of(config)
    run.create(config)
    return Trainer(experiment, run, launch(config.train), Display(Console(file=io.StringIO())))


def main() -> None:
    """Time epochs in turn and print medians and their ratio."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config", type=Path)
    arguments.add_argument("overrides", nargs="*")
    arguments.add_argument("--repeats", type=int, default=3)
    options, rest = arguments.parse_known_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*options.overrides, *rest, f"output={folder}", "data.cache=runs/.cache"]
        config = load_config(options.config, [*overrides, f"train.epochs={options.repeats + 1}", "scores.grid=network"])
        experiment = Experiment.prepare(config)
        bare, trainer = BareLoop(experiment), ours(config, experiment)
        seconds: dict[str, list[float]] = {"bare loop": [], "train_seg.py": []}
        for repeat in range(options.repeats + 1):  # the first warms up
            for name, run in (("bare loop", bare.epoch), ("train_seg.py", trainer.epoch)):
                started = time.perf_counter()
                run()
                took = time.perf_counter() - started
                print(f"{name}: {took:.1f} s{'' if repeat else ' (warm-up)'}", flush=True)
                if repeat:
                    seconds[name].append(took)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = [one / other for one, other in zip(seconds["train_seg.py"], seconds["bare loop"], strict=True)]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {options.repeats}")
    for name, median in medians.items():
        print(f"{name:>12}: {median:.1f} s an epoch")
    print(f"ratio: {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
