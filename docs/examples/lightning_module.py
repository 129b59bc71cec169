"""The losses in Lightning: `python docs/examples/lightning_module.py` (needs lightning).

`cdb_ce` weighs classes by their recall in the last validation, which the module hands over as each epoch begins.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import segloss

CLASSES = 3


def data(seed: int, images: int = 16) -> TensorDataset:
    """Images of bright stripes: class 1 often, class 2 rarely."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(images, 16, 16, dtype=torch.long)
    masks[:, 4:8], masks[::4, 10:11] = 1, 2
    return TensorDataset(masks.unsqueeze(1) + 0.4 * torch.randn(images, 1, 16, 16, generator=generator), masks)


class Segmenter(lightning.LightningModule):
    """A small network that is trained with difficulty-balanced cross entropy."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, CLASSES, 1))
        self.loss = segloss.build_loss("cdb_ce", num_classes=CLASSES)  # a module: saved with the checkpoint
        self.scores = segloss.SegmentationScores(num_classes=CLASSES)
        self.recall: list[float | None] | None = None

    def on_train_epoch_start(self) -> None:
        """Tell the loss where the training stands."""
        self.loss.new_epoch(self.current_epoch, self.recall)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        images, masks = batch
        value: Tensor = self.loss(self.network(images), masks)
        return value

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        """Count."""
        images, masks = batch
        ids = list(range(index * 100, index * 100 + len(images)))
        self.scores.update(self.network(images).argmax(1), masks, image=ids, case=ids)

    def on_validation_epoch_end(self) -> None:
        """Keep the recalls for the next epoch."""
        found = self.scores.compute()["dataset"]
        self.recall = [of_class["recall"] for of_class in found["classes"].values()]
        self.log("mIoU", found["mIoU"])
        self.scores.reset()

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=0.02)


def train(epochs: int = 8) -> tuple[list[float], float]:
    """Train; returns the class weights of the last epoch, and the mIoU of its validation."""
    torch.manual_seed(0)
    module = Segmenter()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(module, DataLoader(data(0), batch_size=4), DataLoader(data(1), batch_size=4))
    return module.loss.state_dict()["difficulty"].tolist(), float(trainer.callback_metrics["mIoU"])


if __name__ == "__main__":
    weights, score = train()
    print(f"mIoU {score:.3f}, class weights of the last epoch {weights}")
