"""Comparison of methods: known values, other libraries, brute force, and how often it is wrong."""

import dataclasses
import doctest
import itertools

import numpy as np
import pytest
from scipy import stats

from benchmarks import verdicts as simulation
from segloss import compare
from segloss.networks import Networks, networks
from segloss.sign_flip import EXACT, SignFlips, equal_rows, subset_sums


def scores(groups, seeds=1, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.beta(8, 2, (groups, 1)) + 0.03 * rng.standard_normal((groups, seeds))
    return a, a + 0.01 + 0.02 * rng.standard_normal((groups, seeds))


def test_the_example():
    assert doctest.testmod(compare).failed == 0


def test_six_groups_that_agree():
    found = compare.paired([0.9, 0.8, 0.7, 0.9, 0.8, 0.6], [0.8, 0.6, 0.6, 0.7, 0.7, 0.5])
    assert found.p_value == pytest.approx(2 / 2**6)
    assert (found.wins, found.ties, found.losses) == (6, 0, 0)
    assert found.difference == pytest.approx(0.8 / 6)
    assert (found.low, found.high) == pytest.approx((0.1, 0.2))  # 2/64 < 0.05 < 4/64: the least and the greatest
    assert found.without[1] == pytest.approx(0.12)


@pytest.mark.parametrize("groups", [7, 12])
def test_the_permutation_test_is_scipys(groups):
    a, b = scores(groups)
    assert compare.paired(a, b).p_value == pytest.approx(scipys(a[:, 0] - b[:, 0]))


def scipys(differences):
    return stats.permutation_test(
        (differences,), lambda d, axis: d.mean(axis), permutation_type="samples", n_resamples=np.inf
    ).pvalue


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_holds_what_the_test_does_not_reject(seed):
    """By scipy's test of every shift on a grid, across both ends of the interval."""
    differences = np.random.default_rng(seed).standard_t(2, 9)
    found = compare.paired(differences, 0 * differences)
    for end, outside in ((found.low, -1), (found.high, 1)):
        assert scipys(differences - end - outside * 1e-6) < 0.05 < scipys(differences - end + outside * 1e-6)
    assert all(scipys(differences - shift) > 0.05 for shift in np.linspace(found.low + 1e-6, found.high - 1e-6, 9))


def test_with_seeds_the_interval_holds_what_the_test_does_not_reject():
    """The p-value of a shift by loops: over all signs, the chance that signs and networks reach what is observed."""
    values, known = np.random.default_rng(0).normal(0.02, 0.05, 8), Networks(4e-4, 4)
    shares = np.full(8, 1 / 8)
    flips = SignFlips.of(values[:, None] / 8, shares[:, None], [known])[0]

    def p_value(shift):
        observed, found = abs(np.mean(values - shift)), []
        for signs in itertools.product([-1, 1], repeat=8):
            one = np.mean(np.array(signs) * (values - shift))
            noise = stats.t(known.freedom, loc=one, scale=known.variance**0.5)
            found.append(noise.sf(observed) + noise.cdf(-observed))
        return np.mean(found)

    assert flips.p_value == pytest.approx(p_value(0), abs=1e-6)
    assert [p_value(end) for end in flips.interval(0.05)] == pytest.approx([0.05, 0.05], abs=1e-5)


@pytest.mark.parametrize("groups", [6, 9, 14, 15, 40])
@pytest.mark.parametrize("seeds", [1, 3])
def test_interval_and_p_value_never_disagree(groups, seeds):
    rng = np.random.default_rng(groups)
    rejected = 0
    for shift in np.linspace(0, 0.08, 25):
        ties = rng.random((groups, seeds)) < 0.3
        found = compare.paired(np.where(ties, 0, rng.normal(shift, 0.05, (groups, seeds))), np.zeros((groups, seeds)))
        assert found.distinguishable == (found.low > 0 or found.high < 0)
        rejected += found.distinguishable
    assert 0 < rejected < 25


def test_many_groups_are_drawn():
    a, b = scores(40)
    found = compare.paired(a - 0.008, b).p_value
    difference = (a - b)[:, 0] - 0.008
    z = difference.mean() / np.sqrt((difference**2).sum()) * 40
    assert found == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.02)


def test_a_pattern_stands_for_its_complement():
    whole = subset_sums(np.eye(4))
    both = {*map(tuple, whole), *map(tuple, 1 - whole)}
    assert both == {*itertools.product([0, 1], repeat=4)}
    assert len(whole) == 8
    drawn = subset_sums(np.eye(EXACT + 1), 100)
    assert drawn.shape == (101, EXACT + 1)
    assert not drawn[0].any()


