"""The figures of a fingerprint, on volumes drawn by hand."""

import numpy as np
import pytest

from datasets import NiftiFolder, Promise12, Volume, write_volume
from engine.recipe.fingerprint import measured


def drawn(*parts):
    mask = np.zeros((4, 16, 16), np.uint8)
    for at, rows, columns in parts:
        mask[at, rows, columns] = 1
    return mask


@pytest.mark.parametrize(
    ("parts", "share"),
    [
        # 12 voxels, 12 in the next slice that touch them by a corner, and 6 apart: 24 of 30
        ([(0, slice(2, 5), slice(2, 6)), (1, slice(5, 8), slice(6, 10)), (3, slice(12, 14), slice(10, 13))], 0.8),
        ([(0, slice(2, 5), slice(2, 6)), (1, slice(5, 8), slice(6, 10))], 1.0),
        ([(0, slice(2, 5), slice(2, 6)), (2, slice(2, 5), slice(2, 6))], 0.5),  # an empty slice between them
        ([], None),
    ],
)
def test_the_share_of_the_largest_part_in_3d(tmp_path, parts, share):
    whole = drawn((1, slice(4, 9), slice(4, 9)))
    for at, mask in enumerate((whole, drawn(*parts)) if parts else (drawn(), drawn())):
        image = np.random.default_rng(at).integers(0, 900, mask.shape).astype(np.int16)
        for name, array in (("", image), ("_segmentation", mask)):
            write_volume(Volume(array, np.diag([-1.0, -1.0, 3.0, 1.0])), tmp_path / f"Case0{at}{name}.mhd")
    adapter = Promise12(str(tmp_path))
    found = measured(adapter, adapter.cases())
    assert found.whole == (None if share is None else pytest.approx(share))
    assert found.holding == (0 if share is None else 2)


def test_how_many_cases_hold_the_rarest_class(tmp_path):
    """Four volumes, of which all hold the first class and one the second."""
    for number in range(4):
        mask = drawn((1, slice(4, 9), slice(4, 9)), *([(2, slice(11, 14), slice(11, 14))] if number == 2 else []))
        mask[2] *= 2
        image = np.random.default_rng(number).integers(0, 900, mask.shape).astype(np.int16)
        for folder, array in (("images", image), ("masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_volume(Volume(array, np.diag([-1.0, -1.0, 3.0, 1.0])), tmp_path / f"{folder}/p{number}.mha")
    labels = {"background": 0, "organ": 1, "lesion": 2}
    adapter = NiftiFolder(str(tmp_path), "images/{name}.mha", "masks/{name}.mha", labels)
    assert measured(adapter, adapter.cases()).holding == 1
