"""The losses in MONAI, in 3D: `python docs/examples/monai_trainer.py` (needs monai).

MONAI's networks give `(N, C, D, H, W)`, as the losses take it; its labels have a channel axis, which `squeeze(1)` drops.
"""

from __future__ import annotations

import torch
from monai.data import DataLoader, Dataset
from monai.metrics import DiceMetric
from monai.networks.nets import UNet
from monai.networks.utils import one_hot
from monai.transforms import Compose, NormalizeIntensityd, RandFlipd
from torch import Tensor

import segloss

CLASSES = 2


def case(seed: int) -> dict[str, Tensor]:
    """A volume with a small bright ball."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randint(6, 18, (3,), generator=generator)
    axes = torch.meshgrid(*[torch.arange(24.0)] * 3, indexing="ij")
    label = (sum((axis - c) ** 2 for axis, c in zip(axes, centre.tolist(), strict=True)) < 16).long()
    image = label + 0.3 * torch.randn(24, 24, 24, generator=generator)
    return {"image": image.unsqueeze(0), "label": label.unsqueeze(0)}


def train(epochs: int = 6) -> tuple[list[float], float]:
    """Train MONAI's U-Net with DFL and Dice; returns the loss of each epoch, and the Dice score of unseen cases."""
    torch.manual_seed(0)
    transform = Compose([NormalizeIntensityd("image"), RandFlipd(("image", "label"), prob=0.5, spatial_axis=0)])
    cases = [case(seed) for seed in range(8)]
    loader = DataLoader(Dataset(cases, transform), batch_size=2, shuffle=True)
    network = UNet(3, 1, CLASSES, channels=(8, 16, 32), strides=(2, 2))
    pixels = torch.stack([torch.bincount(c["label"].flatten(), minlength=CLASSES) for c in cases]).sum(0)
    loss = segloss.build_loss([{"name": "dfl"}, {"name": "dice"}], num_classes=CLASSES, class_counts=pixels)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    history = []
    for epoch in range(epochs):
        loss.new_epoch(epoch)
        total = 0.0
        for batch in loader:
            value = loss(network(batch["image"].as_tensor()), batch["label"].squeeze(1).long())
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.item()
        history.append(total / len(loader))
    metric = DiceMetric(include_background=False)
    network.eval()
    with torch.no_grad():
        for seed in (100, 101, 102):
            unseen = NormalizeIntensityd("image")(case(seed))
            prediction = network(unseen["image"].as_tensor().unsqueeze(0)).argmax(1, keepdim=True)
            metric(one_hot(prediction, CLASSES), one_hot(unseen["label"].unsqueeze(0), CLASSES))
    return history, metric.aggregate().item()


if __name__ == "__main__":
    history, dice = train()
    print(f"loss {history[0]:.3f} -> {history[-1]:.3f}, Dice of unseen cases {dice:.3f}")