def test_equal_groups_are_flipped_by_their_number():
    """Of 30 pictures that a alone gets right and 18 that b alone does, among 200: McNemar's exact test."""
    a, b = np.zeros((2, 200))
    a[:30], b[30:48] = 1, 1
    cells, sizes = equal_rows((a - b)[:, None])
    assert (cells[:, 0].tolist(), sizes.tolist()) == ([1, -1, 0], [30, 18, 152])
    assert compare.paired(a, b).p_value == pytest.approx(stats.binomtest(30, 48).pvalue, abs=0.01)


def test_equal_groups_or_one_by_one():
    """Groups that differ by nothing that counts are drawn one by one: the same distribution of every column."""
    rng = np.random.default_rng(0)
    values = rng.choice([[0.0, 0.01], [1.0, -2.0], [-1.0, 0.5]], 300)
    together, apart = subset_sums(values), subset_sums(values + 1e-9 * rng.random(values.shape))
    for column, plain in zip(together.T, apart.T, strict=True):
        assert np.quantile(column, [0.05, 0.5, 0.95]) == pytest.approx(
            np.quantile(plain, [0.05, 0.5, 0.95]), abs=0.05 * plain.std()
        )
    assert together.std(0) == pytest.approx(np.sqrt((values**2).sum(0)) / 2, rel=0.05)  # Σ v²/4
    a, b = rng.integers(0, 2, (2, 300)).astype(float)
    whole, plain = (compare.share_best([compare.paired(a + noise, b)]) for noise in (0, 1e-9 * rng.random(300)))
    assert whole == pytest.approx(plain, abs=0.04)


