"""Is one method better than another? Paired comparison of scores, by patient, with what can be believed of it.

Needs NumPy and scipy alone, and works on the scores of any trainer:

>>> import numpy as np
>>> from segloss import compare
>>> rng = np.random.default_rng(0)
>>> ce = rng.normal(0.80, 0.05, (19, 3))  # DSC of 19 patients by the networks of 3 seeds
>>> adfl = ce + rng.normal(0.03, 0.01, (19, 3))
>>> print(compare.paired(adfl, ce).verdict("ADFL", "CE", "prostate DSC"))
ADFL improves prostate DSC over CE by 0.030 (95 % CI 0.020 to 0.040, p = 0.005; 19 patients, 3 seeds)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .names import check_choice
from .resampling import Floats, Networks, interval, jackknife, networks, sign_flip

FEWEST = 6
"""Groups below which nothing is tested: 2^5 sign patterns cannot give p < 0.05 on both sides."""
DRAWS = 10_000
ALPHA, POWER = 0.05, 0.8

Score = Literal["DSC", "IoU"]


@dataclass(frozen=True)
class Comparison:
    """What is known of the difference a − b of two methods.

    Attributes:
        mean_a: the mean score of a over groups and seeds, or the pooled score.
        mean_b: that of b.
        difference: a − b.
        low: the lower end of the 95 % interval; None for fewer than six groups.
        high: its upper end.
        p_value: of the sign-flip permutation test of the mean (of the score, where counts are pooled), two-sided, and
            after `holm` adjusted; None for fewer than six groups.
        wilcoxon: of Wilcoxon's signed-rank test of the groups' own differences; None where it is not defined.
        d_z: mean over standard deviation of the groups' differences (Cohen); None where they do not differ.
        wins: groups in which a is higher.
        ties: groups with the same score.
        losses: groups in which b is higher.
        groups: G; where counts are pooled, those that hold a class that is scored.
        seeds: S.
        spread: the standard deviation of the groups' differences.
        networks: what the seeds add to the error.
    """

    mean_a: float
    mean_b: float
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    wilcoxon: float | None
    d_z: float | None
    wins: int
    ties: int
    losses: int
    groups: int
    seeds: int
    spread: float
    networks: Networks

    @property
    def distinguishable(self) -> bool:
        """Whether the test rejects that both are the same."""
        return self.p_value is not None and self.p_value < ALPHA

    def groups_needed(self, smallest: float = 0.01) -> int | None:
        """Groups for 80 % power to see a difference as small as this, at this spread and with as many seeds.

        None where no number of groups is enough: the seeds alone vary too much.
        """
        need = float((stats.norm.isf(ALPHA / 2) + stats.norm.ppf(POWER)) ** 2)
        room = smallest**2 / need - self.networks.variance
        if room <= 0:
            return None
        return max(FEWEST, int(np.ceil(self.spread**2 / room)) + 2)  # + 2: t in place of z

    def verdict(
        self, a: str, b: str, score: str, units: str = "patients", smallest: float = 0.01, lower: bool = False
    ) -> str:
        """The finding in words that a paper could print.

        Args:
            a: the name of a.
            b: the name of b.
            score: what was compared.
            units: what the groups are.
            smallest: the difference that would matter, for the statement of power.
            lower: lower is better: a distance.
        """
        better = (self.difference > 0) != lower
        size = f"{abs(self.difference):.3f}"
        seeds = f"{self.seeds} seeds" if self.seeds > 1 else "for these trained networks only"
        if self.p_value is None or self.low is None or self.high is None:
            return (
                f"{a} has {self.mean_a:.3f} {score}, {b} {self.mean_b:.3f} ({self.groups} {units}, {seeds}); too few "
                f"{units} for a test, which needs {FEWEST}"
            )
        low, high = (self.low, self.high) if self.difference > 0 else (-self.high, -self.low)
        chance = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        if self.distinguishable:
            found = f"95 % CI {low:.3f} to {high:.3f}, {chance}; {self.groups} {units}, {seeds}"
            return f"{a} {'improves' if better else 'worsens'} {score} over {b} by {size} ({found})"
        found = f"95 % CI {self.low:.3f} to {self.high:.3f}, {chance}; {self.groups} {units}, {seeds}"
        number = self.groups_needed(smallest)
        need = f"needs about {number} {units}" if number else f"needs more seeds, whatever the number of {units}"
        return (
            f"{a} and {b} are not distinguishable in {score}: difference {self.difference:+.3f} ({found}); at this "
            f"spread, 80 % power for a difference of {smallest:g} {need}"
        )


def paired(a: ArrayLike, b: ArrayLike, folds: ArrayLike | None = None, draws: int = DRAWS) -> Comparison:
    """Compare the scores of two methods on the same groups.

    Args:
        a: `(G,)` or `(G, S)`: a score a group (the mean of its cases) and seed. Networks of one seed are a pair.
        b: the same of the other method.
        folds: `(G,)` which fold's networks scored a group; None for one set of networks.
        draws: resamples.

    Raises:
        ValueError: shapes that do not fit, a score that is not finite.
    """
    first, second = _matrix("a", a), _matrix("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must be scores of the same groups and seeds, got {first.shape} and {second.shape}")
    differences = first - second
    of_groups = differences.mean(1)

    def mean_of(sample: NDArray[np.int64]) -> Floats:
        return np.asarray(of_groups[sample].mean(-1))

    def flipped(exchanged: NDArray[np.bool_]) -> Floats:
        return np.asarray(np.where(exchanged, -of_groups, of_groups).mean(-1))

    seeds = networks(differences, _folds(folds, len(first)))
    tested = len(first) >= FEWEST
    low, high = interval(mean_of, len(first), seeds, draws) if tested else (None, None)
    chance = sign_flip(flipped, len(first), seeds, draws) if tested else None
    means = float(first.mean()), float(second.mean()), float(differences.mean())
    return _comparison(means, low, high, chance, of_groups, of_groups, first.shape[1], seeds)


def pooled(
    a: ArrayLike,
    b: ArrayLike,
    score: Score = "IoU",
    left_out: Sequence[int] = (),
    folds: ArrayLike | None = None,
    draws: int = DRAWS,
) -> Comparison:
    """Compare the score of pooled counts, the mean over classes, such as the mIoU of a data set.

    Groups' counts are resampled, or exchanged between the methods, and the score is computed anew. The spread, d_z and
    the seeds' share are those of the jackknife's pseudo-values of the groups; wins and Wilcoxon's test are of the
    groups' own scores. Groups without any of the classes say nothing and are left out; there is a test where six hold
    one by both methods.

    Args:
        a: `(G, C, 3)` or `(G, S, C, 3)`: true positives, false positives and false negatives.
        b: the same of the other method.
        score: `DSC` or `IoU`.
        left_out: classes left out of the mean.
        folds: see `paired`.
        draws: see `paired`.

    Raises:
        ValueError: shapes that do not fit, negative counts, no class that is anywhere.
    """
    check_choice("score", score, ("DSC", "IoU"))
    first, second = _counts("a", a), _counts("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must be counts of the same groups and seeds, got {first.shape} and {second.shape}")
    kept = [index for index in range(first.shape[2]) if index not in left_out]
    first, second = first[:, :, kept], second[:, :, kept]
    held: NDArray[np.bool_] = (first + second).sum((1, 2, 3)) > 0
    known = _folds(_folds(folds, len(first))[held], int(held.sum()))
    first, second, groups = first[held], second[held], int(held.sum())
    each = [_pooled_score(counts.sum(0), score) for counts in (first, second)]
    if not np.isfinite(each).all():
        raise ValueError("no class is in prediction or reference of any group: nothing to score")
    whole = each[0] - each[1]

    def by_seed(sample: NDArray[np.int64]) -> Floats:
        times = _times(sample, groups)
        found = _pooled_score(_summed(times, first), score) - _pooled_score(_summed(times, second), score)
        return np.where(np.isnan(found), whole, found)  # a sample without the class says nothing

    def exchange(exchanged: NDArray[np.bool_]) -> Floats:
        moved = _summed(exchanged.astype(np.float64), second - first)
        mine, theirs = first.sum(0) + moved, second.sum(0) - moved
        return np.asarray((_pooled_score(mine, score) - _pooled_score(theirs, score)).mean(-1))

    own = (_pooled_score(first, score) - _pooled_score(second, score)).mean(1)
    tested = np.isfinite(own).sum() >= FEWEST
    pseudo = jackknife(by_seed, groups) if groups > 1 else whole[None]
    seeds = networks(pseudo, known)
    low, high = interval(lambda s: by_seed(s).mean(-1), groups, seeds, draws) if tested else (None, None)
    chance = sign_flip(exchange, groups, seeds, draws) if tested else None
    means = float(each[0].mean()), float(each[1].mean()), float(whole.mean())
    return _comparison(means, low, high, chance, pseudo.mean(1), own[np.isfinite(own)], first.shape[1], seeds)


def holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with p-values adjusted for their number (Holm 1979); those without a test stay as they are."""
    tested = sorted((c.p_value, index) for index, c in enumerate(comparisons) if c.p_value is not None)
    adjusted, found = 0.0, list(comparisons)
    for rank, (p_value, index) in enumerate(tested):
        adjusted = max(adjusted, min(1.0, (len(tested) - rank) * p_value))
        found[index] = replace(comparisons[index], p_value=adjusted)
    return found


