"""The picture of effective numbers against sums of powers, and the weights that it is given."""

import numpy as np
import pytest

from engine.pictures.effective import effective_number, effective_picture


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.9999])
def test_the_effective_number_is_the_sum_of_powers(beta):
    """(1 − βⁿ) / (1 − β) = 1 + β + … + βⁿ⁻¹."""
    counts = np.array([1, 2, 17, 3000])
    sums = [np.sum(beta ** np.arange(count, dtype=np.float64)) for count in counts]
    np.testing.assert_allclose(effective_number(counts.astype(np.float64), beta), sums, rtol=1e-12)


def test_the_classes_lie_on_the_curves_and_an_absent_one_nowhere():
    images, classes = [900, 0, 30, 200], ["common", "absent", "rare", "between"]
    weights = {0.9: [1.0, 0.0, 1.1, 0.9], 0.999: [0.2, 0.0, 2.0, 0.8]}
    figure = effective_picture(images, classes, weights)
    left, right, *_ = figure.axes
    dots = [line for line in left.lines if line.get_marker() == "."]
    assert [line.get_xdata().tolist() for line in dots] == [[30, 200, 900]] * 2
    np.testing.assert_allclose(dots[0].get_ydata(), [9.5761, 10, 10], atol=1e-4)  # 10 (1 − 0.9³⁰)
    drawn = [line.get_ydata().tolist() for line in right.lines if line.get_marker() == "."]
    assert drawn == [[1.1, 0.9, 1.0], [2.0, 0.8, 0.2]]
    assert {text.get_text() for text in right.texts} == {"rare", "common"}