def test_two_equal_groups_are_flipped_alone_or_together():
    """Beside groups that hardly count: none, one or both of them in a quarter, a half and a quarter of the patterns."""
    sums = subset_sums(np.array([[10.0]] * 2 + [[0.01 * n] for n in range(1, EXACT)]))[1:]
    shares = [(np.round(sums / 10) == flipped).mean() for flipped in range(3)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_the_interval_leaves_out_what_has_just_alpha():
    """Shifts from 0.1 to 0.15: two of 64 patterns reach them, none flipped and the first, so p = 4/64 on both sides."""
    values = np.arange(1, 7)[:, None] / 60
    flips = SignFlips.of(values, np.full((6, 1), 1 / 6), [Networks(0.0, 0)])[0]
    assert flips.interval(4 / 64) == pytest.approx((0.15, 0.55))  # the means of the two least and the two greatest
    assert flips.interval(4 / 64 - 1e-6) == pytest.approx((0.1, 0.6))


def test_patterns_that_differ_by_rounding_alone_are_as_extreme():
    """Tenths as whole numbers, whose sums are exact; some patterns have the sum 0."""
    whole = np.array([[1.0], [2], [3], [4], [5], [5]])
    found = [
        SignFlips.of(values, np.full((6, 1), 1 / 6), [Networks(0.0, 0)])[0].as_if_observed(np.random.default_rng(0))
        for values in (whole, whole / 10)
    ]
    assert np.array_equal(*found)


def test_seeds_that_add_next_to_nothing_change_nothing():
    values, shares = np.random.default_rng(0).normal(0.02, 0.05, (8, 1)) / 8, np.full((8, 1), 1 / 8)
    alone, with_seeds = (SignFlips.of(values, shares, [one])[0] for one in (Networks(0.0, 0), Networks(1e-24, 2)))
    for shift in (-0.031, 0.0, 0.007, 0.042, 1.0):
        assert with_seeds.p_greater(shift) == pytest.approx(alone.p_greater(shift), abs=1e-6)
        assert with_seeds.p_less(shift) == pytest.approx(alone.p_less(shift), abs=1e-6)
    assert with_seeds.interval(0.05) == pytest.approx(alone.interval(0.05))


def test_names_and_order_of_groups_change_nothing():
    """Of more groups than every pattern is tried of, p-values, intervals and shares are drawn; the same ones."""
    rng = np.random.default_rng(3)
    a, b, c = rng.normal([[0.0], [0.1], [0.2]], 0.4, (3, 2 * EXACT))
    order = rng.permutation(2 * EXACT)
    names = [f"p{number:02d}" for number in range(2 * EXACT)]
    found = [
        compare.together([compare.paired(one[at], c[at], names=names, tested=False) for one in (a, b)])
        for at in (np.arange(2 * EXACT), order)
    ]
    for one, other in zip(*found, strict=True):
        assert (one.p_value, one.low, one.high) == (other.p_value, other.low, other.high)
    assert np.array_equal(*map(compare.share_best, found))


@pytest.mark.parametrize("only_a", [0, 1, 4, 9])
def test_found_or_not_is_mcnemars_exact_test(only_a):
    a, b = np.zeros((2, 13))
    a[:only_a] = 1
    b[only_a : only_a + 3] = 1
    assert compare.paired(a, b).p_value == pytest.approx(stats.binomtest(only_a, only_a + 3).pvalue)


def test_all_together_by_brute_force():
    """Westfall and Young's single step: the share of all patterns whose least p-value is as small."""
    rng = np.random.default_rng(5)
    differences = rng.normal([0.01, 0.04, 0.05], 0.05, (8, 3)) + 0.02 * rng.standard_normal((8, 1))
    alone = [compare.paired(column, 0 * column) for column in differences.T]
    found = compare.together(alone)
    signs = np.array([*itertools.product([-1, 1], repeat=8)])
    size = np.abs(signs @ differences)
    p_values = np.array([[np.mean(size[:, k] >= one[k] - 1e-9) for k in range(3)] for one in size])
    least = p_values.min(1)
    for one, raw in zip(found, alone, strict=True):
        assert one.p_value == pytest.approx(np.mean(least <= raw.p_value + 1e-9))
        assert one.p_value >= raw.p_value
        assert one.low <= raw.low
        assert one.high >= raw.high
        assert one.family == 3
        assert one.distinguishable == (one.low > 0 or one.high < 0)
    assert any(one.p_value > raw.p_value for one, raw in zip(found, alone, strict=True))


def test_comparisons_of_other_groups_are_tested_together():
    rng = np.random.default_rng(0)
    values = rng.normal(0.02, 0.03, (2, 12))
    all_groups = compare.paired(values[0], 0 * values[0], names=list("abcdefghijkl"), tested=False)
    few = compare.paired(values[1, :7], 0 * values[1, :7], names=list("lkjihgf"), tested=False)
    too_few = compare.paired(values[1, :3], 0 * values[1, :3], tested=False)
    one, other, untested = compare.together([all_groups, few, too_few])
    assert untested.p_value is None
    assert other.p_value >= compare.together([few])[0].p_value
    assert (one.family, other.family, untested.family) == (2, 2, 1)


def test_groups_too_few_for_so_many_comparisons_have_no_end():
    """Six groups, four comparisons of unlike signs: no p-value can be small enough, so no interval ends."""
    rng = np.random.default_rng(1)
    found = compare.together([compare.paired(rng.standard_normal(6), np.zeros(6), tested=False) for _ in range(4)])
    assert all((one.low, one.high) == (-np.inf, np.inf) and not one.distinguishable for one in found)
    assert "95 % CI −∞ to ∞" in found[0].verdict("A", "B", "DSC")


def test_the_pattern_observed_is_one_of_all():
    """However clear the difference is: one of 10,001 patterns is as extreme."""
    values = 0.05 + 0.001 * np.random.default_rng(0).standard_normal((3, 40))
    found = compare.together([compare.paired(one, 0 * one, tested=False) for one in values])
    assert [one.p_value for one in found] == pytest.approx([1 / 10_001] * 3)


@pytest.mark.parametrize("comparisons", [1, 3])
def test_what_seeds_add_is_no_evidence(comparisons):
    """Six patients that agree: two patterns of 64 are as extreme, however alike the seeds are."""
    rng = np.random.default_rng(0)
    values = [np.linspace(0.01, 0.05, 6)[:, None] + rng.normal(0, 1e-4, (1, 3)) for _ in range(comparisons)]
    found = compare.together([compare.paired(one, 0 * one, tested=False) for one in values])
    assert all(0 < one.networks.variance < 1e-7 for one in found)
    assert [one.p_value for one in found] == pytest.approx([2 / 64] * comparisons)
    assert found[0].low == pytest.approx(np.mean(values[0][0]), abs=1e-4)  # the lowest of all subset means


def test_variance_components_of_a_balanced_table():
    """Two-way analysis of variance by sums of squares over the whole table, as textbooks have it."""
    d = np.random.default_rng(0).standard_normal((5, 3)) + np.array([0, 2, 5])
    g, s = d.shape
    ss_seeds = g * ((d.mean(0) - d.mean()) ** 2).sum()
    ss_groups = s * ((d.mean(1) - d.mean()) ** 2).sum()
    ms_rest = (((d - d.mean()) ** 2).sum() - ss_seeds - ss_groups) / ((g - 1) * (s - 1))
    expected = (ss_seeds / (s - 1) - ms_rest) / g / s
    assert networks(d, np.zeros(g, dtype=int)) == (pytest.approx(expected), s - 1, 0)
    assert networks(d[:, :1], np.zeros(g, dtype=int)) == Networks(0.0, 0)
    assert networks(np.ones((5, 3)), np.zeros(g, dtype=int)).variance == 0


def test_networks_of_folds_are_their_own():
    d = np.zeros((6, 2))
    d[:3] += [1, -1]  # one fold's networks
    d[3:] += [-1, 1]  # another's: over both, the seeds agree
    one, two = networks(d, np.zeros(6, dtype=int)), networks(d, np.array([0, 0, 0, 1, 1, 1]))
    assert one.variance == 0
    assert two.variance == pytest.approx(2 * 0.25 * 2 / 2)
    assert two.freedom == 2


def test_choices_of_folds_by_hand():
    """Folds of 2, 2 and 2 groups with means 1, 2 and 6, each group 1 from its fold's mean; one seed.

    Within folds 6/3 = 2, between folds 2·(4 + 1 + 9)/2 = 14: the variance of a fold is (14 − 2)/2 = 6, that of the mean
    6/3 = 2, with 2 degrees of freedom.
    """
    d, folds = np.array([[0.0], [2], [1], [3], [5], [7]]), np.array([0, 0, 1, 1, 2, 2])
    assert networks(d, folds) == Networks(0.0, 0)
    assert networks(d, folds, tuned=True) == (pytest.approx(2), pytest.approx(2), pytest.approx(2))


def test_choices_and_seeds_together():
    """Seeds that agree but for networks of variance v: what folds differ by beyond v/S is the choices'."""
    d = np.repeat(np.array([[0.0], [2], [1], [3], [5], [7]]), 2, axis=1) + np.array([1, -1])
    folds = np.array([0, 0, 1, 1, 2, 2])
    seeds, both = networks(d, folds), networks(d, folds, tuned=True)
    assert seeds == (pytest.approx(1 / 3), 3, 0)  # a network's variance is 2; over 3 folds and 2 seeds 2/6
    assert both.variance == pytest.approx(2)
    assert both.choices == pytest.approx(5 / 3)
    assert both.freedom == pytest.approx(2**2 / ((1 / 3) ** 2 / 3 + (5 / 3) ** 2 / 2))


@pytest.mark.parametrize("folds", [[0] * 6, range(6), [0, 1, 2] * 2])
def test_folds_that_show_no_choice_add_nothing(folds):
    """One fold, a fold a group, or folds with the same mean."""
    d = np.array([[-1.0], [-1], [-1], [1], [1], [1]])
    assert networks(d, np.array(folds), tuned=True) == Networks(0.0, 0)


def test_folds_that_disagree_prove_nothing_where_each_was_tuned():
    rng, folds = np.random.default_rng(0), np.arange(18) % 3
    d = 0.01 * rng.standard_normal(18) + np.array([0.09, 0.01, 0.02])[folds]
    fixed, tuned = (compare.paired(d, 0 * d, folds, tuned=tuned) for tuned in (False, True))
    assert fixed.p_value < 0.001
    assert tuned.p_value > 0.05
    assert tuned.low < 0 < tuned.high


def test_a_seed_that_moves_all_patients_proves_nothing():
    rng = np.random.default_rng(0)
    d = 0.01 + 0.001 * rng.standard_normal((20, 3)) + np.array([0.03, -0.01, -0.01])
    with_seeds, without = compare.paired(d, 0 * d), compare.paired(d.mean(1), 0 * d[:, 0])
    assert without.p_value < 0.001
    assert with_seeds.p_value > 0.2
    assert with_seeds.low < 0 < with_seeds.high


def naive_mean_iou(counts):
    tp, fp, fn = counts.sum(0).T
    there = tp + fp + fn > 0
    return (tp[there] / (tp + fp + fn)[there]).mean()


def test_pooled_scores_against_loops():
    rng = np.random.default_rng(0)
    a = rng.integers(5, 50, (9, 4, 3)).astype(float)
    a[:, 3] = 0  # a class that is nowhere
    moved = np.minimum(rng.integers(-3, 6, a.shape[:2]), a[..., 0])[..., None] * np.array([1, 0.5, -1])
    b = np.maximum(a - moved * [[[1], [1], [1], [0]]], 0)
    found = compare.pooled(a, b)
    observed = naive_mean_iou(a) - naive_mean_iou(b)
    assert found.difference == pytest.approx(observed)
    assert (found.mean_a, found.mean_b) == pytest.approx((naive_mean_iou(a), naive_mean_iou(b)))
    assert (found.values.sum(), found.shares.sum()) == pytest.approx((observed, 1))
    exchanged = []
    for signs in itertools.product([False, True], repeat=9):
        swap = np.array(signs)[:, None, None]
        exchanged.append(naive_mean_iou(np.where(swap, b, a)) - naive_mean_iou(np.where(swap, a, b)))
    assert found.p_value == pytest.approx((np.abs(exchanged) >= abs(observed) - 1e-12).mean(), abs=0.02)
    kept = [naive_mean_iou(np.delete(a, g, 0)) - naive_mean_iou(np.delete(b, g, 0)) for g in range(9)]
    assert found.without == pytest.approx(kept, abs=2e-3)
    assert compare.pooled(a, b, left_out=[0]).mean_a == pytest.approx(naive_mean_iou(a[:, 1:]))


def test_what_a_group_adds_to_a_pooled_difference_by_hand():
    """IoU 8/20 and 6/20, 14/40 of both: groups add (6 − 3.5)/20 − (4 − 4.2)/20 and (2 − 3.5)/20 − (2 − 2.8)/20."""
    found = compare.pooled([[[6, 2, 2]], [[2, 4, 4]]], [[[4, 4, 4]], [[2, 2, 4]]])
    assert found.values == pytest.approx([0.135, -0.035])
    assert found.shares == pytest.approx([(10 / 20 + 12 / 20) / 2, (10 / 20 + 8 / 20) / 2])


def test_pooled_counts_of_equal_groups_are_paired_means():
    """Where every group has as many pixels the DSC of one class is the mean of the groups."""
    rng = np.random.default_rng(1)
    tp = rng.integers(60, 90, (2, 12, 3)) + np.array([[[9.0, 0, -9]], [[0, 0, 0]]])
    counts = np.stack([tp, 100 - tp, 100 - tp], -1)[:, :, :, None]
    found, other = compare.pooled(counts[0], counts[1], score="DSC"), compare.paired(tp[0] / 100, tp[1] / 100)
    assert found.networks.variance > 0
    for key in ("difference", "p_value", "low", "high", "spread", "d_z", "wins", "losses", "networks"):
        assert getattr(found, key) == pytest.approx(getattr(other, key))


def test_pooled_groups_win_by_their_own_scores():
    a = np.array([[[9000, 500, 500]], *([[[8, 6, 6]]] * 9)], dtype=float)
    b = np.array([[[8000, 1000, 1000]], *([[[9, 5, 6]]] * 9)], dtype=float)
    found = compare.pooled(a, b)
    assert found.difference > 0.05
    assert (found.wins, found.ties, found.losses) == (1, 0, 9)
    assert found.p_value > 0.4  # one group has nearly all pixels, so that its sign decides alone


def test_a_class_that_no_reference_holds_is_left_out_whoever_invents_it():
    rng = np.random.default_rng(0)
    a = rng.integers(20, 50, (8, 2, 3)).astype(float)
    b = a + rng.integers(1, 9, a.shape)
    a[:, 1] = b[:, 1] = 0
    a[:, 1, 1] = 7
    first = compare.pooled(a[:, :1], b[:, :1])
    assert compare.pooled(a, b).difference == pytest.approx(first.difference)
    a[:, 1, 0] = 7  # in the reference of a, where b has none
    assert compare.pooled(a, b).difference == pytest.approx(first.difference)
    a[1:, 1] = b[1:, 1] = 0
    a[0, 1], b[0, 1] = [1, 0, 0], [0, 0, 1]  # a single pixel is enough
    both = compare.pooled(a, b)
    assert (both.mean_a, both.mean_b) == pytest.approx(((first.mean_a + 1) / 2, first.mean_b / 2))


@pytest.mark.parametrize(("held", "tested"), [(1, False), (5, False), (6, True)])
def test_a_class_of_few_groups_is_tested_where_six_hold_it(held, tested):
    rng = np.random.default_rng(0)
    a = rng.integers(20, 50, (12, 2, 2, 3)).astype(float)
    b = a + rng.integers(1, 9, a.shape)
    a[held:, :, 1] = b[held:, :, 1] = 0
    found = compare.pooled(a, b, left_out=[0], folds=np.arange(12))
    assert (found.groups, found.p_value is not None) == (held, tested)
    assert np.isfinite([found.difference, found.spread, found.networks.variance]).all()
    assert "nan" not in found.verdict("A", "B", "rare IoU", "groups")
    if tested:
        alone = compare.pooled(a[:held, :, 1:], b[:held, :, 1:], folds=np.arange(held))
        assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


def test_the_order_of_the_methods_is_a_sign():
    a, b = scores(11, 3)
    one, two = compare.paired(a, b), compare.paired(b, a)
    assert one.difference == -two.difference
    assert one.p_value == pytest.approx(two.p_value)
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low), abs=1e-6)


