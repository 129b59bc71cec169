"""What a batch says of its pixels, and from it what a loss computes on; internal."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .tensors import full, one_hot, two_classes

ROUNDING = 0.01
"""How far soft labels may lie outside [0, 1], and their sum from 1, from resizing or half precision."""
FAR = 1e4
"""A logit that is this much lower than all others has the probability 0."""


class Labels(NamedTuple):
    """The target of one call and what restricts it, as `segloss.arguments.checked` gives them.

    Attributes:
        target: `(N, *spatial)` integer labels, or `(N, C, *spatial)` floating: soft or overlapping ones.
        counted: what counts: `(N, 1, *spatial)` bool, or `(N, C, *spatial)` for each class by itself.
        weight: `(N, *spatial)`, ≥ 0; None: 1.
        labelled: `(N, C)` bool: whether an image was labelled for a class; None: for all.
        ignore_index: the label that does not count.
        exclusive: the classes exclude each other (softmax).
    """

    target: Tensor
    counted: Tensor
    weight: Tensor | None = None
    labelled: Tensor | None = None
    ignore_index: int = 255
    exclusive: bool = True

    @classmethod
    def of(
        cls,
        target: Tensor,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
        labelled: Tensor | None = None,
        ignore_index: int = 255,
        exclusive: bool = True,
    ) -> Labels:
        """From a mask `(N, *spatial)` or `(N, C, *spatial)`, true where a label counts; None: all do."""
        if target.is_floating_point():
            counted = torch.ones_like(target[:, :1], dtype=torch.bool)
        else:  # torch would wrap a number that the labels' dtype cannot hold: 255 is -1 in int8
            bounds = torch.iinfo(target.dtype)
            held = bounds.min <= ignore_index <= bounds.max
            counted = target.unsqueeze(1)
            counted = counted != ignore_index if held else torch.ones_like(counted, dtype=torch.bool)
        if mask is not None:
            counted = counted & (mask if mask.dim() == counted.dim() else mask.unsqueeze(1))
        if weight is not None:
            counted = counted & (weight != 0).unsqueeze(1)
        return cls(target, counted, weight, labelled, ignore_index, exclusive)

    @property
    def soft(self) -> bool:
        """Whether the target is floating."""
        return self.target.is_floating_point()

    @property
    def shape(self) -> list[int]:
        """The pixels, `(N, *spatial)`."""
        return [size for axis, size in enumerate(self.target.shape) if axis != 1 or not self.soft]

    @property
    def by_class(self) -> bool:
        """Whether each class counts by itself."""
        return self.counted.shape[1] > 1

    @property
    def valid(self) -> Tensor:
        """The pixels that count, at least for one class: `(N, *spatial)` bool."""
        return self.counted.any(1) if self.by_class else self.counted.squeeze(1)

    def cut(self, images: slice, rows: slice) -> Labels:
        """Some images and rows (of the first spatial axis)."""
        pixels = len(self.shape)
        target, counted = (cut(each, images, rows, each.dim() - pixels) for each in (self.target, self.counted))
        weight = None if self.weight is None else cut(self.weight, images, rows, 0)
        labelled = None if self.labelled is None else self.labelled[images]
        return self._replace(target=target, counted=counted, weight=weight, labelled=labelled)

    def faults(self, classes: int) -> Faults:
        """What is wrong with the target where it counts; of C classes, 2 for a binary logit."""
        target, counted, valid = self.target, self.counted, self.valid
        sums = contradicted = None
        if self.soft:
            foreign = counted & ~((target >= -ROUNDING) & (target <= 1 + ROUNDING))
            if self.exclusive:
                sums = valid & ((two_classes(target).sum(1) - 1).abs() > ROUNDING)
        else:
            labels = target.long()
            foreign = valid & (labels.clamp(0, classes - 1) != labels)
        if self.labelled is not None and self.exclusive:
            unlabelled = ~_foreground(self.labelled)
            if self.soft:
                there = two_classes(target) > ROUNDING
                contradicted = valid & (there & _per_image(unlabelled, there)).any(1)
            else:
                known = torch.where(valid & ~foreign, labels, 0)
                contradicted = unlabelled.gather(1, known.flatten(1) if known.dim() > 1 else known.unsqueeze(1))
                contradicted = contradicted.view_as(known)
        weight = None if self.weight is None else valid & ~((self.weight >= 0) & (self.weight < torch.inf))
        return Faults(foreign, sums, contradicted, weight)


class Faults(NamedTuple):
    """Where something that counts is none; None where it cannot be.

    Attributes:
        foreign: labels outside 0..C−1 `(N, *spatial)`, soft or overlapping ones outside [0, 1] `(N, C, *spatial)`.
        sums: `(N, *spatial)`, soft labels of exclusive classes that do not sum to 1.
        contradicted: `(N, *spatial)`, labels of a class that the image was not labelled for.
        weight: `(N, *spatial)`, weights that are negative or not finite.
    """

    foreign: Tensor
    sums: Tensor | None
    contradicted: Tensor | None
    weight: Tensor | None

    @property
    def any(self) -> Tensor:
        """A bool scalar."""
        found = [each.any() for each in self if each is not None]
        return torch.stack(found).any() if len(found) > 1 else found[0]


class Pixels(NamedTuple):
    """Logits and target of one call, ready for the per-pixel terms of a loss.

    Attributes:
        logits: `(N, C, *spatial)`, float32 or float64; anything at pixels that do not count, where no gradient flows
            back from. C ≥ 2, but 1 for a binary logit that is kept.
        target: `(N, *spatial)` int64 in 0..C−1 (any where it does not count), or soft labels `(N, C, *spatial)`.
        valid: `(N, *spatial)` bool, true where the pixel counts.
        fault: a scalar to be added to the loss: 0, or NaN when a target that counts is none.
        counted: see `Labels`.
        weight: `(N, *spatial)`, 0 where the pixel does not count; None: 1.
    """

    logits: Tensor
    target: Tensor
    valid: Tensor
    fault: Tensor
    counted: Tensor
    weight: Tensor | None


def prepare(logits: Tensor, labels: Labels, one_vs_rest: bool = False) -> Pixels:
    """Upcast and mask what `segloss.arguments.checked` has let through.

    What a loss makes of pixels that do not count, it drops itself; see `segloss.tensors.of_valid` for their gradient. A
    binary logit (C = 1) becomes the two classes `[0, x]`, or stays as it is for losses that take each logit by itself,
    where a class that does not count at a pixel gets a logit and a label at which it costs nothing. Of exclusive
    classes those that an image was not labelled for are merged into class 0, the background (marginal loss).

    Args:
        logits: `(N, C, *spatial)`, floating; computed in float32, or float64 when given in it.
        labels: see `Labels`.
        one_vs_rest: keep a binary logit, and soft labels of it, at C = 1.
    """
    classes = max(logits.shape[1], 2)
    counted, valid, faults = labels.counted, labels.valid, labels.faults(classes)
    logits = full(logits)
    target = labels.target if labels.soft else labels.target.long()
    if logits.shape[1] == 1 and not one_vs_rest:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        target = two_classes(target) if labels.soft else target
    if not labels.soft:
        target = target.clamp(0, classes - 1)
    if labels.by_class:  # of one-vs-rest losses alone
        target = one_hot(target, logits.shape[1])
        logits = torch.where(counted, logits, -FAR)
    if labels.soft or labels.by_class:
        target = torch.where(counted, target.to(logits.dtype), 0.0).clamp(0.0, 1.0)
    if labels.labelled is not None and labels.exclusive:
        logits = _merged(logits, labels.labelled)
    weight = labels.weight
    if weight is not None:
        weight = torch.where(valid, weight.to(logits.dtype), 0.0)
    fault = torch.where(faults.any, torch.nan, 0.0).to(logits.dtype)
    return Pixels(logits, target, valid, fault, counted, weight)


def cut(values: Tensor, images: slice, rows: slice, channels: int) -> Tensor:
    """Some images and rows of a map with this many axes between the two."""
    values = values[images]
    return values[(slice(None),) * (1 + channels) + (rows,)] if values.dim() > 1 + channels else values


def _merged(logits: Tensor, labelled: Tensor) -> Tensor:
    """Logits in which the classes that an image was not labelled for are part of class 0."""
    merged = _per_image(~labelled[:, 1:], logits)
    background, rest = logits[:, :1], logits[:, 1:]
    together = torch.cat([background, torch.where(merged, rest, -torch.inf)], 1).logsumexp(1, keepdim=True)
    lowest = logits.detach().amin(1, keepdim=True) - FAR
    return torch.cat([together, torch.where(merged, lowest, rest)], 1)


def _foreground(labelled: Tensor) -> Tensor:
    """Of exclusive classes the first is the background, which every image is labelled for."""
    return torch.cat([torch.ones_like(labelled[:, :1]), labelled[:, 1:]], 1)


def _per_image(values: Tensor, like: Tensor) -> Tensor:
    """`(N, C)` shaped to broadcast over `(N, C, *spatial)`."""
    return values.view(*values.shape, *[1] * (like.dim() - 2))
