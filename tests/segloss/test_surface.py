"""Surface scores against every distance between every two border voxels, and what a network must beat."""

import dataclasses

import numpy as np
import pytest

from datasets import Phantom, Regions
from engine.scoring.baseline import floors
from engine.scoring.volumes import VolumeScores
from segloss.surface import surface_scores
from segloss_tests.cases import cache

SPACING = (3.0, 0.5, 0.75)


def border(mask):
    """Where a voxel of the mask has one of its six neighbours outside, in millimetres."""
    padded = np.pad(mask, 1)
    inside = np.ones_like(mask)
    for axis in range(3):
        for step in (-1, 1):
            inside &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return np.argwhere(mask & ~inside) * np.array(SPACING)


def slow(prediction, reference, tolerance):
    ours, theirs = border(prediction), border(reference)
    apart = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
    there, back = apart.min(1), apart.min(0)
    both = np.concatenate([there, back])
    return {
        "HD95": max(np.percentile(there, 95), np.percentile(back, 95)),
        "ASSD": both.mean(),
        "surface_DSC": (both <= tolerance).mean(),
    }


@pytest.mark.parametrize("seed", range(4))
def test_surfaces_agree_with_all_pairs_of_border_voxels(seed):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, (7, 18, 16)), indexing="ij"))
    masks = []
    for _ in range(2):
        middle, half = rng.uniform((2, 6, 5), (4, 11, 10)), rng.uniform((1.5, 3, 3), (3, 5, 5))
        masks.append((((grid - middle[:, None, None, None]) / half[:, None, None, None]) ** 2).sum(0) < 1)
    found = surface_scores(*masks, SPACING, tolerance=1.2)
    for name, value in slow(*masks, 1.2).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_two_voxels_by_hand():
    one, other = np.zeros((2, 8, 5, 5), bool)
    one[1, 2, 2] = other[4, 2, 2] = True  # three slices of 3 mm apart
    found = surface_scores(one, other, SPACING, tolerance=8.9)
    assert (found["HD95"], found["ASSD"], found["surface_DSC"]) == (9.0, 9.0, 0.0)
    assert surface_scores(one, other, SPACING, tolerance=9.0)["surface_DSC"] == 1.0


def test_empty_masks_by_the_rule():
    empty, some = np.zeros((2, 4, 6, 8), bool)
    some[1, 2, 3] = True
    assert surface_scores(empty, empty, SPACING) == {"HD95": None, "ASSD": None, "surface_DSC": None}
    for pair in ((empty, some), (some, empty)):
        assert surface_scores(*pair, SPACING) == {"HD95": None, "ASSD": None, "surface_DSC": 0.0}


@pytest.mark.parametrize(("spacing", "tolerance"), [((1, 1), 1), ((1, 0, 1), 1), ((1, 1, 1), 0)])
def test_what_is_no_length_is_refused(spacing, tolerance):
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(ValueError, match="positive millimetres"):
        surface_scores(mask, mask, spacing, tolerance)
    with pytest.raises(ValueError, match=r"two masks \(slices, rows, columns\)"):
        surface_scores(mask, mask[0], SPACING)


def test_volumes_in_millilitres_leave_ignored_voxels_out():
    reference = np.zeros((2, 10, 10), np.uint8)
    reference[0, :5] = 1
    reference[1] = 255
    labels = np.ones_like(reference)
    scores = VolumeScores(["background", "gland"], 0, 1.0)
    scores.add(labels, reference, (4.0, 5.0, 5.0), 0.1)
    assert scores.rows[0] == {}
    row = scores.rows[1]
    assert (row["volume_ml"], row["reference_ml"], row["volume_error_ml"]) == pytest.approx((10.0, 5.0, 5.0))
    assert row["relative_volume_error"] == pytest.approx(1.0)


def test_surfaces_and_volumes_of_regions_are_those_of_their_unions():
    reference = np.zeros((2, 10, 10), np.uint8)
    reference[0, :5, :2], reference[0, :5, 2:] = 1, 2
    labels = reference[:, ::-1].copy()
    regions = Regions({"whole": [1, 2], "core": [2]}, 3)
    scores = VolumeScores(regions.names, None, 1.0, regions)
    scores.add(labels, reference, (4.0, 5.0, 5.0), 0.1)
    assert [row["reference_ml"] for row in scores.rows] == pytest.approx([5.0, 4.0])
    alone = VolumeScores(["background", "whole"], 0, 1.0)
    alone.add((labels > 0).astype(np.uint8), (reference > 0).astype(np.uint8), (4.0, 5.0, 5.0), 0.1)
    assert scores.rows[0] == alone.rows[1]


def test_the_mean_mask_is_perfect_where_all_masks_are_equal_and_no_use_where_none_overlap(tmp_path):
    adapter = Phantom(str(tmp_path), patients=4)
    decoded = list(cache(adapter, tmp_path / "cache", (48, 48)).decode(adapter.cases()))
    reference = decoded[0].references() == 1

    def dsc(training):
        rule = floors(training, adapter.classes, 0, pooled=False)["mean_mask"]
        labels = rule.predict(decoded[0], decoded[0].original) == 1
        return 2 * (labels & reference).sum() / (labels.sum() + reference.sum())

    same = dsc([decoded[0]] * 2)
    assert same > 0.9  # but for the two resamplings
    first, *rest = decoded
    assert 0.3 < dsc(rest) < same
    unlabelled = dataclasses.replace(first, case=dataclasses.replace(first.case, labelled=frozenset()))
    assert dsc([unlabelled, *rest]) == dsc(rest)
    assert dsc([unlabelled]) == 0
