"""How much the choice of seeds, and of values that were tuned in each fold, adds to the error of a mean difference.

Differences are `(groups, seeds)`. The model is d = μ + group + network + rest, with a network for each fold and seed;
its variance components are estimated by the analysis of variance. Seeds are few, so that their share of the error
follows a t distribution with their own degrees of freedom. Where each fold chose its own values, all networks of a fold
have that choice in common: the model gains a level, d = μ + fold + group + network + rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Networks(NamedTuple):
    """What networks add to the error of a mean difference.

    Attributes:
        variance: of the mean over groups and seeds, from the networks alone; 0 for one seed, where it cannot be known.
        freedom: its degrees of freedom; 0 where the variance is not known.
        choices: what of the variance comes from the values that the folds chose.
    """

    variance: float
    freedom: float
    choices: float = 0.0


def networks(differences: Floats, folds: NDArray[np.int64], tuned: bool = False) -> Networks:
    """How much of the variance of the mean comes from the networks.

    Args:
        differences: `(G, S)`.
        folds: `(G,)` from 0.
        tuned: each fold chose its own values. Seeds do not repeat that choice; that it differs shows in folds that
            differ by more than their groups and seeds explain.
    """
    of_seeds = _of_seeds(differences, folds)
    return _with_choices(of_seeds, differences.mean(1), folds) if tuned else of_seeds


def _of_seeds(differences: Floats, folds: NDArray[np.int64]) -> Networks:
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


def _with_choices(of_seeds: Networks, differences: Floats, folds: NDArray[np.int64]) -> Networks:
    """Seeds and choices together; `differences` `(G,)`. The degrees of freedom are Satterthwaite's (1946)."""
    groups, sizes = len(differences), np.bincount(folds)
    between, within = len(sizes) - 1, len(differences) - len(sizes)
    if not between or not within:  # one fold: one choice; a group a fold: the groups vary by their choices already
        return of_seeds
    means = np.bincount(folds, differences) / sizes
    noise = ((differences - means[folds]) ** 2).sum() / within
    found = (sizes * (means - differences.mean()) ** 2).sum() / between
    of_fold = (found - noise) * between / (groups - (sizes**2).sum() / groups)
    added = float(((sizes / groups) ** 2).sum() * of_fold) - of_seeds.variance
    if added <= 0:
        return of_seeds
    seeds = of_seeds.variance**2 / of_seeds.freedom if of_seeds.freedom else 0.0
    whole = of_seeds.variance + added
    return Networks(whole, whole**2 / (seeds + added**2 / between), added)
