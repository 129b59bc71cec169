"""One difference from several data sets: a random-effects estimate, and how much the data sets differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from .comparison import ALPHA
from .networks import Floats


@dataclass(frozen=True, eq=False)
class RandomEffects:
    """What K data sets say of a difference together.

    Attributes:
        mean: the difference, averaged over data sets like these.
        low: the lower end of its 95 % interval; see `random_effects`.
        high: its upper end.
        p_value: of no difference, two-sided; it agrees with the interval.
        weights: `(K,)` of the data sets, summing to 1.
        tau: the standard deviation of the true differences between data sets.
        i_squared: the share of the variance between the estimates that is not chance, from 0 to 1.
        q: Cochran's Q, for K − 1 degrees of freedom.
        p_equal: the p-value of all data sets having the same difference.
        prediction: the 95 % interval of the difference in a further data set (t with K − 2 degrees of freedom); None of
            two data sets.
    """

    mean: float
    low: float
    high: float
    p_value: float
    weights: Floats
    tau: float
    i_squared: float
    q: float
    p_equal: float
    prediction: tuple[float, float] | None


def random_effects(differences: ArrayLike, errors: ArrayLike, comparisons: int = 1) -> RandomEffects:
    """The mean of differences that vary between data sets.

    With w = 1/s² and Q = Σ w (d − Σwd/Σw)², the variance between data sets is τ² = max(0, (Q − K + 1)/(Σw − Σw²/Σw))
    (DerSimonian 1986), and the estimate weighs by 1/(s² + τ²). Its interval is that of Knapp 2003, t with K − 1 degrees
    of freedom, since data sets are few; its variance is never below 1/Σ of these weights, since that of data sets which
    agree by chance would be too small.

    Args:
        differences: `(K,)` of at least two data sets, in one unit.
        errors: `(K,)` their standard errors.
        comparisons: for how many such estimates together intervals and p-value hold (Bonferroni).

    Raises:
        ValueError: fewer than two, other shapes, what is not finite, an error that is not above 0.
    """
    d, s = np.asarray(differences, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if d.ndim != 1 or d.shape != s.shape or len(d) < 2:
        raise ValueError(f"differences and errors must be (K,) of two data sets or more, got {d.shape} and {s.shape}")
    if not np.isfinite([d, s]).all() or not (s > 0).all():
        raise ValueError("differences must be finite, and errors above 0")
    number = len(d)
    fixed = 1 / s**2
    q = float((fixed * (d - fixed @ d / fixed.sum()) ** 2).sum())
    variance = max(0.0, (q - number + 1) / float(fixed.sum() - (fixed**2).sum() / fixed.sum()))
    weights = 1 / (s**2 + variance)
    mean = float(weights @ d / weights.sum())
    scale = max(1.0, float((weights * (d - mean) ** 2).sum() / (number - 1)))
    error = float(np.sqrt(scale / weights.sum()))
    reach = stats.t.isf(ALPHA / 2 / comparisons, number - 1) * error
    wide = stats.t.isf(ALPHA / 2, number - 2) * np.sqrt(variance + error**2) if number > 2 else None
    return RandomEffects(
        mean,
        float(mean - reach),
        float(mean + reach),
        min(1.0, comparisons * float(2 * stats.t.sf(abs(mean) / error, number - 1))),
        weights / weights.sum(),
        float(np.sqrt(variance)),
        max(0.0, 1 - (number - 1) / q) if q > 0 else 0.0,
        q,
        float(stats.chi2.sf(q, number - 1)),
        None if wide is None else (float(mean - wide), float(mean + wide)),
    )
