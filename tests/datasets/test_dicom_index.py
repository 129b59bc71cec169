"""Each header of a DICOM data set is parsed once: by listing, by reading, by the inputs of predict."""

import os
from collections import Counter

import numpy as np
import pydicom
import pytest

import datasets.dicom_index
from datasets import DataError, Trus, read_volume
from datasets.dicom_index import KEPT, Index
from datasets.phantom_dicom import write_mr_series
from engine.scoring.prediction import inputs
from segloss_tests.dicoms import dataset, enhanced, pixels, place, save

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


# Kept for the next command


def test_kept_headers_are_not_read_again_and_say_the_same(patient, parsed, tmp_path):
    kept = tmp_path / "cache"
    first = {header.path: header for header in Index(["SeriesNumber"], kept).headers(patient)}
    assert parsed.total() == SLICES + 1
    again = {header.path: header for header in Index(["SeriesNumber"], kept).headers(patient)}
    assert again == first
    assert parsed.total() == SLICES + 1
    adapter = Trus(str(patient.parent))
    adapter.keep_headers(kept)
    adapter.read(adapter.cases()[0])
    assert parsed.total() == SLICES + 1


def test_a_multi_frame_object_is_kept_frame_by_frame(tmp_path):
    array = pixels((5, 6, 8))
    data = enhanced(array, positions=[4, 1, 0, 2, 3], slopes=[1.0, 2.0, 0.5, 1.0, 3.0], stacks=["A"] * 5)
    path = save(data, tmp_path / "e.dcm")
    (first, again) = (Index((), tmp_path / "cache").header(path) for _ in range(2))
    assert len(first.frames) == 5
    assert again == first
    assert len({frame.position for frame in again.frames}) == 5


def test_what_is_kept_follows_the_files(patient, parsed, tmp_path):
    kept = tmp_path / "cache"
    [*Index((), kept).headers(patient)]
    changed, gone, *_ = sorted(path for path in patient.iterdir() if path.name.startswith("IM"))
    data = pydicom.dcmread(changed)
    data.SeriesDescription = "another, and longer"
    data.save_as(changed)
    gone.unlink()
    parsed.clear()
    found = [*Index((), kept).headers(patient)]
    assert parsed == {changed: 1}
    assert len(found) == SLICES
    assert [header.path for header in found if header.frames and "another" in header.frames[0].described] == [changed]
    parsed.clear()
    [*Index(["ProtocolName"], kept).headers(patient)]  # which no line has
    assert parsed.total() == SLICES
    parsed.clear()
    [*Index((), kept).headers(patient)]
    assert not parsed


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda text: b"\xff\0" * 99 + b"\n[1]\t{}"])
def test_damaged_lines_are_passed_over(patient, parsed, tmp_path, damage):
    kept = tmp_path / "cache"
    first = [*Index((), kept).headers(patient)]
    (kept / KEPT).write_bytes(damage((kept / KEPT).read_bytes()))
    assert [*Index((), kept).headers(patient)] == first
    parsed.clear()
    assert [*Index((), kept).headers(patient)] == first
    assert not parsed


def test_nothing_of_the_patient_is_kept(patient, tmp_path):
    data = pydicom.dcmread(patient / "IM0000")
    data.PatientName, data.PatientID, data.PatientBirthDate = "Doe^Jane", "4711-0815", "19450607"
    data.save_as(patient / "IM0000")
    [*Index(["SeriesDescription"], tmp_path / "cache").headers(patient)]
    text = (tmp_path / "cache" / KEPT).read_text()
    assert "t2_tse_tra" in text
    for secret in ("Doe", "4711-0815", "19450607"):
        assert secret not in text


def test_a_folder_that_cannot_be_written_keeps_nothing(patient, tmp_path):
    (tmp_path / "file").write_text("")
    assert len([*Index((), tmp_path / "file/cache").headers(patient)]) == SLICES + 1


# Pixels where they lie


@pytest.mark.parametrize("syntax", ["ImplicitVRLittleEndian", "ExplicitVRLittleEndian"])
@pytest.mark.parametrize(("dtype", "used"), [("u1", 8), ("i1", 8), ("u1", 5), ("u2", 12), ("i2", 12), ("i2", 16)])
def test_plain_pixels_are_what_pydicom_decodes(tmp_path, syntax, dtype, used):
    random = np.random.default_rng(0).integers(0, 256, 7 * 9 * np.dtype(dtype).itemsize, dtype=np.uint8)
    plane = random.view(dtype).reshape(7, 9)  # with rubbish in the unused bits
    bits = {"BitsStored": used, "HighBit": used - 1}
    path = save(dataset(plane, syntax=getattr(pydicom.uid, syntax), **place(0), **bits), tmp_path / "a.dcm")
    (frame,) = Index().header(path).frames
    expected = pydicom.dcmread(path).pixel_array
    assert frame.plain is not None
    found = read_volume(path).array[0]
    assert np.array_equal(found, expected)
    assert found.dtype == expected.dtype.newbyteorder("=")


def test_pixels_that_need_more_than_reading_are_left_to_the_decoder(tmp_path):
    plane = pixels((6, 8), np.uint16)
    for changed in (
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"syntax": pydicom.uid.ExplicitVRBigEndian},
        {"syntax": pydicom.uid.DeflatedExplicitVRLittleEndian},
        {"Rows": 7},
        {"HighBit": 14},
    ):
        path = save(dataset(plane, **{**place(0), **changed}), tmp_path / "a.dcm")
        assert Index().header(path).frames[0].plain is None, changed


def test_a_file_that_is_cut_after_its_header_was_kept_is_refused(patient, tmp_path):
    adapter = Trus(str(patient.parent))
    adapter.keep_headers(tmp_path / "cache")
    series = adapter.read_image(patient).series
    path = series.files[3]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 100)
    with pytest.raises(DataError, match=f"{path.name}: .*cut short"):
        adapter.read_image(patient)
    with pytest.raises(DataError, match=f"{path.name}: .* has it just changed"):
        datasets.dicom.read(series, "grey")
