"""The scores of a part of the data, whatever a case has: a mask, or one label."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lightning_fabric import Fabric
from torch import nn

import datasets
from segloss.document import Adjustment

from ..experiment.experiment import Experiment
from .evaluation import Loaders, PartCounts, score
from .labels import LabelCounts, score_labels


def score_part(
    model: nn.Module,
    part: datasets.Part,
    experiment: Experiment,
    fabric: Fabric,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda found, _: found,
    thorough: bool = False,
    adjustment: Adjustment | None = None,
    loaders: Loaders | None = None,
) -> PartCounts | LabelCounts:
    """Count a part; see `evaluation.score` and `labels.score_labels`."""
    if experiment.adapter.kind == "label":
        return score_labels(model, part, experiment, fabric, track, thorough, loaders)
    return score(model, part, experiment, fabric, track, thorough, adjustment, loaders)
