"""How often the comparison of two methods is right: coverage of its intervals, false sentences, false equivalence.

python -m benchmarks.verdicts prints the tables of docs/ablation.md; about two minutes on one core. Every data set is
drawn from a design whose true difference is known; an interval covers it exactly where its p-value is above 0.05.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segloss import compare
from segloss.networks import Floats, Networks, networks
from segloss.sign_flip import SignFlips

Generator = np.random.Generator
SIZES = (6, 8, 12, 20, 50, 100)
SETS = 1000
TUNED = ((19, 3, 3), (50, 3, 5), (40, 2, 4))
"""Groups, seeds and folds."""


def _normal(rng: Generator, sets: int, groups: int) -> tuple[Floats, float]:
    return rng.normal(0.02, 0.05, (sets, groups)), 0.02


def _heavy(rng: Generator, sets: int, groups: int) -> tuple[Floats, float]:
    return 0.02 + 0.05 * rng.standard_t(3, (sets, groups)), 0.02


def _failures_of_either(rng: Generator, sets: int, groups: int) -> tuple[Floats, float]:
    failed = (rng.random((2, sets, groups)) < 0.05) * 0.8
    return rng.normal(0.01, 0.03, (sets, groups)) - failed[0] + failed[1], 0.01


def _failures_of_one(rng: Generator, sets: int, groups: int) -> tuple[Floats, float]:
    return rng.normal(0.01, 0.03, (sets, groups)) - 0.8 * (rng.random((sets, groups)) < 0.05), 0.01 - 0.04


def _near_one(better: float) -> Callable[[Generator, int, int], tuple[Floats, float]]:
    def drawn(rng: Generator, sets: int, groups: int) -> tuple[Floats, float]:
        hard = rng.gamma(1, 1, (sets, groups))
        errors = [size * hard * rng.gamma(4, 0.25, (sets, groups)) for size in (0.03 - better, 0.03)]
        return errors[1] - errors[0], better

    return drawn


def _found_or_missed(better: float) -> Callable[[Generator, int, int], tuple[Floats, float]]:
    def drawn(rng: Generator, sets: int, groups: int) -> tuple[Floats, float]:
        found = [0.8 * (rng.random((sets, groups)) < rate) for rate in (0.7 + better, 0.7)]
        return found[0] - found[1] + rng.normal(0, 0.02, (sets, groups)), 0.8 * better

    return drawn


def _ties(better: float) -> Callable[[Generator, int, int], tuple[Floats, float]]:
    def drawn(rng: Generator, sets: int, groups: int) -> tuple[Floats, float]:
        tied = rng.random((sets, groups)) < 0.7
        return np.where(tied, 0.0, rng.normal(better, 0.05, (sets, groups))), 0.3 * better

    return drawn


MEANS: dict[str, Callable[[Generator, int, int], tuple[Floats, float]]] = {
    "normal": _normal,
    "t with 3 degrees of freedom": _heavy,
    "5 % failures of either": _failures_of_either,
    "DSC near 1, equal": _near_one(0.0),
    "found or missed, equal": _found_or_missed(0.0),
    "found or missed, 90 against 70 %": _found_or_missed(0.2),
    "70 % ties, equal": _ties(0.0),
    "DSC near 1, one better": _near_one(0.01),
    "70 % ties, all others better": _ties(0.03),
    "5 % failures of one alone": _failures_of_one,
}
"""By design, differences `(sets, groups)` and their true mean."""
POOLED = {
    "pooled IoU, lengths of 1 to 30, equal": (1, 0, 0.0),
    "pooled IoU, lengths of 1 to 30, one better": (1, 0, 0.05),
    "pooled mIoU, 2 rare classes of 6, equal": (6, 2, 0.0),
    "pooled mIoU, 2 rare classes of 6, one better": (6, 2, 0.05),
}
"""By design classes, rare ones among them, and by how much the recall of one method is better."""
SKEWED = {
    "found or missed, 90 against 70 %": 12,
    "DSC near 1, one better": 100,
    "70 % ties, all others better": 50,
    "5 % failures of one alone": 1000,
}
"""Designs whose differences are so skewed that fewer groups than these do not show it."""


def covered(design: str, groups: int, sets: int = SETS) -> float:
    """The share of data sets whose interval covers the true difference."""
    rng = np.random.default_rng(groups)
    if design in MEANS:
        differences, truth = MEANS[design](rng, sets, groups)
        values, shares = differences.T / groups, np.full((groups, sets), 1 / groups)
    else:
        large = _difference(*_counts(np.random.default_rng(0), 100_000, *POOLED[design]))
        truth = float(large[0].sum())
        each = [_difference(*_counts(rng, groups, *POOLED[design])) for _ in range(sets)]
        values, shares = (np.stack(part, axis=1) for part in zip(*each, strict=True))
    flips = SignFlips.of(values, shares, [Networks(0.0, 0)] * sets)
    return float(np.mean([min(one.p_greater(truth), one.p_less(truth)) > compare.ALPHA / 2 for one in flips]))


def _counts(rng: Generator, groups: int, classes: int, rare: int, better: float) -> tuple[Floats, Floats]:
    """Counts `(G, C, 3)` of two methods on sequences of 1 to 30 images; a rare class is in a fifth of them."""
    length = rng.integers(1, 31, (groups, 1))
    present = np.ones((groups, classes))
    present[:, classes - rare :] = rng.random((groups, rare)) < 0.2
    pixels = length * np.array([1000.0] * (classes - rare) + [50.0] * rare)
    reference = np.floor(pixels * present * rng.gamma(4, 0.25, (groups, classes)))
    found = []
    for recall in (0.8 + better, 0.8):
        tp = np.floor(reference * rng.beta(8 * recall, 8 * (1 - recall), reference.shape))
        near = reference + 0.05 * pixels * (rng.random(reference.shape) < 0.2) * (rare > 0)
        fp = np.floor(near * rng.beta(2, 10, reference.shape))
        found.append(np.stack([tp, fp, reference - tp], -1))
    return found[0], found[1]


def _difference(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """What each group adds to the difference, and its share; 0 for a group that is left out."""
    one = compare.pooled(a, b, tested=False)
    values, shares = np.zeros((2, len(a)))
    values[[*map(int, map(str, one.names))]], shares[[*map(int, map(str, one.names))]] = one.values, one.shares
    return values, shares


def with_seeds(
    groups: int, seeds: int, folds: int, between: float, choices: float | None = None, sets: int = SETS
) -> float:
    """The share of data sets in which a true difference of 0 is rejected, where networks vary too.

    Args:
        groups: G.
        seeds: S.
        folds: sets of networks.
        between: the standard deviation of a network over that of the mean of groups.
        choices: where each fold is tuned, that of the effect of a fold's choice.
        sets: data sets.
    """
    rng, fold = np.random.default_rng(7), np.arange(groups) % folds
    values, known = np.empty((groups, sets)), []
    for index in range(sets):
        d = rng.standard_normal((groups, 1)) + 0.7 * rng.standard_normal((groups, seeds))
        d = d + between * rng.standard_normal((folds, seeds))[fold] * np.sqrt(seeds / groups)
        if choices is not None:
            d = d + choices * rng.standard_normal((folds, 1))[fold] * np.sqrt(folds / groups)
        values[:, index] = d.mean(1) / groups
        known.append(networks(d, fold, choices is not None))
    flips = SignFlips.of(values, np.full(values.shape, 1 / groups), known, 2000)
    return float(np.mean([one.p_value <= compare.ALPHA for one in flips]))


def false_sentences(classes: int, arms: int = 3, groups: int = 20, seeds: int = 1, sets: int = SETS) -> float:
    """The share of pages that say of a class that an arm differs from the baseline, though none does.

    Patients are as hard for all arms, classes of a patient are alike, and arms share the baseline.
    """
    rng, pages = np.random.default_rng(classes), 0
    for _ in range(sets):
        shape = (groups, seeds, classes)
        patients = rng.standard_normal((1 + arms, groups, 1, 1))
        networks_of_arms = 0.3 * rng.standard_normal((1 + arms, 1, seeds, classes)) * (seeds > 1)
        scores = patients + networks_of_arms + rng.standard_normal((1 + arms, *shape))
        rows = [
            compare.paired(scores[arm, ..., label], scores[0, ..., label], tested=False)
            for arm in range(1, 1 + arms)
            for label in range(classes)
        ]
        pages += any(one.distinguishable for one in compare.together(rows))
    return pages / sets


def false_equivalence(design: str, groups: int, sets: int = SETS) -> float:
    """The share of data sets called equivalent though the true difference is as large as the smallest that matters."""
    rng = np.random.default_rng(groups)
    differences, truth = MEANS[design](rng, sets, groups)
    smallest = 0.02
    moved = differences - truth + smallest
    flips = SignFlips.of(moved.T / groups, np.full((groups, sets), 1 / groups), [Networks(0.0, 0)] * sets, 2000)
    intervals = [one.interval(compare.ALPHA) for one in flips]
    return float(np.mean([-smallest < low and high < smallest for low, high in intervals]))


def main() -> None:
    """Print the tables."""
    print(f"Coverage of the 95 % interval in %, {SETS} data sets each\n")
    print("| design |", " | ".join(f"{size} groups" for size in SIZES), "|")
    print("|---|", "---:|" * len(SIZES), sep="")
    for design in sorted([*MEANS, *POOLED], key=lambda name: name in SKEWED):
        print(f"| {design} |", " | ".join(f"{100 * covered(design, size):.1f}" for size in SIZES), "|", flush=True)
    print("\nRejections of a true null where networks vary, in %")
    for groups, seeds, folds in ((20, 3, 1), (20, 5, 1), (18, 3, 3), (40, 2, 1), (8, 2, 1)):
        rates = [f"{100 * with_seeds(groups, seeds, folds, between):.1f}" for between in (0.0, 0.5, 2.0)]
        print(f"{groups} groups, {seeds} seeds, {folds} folds: {', '.join(rates)}", flush=True)
    print("\nThe same where each fold is tuned, and the choices vary by 0, 0.5 and 1 of the mean over groups, in %")
    for groups, seeds, folds in TUNED:
        rates = [f"{100 * with_seeds(groups, seeds, folds, 0.5, choices):.1f}" for choices in (0.0, 0.5, 1.0)]
        print(f"{groups} groups, {seeds} seeds, {folds} folds: {', '.join(rates)}", flush=True)
    for classes in (3, 11):
        rate = false_sentences(classes, sets=500)
        print(f"false class sentences on null pages of {classes} classes: {100 * rate:.1f} %", flush=True)
    rates = [f"{100 * false_equivalence('normal', size):.1f}" for size in SIZES]
    print(f"false equivalence at the margin: {', '.join(rates)} %")


if __name__ == "__main__":
    main()