@pytest.mark.parametrize(("spread", "networks_variance"), [(0.03, 0.0), (0.03, 5e-6), (0.2, 0.0)])
def test_the_number_of_groups_gives_that_power(spread, networks_variance):
    """At both ends of the 95 % interval of the spread, which is chi-squared."""
    values = np.random.default_rng(0).standard_normal(12)
    values = 0.005 + spread * (values - values.mean()) / values.std(ddof=1)
    found = dataclasses.replace(compare.paired(values, 0 * values), networks=Networks(networks_variance, 2))
    low, high = found.groups_needed(0.01)
    for groups, quantile in ((low, 0.975), (high, 0.025)):
        at = spread**2 * 11 / stats.chi2.ppf(quantile, 11)
        assert stats.norm.sf(1.96 - 0.01 / np.sqrt(at / groups + networks_variance)) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(("family", "fewest"), [(1, 6), (3, 7), (13, 10)])
def test_groups_are_never_too_few_for_the_comparisons(family, fewest):
    """However alike groups are: a pattern of signs and its complement are 2 of 2^G, 5 % / family at most."""
    assert 2 / 2**fewest <= 0.05 / family < 2 / 2 ** (fewest - 1)
    found = dataclasses.replace(compare.paired(np.linspace(0.03, 0.03001, 6), np.zeros(6)), family=family)
    assert found.groups_needed(0.01) == (fewest, fewest)


