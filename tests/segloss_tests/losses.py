"""What the tests of the losses share: their names by kind, inputs, and a way to build each."""

import pytest
import torch

from segloss import LOSSES, build_loss
from segloss.pixelwise import PixelwiseLoss
from segloss.region import RegionLoss

COUNTS = [500, 20, 100, 3]
NAMES = list(LOSSES)
PIXELWISE = [name for name in NAMES if issubclass(LOSSES[name], PixelwiseLoss)]
REGION = [name for name in NAMES if issubclass(LOSSES[name], RegionLoss)]
SPATIAL = ["boundary", "cldice", "skeleton_recall", "blob"]  # the place of a pixel matters
HARD_ONLY = ["lovasz", "lovasz_hinge", *SPATIAL]
FOREGROUND = ["cldice", "skeleton_recall", "blob", "unified_focal"]  # class 0 is another than the rest
NO_MAP = ["unified_focal"]
EAGER = ["boundary", "blob"]  # loops that depend on data
SOFT = [name for name in NAMES if name not in HARD_ONLY]
ONE_VS_REST = ["sigmoid_ce", "sigmoid_focal", "cb_sigmoid", "cb_focal", "lovasz_hinge"]
OWN_WEIGHTS = ["cb_ce", "cb_sigmoid", "cb_focal"]
BY_BATCH = ["recall", "seql"]  # a pixel's value depends on the other pixels, or on a draw


def build(name, **parameters):
    return build_loss(name, **{"num_classes": 4, "class_counts": COUNTS, **parameters})


def whole_graph(loss, **options):
    """A loss that is compiled into one graph; skips the rest of a test where torch is too old for that."""
    if torch.__version__ < (2, 12):
        pytest.skip("losses compile whole from torch 2.12 on")
    return torch.compile(loss, fullgraph=True, **options)


def sample(seed=0, shape=(2, 4, 5, 3), scale=2.0, dtype=torch.float64, ignored=0.3):
    """Logits and labels, some of them 255."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(shape, generator=generator, dtype=dtype)
    pixels = (shape[0], *shape[2:])
    target = torch.randint(0, max(shape[1], 2), pixels, generator=generator)
    target[torch.rand(pixels, generator=generator) < ignored] = 255
    return logits, target


def soft_labels(seed=0, shape=(2, 4, 5, 3)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + 99), dtype=torch.float64).softmax(1)


def seeded(loss, *arguments, **keywords):
    """Call a loss that may draw random numbers, the same ones every time."""
    torch.manual_seed(0)
    return loss(*arguments, **keywords)
