"""Is one method better than another? Paired comparison of scores, by patient, with what can be believed of it.

Needs NumPy and scipy alone, and works on the scores of any trainer:

>>> import numpy as np
>>> from segloss import compare
>>> rng = np.random.default_rng(0)
>>> ce = rng.normal(0.80, 0.05, (19, 3))  # DSC of 19 patients by the networks of 3 seeds
>>> adfl = ce + rng.normal(0.03, 0.01, (19, 3))
>>> print(compare.paired(adfl, ce).verdict("ADFL", "CE", "prostate DSC"))
ADFL improves prostate DSC over CE by 0.030 (95 % CI 0.021 to 0.039, p = 0.005; 19 patients, 3 seeds): by at least 0.01
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .comparison import ALPHA, FEWEST, Comparison, Outcome
from .multiplicity import together
from .names import check_choice
from .networks import Floats, Networks, networks
from .random_effects import RandomEffects, random_effects
from .ranks import mean_ranks, rank_intervals, share_best

__all__ = [
    "ALPHA",
    "FEWEST",
    "Comparison",
    "Outcome",
    "RandomEffects",
    "mean_ranks",
    "paired",
    "pooled",
    "random_effects",
    "rank_intervals",
    "share_best",
    "together",
]

Score = Literal["DSC", "IoU", "recall"]


def paired(
    a: ArrayLike,
    b: ArrayLike,
    folds: ArrayLike | None = None,
    names: Sequence[Hashable] | None = None,
    tested: bool = True,
    tuned: bool = False,
    limit: float = np.inf,
) -> Comparison:
    """Compare the scores of two methods on the same groups.

    Args:
        a: `(G,)` or `(G, S)`: a score a group (the mean of its cases) and seed. Networks of one seed are a pair.
        b: the same of the other method.
        folds: `(G,)` which fold's networks scored a group; None for one set of networks.
        names: of the groups; None for their numbers.
        tested: False leaves the test to `together`, for a comparison that is one of several.
        tuned: the values of a or b, such as a learning rate, were chosen in each fold, once for all seeds.
        limit: the greatest difference that two scores can have: 1 of fractions, infinite of distances. It bounds the
            interval, which says nothing without it where no group differs.

    Raises:
        ValueError: shapes that do not fit, a score that is not finite, scores that differ by more than the limit.
    """
    first, second = _matrix("a", a), _matrix("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must be scores of the same groups and seeds, got {first.shape} and {second.shape}")
    differences, groups = first - second, len(first)
    if (most := np.abs(differences).max()) > limit:
        raise ValueError(f"limit is {limit:g}, but a and b differ by {most:g}; give none for scores without one")
    return _comparison(
        (float(first.mean()), float(second.mean())),
        differences / groups,
        np.full(groups, 1 / groups),
        differences.mean(1),
        networks(differences, _folds(folds, groups), tuned),
        _names(names, groups),
        groups >= FEWEST,
        tested,
        limit,
    )


def pooled(
    a: ArrayLike,
    b: ArrayLike,
    score: Score = "IoU",
    left_out: Sequence[int] = (),
    folds: ArrayLike | None = None,
    names: Sequence[Hashable] | None = None,
    tested: bool = True,
    tuned: bool = False,
) -> Comparison:
    """Compare the score of pooled counts, the mean over classes, such as the mIoU of a data set.

    Classes that no reference holds are left out. The score of a class is a ratio ΣN/ΣD; with R that of both methods
    together, group g adds v_g = (N_g − R·D_g)/ΣD of a, less that of b, and takes of a shift the share ω_g of D, each
    the mean over classes. The sum of v is the difference, and exchanging the methods in a group changes the sign of
    v_g, to first order. Groups without any of the classes say nothing and are left out; wins are of the groups' own
    scores.

    Args:
        a: `(G, C, 3)` or `(G, S, C, 3)`: true positives, false positives and false negatives.
        b: the same of the other method.
        score: `DSC`, `IoU` or `recall`.
        left_out: classes left out of the mean.
        folds: see `paired`.
        names: see `paired`.
        tested: see `paired`.
        tuned: see `paired`.

    Raises:
        ValueError: shapes that do not fit, negative counts, no class that is in a reference.
    """
    check_choice("score", score, get_args(Score))
    first, second = _counts("a", a), _counts("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must be counts of the same groups and seeds, got {first.shape} and {second.shape}")
    referred = ((first[..., 0] + first[..., 2]) * (second[..., 0] + second[..., 2])).sum(1) > 0  # (G, C)
    kept = [index for index in np.flatnonzero(referred.any(0)) if index not in left_out]
    if not kept:
        raise ValueError("no class is in the reference of any group: nothing to score")
    if len(kept) < first.shape[2]:  # large: not copied without need, as below
        first, second = first[:, :, kept], second[:, :, kept]
    held: NDArray[np.bool_] = np.any(first, (1, 2, 3)) | np.any(second, (1, 2, 3))
    known, every = _folds(folds, len(first))[held], _names(names, len(first))
    who = [name for name, there in zip(every, held, strict=True) if there]
    if not held.all():
        first, second = first[held], second[held]
    (hits, sizes), (others, other_sizes) = (_ratio(counts, score) for counts in (first, second))
    whole, other_whole = sizes.sum(0), other_sizes.sum(0)
    both = (hits.sum(0) + others.sum(0)) / (whole + other_whole)
    values = ((hits - both * sizes) / whole - (others - both * other_sizes) / other_whole).mean(-1)
    shares = ((sizes / whole + other_sizes / other_whole) / 2).mean(-1)
    means = [(one.sum(0) / total).mean() for one, total in ((hits, whole), (others, other_whole))]
    pseudo = values.sum(0) + len(values) * (values - shares * values.sum(0))
    own = (mean_score(first, score) - mean_score(second, score)).mean(1)
    return _comparison(
        (float(means[0]), float(means[1])),
        values,
        shares.mean(1),
        own[np.isfinite(own)],
        networks(pseudo, np.unique(known, return_inverse=True)[1], tuned),
        who,
        int(referred[:, kept].any(1).sum()) >= FEWEST,
        tested,
        limit=1,
    )


def _comparison(
    means: tuple[float, float],
    values: Floats,
    shares: Floats,
    own: Floats,
    share_of_seeds: Networks,
    names: Sequence[Hashable],
    enough: bool,
    tested: bool,
    limit: float,
) -> Comparison:
    mean = values.mean(1)
    found = Comparison(
        *means,
        difference=float(mean.sum()),
        wins=int((own > 0).sum()),
        ties=int((own == 0).sum()),
        losses=int((own < 0).sum()),
        seeds=values.shape[1],
        names=names,
        values=mean,
        shares=shares,
        networks=share_of_seeds,
        enough=enough,
        limit=limit,
    )
    return together([found])[0] if tested else found


def _ratio(counts: Floats, score: Score) -> tuple[Floats, Floats]:
    """Numerator and denominator of a score, each `(...)`, of counts `(..., 3)`."""
    weight = 2 if score == "DSC" else 1
    invented = 0 if score == "recall" else counts[..., 1]
    return weight * counts[..., 0], weight * counts[..., 0] + invented + counts[..., 2]


def mean_score(counts: Floats, score: Score) -> Floats:
    """The mean score over classes, `(...)`, of counts `(..., C, 3)`; NaN where no class is anywhere."""
    found, whole = _ratio(counts, score)
    there = whole > 0
    number = there.sum(-1)
    total = np.where(there, found / np.where(there, whole, 1), 0).sum(-1)
    return np.asarray(np.where(number > 0, total / np.maximum(number, 1), np.nan))


def _matrix(name: str, values: ArrayLike) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or not found.size:
        raise ValueError(f"{name} must be scores (groups,) or (groups, seeds), got shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds scores that are not finite; leave groups without a score out of both")
    return found


def _counts(name: str, values: ArrayLike) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    found = found[:, None] if found.ndim == 3 else found
    if found.ndim != 4 or found.shape[-1] != 3 or not found.size:
        raise ValueError(f"{name} must be counts (groups, C, 3) or (groups, seeds, C, 3), got shape {found.shape}")
    if not (found >= 0).all():
        raise ValueError(f"{name} holds negative counts")
    return found


def _folds(folds: ArrayLike | None, groups: int) -> NDArray[np.int64]:
    if folds is None:
        return np.zeros(groups, dtype=np.int64)
    found = np.asarray(folds)
    if found.shape != (groups,):
        raise ValueError(f"folds must hold one number a group ({groups}), got shape {found.shape}")
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _names(names: Sequence[Hashable] | None, groups: int) -> Sequence[Hashable]:
    if names is not None and len({*names}) != groups:
        raise ValueError(f"names must hold one name a group ({groups}), each another, got {len(names)}")
    return range(groups) if names is None else names
