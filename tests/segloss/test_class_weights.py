import math
import warnings

import pytest
import torch

from segloss import ClassCounts, ClassWeightWarning, build_loss
from segloss.class_weights import resolve_class_weights


def weights(spec, counts, **fields):
    return resolve_class_weights(spec, ClassCounts(counts, **fields), len(counts)).tolist()


def test_inverse_frequency_by_hand():
    assert weights("inverse_frequency", [60, 30, 10]) == pytest.approx([1 / 9, 2 / 9, 6 / 9])


def test_inverse_sqrt_sums_to_the_number_of_classes():
    assert weights("inverse_sqrt", [100, 25, 4]) == pytest.approx([3 * 0.1 / 0.8, 3 * 0.2 / 0.8, 3 * 0.5 / 0.8])


def test_median_frequency_divides_by_the_images_that_hold_the_class():
    found = weights("median_frequency", [60, 30, 10], pixels_of_images=[100, 50, 20])
    assert found == pytest.approx([0.6 / 0.6, 0.6 / 0.6, 0.6 / 0.5])


def test_enet_by_hand():
    assert weights("enet", [90, 10]) == pytest.approx([1 / math.log(1.92), 1 / math.log(1.12)])


def test_effective_number_by_hand():
    one, other = (1 - 0.9) / (1 - 0.9**2), (1 - 0.9) / (1 - 0.9**5)
    found = weights({"name": "effective_number", "beta": 0.9, "unit": "image"}, [1, 1], images=[2, 5])
    assert found == pytest.approx([2 * one / (one + other), 2 * other / (one + other)])


def test_effective_number_warns_when_it_weighs_nothing():
    with pytest.warns(ClassWeightWarning, match="saturated.*3 classes") as caught:
        found = weights("effective_number", [1e9, 1e7, 1e5, 1e3])
    assert found == pytest.approx([0.296, 0.296, 0.296, 3.11], abs=2e-3)
    better = float(str(caught[0].message).split("beta=")[2].split(" ")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mistake_masks = weights({"name": "effective_number", "beta": better}, [1e9, 1e7, 1e5, 1e3])
    assert mistake_masks[0] < mistake_masks[1] < mistake_masks[2] < mistake_masks[3]


@pytest.mark.parametrize("counts", [[1e6, 1e6], [1.0, 1.0], [5.0, 1e9]])
def test_effective_number_is_silent_where_no_weights_are_lost(counts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights("effective_number", counts)


def test_a_better_beta_is_one_that_is_allowed():
    with pytest.warns(ClassWeightWarning, match="saturated") as caught:
        weights({"name": "effective_number", "unit": "image"}, [1, 1], images=[1e17, 1e16])
    assert "unit: image" not in str(caught[0].message)
    assert float(str(caught[0].message).split("beta=")[2].split(" ")[0]) < 1


def test_median_frequency_takes_shares():
    assert weights("median_frequency", [0.3, 0.1], pixels_of_images=[0.5, 0.2]) == pytest.approx([0.55 / 0.6, 1.1])


@pytest.mark.parametrize(
    "scheme", ["inverse_frequency", "inverse_sqrt", "enet", "effective_number", "median_frequency"]
)
def test_a_class_without_pixels_weighs_nothing_and_is_named(scheme):
    with pytest.warns(ClassWeightWarning, match=r"class\(es\) 1 have zero count"):
        found = weights(scheme, [50, 0, 10], pixels_of_images=[60, 0, 60])
    assert found[1] == 0
    assert found[0] > 0
    assert found[2] > found[0] or scheme == "effective_number"


@pytest.mark.parametrize(
    ("spec", "counts", "message"),
    [
        ("inverse", [1, 2], "did you mean 'inverse_sqrt'"),
        ({"name": "effective_number", "betta": 0.9}, [1, 2], "did you mean 'beta'"),
        ({"name": "effective_number", "beta": 1.0}, [1, 2], r"beta must be in \[0, 1\)"),
        ({"name": "effective_number", "unit": "image"}, [1, 2], "class_counts.images"),
        ("inverse_frequency", [1, -2], "not negative, got -2"),
        ("inverse_frequency", [0, 0], "all zero"),
        ([1.0, -1.0], [1, 2], "not negative"),
        ([1.0], [1, 2], r"one weight a class \(2\)"),
    ],
)
def test_bad_weights_are_named(spec, counts, message):
    with pytest.raises(ValueError, match=message):
        weights(spec, counts)


def test_wce_without_counts_says_how_to_get_them():
    with pytest.raises(ValueError, match=r"class_counts=.*training images"):
        build_loss("wce", num_classes=2)


def test_weights_are_buffers_that_move_with_the_loss():
    loss = build_loss("wce", num_classes=2, class_counts=torch.tensor([3, 1]))
    assert loss.double().class_weights.dtype == torch.float64
    assert "class_weights" in dict(loss.named_buffers())
