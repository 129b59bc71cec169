"""Each header of a DICOM data set is parsed once: by listing, by reading, by the inputs of predict."""

import os
from collections import Counter

import numpy as np
import pytest

import datasets.dicom_index
from datasets import DataError, Trus
from datasets.dicom_index import Index
from datasets.phantom_dicom import write_mr_series
from engine.scoring.prediction import inputs
from segloss_tests.dicoms import dataset, pixels, save

SLICES = 20


@pytest.fixture
def parsed(monkeypatch):
    """How often the header of each file is parsed."""
    counts, load = Counter(), datasets.dicom_index.load

    def counting(path, pixels):
        counts[path] += 1
        return load(path, pixels)

    monkeypatch.setattr("datasets.dicom_index.load", counting)
    return counts


@pytest.fixture
def patient(tmp_path):
    """A folder with a series of 20 files and its SEG."""
    folder = tmp_path / "data/Patient00"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    array = rng.integers(0, 500, (SLICES, 16, 16)).astype(np.int16)
    write_mr_series(array, (array > 250).astype(np.uint8), (1.0, 1.0, 3.0), folder)
    return folder


def test_folders_are_listed_without_a_header(patient, parsed):
    assert len(Trus(str(patient.parent)).cases()) == 1
    assert not parsed


def test_a_case_is_read_with_one_parse_a_file(patient, parsed):
    adapter = Trus(str(patient.parent))
    case = adapter.cases()[0]
    decoded = adapter.read(case)
    assert decoded.mask.shape == (SLICES, 16, 16)
    assert set(parsed) == {path for path in patient.iterdir() if path.is_file()}
    assert set(parsed.values()) == {1}
    adapter.sources(case)
    adapter.read(case)
    assert parsed.total() == SLICES + 1


def test_the_inputs_of_predict_are_listed_and_read_with_one_parse_a_file(patient, parsed, tmp_path):
    adapter = Trus(str(patient.parent))
    found = inputs([patient.parent], adapter, tmp_path / "out")
    assert [(one.path, one.name, one.suffix) for one in found] == [(patient, "Patient00", ".dcm")]
    assert set(parsed.values()) == {1}
    adapter.read_image(patient)
    assert parsed.total() == SLICES + 1


def test_multi_frame_files_are_listed_with_one_parse_a_file(tmp_path, parsed):
    for index in range(3):
        save(dataset(pixels(), series=f"1.2.{index}"), tmp_path / f"in/p{index}.dcm")
    adapter = Trus(str(tmp_path / "in"), "{name}.dcm", "{name}.nii")
    assert len(inputs([tmp_path / "in"], adapter, tmp_path / "out")) == 3
    assert set(parsed.values()) == {1}


def test_a_file_that_has_changed_is_read_again(tmp_path, parsed):
    path = save(dataset(pixels((6, 8)), SeriesDescription="first"), tmp_path / "a.dcm")
    index = Index()
    assert "first" in index.header(path).frames[0].described
    save(dataset(pixels((6, 8)), SeriesDescription="second time"), path)
    assert "second time" in index.header(path).frames[0].described
    os.utime(path, ns=(1, 1))
    index.header(path)
    assert parsed[path] == 3


def test_what_is_remembered_is_bounded(tmp_path, parsed, monkeypatch):
    monkeypatch.setattr("datasets.dicom_index.MOST_FRAMES", 2)
    paths = [save(dataset(pixels((6, 8))), tmp_path / f"{index}.dcm") for index in range(8)]
    index = Index()
    for path in paths:
        assert index.header(path).count == 1
    index.header(paths[-1])
    assert parsed[paths[-1]] == 1
    index.header(paths[0])
    assert parsed[paths[0]] == 2


def test_frames_that_cannot_be_read_stop_their_reader_alone(tmp_path):
    broken = dataset(pixels((6, 8)), PixelSpacing=[1, 1])
    broken.ImagePositionPatient = [1, 2]  # two of three
    path = save(broken, tmp_path / "a.dcm")
    header = Index().header(path)
    assert header.is_image
    with pytest.raises(DataError, match=r"a\.dcm: ImagePositionPatient"):
        _ = header.frames
