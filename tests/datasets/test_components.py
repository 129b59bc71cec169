"""Connected parts of masks, drawn by hand."""

import numpy as np
import pytest

from datasets.components import largest_component


def drawn(*voxels):
    mask = np.zeros((3, 6, 8), bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


@pytest.mark.parametrize(
    ("parts", "kept"),
    [
        ([], []),
        ([(0, 0, 0)], [(0, 0, 0)]),
        ([(0, 0, 0), (0, 0, 1), (0, 4, 4)], [(0, 0, 0), (0, 0, 1)]),
        ([(0, 0, 0), (1, 1, 1), (0, 4, 4)], [(0, 0, 0), (1, 1, 1)]),  # by a corner, from slice to slice
        ([(0, 2, 2), (0, 3, 3), (0, 0, 0)], [(0, 2, 2), (0, 3, 3)]),
        ([(0, 0, 0), (2, 0, 0), (2, 0, 1)], [(2, 0, 0), (2, 0, 1)]),  # an empty slice between
        ([(0, 0, 0), (0, 5, 7)], [(0, 0, 0)]),  # of equal ones the first
    ],
)
def test_the_largest_part(parts, kept):
    assert np.array_equal(largest_component(drawn(*parts)), drawn(*kept))
