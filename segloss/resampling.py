"""What the comparison of two methods draws: sign flips, bootstraps, and how much the seeds of the training add.

Differences are `(groups, seeds)`: groups (patients, video sequences) are resampled, seeds (networks) are few, so that
their share is drawn from a t distribution with their own degrees of freedom. The model is d = μ + group + network +
rest, with a network for each fold and seed; its variance components are estimated by the analysis of variance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
OfGroups = Callable[[NDArray[np.int64]], Floats]
"""From groups `(..., G)`, by index, to the statistic of such a sample, `(...)`."""

EXACT = 14
"""Up to so many groups every pattern of signs is tried."""
PART = 1000
"""Samples, or patterns, at a time."""


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


def interval(of_groups: OfGroups, groups: int, seeds: Networks, draws: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a statistic: BCa over groups; where there are seeds, a bootstrap of both levels.

    Few groups need a wider interval than the bootstrap's own: it is read at the quantiles that t with G−1 degrees of
    freedom and √(G/(G−1)) lead to (expanded percentiles, Hesterberg 2015).

    Args:
        of_groups: see `OfGroups`.
        groups: G.
        seeds: what they add.
        draws: bootstrap samples.
        level: of confidence.
    """
    generator = np.random.default_rng(0)
    every = np.arange(groups)
    centre = float(of_groups(every))
    tail, wider = (1 - level) / 2, np.sqrt(groups / (groups - 1))
    parts = [min(PART, draws - start) for start in range(0, draws, PART)]  # all at once might not fit into memory
    drawn = np.concatenate([of_groups(generator.integers(0, groups, (part, groups))) for part in parts])
    if np.ptp(drawn) == 0 and not seeds.variance:
        return centre, centre
    if not seeds.freedom:

        def statistic(sample: NDArray[np.int64], axis: int) -> Floats:
            return of_groups(np.moveaxis(sample, axis, -1))

        found = stats.bootstrap(
            (every,), statistic, n_resamples=draws, batch=PART, method="BCa", rng=np.random.default_rng(0),
            confidence_level=1 - 2 * stats.norm.sf(wider * stats.t.isf(tail, groups - 1)),
        ).confidence_interval  # fmt: skip
        return float(found.low), float(found.high)
    noise = np.sqrt(seeds.variance) * generator.standard_t(seeds.freedom, draws)
    beyond = stats.norm.sf(stats.t.isf(tail, groups - 1))
    low, high = np.quantile(centre + wider * (drawn - centre) + noise, [beyond, 1 - beyond])
    return float(low), float(high)


def sign_flip(of_signs: Callable[[NDArray[np.bool_]], Floats], groups: int, seeds: Networks, draws: int) -> float:
    """The two-sided p-value of a statistic under exchange of the two methods, group by group.

    Every pattern of signs is tried for up to `EXACT` groups, otherwise so many that are drawn, and the one observed. To
    each pattern's statistic the seeds' share is added as its distribution, not as a draw.

    Args:
        of_signs: from `(..., G)`, true where the methods of a group are exchanged, to the statistic `(...)`.
        groups: G.
        seeds: what they add.
        draws: patterns.
    """
    if groups <= EXACT:
        patterns = (np.arange(2**groups)[:, None] >> np.arange(groups) & 1).astype(bool)
    else:
        patterns = np.random.default_rng(0).integers(0, 2, (draws, groups), dtype=np.int8).astype(bool)
        patterns = np.concatenate([np.zeros((1, groups), dtype=bool), patterns])
    found = np.concatenate([of_signs(part) for part in np.array_split(patterns, -(-len(patterns) // PART))])
    observed = abs(float(found[0]))
    if seeds.variance:
        scale = np.sqrt(seeds.variance)
        beyond = stats.t.sf((observed - found) / scale, seeds.freedom) + stats.t.cdf(
            (-observed - found) / scale, seeds.freedom
        )
        return float(beyond.mean())
    return float((np.abs(found) >= observed - 1e-12 * max(1.0, observed)).mean())


def jackknife(of_groups: Callable[[NDArray[np.int64]], Floats], groups: int) -> Floats:
    """Pseudo-values of a statistic, one a group: G·T − (G−1)·T without the group; `(G, ...)` for `(...)` of it."""
    every = np.arange(groups)
    without = np.stack([of_groups(np.delete(every, index)) for index in every])
    values: Any = groups * of_groups(every) - (groups - 1) * without
    return np.asarray(values, dtype=np.float64)
