"""A prediction never becomes a reference; what is passed over is said once."""

import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets.dicom_seg_write import write_seg
from datasets.dicom_series import find_series
from datasets.written import PREDICTS, note
from segloss_tests.dicoms import write_series

SIZE = (4, 6, 8)


def seg(folder, name, is_reference):
    mask = np.zeros(SIZE, np.uint8)
    mask[1:3, 2:4, 2:5] = 1
    series = find_series(folder, None, None, None)
    write_seg(mask, series, {1: "gland"}, folder / name, is_reference=is_reference)


@pytest.fixture
def patients(tmp_path):
    """Two patients with a drawn mask and a predicted one."""
    for name in "ab":
        write_series(tmp_path / "data" / name, series=f"1.2.3.{ord(name)}")
        seg(tmp_path / "data" / name, "drawn.dcm", is_reference=True)
        seg(tmp_path / "data" / name, "ours.dcm", is_reference=False)
    return tmp_path / "data"


def test_a_predicted_seg_beside_a_drawn_one_is_passed_over_and_named(patients):
    adapter = datasets.Dicom(str(patients), labels={"background": 0, "gland": 1})
    with datasets.noted() as lines:
        masks = [adapter.read(case).mask for case in adapter.cases()]
    assert [mask.sum() for mask in masks] == [12, 12]
    (line,) = lines
    assert line.startswith("2 SEG that this program predicted are no references: ")
    assert str(patients / "a/ours.dcm") in line


@pytest.mark.parametrize("masks", [None, "{name}/ours.dcm"])
def test_a_predicted_seg_alone_is_refused(patients, masks):
    for path in patients.glob("*/drawn.dcm"):
        path.unlink()
    images = "{name}"
    adapter = datasets.Dicom(str(patients), images, masks, labels={"background": 0, "gland": 1})
    with pytest.raises(datasets.DataError, match=r"ours\.dcm.* predicted by this program, so no references; move"):
        [adapter.read(case) for case in adapter.cases()]


def test_masks_that_predict_wrote_into_the_data_set_are_refused_until_they_are_corrected(tmp_path):
    root = tmp_path / "data"
    for folder, colour in (("images", (3, 3, 3)), ("masks", 1)):
        (root / folder).mkdir(parents=True)
        for name in "abcde":
            Image.new("RGB" if folder == "images" else "L", (4, 4), colour).save(root / folder / f"{name}.png")
    note(root, PREDICTS, [f"masks/{name}.png" for name in "bcde"], finished=True)
    Image.new("L", (4, 4), 0).save(root / "masks/e.png")  # corrected by hand
    adapter = datasets.Folder(str(root), {"background": 0, "lesion": 1})
    with pytest.raises(datasets.DataError, match=r"masks/b\.png, .*c\.png, .*d\.png: 3 predicted by this program"):
        datasets.list_cases(adapter, None)
    shutil.move(root, tmp_path / "moved")
    with pytest.raises(datasets.DataError, match="3 predicted"):
        datasets.list_cases(datasets.Folder(str(tmp_path / "moved"), {"background": 0, "lesion": 1}), None)
    for name in "bcd":
        (tmp_path / f"moved/masks/{name}.png").unlink()
        (tmp_path / f"moved/images/{name}.png").unlink()
    assert len(datasets.list_cases(datasets.Folder(str(tmp_path / "moved"), {"background": 0, "lesion": 1}), None)) == 2


def test_notes_of_a_kind_are_one_line_and_other_warnings_go_on():
    def read():
        with datasets.noted() as lines:
            for name in "abcda":
                warnings.warn(datasets.Note("files are left out", name, "see data.exclude"), stacklevel=1)
            warnings.warn("other", RuntimeWarning, stacklevel=1)
        return lines

    with pytest.warns(RuntimeWarning, match="other"):
        lines = read()
    assert lines == ["4 files are left out: a, b, c, …; see data.exclude"]
