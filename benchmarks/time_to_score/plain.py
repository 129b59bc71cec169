"""What one writes in an afternoon: a 2D U-Net of MONAI or smp with Dice and cross entropy, within minutes.

Each follows the examples of its library: MONAI's residual U-Net learns from crops around foreground and background and
predicts in windows; smp's U-Net with ResNet-34 learns from slices padded or cropped to one size. Both see each slice
scaled by its volume, mirrored, turned and scaled, and their learning rate falls by a cosine over the minutes.
Reading the files does not count.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import albumentations as A
import nibabel
import numpy as np
import segmentation_models_pytorch as smp
import torch
from monai.data import CacheDataset, DataLoader
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandScaleIntensityd,
    SpatialPadd,
)
from monai.utils import set_determinism
from numpy.typing import NDArray

SIDE = 160
BATCH = 16
Slices = list[tuple[NDArray[np.float32], NDArray[np.uint8]]]
Predict = Callable[[torch.Tensor], torch.Tensor]


def slices(raw: Path, cases: list[str]) -> Slices:
    """The slices of the cases, `(columns, rows)`, from 0 to 1 between percentiles 0.5 and 99.5 of their volume."""
    found = []
    for case in cases:
        image = nibabel.Nifti1Image.from_filename(raw / "imagesTr" / f"{case}_0000.nii.gz").get_fdata(dtype=np.float32)
        mask = np.asarray(nibabel.Nifti1Image.from_filename(raw / "labelsTr" / f"{case}.nii.gz").dataobj, np.uint8)
        low, high = np.percentile(image, (0.5, 99.5))
        image = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
        found += [(image[..., k], mask[..., k]) for k in range(image.shape[-1])]
    return found


def with_monai(found: Slices, classes: int) -> tuple[torch.nn.Module, Any, Iterator[Any], Predict]:
    """The network, the loss, batches without end, and how logits of slices are predicted."""
    both, size = ("image", "mask"), (SIDE, SIDE)
    transform = Compose(
        [
            EnsureChannelFirstd(both, channel_dim="no_channel"),
            SpatialPadd(both, size),
            RandCropByPosNegLabeld(both, "mask", size, pos=1, neg=1, num_samples=1),
            RandFlipd(both, prob=0.5, spatial_axis=0),
            RandAffined(both, prob=0.8, rotate_range=0.26, scale_range=0.2, mode=("bilinear", "nearest")),
            RandScaleIntensityd("image", factors=0.2, prob=0.5),
        ]
    )
    data = CacheDataset([{"image": image, "mask": mask} for image, mask in found], transform, progress=False)
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True)
    network = UNet(2, 1, classes, channels=(32, 64, 128, 256, 512), strides=(2, 2, 2, 2), num_res_units=2, norm="batch")
    loss = DiceCELoss(to_onehot_y=True, softmax=True)

    def batches() -> Iterator[Any]:
        while True:
            for batch in loader:
                yield batch["image"].as_tensor(), batch["mask"].as_tensor()

    def predict(x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = sliding_window_inference(x, size, 8, network, overlap=0.5, mode="gaussian")
        return found

    return network, loss, batches(), predict


def with_smp(found: Slices, classes: int) -> tuple[torch.nn.Module, Any, Iterator[Any], Predict]:
    """The network, the loss, batches without end, and how logits of slices are predicted."""
    transform = A.Compose(
        [
            A.PadIfNeeded(SIDE, SIDE),
            A.CenterCrop(SIDE, SIDE),
            A.HorizontalFlip(p=0.5),
            A.Affine(scale=(0.8, 1.2), rotate=(-15, 15), p=0.8),
            A.RandomBrightnessContrast(p=0.5),
        ],
        seed=torch.initial_seed(),
    )
    network = smp.Unet("resnet34", encoder_weights=None, in_channels=1, classes=classes)
    dice = smp.losses.DiceLoss("multiclass")
    entropy = torch.nn.CrossEntropyLoss()

    def loss(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = dice(logits, mask[:, 0]) + entropy(logits, mask[:, 0])
        return found

    def batches() -> Iterator[Any]:
        while True:
            order = random.sample(range(len(found)), len(found))
            for start in range(0, len(order) - BATCH + 1, BATCH):
                parts = [transform(image=found[i][0], mask=found[i][1]) for i in order[start : start + BATCH]]
                image, mask = (np.stack([part[key] for part in parts])[:, None] for key in ("image", "mask"))
                yield torch.from_numpy(image), torch.from_numpy(mask).long()

    def predict(x: torch.Tensor) -> torch.Tensor:
        rows, columns = x.shape[2:]
        bottom, right = -rows % 32, -columns % 32
        found: torch.Tensor = network(torch.nn.functional.pad(x, (0, right, 0, bottom)))[..., :rows, :columns]
        return found

    return network, loss, batches(), predict


def main() -> None:
    """Train a fold and predict what it holds out."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("raw", type=Path)
    arguments.add_argument("--library", choices=("monai", "smp"), required=True)
    arguments.add_argument("--fold", type=int, required=True)
    arguments.add_argument("--minutes", type=float, required=True)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", type=Path, required=True)
    options = arguments.parse_args()
    random.seed(options.seed)
    set_determinism(options.seed)
    fold = json.loads((options.raw / "splits.json").read_text())[options.fold]
    classes = len(json.loads((options.raw / "dataset.json").read_text())["labels"])
    build = with_monai if options.library == "monai" else with_smp
    network, loss, batches, predict = build(slices(options.raw, fold["train"]), classes)
    optimizer, steps, started = torch.optim.AdamW(network.parameters(), lr=1e-3), 0, time.monotonic()
    while (share := (time.monotonic() - started) / (60 * options.minutes)) < 1:
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 + math.cos(math.pi * share)) / 2
        image, mask = next(batches)
        value = loss(network(image), mask)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        steps += 1
    print(f"{steps} steps in {time.monotonic() - started:.0f} s")
    network.eval()
    for case in fold["val"]:
        volume = np.stack([image for image, _ in slices(options.raw, [case])])
        with torch.no_grad():
            labels = torch.cat([predict(part).argmax(1) for part in torch.from_numpy(volume)[:, None].split(8)])
        affine = nibabel.Nifti1Image.from_filename(options.raw / "labelsTr" / f"{case}.nii.gz").affine
        mask = labels.permute(1, 2, 0).numpy().astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(mask, affine), options.out / f"{case}.nii.gz")


if __name__ == "__main__":
    main()
