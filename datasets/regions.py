"""Overlapping regions of the masks, each a union of classes, of which a network has one logit each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .case import IGNORE

MOST = 16


class Regions:
    """Unions of classes.

    Args:
        regions: the indices of the classes of each region, by its name; larger regions first.
        classes: C.

    Attributes:
        names: of the R regions.
        members: `(R, C)` bool, whether a class is in a region.

    Raises:
        ValueError: one region, or too many, a region without classes, two of the same classes, no class outside of all.

    >>> whole_and_core = Regions({"whole": [1, 2], "core": [2]}, classes=3)
    >>> whole_and_core.targets(torch.tensor([[0, 1, 2]])).int().tolist()
    [[[0, 1, 1], [0, 0, 1]]]
    >>> logits = torch.tensor([[[-1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]]])  # core outside of whole, at the end
    >>> whole_and_core.labels(logits).tolist()
    [[0, 1, 2, 2]]
    """

    def __init__(self, regions: Mapping[str, Sequence[int]], classes: int) -> None:
        self.names, count = tuple(regions), len(regions)
        if not 2 <= count <= MOST:
            raise ValueError(
                f"{count} region(s); from 2 to {MOST} are possible, and one region is a class, whose values "
                "data.labels can join"
            )
        self.members = torch.tensor([[index in own for index in range(classes)] for own in regions.values()])
        twins: dict[tuple[bool, ...], str] = {}
        for name, row in zip(self.names, self.members.tolist(), strict=True):
            if not any(row):
                raise ValueError(f"{name} has no class")
            if (twin := twins.setdefault(tuple(row), name)) != name:
                raise ValueError(f"{name} has the classes of {twin}; leave one of them out")
        if self.members.any(0).all():
            raise ValueError("every class is in a region; leave the background out of them")
        by_code = torch.tensor([self._class_of(code) for code in range(2**count)])
        by_label = torch.nn.functional.pad(self.members, (0, IGNORE + 1 - classes))
        self._tables = {torch.device("cpu"): (by_code, by_label)}

    def targets(self, mask: Tensor) -> Tensor:
        """Whether each pixel is in each region, `(N, R, *)` bool, of labels `(N, *)`; false where ignored."""
        return self._on(mask.device)[1][:, mask].movedim(0, 1)

    def inside(self, logits: Tensor) -> Tensor:
        """Whether each pixel is in each region, bool, of logits `(N, R, *)`: where its probability is above 0.5."""
        return logits > 0

    def labels(self, logits: Tensor) -> Tensor:
        """Labels `(N, *)` int64 of logits `(N, R, *)`, from the regions that each pixel is in, see `inside`.

        It gets the first class that is in just these regions. Where none is, the last of them decides: the class of it
        that is in most of the others and in fewest besides. Of nested regions, the larger ones first, that is
        nnU-Net's `regions_class_order`: what is painted later stands.
        """
        bits = 2 ** torch.arange(len(self.names), device=logits.device).view(-1, *[1] * (logits.dim() - 2))
        return self._on(logits.device)[0][(self.inside(logits) * bits).sum(1)]

    def counts(self, pixels: Tensor) -> Tensor:
        """`(…, R)` of each region what `(…, C)` counts of each class."""
        return pixels @ self.members.to(pixels.device, pixels.dtype).T

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The class of each code, and the regions of each label; sent to a device once: no step waits for it."""
        if device not in self._tables:
            by_code, by_label = self._tables[torch.device("cpu")]
            self._tables[device] = by_code.to(device), by_label.to(device)
        return self._tables[device]

    def _class_of(self, code: int) -> int:
        """The class of a pixel that is in the regions whose bits are set."""
        own = torch.tensor([bool(code >> bit & 1) for bit in range(len(self.names))])
        differs = (self.members != own[:, None]).sum(0)
        if own.any():
            last = int(np.flatnonzero(own.numpy())[-1])
            exact = differs == 0
            differs = torch.where(self.members[last] | exact, differs, len(self.names) + 1)
        return int(differs.argmin())
