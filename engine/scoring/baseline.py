"""What no network is needed for: the score a network has to beat to have learnt anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import datasets
from datasets.grid import Shape, resize_mask

SLICES, SIDE = 48, 128
"""The grid on which masks of different scans are averaged."""


def mean_mask(
    training: Sequence[datasets.CachedCase],
    test: Sequence[datasets.CachedCase],
    classes: Sequence[str],
    background: int | None,
) -> list[list[float | None]]:
    """The DSC of each test volume and class by the mean training mask: what the place alone gives away.

    The training masks are laid over each other, field of view on field of view; where a class is more frequent than a
    threshold, it is predicted. The threshold is the one with the best mean DSC on the training volumes.

    Args:
        training: volumes; those that were labelled for a class count for it.
        test: volumes.
        classes: their names.
        background: the class that is not scored, or None.

    Returns:
        For each test volume one number a class; None for the background, where the class is absent from both, and where
        the volume, or no training volume, was labelled for it.
    """
    grid: Shape = (SLICES, SIDE, SIDE)
    every = [resize_mask(case.masks(), grid) for case in training]
    known, asked = ([datasets.labelled_classes(one.case, classes) for one in part] for part in (training, test))
    predicted: list[NDArray[np.bool_] | None] = []
    for index in range(len(classes)):
        masks = [mask for mask, labelled in zip(every, known, strict=True) if labelled[index]]
        if index == background or not masks:
            predicted.append(None)
            continue
        frequency = np.mean([mask == index for mask in masks], axis=0)
        thresholds = np.linspace(0, 1, 41)[:-1]
        edges = np.digitize(frequency, thresholds, right=True)  # voxel > thresholds[i] for the first `edges` of them
        scores = []
        for mask in masks:
            inside = np.bincount(edges[mask == index], minlength=42)
            voxels = np.bincount(edges[mask != datasets.IGNORE], minlength=42)
            hit, size = inside[::-1].cumsum()[::-1][1:41], voxels[::-1].cumsum()[::-1][1:41]
            scores.append(2 * hit / np.maximum(size + inside.sum(), 1))
        predicted.append(frequency > thresholds[int(np.mean(scores, axis=0).argmax())])
    return [
        [_dsc(case, found, index) if labelled[index] else None for index, found in enumerate(predicted)]
        for case, labelled in zip(test, asked, strict=True)
    ]


def _dsc(case: datasets.CachedCase, found: NDArray[np.bool_] | None, index: int) -> float | None:
    if found is None:
        return None
    reference = case.references()
    labels = (resize_mask(found.astype(np.uint8), case.original) == 1) & (reference != datasets.IGNORE)
    wanted = reference == index
    size = int(labels.sum()) + int(wanted.sum())
    return 2 * int((labels & wanted).sum()) / size if size else None


def best_threshold(samples: datasets.Samples, bins: int = 512) -> float:
    """The DSC of class 1 by the best single intensity threshold, above or below, chosen in hindsight.

    One threshold for all cases, on the normalised intensities of a single channel; the mean of the cases' DSC.

    Args:
        samples: with one channel and two classes.
        bins: how finely thresholds are tried.
    """
    found = [samples[index] for index in range(len(samples))]
    low = min(float(sample["image"].min()) for sample in found)
    high = max(float(sample["image"].max()) for sample in found)
    counts = np.zeros((len(samples.cases), 2, bins + 1), dtype=np.int64)  # pixels below each edge, by case and label
    for sample in found:
        image, mask = sample["image"][0].numpy(), sample["mask"].numpy()
        for label in (0, 1):
            below = np.histogram(image[mask == label], bins, (low, high))[0].cumsum()
            counts[sample["case"], label, 1:] += below
    total = counts[:, :, -1:]
    scores = []
    for chosen in (counts, total - counts):
        size = chosen.sum(1) + total[:, 1]
        scores.append((2 * chosen[:, 1] / np.maximum(size, 1)).mean(0).max())
    return float(max(scores))