def test_too_few_seeds_cannot_be_mended_by_groups():
    assert dataclasses.replace(
        compare.paired(*scores(12, 2)), networks=Networks(1e-4, 1)
    ).groups_needed(0.01) == (None, None)  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "lower", "outcome"),
    [
        (0.012, 0.03, False, "better"),
        (0.012, 0.03, True, "worse"),
        (-0.03, -0.01, True, "better"),
        (-0.03, -0.01, False, "worse"),
        (-0.009, 0.004, False, "equivalent"),
        (0.002, 0.009, False, "equivalent"),
        (0.002, 0.03, False, "undecided"),
        (-0.01, 0.004, False, "undecided"),
        (None, None, False, "untested"),
    ],
)
def test_outcomes(low, high, lower, outcome):
    found = dataclasses.replace(compare.paired(*scores(12)), low=low, high=high)
    assert found.outcome(0.01, lower) == outcome


def test_verdicts():
    rng = np.random.default_rng(0)
    a = rng.normal(0.8, 0.05, 19)
    better = compare.paired(a + 0.021 + 0.002 * rng.standard_normal(19), a)
    assert better.verdict("ADFL", "CE", "prostate DSC") == (
        f"ADFL improves prostate DSC over CE by 0.021 (95 % CI {better.low:.3f} to {better.high:.3f}, p < 0.001; "
        "19 patients, one seed): by at least 0.01"
    )
    worse = compare.paired(a + 3.1 + rng.standard_normal(19), a)
    sentence = worse.verdict("ADFL", "CE", "prostate HD95", smallest=1, lower=True, unit="mm")
    assert f"worsens prostate HD95 over CE by {worse.difference:.2f} mm (95 % CI {worse.low:.2f} to " in sentence
    assert sentence.endswith("): by at least 1 mm")
    wide = compare.paired(a + np.linspace(-0.06, 0.062, 19), a)
    assert wide.verdict("ADFL", "CE", "DSC").startswith("ADFL against CE is undecided in DSC: difference +0.001 (95 %")
    close = compare.paired(a + np.linspace(-0.006, 0.0062, 19), a)
    assert close.verdict("ADFL", "CE", "DSC").startswith("ADFL and CE are equivalent in DSC, within 0.01: difference ")
    few = compare.paired(a[:5], a[:5] - 0.1)
    assert (few.p_value, few.low) == (None, None)
    assert few.verdict("ADFL", "CE", "DSC", "sequences").endswith("too few sequences for a test, which needs 6")


