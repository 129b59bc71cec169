"""A random-effects estimate against numbers worked by hand and another way of working them out."""

import numpy as np
import pytest
from scipy import optimize, stats

from segloss import compare


def test_two_data_sets_by_hand():
    """d 0.00 and 0.04, s 0.01 each: w = 10,000; Q = 2·10,000·0.02² = 8; τ² = (8 − 1)/(20,000 − 10,000) = 0.0007."""
    found = compare.random_effects([0.0, 0.04], [0.01, 0.01])
    assert found.q == pytest.approx(8)
    assert found.tau == pytest.approx(0.0007**0.5)
    assert found.i_squared == pytest.approx(1 - 1 / 8)
    assert found.mean == pytest.approx(0.02)
    # each weighs 1/(0.0001 + 0.0007) = 1,250; the scale is 2·1,250·0.02² = 1; the error sqrt(1/2,500) = 0.02
    assert found.high - found.mean == pytest.approx(12.7062 * 0.02, rel=1e-4)
    assert found.p_value == pytest.approx(0.5)  # t of 1 with one degree of freedom
    assert found.p_equal == pytest.approx(stats.chi2.sf(8, 1))
    assert found.prediction is None
    of_five = compare.random_effects([0.0, 0.04], [0.01, 0.01], comparisons=5)
    assert of_five.high - of_five.mean == pytest.approx(63.6567 * 0.02, rel=1e-4)  # t at 0.5 %, one degree of freedom
    assert of_five.p_value == 1


def test_unequal_errors_by_hand():
    """w = 4, 1, 1; Σw = 6, Σwd/Σw = 1, Q = 4·1 + 1·1 + 1·9 = 14; τ² = (14 − 2)/(6 − 18/6) = 4."""
    found = compare.random_effects([0.0, 2.0, 4.0], [0.5, 1.0, 1.0])
    assert found.q == pytest.approx(14)
    assert found.tau == pytest.approx(2)
    weights = np.array([1 / 4.25, 1 / 5, 1 / 5])
    assert found.weights == pytest.approx(weights / weights.sum())
    assert found.mean == pytest.approx(6 / 5 / weights.sum())
    reach = stats.t.isf(0.025, 1) * np.sqrt(4 + 1 / weights.sum())  # its scale is below 1, so 1 counts
    assert found.prediction == pytest.approx((found.mean - reach, found.mean + reach))


def test_data_sets_that_scatter_more_than_their_weights_say_by_hand():
    """w = 4, 1, 1; mean 2, Q = 8, τ² = (8 − 2)/3 = 2; weights 4/9, 1/3, 1/3; scale (4/3 + 4/3)/2 above 1."""
    found = compare.random_effects([2.0, 0.0, 4.0], [0.5, 1.0, 1.0])
    assert (found.mean, found.tau) == pytest.approx((2, 2**0.5))
    assert found.high - found.mean == pytest.approx(4.30265 * (4 / 3 / (10 / 9)) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_between_is_where_q_is_what_is_expected(seed):
    """τ² is what makes Cochran's Q its own expectation: found by a root in place of a formula."""
    rng = np.random.default_rng(seed)
    d, s = rng.normal(0, 0.05, 7), rng.uniform(0.005, 0.02, 7)
    w = 1 / s**2
    q = (w * (d - (w * d).sum() / w.sum()) ** 2).sum()

    def expected(variance):
        covariance = np.diag(s**2 + variance)
        projection = np.eye(7) - np.outer(np.ones(7), w / w.sum())
        return np.trace(np.diag(w) @ projection @ covariance @ projection.T)

    found = compare.random_effects(d, s)
    assert found.tau**2 == pytest.approx(optimize.brentq(lambda v: expected(v) - q, 0, 1), rel=1e-6)
    assert (found.low > 0 or found.high < 0) == (found.p_value < 0.05)


def test_data_sets_that_agree_weigh_by_their_errors():
    found = compare.random_effects([0.02, 0.021, 0.0205], [0.01, 0.02, 0.01])
    assert (found.tau, found.i_squared) == (0, 0)
    assert found.weights == pytest.approx(np.array([4, 1, 4]) / 9)
    assert found.mean - found.low == pytest.approx(stats.t.isf(0.025, 2) * (1 / 22_500) ** 0.5)
    same = compare.random_effects([0.5, 0.5], [0.25, 0.25])
    assert (same.q, same.tau, same.i_squared, same.p_equal) == (0, 0, 0, 1)


def test_the_interval_covers_the_mean_of_data_sets():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        s = rng.uniform(0.005, 0.02, 5)
        d = rng.normal(0.01, np.sqrt(0.02**2 + s**2))
        found = compare.random_effects(d, s)
        hits += found.low <= 0.01 <= found.high
    assert hits / 400 == pytest.approx(0.95, abs=0.033)  # three standard errors


def test_the_error_of_a_comparison_is_that_of_its_groups_and_seeds():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.8, 0.05, (2, 20, 1))
    found = compare.paired(a, b)
    assert found.error == pytest.approx(stats.sem((a - b).ravel()))
    seeds = rng.normal(0, 0.05, 4)
    several = compare.paired(rng.normal(0, 0.01, (20, 4)) + seeds, np.zeros((20, 4)))
    assert several.error == pytest.approx((several.spread**2 / 20 + several.networks.variance) ** 0.5)
    assert several.error > stats.sem(several.values)


@pytest.mark.parametrize(
    ("d", "s", "message"),
    [
        ([0.1], [0.1], "two data sets or more"),
        ([0.1, 0.2], [0.1, 0.0], "errors above 0"),
        ([np.nan, 1], [1, 1], "finite"),
    ],
)
def test_bad_arguments(d, s, message):
    with pytest.raises(ValueError, match=message):
        compare.random_effects(d, s)
