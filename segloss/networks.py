"""How much the choice of seeds adds to the error of a mean difference.

Differences are `(groups, seeds)`. The model is d = μ + group + network + rest, with a network for each fold and seed;
its variance components are estimated by the analysis of variance. Seeds are few, so that their share of the error
follows a t distribution with their own degrees of freedom.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Networks(NamedTuple):
    """What the choice of seeds adds to the error of a mean difference.

    Attributes:
        variance: of the mean over groups and seeds, from the seeds alone; 0 for one seed, where it cannot be known.
        freedom: its degrees of freedom; 0 for one seed.
    """

    variance: float
    freedom: int


def networks(differences: Floats, folds: NDArray[np.int64]) -> Networks:
    """How much of the variance of the mean comes from the networks; `differences` `(G, S)`, `folds` `(G,)` from 0."""
    groups, seeds = differences.shape
    if seeds < 2:
        return Networks(0.0, 0)
    sizes = np.bincount(folds)
    means = np.stack([differences[folds == fold].mean(0) for fold in range(len(sizes))])
    effects = means - means.mean(1, keepdims=True)
    rest = differences - differences.mean(1, keepdims=True) - effects[folds]
    freedom = (groups - len(sizes)) * (seeds - 1)
    noise = (rest**2).sum() / freedom if freedom else 0.0
    between = (effects**2).sum(1) / (seeds - 1) - noise / sizes
    return Networks(max(0.0, float(((sizes / groups) ** 2 * between).sum() / seeds)), len(sizes) * (seeds - 1))
