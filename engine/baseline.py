"""What no network is needed for: the score a network has to beat to have learnt anything."""

from __future__ import annotations

import numpy as np

import datasets


def best_threshold(samples: datasets.Samples, bins: int = 512) -> float:
    """The DSC of class 1 by the best single intensity threshold, above or below, chosen in hindsight.

    One threshold for all samples, on the normalised intensities of a single channel; pixels are pooled.

    Args:
        samples: with one channel and two classes.
        bins: how finely thresholds are tried.
    """
    found = [samples[index] for index in range(len(samples))]
    pairs = [(sample["image"][0].numpy(), sample["mask"].numpy()) for sample in found]
    low, high = min(float(image.min()) for image, _ in pairs), max(float(image.max()) for image, _ in pairs)
    counts = np.zeros((2, bins), dtype=np.int64)
    for image, mask in pairs:
        for label in (0, 1):
            counts[label] += np.histogram(image[mask == label], bins, (low, high))[0]
    below = np.concatenate([np.zeros((2, 1), dtype=np.int64), counts.cumsum(1)], axis=1)
    best = 0.0
    for chosen in (below, below[:, -1:] - below):
        dsc = 2 * chosen[1] / np.maximum(chosen.sum(0) + counts[1].sum(), 1)
        best = max(best, float(dsc.max()))
    return best
