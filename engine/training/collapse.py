"""A training that has collapsed to one class, and what helps."""

from __future__ import annotations

import datasets
import segloss
from segloss.aggregation import Aggregation
from segloss.pixelwise import PixelwiseLoss

from ..configuration.build import Loss
from ..configuration.config import Config


def only_class(found: Aggregation, regions: bool = False) -> str | None:
    """The class that everything is given, though the reference holds others; None where several are given.

    Of regions, which lie in a background of their own, that is where none is given.
    """
    given = [name for name, one in found["classes"].items() if one["precision"] is not None]
    held = [name for name, one in found["classes"].items() if one["recall"] is not None]
    if regions:
        return "what is outside of all regions" if held and not given else None
    return given[0] if len(given) == 1 and len(held) > 1 else None


def remedies(config: Config, adapter: datasets.Adapter, loss: Loss) -> list[str]:
    """What a configuration does not do yet against a collapse to one class.

    Args:
        config: of the training.
        adapter: of its data.
        loss: that it is trained with.
    """
    found = []
    if config.data.sampler is None:
        name = "rare" if adapter.background is None else "foreground"
        found.append(f"data.sampler: {{name: {name}}}")
    parts = list(loss.losses) if isinstance(loss, segloss.WeightedSum) else [loss]
    if adapter.kind != "label" and all(isinstance(part, PixelwiseLoss) for part in parts):
        both = "{name: dice, sigmoid: true}, {name: sigmoid_ce}" if config.data.regions else "{name: dice}, {name: ce}"
        found.append(f"loss: [{both}]")
    if adapter.kind == "label" and all(getattr(one, "class_weights", None) is None for one in config.loss):
        found.append("class_weights: effective_number in the loss")
    rate = getattr(config.optim, "lr", None)
    return [*found, "another optim.lr" if rate is None else f"a lower optim.lr than {rate:g}"]
