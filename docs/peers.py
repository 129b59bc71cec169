"""The losses of other libraries and what they are here, computed on the same input.

Needs the `dev` extra (kornia, MONAI, segmentation-models-pytorch, torchvision).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import kornia.losses
import monai.losses
import segmentation_models_pytorch.losses as smp
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

import segloss

CLASSES = 4
WEIGHTS = [1.0, 2.0, 3.0, 4.0]
Call = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Pair:
    """One loss of another library and its counterpart.

    Attributes:
        library: its name.
        theirs: how it is called there; parameters not named are the library's defaults.
        call: that call, of logits `(N, C, H, W)` and labels `(N, H, W)`.
        ours: a name of `build_loss`, or a list of parts that are summed.
        parameters: of ours.
        factor: theirs is this times ours.
        same: whether the two agree; otherwise `note` says why not.
        note: what else differs.
        binary: the input is one logit a pixel.
        soft: the target is soft labels `(N, C, H, W)`.
    """

    library: str
    theirs: str
    call: Call
    ours: str | list[dict[str, Any]]
    parameters: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0
    same: bool = True
    note: str = ""
    binary: bool = False
    soft: bool = False

    def example(self, seed: int = 0) -> tuple[Tensor, Tensor]:
        """What both are computed on."""
        return example(self.binary, seed, self.soft)

    def both(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Theirs, and ours times the factor."""
        classes = 2 if self.binary else CLASSES
        loss = segloss.build_loss(self.ours, num_classes=classes, **self.parameters)
        return self.call(logits, labels), self.factor * loss(logits, labels)


