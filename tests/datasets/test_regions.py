"""Regions, unions of classes: their targets, and the classes that their logits make, by hand."""

import itertools

import pytest
import torch

from datasets import Regions

NESTED = Regions({"whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}, 4)
CROSSED = Regions({"a": [1, 2], "b": [2, 3]}, 4)


def painted(inside):
    """nnU-Net's `regions_class_order: [1, 2, 3]`: what is painted later stands."""
    label = 0
    for value, there in enumerate(inside, start=1):
        label = value if there else label
    return label


def logits_of(inside):
    return torch.tensor(inside).float().mul(2).sub(1).view(1, -1, 1)


@pytest.mark.parametrize("inside", list(itertools.product([False, True], repeat=3)))
def test_nested_regions_are_painted_one_over_the_other(inside):
    assert NESTED.labels(logits_of(inside)).item() == painted(inside)


def test_a_pixel_gets_the_class_that_is_in_just_its_regions():
    for inside, label in {(0, 0): 0, (1, 0): 1, (1, 1): 2, (0, 1): 3}.items():
        assert CROSSED.labels(logits_of(inside)).item() == label
    probable = torch.tensor([[[0.0], [1e-6]]])  # 0.5 is not above 0.5
    assert CROSSED.labels(probable).item() == 3


def test_targets_are_the_unions_and_ignored_pixels_are_in_none():
    mask = torch.tensor([[0, 1, 2, 3, 255]])
    assert NESTED.targets(mask).int().tolist() == [[[0, 1, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]]]
    assert CROSSED.counts(torch.tensor([[9.0, 1, 2, 4]])).tolist() == [[3, 6]]


def test_labels_of_targets_are_the_labels():
    mask = torch.randint(0, 4, (2, 5, 5))
    assert NESTED.labels(NESTED.targets(mask).float() - 0.5).equal(mask)


def test_what_is_no_region():
    for says, regions in {
        r"1 region\(s\); from 2 to 16": {"a": [1]},
        "b has no class": {"a": [1], "b": []},
        "b has the classes of a; leave one": {"a": [1, 2], "b": [2, 1]},
        "every class is in a region": {"a": [0, 1], "b": [2]},
    }.items():
        with pytest.raises(ValueError, match=says):
            Regions(regions, 3)