def test_what_one_group_carries_is_said():
    a = np.array([0.001, -0.002, 0.0, 0.002, -0.001, -0.001, 0.4])
    found = compare.paired(a, 0 * a, names=[*"abcdef", "Case07"])
    assert found.carrier == 6
    assert found.without[6] == pytest.approx(a[:6].mean())
    assert found.verdict("A", "B", "DSC").endswith(
        "; Case07 alone makes more than half of the variance: without it -0.000"
    )
    assert compare.paired(a[:6], 0 * a[:6]).carrier is None


def test_equal_scores():
    a, _ = scores(9, 2)
    found = compare.paired(a, a)
    assert (found.difference, found.low, found.high, found.p_value, found.ties) == (0, -np.inf, np.inf, 1, 9)
    assert (found.d_z, found.carrier, found.outcome(0.01)) == (None, None, "undecided")
    assert found.verdict("A", "B", "DSC").endswith(
        "; none of these patients differs, which does not tell how others do"
    )


@pytest.mark.parametrize("smallest", [0.01, 0.1])
def test_ties_alone_are_equivalent_where_they_exclude_a_difference(smallest):
    """That so many groups of a binomial all tie has 2.5 %, where as few as would matter differ."""
    enough = next(n for n in range(1, 1000) if stats.binom.pmf(0, n, smallest) <= 0.025)
    for groups, outcome in ((enough - 1, "undecided"), (enough, "equivalent")):
        found = compare.paired(np.full(groups, 0.3), np.full(groups, 0.3), limit=1)
        assert stats.binom.pmf(0, groups, found.high) == pytest.approx(0.025)
        assert (found.low, found.outcome(smallest)) == (-found.high, outcome)
        assert found.groups_needed(smallest) == (enough, enough)
        assert compare.paired(np.full(groups, 3), np.full(groups, 3)).groups_needed(smallest) == (None, None)
    several = compare.together([found] * 5)[0]
    assert stats.binom.pmf(0, enough, several.high) == pytest.approx(0.005)
    assert several.outcome(smallest) == "undecided"
    assert compare.paired(np.full(9, 0.3), np.full(9, 0.1), limit=1).outcome(smallest) == "better"