def example(binary: bool = False, seed: int = 0, soft: bool = False) -> tuple[Tensor, Tensor]:
    """Logits, and labels that hold every class and no ignored pixel; or soft labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 1 if binary else CLASSES, 8, 7, generator=generator)
    labels = torch.randint(0, 2 if binary else CLASSES, (2, 8, 7), generator=generator)
    if soft:
        values = 2 * torch.randn(logits.shape, generator=generator)
        labels = values.sigmoid() if binary else values.softmax(1)
    return logits, labels


def _channel(loss: Any) -> Call:
    """MONAI takes labels with a channel axis."""
    return lambda logits, labels: loss(logits, labels.unsqueeze(1))


def _one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, CLASSES).movedim(-1, 1).float()


SOFT = {"softmax": True, "to_onehot_y": True}
MONAI_MEAN = {"per_image": True, "classes": "all", "smooth": 1e-5}

PAIRS = [
    Pair("torch", "cross_entropy()", F.cross_entropy, "ce", note="ignores −100, ours 255; NaN when all is ignored"),
    Pair(
        "torch",
        "cross_entropy(weight=w)",
        lambda z, t: F.cross_entropy(z, t, torch.tensor(WEIGHTS)),
        "ce",
        {"class_weights": WEIGHTS, "normalize": "weights"},
    ),
    Pair(
        "torch",
        "cross_entropy(label_smoothing=0.1)",
        lambda z, t: F.cross_entropy(z, t, label_smoothing=0.1),
        "ce",
        {"label_smoothing": 0.1},
    ),
    Pair(
        "torch",
        "binary_cross_entropy_with_logits(one-hot)",
        lambda z, t: F.binary_cross_entropy_with_logits(z, _one_hot(t)),
        "sigmoid_ce",
        factor=1 / CLASSES,
        note="divides by classes too",
    ),
    Pair(
        "torchvision",
        'sigmoid_focal_loss(one-hot, reduction="mean")',
        lambda z, t: sigmoid_focal_loss(z, _one_hot(t), reduction="mean"),
        "sigmoid_focal",
        factor=1 / CLASSES,
        note="α of a class, 1 − α of the rest, class by class; divides by classes too",
    ),
    Pair(
        "MONAI",
        "DiceLoss(softmax=True)",
        _channel(monai.losses.DiceLoss(**SOFT)),
        "dice",
        MONAI_MEAN,
        note="ignores nothing unless ignore_index is given; default activation is none",
    ),
    Pair(
        "MONAI",
        "DiceLoss(softmax=True, include_background=False)",
        _channel(monai.losses.DiceLoss(include_background=False, **SOFT)),
        "dice",
        {"class_weights": [0.0, 1.0, 1.0, 1.0], **MONAI_MEAN},
    ),
    Pair(
        "MONAI",
        "DiceLoss(sigmoid=True)",
        _channel(monai.losses.DiceLoss(sigmoid=True)),
        "dice",
        {"class_weights": [0.0, 1.0], **MONAI_MEAN},
        note="one logit: the foreground alone",
        binary=True,
    ),
    Pair(
        "MONAI",
        "DiceLoss(softmax=True, squared_pred=True)",
        _channel(monai.losses.DiceLoss(squared_pred=True, **SOFT)),
        "dice",
        {"squared": True, **MONAI_MEAN},
    ),
    Pair(
        "MONAI",
        "DiceLoss(softmax=True, jaccard=True)",
        _channel(monai.losses.DiceLoss(jaccard=True, smooth_nr=0, smooth_dr=0, **SOFT)),
        "iou",
        {"per_image": True, "classes": "all"},
        note="with smooth_nr = smooth_dr = 0",
    ),
    Pair(
        "MONAI",
        "DiceCELoss(softmax=True)",
        _channel(monai.losses.DiceCELoss(**SOFT)),
        [{"name": "dice", **MONAI_MEAN}, {"name": "ce"}],
    ),
    Pair(
        "MONAI",
        "TverskyLoss(softmax=True)",
        _channel(monai.losses.TverskyLoss(**SOFT)),
        "tversky",
        {"alpha": 0.5, "beta": 0.5, **MONAI_MEAN},
    ),
    Pair(
        "MONAI",
        "GeneralizedDiceLoss(softmax=True)",
        _channel(monai.losses.GeneralizedDiceLoss(**SOFT)),
        "generalized_dice",
        {"per_image": True, "smooth": 1e-5},
        note="gives an absent class the largest weight, ours 0",
    ),
    Pair(
        "MONAI",
        "DiceLoss(softmax=True, soft_label=True)",
        monai.losses.DiceLoss(softmax=True, soft_label=True),
        "dice",
        MONAI_MEAN,
        note="soft labels",
        soft=True,
    ),
    Pair(
        "MONAI",
        "TverskyLoss(softmax=True, soft_label=True, alpha=0.3, beta=0.7)",
        monai.losses.TverskyLoss(softmax=True, soft_label=True, alpha=0.3, beta=0.7),
        "tversky",
        MONAI_MEAN,
        note="soft labels",
        soft=True,
    ),
    Pair(
        "MONAI",
        "DiceLoss(softmax=True)",
        monai.losses.DiceLoss(softmax=True),
        "dice",
        MONAI_MEAN,
        same=False,
        note="soft labels; without soft_label it is not least at p = P",
        soft=True,
    ),
    Pair(
        "MONAI",
        "FocalLoss(use_softmax=True)",
        _channel(monai.losses.FocalLoss(use_softmax=True, to_onehot_y=True)),
        "focal",
        factor=1 / CLASSES,
        note="divides by classes too",
    ),
    Pair(
        "MONAI",
        "FocalLoss()",
        _channel(monai.losses.FocalLoss(to_onehot_y=True)),
        "sigmoid_focal",
        {"alpha": None},
        factor=1 / CLASSES,
        note="one-vs-rest; divides by classes too",
    ),
    Pair("smp", 'DiceLoss("multiclass")', smp.DiceLoss("multiclass"), "dice", note="an absent class counts as 0"),
    Pair(
        "smp",
        'DiceLoss("binary")',
        smp.DiceLoss("binary"),
        "dice",
        {"class_weights": [0.0, 1.0]},
        note="one logit: the foreground alone",
        binary=True,
    ),
    Pair(
        "smp",
        'DiceLoss("binary")',
        smp.DiceLoss("binary"),
        "dice",
        {"class_weights": [0.0, 1.0]},
        note="soft labels of one logit",
        binary=True,
        soft=True,
    ),
    Pair("smp", 'JaccardLoss("multiclass")', smp.JaccardLoss("multiclass"), "iou", note="an absent class counts as 0"),
    Pair(
        "smp",
        'TverskyLoss("multiclass")',
        smp.TverskyLoss("multiclass"),
        "tversky",
        {"alpha": 0.5, "beta": 0.5},
    ),
    Pair(
        "smp",
        'TverskyLoss("multiclass", alpha=0.3, beta=0.7, gamma=4/3)',
        smp.TverskyLoss("multiclass", alpha=0.3, beta=0.7, gamma=4 / 3),
        "focal_tversky",
        same=False,
        note="raises the mean over classes to γ, ours each class to 1/γ, as the paper",
    ),
    Pair(
        "smp",
        'FocalLoss("multiclass")',
        smp.FocalLoss("multiclass"),
        "sigmoid_focal",
        {"alpha": None},
        factor=1 / CLASSES,
        note="one-vs-rest, whatever its name; a mean over classes",
    ),
    Pair("smp", 'LovaszLoss("multiclass")', smp.LovaszLoss("multiclass"), "lovasz"),
    Pair(
        "smp",
        "SoftCrossEntropyLoss(smooth_factor=0.1)",
        smp.SoftCrossEntropyLoss(smooth_factor=0.1),
        "ce",
        {"label_smoothing": 0.1},
        note="divides by ignored pixels too",
    ),
    Pair("smp", 'LovaszLoss("binary")', smp.LovaszLoss("binary"), "lovasz_hinge", binary=True),
    Pair(
        "kornia",
        'dice_loss(average="macro")',
        lambda z, t: kornia.losses.dice_loss(z, t, average="macro"),
        "dice",
        {"per_image": True},
        note="all ignored gives 1",
    ),
    Pair(
        "kornia",
        "dice_loss()",
        kornia.losses.dice_loss,
        "dice",
        {"per_image": True},
        same=False,
        note="micro over softmax classes is 1 − mean p_t: it balances nothing",
    ),
    Pair(
        "kornia",
        "tversky_loss(alpha=0.3, beta=0.7)",
        lambda z, t: kornia.losses.tversky_loss(z, t, alpha=0.3, beta=0.7),
        "tversky",
        {"per_image": True},
    ),
    Pair(
        "kornia",
        'focal_loss(alpha=0.25, reduction="mean")',
        lambda z, t: kornia.losses.focal_loss(z, t, 0.25, reduction="mean"),
        "focal",
        {"alpha": [0.75, 0.25, 0.25, 0.25]},
        factor=1 / CLASSES,
        note="α of every class but 0, which gets 1 − α; divides by classes too",
    ),
    Pair(
        "kornia",
        'focal_loss(alpha=None, reduction="mean")',
        lambda z, t: kornia.losses.focal_loss(z, t, alpha=None, reduction="mean"),
        "focal",
        factor=1 / CLASSES,
        note="divides by classes and by ignored pixels too",
    ),
    Pair("kornia", "lovasz_softmax_loss()", kornia.losses.lovasz_softmax_loss, "lovasz", {"per_image": True}),
    Pair(
        "kornia",
        "lovasz_hinge_loss()",
        kornia.losses.lovasz_hinge_loss,
        "lovasz_hinge",
        {"per_image": True},
        binary=True,
    ),
]


@dataclass(frozen=True)
class Trap:
    """A nasty input, with logits, labels and what is right.

    Attributes:
        name: what is nasty.
        logits: `(N, 4, H, W)`.
        labels: `(N, H, W)`, 255 ignored.
    """

    name: str
    logits: Tensor
    labels: Tensor


def traps() -> Iterator[Trap]:
    """Inputs that go wrong somewhere."""
    logits, labels = example()
    some = labels.clone()
    some[0] = 255
    yield Trap("all pixels ignored", logits, torch.full_like(labels, 255))
    yield Trap("NaN in an ignored pixel", torch.where((some == 255).unsqueeze(1), math.nan, logits), some)
    foreign = labels.clone()
    foreign[0, 0, 0] = 7
    yield Trap("a label 7 of 4 classes", logits, foreign)
    sure = 200 * _one_hot(labels) - 100
    yield Trap("sure and right (gradient)", sure, labels)
    generator = torch.Generator().manual_seed(1)
    big = torch.randint(0, CLASSES, (1, 600, 600), generator=generator)
    yield Trap("float16, 600×600", torch.zeros(1, CLASSES, 600, 600, dtype=torch.float16), big)


TRAPPED: dict[str, Call] = {
    "torch cross_entropy": lambda z, t: F.cross_entropy(z, t, ignore_index=255),
    "smp Dice": smp.DiceLoss("multiclass", ignore_index=255),
    "smp focal, γ = ½": smp.FocalLoss("multiclass", gamma=0.5, ignore_index=255),
    "smp Lovász": smp.LovaszLoss("multiclass", ignore_index=255),
    "kornia Dice": lambda z, t: kornia.losses.dice_loss(z, t, average="macro", ignore_index=255),
    "kornia focal, γ = ½": lambda z, t: kornia.losses.focal_loss(z, t, None, 0.5, "mean", ignore_index=255),
    "MONAI focal, γ = ½": lambda z, t: monai.losses.FocalLoss(
        gamma=0.5, use_softmax=True, to_onehot_y=True, ignore_index=255
    )(z, t.unsqueeze(1)),
    "segloss ce": segloss.build_loss("ce"),
    "segloss dice": segloss.build_loss("dice"),
    "segloss focal, γ = ½": segloss.build_loss("focal", gamma=0.5),
    "segloss lovasz": segloss.build_loss("lovasz"),
}


def outcome(call: Call, trap: Trap) -> str:
    """What a loss makes of a nasty input: its value, or what happens."""
    logits = trap.logits.clone().requires_grad_()
    try:
        value = call(logits, trap.labels)
        if value.dim():
            return "not a scalar"
        (gradient,) = torch.autograd.grad(value, logits, allow_unused=True)
    except (ValueError, IndexError, RuntimeError) as error:
        return type(error).__name__
    bad = gradient is not None and not bool(gradient.isfinite().all())
    return f"{float(value.detach()):.3g}" + (", gradient NaN" if bad else "")
