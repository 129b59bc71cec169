"""The losses in a plain PyTorch loop, with accumulation: `python docs/examples/torch_loop.py`.

Two micro-batches make one step. Their valid pixels differ in number, so each is divided by the count of both: the gradient
is that of the large batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import segloss

CLASSES = 3


def batch(seed: int) -> tuple[Tensor, Tensor]:
    """Images of a bright square of class 1 and, rarely, a spot of class 2, on class 0; a border is ignored (255)."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.randn(4, 1, 32, 32, generator=generator)
    masks = torch.zeros(4, 32, 32, dtype=torch.long)
    masks[:, 8:24, 8:24] = 1
    masks[0, 14:18, 14:18] = 2
    masks[:, :2] = 255
    return images + masks.clamp(max=2).unsqueeze(1), masks


def train(steps: int = 60) -> tuple[list[float], nn.Module]:
    """Train a small network; returns the loss of each step, and the network."""
    torch.manual_seed(0)
    counts = segloss.ClassCounts(pixels=torch.bincount(batch(0)[1].flatten(), minlength=CLASSES)[:CLASSES].tolist())
    loss = segloss.build_loss(
        [{"name": "focal", "class_weights": "inverse_sqrt"}, {"name": "dice"}], num_classes=CLASSES, class_counts=counts
    )
    acw = segloss.AdaptiveClassWeight(CLASSES)
    network = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, CLASSES, 1), acw)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p is not acw.weight]},
        {"params": [acw.weight], "weight_decay": 0.0},  # decay would pull the weights to 0
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    history = []
    for step in range(steps):
        loss.new_epoch(step)  # for losses that follow the training; the others do not care
        parts = [batch(2 * step), batch(2 * step + 1)]
        denominator = torch.stack([loss.denominator(masks) for _, masks in parts]).sum(0)
        total = 0.0
        for images, masks in parts:
            value = loss(network(images), masks, denominator=denominator)
            value.backward()
            total += value.item()
        optimizer.step()
        optimizer.zero_grad()
        history.append(total)
    return history, network


if __name__ == "__main__":
    history, network = train()
    print(f"loss {history[0]:.3f} -> {history[-1]:.3f}")
    scores = segloss.SegmentationScores(num_classes=CLASSES)
    images, masks = batch(999)
    scores.update(network(images).argmax(1), masks, image=[0, 1, 2, 3], case=[0, 1, 2, 3])
    print(f"mIoU over unseen images, all pixels pooled: {scores.compute()['dataset']['mIoU']:.3f}")
