"""The losses of other libraries that the benchmark runs; what they compute is in `docs/peers.md`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kornia.losses
import monai.losses
import segmentation_models_pytorch.losses as smp
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

Call = Callable[[Tensor, Tensor], Tensor]
BASE = "torch `F.cross_entropy`"


def peers_of(name: str, classes: int) -> dict[str, Call]:
    """The peers of a loss by name: calls of logits and labels, 255 ignored.

    Those that cannot ignore a label get class 0 instead, which costs them nothing.
    """
    soft: dict[str, Any] = {"softmax": True, "to_onehot_y": True}
    many: dict[str, Any] = {"mode": "multiclass", "ignore_index": 255}

    def clean(loss: Any) -> Call:
        return lambda z, t: loss(z, t.where(t != 255, 0))

    def channel(loss: Any) -> Call:
        return lambda z, t: loss(z, t.where(t != 255, 0).unsqueeze(1))

    def one_hot(t: Tensor) -> Tensor:
        return F.one_hot(t.where(t != 255, 0), classes).movedim(-1, 1).float()

    found: dict[str, dict[str, Call]] = {
        "ce": {
            BASE: lambda z, t: F.cross_entropy(z, t, ignore_index=255),
            "smp": smp.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=255),
        },
        "focal": {
            "MONAI": channel(monai.losses.FocalLoss(use_softmax=True, to_onehot_y=True)),
            "kornia": lambda z, t: kornia.losses.focal_loss(z, t, None, reduction="mean", ignore_index=255),
        },
        "sigmoid_ce": {"torch": lambda z, t: F.binary_cross_entropy_with_logits(z, one_hot(t))},
        "sigmoid_focal": {
            "torchvision": lambda z, t: sigmoid_focal_loss(z, one_hot(t), reduction="mean"),
            "MONAI": channel(monai.losses.FocalLoss(to_onehot_y=True)),
            "smp": smp.FocalLoss(**many),
        },
        "dice": {
            "MONAI": channel(monai.losses.DiceLoss(**soft)),
            "smp": smp.DiceLoss(**many),
            "kornia": lambda z, t: kornia.losses.dice_loss(z, t, average="macro", ignore_index=255),
        },
        "iou": {
            "MONAI": channel(monai.losses.DiceLoss(jaccard=True, **soft)),
            "smp": clean(smp.JaccardLoss("multiclass")),
        },
        "tversky": {
            "MONAI": channel(monai.losses.TverskyLoss(**soft)),
            "smp": smp.TverskyLoss(**many, alpha=0.3, beta=0.7),
            "kornia": clean(lambda z, t: kornia.losses.tversky_loss(z, t, alpha=0.3, beta=0.7)),
        },
        "focal_tversky": {"smp": smp.TverskyLoss(**many, alpha=0.3, beta=0.7, gamma=4 / 3)},
        "generalized_dice": {"MONAI": channel(monai.losses.GeneralizedDiceLoss(**soft))},
        "lovasz": {"smp": smp.LovaszLoss(**many), "kornia": clean(kornia.losses.lovasz_softmax_loss)},
    }
    return found.get(name, {})
