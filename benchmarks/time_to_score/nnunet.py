"""nnU-Net 2, configuration 2d, within minutes: run by a Python that has nnunetv2, which needs nothing of ours.

Its own plan, preprocessing, augmentation, loss, optimizer and prediction with mirrored images. Cut to the budget: the
learning rate falls by its own polynomial over the minutes instead of 1,000 epochs of 250 steps, there is no validation
between, and a batch is of 12 slices, the smallest that nnU-Net plans, since on a CPU the budget would end after few
steps of its larger ones. Planning and preprocessing do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Plan once, train a fold, predict what it holds out."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("raw", type=Path)
    arguments.add_argument("--fold", type=int, required=True)
    arguments.add_argument("--minutes", type=float, required=True)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", type=Path, required=True)
    options = arguments.parse_args()
    work = options.raw.parent
    environment = {"raw": work, "preprocessed": work / "preprocessed", "results": options.out / "results"}
    os.environ.update({f"nnUNet_{name}": str(value) for name, value in environment.items()})
    preprocessed = work / "preprocessed" / options.raw.name
    if not (preprocessed / "splits_final.json").exists():
        number = str(int(options.raw.name[len("Dataset") :].split("_")[0]))
        command = Path(sys.executable).parent / "nnUNetv2_plan_and_preprocess"
        subprocess.run([command, "-d", number, "-c", "2d", "-npfp", "1", "-np", "1"], check=True)
        (preprocessed / "splits_final.json").write_text((options.raw / "splits.json").read_text())
    os.environ["nnUNet_n_proc_DA"] = str(len(os.sched_getaffinity(0)) - 1)  # noqa: SIM112 (nnU-Net's own name)
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    print("batch size planned:", plans["configurations"]["2d"]["batch_size"])
    plans["configurations"]["2d"]["batch_size"] = 12
    train(plans | {"continue_training": False}, json.loads((options.raw / "dataset.json").read_text()), options)


def train(plans: dict[str, object], dataset: dict[str, object], options: argparse.Namespace) -> None:
    """Train by nnU-Net's own trainer, its schedule by the clock, and predict with its own predictor."""
    import numpy
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.manual_seed(options.seed)
    numpy.random.seed(options.seed)
    device = torch.device("cpu")
    trainer = nnUNetTrainer(plans, "2d", options.fold, dataset, device)
    trainer.on_train_start()
    network, optimizer, steps, started = trainer.network, trainer.optimizer, 0, time.monotonic()
    network.train()
    while (share := (time.monotonic() - started) / (60 * options.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - share) ** 0.9
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
    print(f"{steps} steps in {time.monotonic() - started:.0f} s")
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(use_mirroring=True, device=device, allow_tqdm=False)
    mirrored = trainer.inference_allowed_mirroring_axes
    weights = [network.state_dict()]
    predictor.manual_initialization(
        network, trainer.plans_manager, trainer.configuration_manager, weights, dataset, "nnUNetTrainer", mirrored
    )
    held_out = json.loads((options.raw / "splits.json").read_text())[options.fold]["val"]
    images = [[str(options.raw / "imagesTr" / f"{case}_0000.nii.gz")] for case in held_out]
    predictor.predict_from_files_sequential(images, [str(options.out / case) for case in held_out], False, True)


if __name__ == "__main__":
    main()
