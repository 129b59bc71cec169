"""What no network is needed for: the score a network has to beat to have learnt anything."""

from __future__ import annotations

import numpy as np

import datasets


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
