"""From the labels of a batch to what a loss is called with beside the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import datasets

Given = dict[str, Any]
"""Arguments of a loss, and of its `denominator`."""


class Targets:
    """What a loss is called with beside the logits.

    Args:
        cases: of the samples; their numbers come with a batch.
        classes: the names of the classes, the background first where a case was not labelled for all.
        device: that computes.
        regions: what the network has a logit for; None where it has one for each class.
    """

    def __init__(
        self,
        cases: Sequence[datasets.CachedCase],
        classes: Sequence[str],
        device: torch.device,
        regions: datasets.Regions | None = None,
    ) -> None:
        self.regions = regions
        self.labelled: Tensor | None = None
        if any(cached.case.labelled is not None for cached in cases):
            known = np.stack([datasets.labelled_parts(cached.case, classes, regions) for cached in cases])
            self.labelled = torch.from_numpy(known).to(device)

    def __call__(self, mask: Tensor, case: Tensor) -> Given:
        """Of the labels `(N, H, W)` of a batch, on the device, and the numbers of their cases, `(N,)`."""
        given: Given = {"target": mask}
        if self.regions is not None:
            given = {"target": self.regions.targets(mask).float(), "mask": mask != datasets.IGNORE}
        if self.labelled is not None:
            given["labelled"] = self.labelled[case.to(self.labelled.device, non_blocking=True)]
        return given
