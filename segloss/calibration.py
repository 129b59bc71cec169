"""Calibration: whether a network that is 80 % sure is right 80 % of the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

BINS = 15
"""Of equal width, as in Guo 2017."""
LOGITS = 2**20
"""Counted at once: of few pixels many classes."""
UNIT = 2**24
"""Confidences are added as whole numbers of 1/UNIT, float32's own step below 1, so that their order cannot matter."""


class Calibration:
    """Reliability bins and the expected calibration error (ECE) of probabilities, batch by batch, on any device.

    Of each pixel the confidence is the probability of its most probable class, and it is right or not; beside that,
    for each class by itself, the confidence is that class's probability, and right is a pixel of that class (one
    against the rest: of a rare class the confidence of the top class tells nothing). Bin b of B holds the confidences
    in (b/B, (b + 1)/B], the first one 0 too. ECE is Σ_b n_b/n · |accuracy_b − confidence_b| (Naeini 2015; Guo 2017,
    eq. 3; one against the rest: Kull 2019). Of a rare class nearly all pixels lie in the first bin and keep its ECE
    small: look at its other bins.

    Of overlapping classes no single one is right. There a pixel has a decision for each class, in it where its
    probability p is above 0.5; the confidence is max(p, 1 − p), and all decisions are counted together.

    Args:
        num_classes: C.
        activation: what makes probabilities of the logits: `softmax`, or `sigmoid`, whose C need not sum to 1.
        ignore_index: the label that does not count.
        bins: B.
        regions: `(C, K)` bool, which of the labels 0..K−1 are in each class, where classes overlap; None where each
            label is a class.

    >>> seen = Calibration(num_classes=2)
    >>> seen.update(torch.tensor([[[0.75, 0.75], [0.25, 0.25]]]).log(), torch.tensor([[0, 1]]))
    >>> round(seen.document(["a", "b"])["ece"], 4)  # 75 % sure twice, right once
    0.25
    """

    def __init__(
        self,
        num_classes: int,
        activation: Literal["softmax", "sigmoid"] = "softmax",
        ignore_index: int = 255,
        bins: int = BINS,
        regions: Tensor | None = None,
    ) -> None:
        self.regions = regions
        self.num_classes, self.activation, self.ignore_index, self.bins = num_classes, activation, ignore_index, bins
        self.sums = torch.zeros(num_classes + 1, 3, bins + 1, dtype=torch.int64)

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Count a batch, without a host synchronisation.

        Args:
            logits: `(N, C, *spatial)`; a pixel whose probabilities are no numbers counts as wrong, of confidence 0.
            target: `(N, *spatial)` labels; with `regions` each must be in 0..K−1 or `ignore_index`.
        """
        shares = logits.float().sigmoid() if self.activation == "sigmoid" else logits.float().softmax(1)
        by_class, labels = shares.movedim(1, 0).flatten(1), target.flatten()
        ignored = labels == self.ignore_index
        self.sums = self.sums.to(labels.device)
        if self.regions is None:
            top, guess = by_class.nan_to_num(0.0).max(0)
            self._add(self.sums[:1], top[None], ((guess == labels) & (top > 0))[None], ignored)
        else:
            labels, self.regions = labels.masked_fill(ignored, 0), self.regions.to(labels.device)
        most = max(1, LOGITS // max(1, len(labels)))
        indices = torch.arange(self.num_classes, device=labels.device)[:, None]
        for index, sums, p in zip(indices.split(most), self.sums[1:].split(most), by_class.split(most), strict=True):
            there = labels == index if self.regions is None else self.regions[index[:, 0]][:, labels]
            self._add(sums, p.nan_to_num(0.0), there, ignored)
            if self.regions is not None:
                sure = torch.maximum(p, 1 - p).nan_to_num(0.0)
                right = ((p > 0.5) == there) & (sure > 0)
                self._add(self.sums[:1], sure.reshape(1, -1), right.reshape(1, -1), ignored.repeat(len(p)))

    def _add(self, sums: Tensor, confidence: Tensor, right: Tensor, ignored: Tensor) -> None:
        """Count pixels in the bins of some rows.

        Args:
            sums: `(rows, 3, bins + 1)` of `self.sums`.
            confidence: `(rows, pixels)`.
            right: `(rows, pixels)`.
            ignored: `(pixels,)`.
        """
        places = (confidence * self.bins).ceil_().long().sub_(1).clamp_(0, self.bins - 1)
        places = places.masked_fill_(ignored, self.bins)
        sums[:, 0].scatter_add_(1, places, torch.ones_like(places))
        sums[:, 1].scatter_add_(1, places, (confidence * UNIT).round_().long())
        sums[:, 2].scatter_add_(1, places, right.long())

    def document(self, classes: Sequence[str]) -> dict[str, Any]:
        """What `scores.json` holds.

        Args:
            classes: the names of the C classes.

        Returns:
            `{"activation", "ece", "bins": [{"count", "confidence", "accuracy"}], "classes": {name: {"ece", "bins"}}}`;
            fractions of 1, null where a bin is empty.
        """
        counts, confidence, right = self.sums[:, :, :-1].cpu().double().unbind(1)
        return _document(counts, confidence / UNIT, right, classes, self.activation)


def pooled_calibration(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The calibration over all pixels of several documents of `Calibration`, of the same classes and bins."""
    classes = list(documents[0]["classes"])
    counts, confidence, right = torch.stack([_sums(document) for document in documents]).sum(0)
    return _document(counts, confidence, right, classes, documents[0]["activation"])


def _sums(document: dict[str, Any]) -> Tensor:
    """Counts, summed confidence and right ones of a document, `(3, 1 + C, B)`."""
    rows = [document["bins"], *(of_class["bins"] for of_class in document["classes"].values())]
    found = [
        [[one["count"], one["count"] * (one[key] or 0)] for one in row for key in ("confidence", "accuracy")]
        for row in rows
    ]
    pairs = torch.tensor(found, dtype=torch.float64).view(len(rows), -1, 2, 2)
    return torch.stack([pairs[:, :, 0, 0], pairs[:, :, 0, 1], pairs[:, :, 1, 1].round()])


def _document(
    counts: Tensor, confidence: Tensor, right: Tensor, classes: Sequence[str], activation: str
) -> dict[str, Any]:
    """See `Calibration.document`; sums over the pixels of each bin, `(1 + C, B)`, the top class in the first row."""
    top, *each = [_row(*of_bins) for of_bins in zip(counts, confidence, right, strict=True)]
    return {"activation": activation, **top, "classes": dict(zip(classes, each, strict=True))}


def _row(counts: Tensor, confidence: Tensor, right: Tensor) -> dict[str, Any]:
    total = float(counts.sum())
    bins = [
        {"count": int(n), "confidence": float(sure / n) if n else None, "accuracy": float(hits / n) if n else None}
        for n, sure, hits in zip(counts, confidence, right, strict=True)
    ]
    return {"ece": float((right - confidence).abs().sum()) / total if total else None, "bins": bins}
