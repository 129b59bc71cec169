"""Which files are masks, by their pixels."""

import numpy as np
import pytest

from engine.recipe.pairs import looks_like_masks
from segloss_tests.tiffs import write_tiff

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float16, np.float64])
def test_masks_of_numbers_that_pillow_does_not_read(tmp_path, dtype):
    mask, noise = np.zeros((20, 30)), RNG.integers(0, 120, (20, 30))
    mask[5:12, 8:20] = 1
    assert looks_like_masks([write_tiff(tmp_path / "mask.tif", [mask.astype(dtype)])])
    assert not looks_like_masks([write_tiff(tmp_path / "image.tif", [noise.astype(dtype)])])


def test_an_image_of_many_bands_is_no_mask(tmp_path):
    image = RNG.integers(0, 60000, (20, 30, 5)).astype(np.uint16)
    assert not looks_like_masks([write_tiff(tmp_path / "a.tif", [image], tile=(16, 16))])