def test_an_interval_of_fractions_ends_at_1():
    a = np.array([[0.9, 0.1], [1.0, 0.0]] * 4)
    free, bound = (compare.paired(a, a[:, ::-1], limit=limit) for limit in (np.inf, 1))
    assert free.high > 1
    assert (bound.low, bound.high) == (-1, 1)
    with pytest.raises(ValueError, match="limit is 1, but a and b differ by 90"):
        compare.paired(100 * a, 10 * np.ones_like(a), limit=1)


def test_ranks():
    ranks, p_value = compare.mean_ranks([[0.9, 0.8, 0.7], [0.6, 0.5, 0.5], [0.9, 0.91, 0.2], [0.4, 0.3, 0.2]])
    assert ranks.tolist() == [1.25, 1.875, 2.875]
    assert 0 < p_value < 0.1
    assert compare.mean_ranks([[0.9, 0.8]])[1] is None


def test_ranks_have_intervals():
    """a and b cannot be told apart, c is behind both: by hand."""
    rng = np.random.default_rng(0)
    base = rng.normal(0.8, 0.05, 20)
    of = {name: base + rng.normal(by, 0.01, 20) for name, by in (("a", 0), ("b", 0), ("c", -0.1))}
    pairs = {(x, y): compare.paired(of[x], of[y]) for x, y in (("a", "b"), ("c", "a"), ("b", "c"))}
    assert compare.rank_intervals("abc", pairs) == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