def mean_ranks(scores: ArrayLike) -> tuple[Floats, float | None]:
    """Mean ranks of methods over several data sets, 1 the best (Demšar 2006), and the p-value of Friedman's test.

    Args:
        scores: `(data sets, methods)`, higher is better.

    Returns:
        One rank a method, and p; None for fewer than three methods or data sets.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"scores must be finite numbers (data sets, methods), got shape {values.shape}")
    ranks = stats.rankdata(-values, axis=1).mean(0)
    if min(values.shape) < 3:
        return ranks, None
    return ranks, float(stats.friedmanchisquare(*values.T).pvalue)


def _comparison(
    means: tuple[float, float, float],
    low: float | None,
    high: float | None,
    p_value: float | None,
    of_groups: Floats,
    own: Floats,
    seeds: int,
    share: Networks,
) -> Comparison:
    spread = float(of_groups.std(ddof=1)) if len(of_groups) > 1 else 0.0
    return Comparison(
        *means,
        low=low,
        high=high,
        p_value=p_value,
        wilcoxon=float(stats.wilcoxon(own).pvalue) if own.any() and p_value is not None else None,
        d_z=float(of_groups.mean()) / spread if spread else None,
        wins=int((own > 0).sum()),
        ties=int((own == 0).sum()),
        losses=int((own < 0).sum()),
        groups=len(of_groups),
        seeds=seeds,
        spread=spread,
        networks=share,
    )


def _pooled_score(counts: Floats, score: Score) -> Floats:
    """The mean score over classes, `(...)`, of counts `(..., C, 3)`; NaN where no class is anywhere."""
    tp, wrong = counts[..., 0], counts[..., 1] + counts[..., 2]
    weight = 2 if score == "DSC" else 1
    whole = weight * tp + wrong
    there = whole > 0
    found = np.where(there, weight * tp / np.where(there, whole, 1), 0).sum(-1)
    number = there.sum(-1)
    return np.asarray(np.where(number > 0, found / np.maximum(number, 1), np.nan))


def _times(sample: NDArray[np.int64], groups: int) -> Floats:
    """How often each group is in samples `(..., n)`, `(..., G)`."""
    rows = sample.reshape(-1, sample.shape[-1])
    places = rows + groups * np.arange(len(rows))[:, None]
    found = np.bincount(places.ravel(), minlength=groups * len(rows))
    return found.reshape(*sample.shape[:-1], groups).astype(np.float64)


def _summed(times: Floats, counts: Floats) -> Floats:
    """Counts `(..., S, C, 3)` of samples that hold each group so many times, `(..., G)`."""
    return np.tensordot(times, counts, axes=1)


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
