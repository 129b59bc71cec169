"""TIFF files of several pages: smaller copies of the first are passed over and that is said, others are refused."""

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from datasets import DataError, Folder
from datasets.still import read_image
from segloss_tests.stills import save
from segloss_tests.tiffs import write_tiff

RNG = np.random.default_rng(0)
LARGE = RNG.integers(0, 256, (13, 16, 3)).astype(np.uint8)


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_first_page_of_a_pyramid_is_read(tmp_path, bands, dtype):
    large = LARGE[..., :bands].astype(dtype) * (257 if dtype == np.uint16 else 1)
    path = write_tiff(tmp_path / "a.tif", [large, large[::2, ::2], large[::4, ::4]])
    assert np.array_equal(read_image(path, bands)[0], large)


def flagged(path, size, subfile):
    """A page of any size, marked by the subfile type."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = subfile
    small = Image.new("RGB", size)
    small.encoderinfo = {"tiffinfo": tags}
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(LARGE).save(path, save_all=True, append_images=[small])
    return path


def test_a_copy_of_any_size_is_one_where_it_says_so(tmp_path):
    assert np.array_equal(read_image(flagged(tmp_path / "a.tif", (5, 5), 1), 3)[0], LARGE)
    for size, subfile in (((5, 5), 0), ((16, 13), 1), ((20, 20), 1), ((8, 5), 0)):
        with pytest.raises(DataError, match="holds 2 pictures; expected one a file"):
            read_image(flagged(tmp_path / "b.tif", size, subfile), 3)


def test_it_is_said_of_the_image(tmp_path):
    flagged(tmp_path / "images/a.tif", (5, 5), 1)
    save(tmp_path / "masks/a.png", np.eye(13, 16, dtype=np.uint8))
    adapter = Folder(str(tmp_path), {"background": 0, "line": 1})
    (remark,) = adapter.read(adapter.cases()[0]).remarks
    assert remark.what == "pyramid TIFF(s) read from their first page"