@pytest.mark.parametrize("networks_variance", [0.0, 1e-4])
def test_how_often_a_method_is_the_best(networks_variance):
    """Of two methods: the chance that a normal mean is above zero."""
    values = np.random.default_rng(0).normal(0.005, 0.05, 60)
    found = dataclasses.replace(compare.paired(values, 0 * values), networks=Networks(networks_variance, 500))
    error = np.sqrt(values.var() / 60 + networks_variance)
    share = compare.share_best([found])
    assert share.sum() == pytest.approx(1)
    assert share[1] == pytest.approx(stats.norm.cdf(values.mean() / error), abs=0.04)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare.paired([0.1, 0.2], [0.1]), "same groups and seeds"),
        (lambda: compare.paired([0.1, np.nan], [0.1, 0.2]), "a holds scores that are not finite"),
        (lambda: compare.paired([], []), r"a must be scores \(groups,\)"),
        (lambda: compare.paired([0.1, 0.2], [0.1, 0.3], folds=[0]), "one number a group"),
        (lambda: compare.paired([0.1, 0.2], [0.1, 0.3], names="aa"), "one name a group"),
        (lambda: compare.pooled(np.ones((3, 2)), np.ones((3, 2))), "must be counts"),
        (lambda: compare.pooled(-np.ones((3, 2, 3)), np.ones((3, 2, 3))), "negative"),
        (lambda: compare.pooled(np.zeros((3, 2, 3)), np.zeros((3, 2, 3))), "nothing to score"),
        (lambda: compare.pooled(np.ones((3, 2, 3)), np.ones((3, 2, 3)), score="ACC"), "score"),
        (lambda: compare.mean_ranks([0.1]), "data sets, methods"),
        (lambda: compare.mean_ranks([[0.1, np.nan]]), "finite numbers"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("design", simulation.MEANS)
def test_the_truth_of_a_design_is_its_mean(design):
    differences, truth = simulation.MEANS[design](np.random.default_rng(0), 1, 1_000_000)
    assert differences.mean() == pytest.approx(truth, abs=4 * differences.std() / 1000)


SETS = 1000
BOUND = stats.binom.ppf([0.001, 0.999], SETS, [0.94, 0.05]) / SETS
"""Coverage of a design that reaches 94 %, a rate of 5 %: what 1,000 data sets may show of them."""


@pytest.mark.slow
@pytest.mark.parametrize("groups", simulation.SIZES)
@pytest.mark.parametrize("design", [*simulation.MEANS, *simulation.POOLED])
def test_the_interval_covers(design, groups):
    found = simulation.covered(design, groups, SETS)
    if groups >= simulation.SKEWED.get(design, 0):
        assert found >= BOUND[0]


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "seeds", "folds"), [(20, 3, 1), (20, 5, 1), (18, 3, 3), (40, 2, 1)])
@pytest.mark.parametrize("between", [0.0, 0.5, 2.0])
def test_where_networks_vary_the_test_keeps_its_level(groups, seeds, folds, between):
    assert simulation.with_seeds(groups, seeds, folds, between, sets=SETS) <= (0.085 if seeds == 2 else BOUND[1])


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "seeds", "folds"), simulation.TUNED)
@pytest.mark.parametrize("choices", [0.0, 0.5, 1.0])
def test_where_folds_are_tuned_the_test_keeps_its_level(groups, seeds, folds, choices):
    assert simulation.with_seeds(groups, seeds, folds, 0.5, choices, SETS) <= BOUND[1]


@pytest.mark.slow
@pytest.mark.parametrize("classes", [3, 11])
def test_a_page_without_differences_has_no_sentence_on_one(classes):
    assert simulation.false_sentences(classes, sets=500) <= stats.binom.ppf(0.999, 500, 0.05) / 500


@pytest.mark.slow
@pytest.mark.parametrize("groups", simulation.SIZES)
@pytest.mark.parametrize("design", ["normal", "t with 3 degrees of freedom", "DSC near 1, equal"])
def test_what_differs_is_seldom_called_equivalent(design, groups):
    assert simulation.false_equivalence(design, groups, SETS) <= stats.binom.ppf(0.999, SETS, 0.025) / SETS


def test_the_mean_score_of_counts_by_hand():
    counts = np.array([[[3, 1, 2], [0, 0, 0], [1, 0, 1]], [[0, 0, 0]] * 3], dtype=float)
    for score, wanted in (("DSC", (6 / 9 + 2 / 3) / 2), ("IoU", (3 / 6 + 1 / 2) / 2), ("recall", (3 / 5 + 1 / 2) / 2)):
        np.testing.assert_allclose(compare.mean_score(counts, score), [wanted, np.nan])
        np.testing.assert_allclose(compare.mean_score(counts[:, None], score), [[wanted], [np.nan]])
    np.testing.assert_allclose(compare.mean_score(counts[:, :1], "IoU"), [1 / 2, np.nan])  # of one class alone


def test_a_group_in_which_one_method_alone_counts_is_compared():
    """Group 1 holds nothing but what the second method invents; group 2 is a tie."""
    a, b = (
        np.array([[[8, 1, 1]], [[0, 0, 0]], [[5, 1, 1]], [[6, 0, 0]]]),
        np.array([[[6, 2, 3]], [[0, 4, 0]], [[5, 1, 1]], [[5, 1, 1]]]),
    )
    found = compare.pooled(a, b, names=list("wxyz"))
    assert len(found.names) == 4
    assert (found.wins, found.ties, found.losses) == (2, 1, 0)  # one method has no score of its own in group 1
    assert found.mean_b == pytest.approx(16 / (16 + 8 + 5))
