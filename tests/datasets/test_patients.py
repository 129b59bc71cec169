"""Scans of one patient in two groups: by the PatientID of DICOM, and by names."""

import json

import numpy as np
import pytest

from datasets import DataError, Dicom, Folder, FromFile, Volume, list_cases, noted, write_volume
from datasets.patients import beginning, dicom_patient, patients_of
from datasets.prepare import prepare
from segloss_tests.cases import cache
from segloss_tests.dicoms import write_series
from segloss_tests.stills import make_folder

LABELS = {"background": 0, "gland": 1}


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["p00_pre", "p00_post", "p01_pre", "p01_post"], "^[^_]+"),
        (["p00-a", "p00-b", "p01-a", "p01-b", "p02-a"], "^[^-]+"),
        (["p00pre", "p00post", "p01pre", "p01post"], r"^\D*\d+"),
        (["12/a", "12/b", "13/a", "13/b"], "^[^/]+"),
        (["Patient_01_t0", "Patient_01_t1", "Patient_02_t0", "Patient_02_t1"], "^[^_]+_[^_]+"),
        (["train/p00_pre", "train/p00_post", "test/p01_pre", "test/p01_post"], "^[^_]+"),
        ([f"seq{i}_{j:04d}" for i in range(2) for j in range(50)], "^[^_]+"),
        ([f"case{i}" for i in range(20)], None),
        ([f"ISIC_{i:07d}" for i in range(20)], None),
        ([f"BraTS2021_{i:05d}" for i in range(20)], None),
        ([f"{kind} ({i})" for kind in ("benign", "malignant") for i in range(9)], None),
        ([f"{kind}_{i}" for kind in ("benign", "malignant") for i in range(9)], None),
        (["3fa9", "3b12", "7c01", "7d22"], None),
        (["p00_pre", "p00_post", "p01", "p02", "p03", "p04", "p05"], None),
        (["p00_pre", "p00_post"], None),
        ([], None),
    ],
)
def test_names_that_begin_alike(names, pattern):
    assert beginning(names) == pattern


def test_it_is_noted_with_the_key_unless_the_groups_are_said(tmp_path):
    for index, name in enumerate(("p00_pre", "p00_post", "p01_pre", "p01_post")):
        make_folder(tmp_path / "made", count=4)
        for kind in ("images", "masks"):
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / f"made/{kind}/case{index}.png").rename(tmp_path / f"data/{kind}/{name}.png")
    adapter = Folder(str(tmp_path / "data"), {"background": 0, "organ": 1, "lesion": 2})
    with noted() as lines:
        list_cases(adapter, None)
    assert lines == [
        "4 case(s) have names that begin alike, as scans of one patient or frames of one sequence do: p00_post, "
        "p00_pre, p01_post, …; data.group: '^[^_]+' keeps those that belong together in one part"
    ]
    with noted() as lines:
        assert {case.group for case in list_cases(adapter, "^[^_]+")} == {"p00", "p01"}
        list_cases(adapter, "case")
    assert lines == []


def scans(root, patients):
    """A series a case, each of a patient, with a mask as NIfTI."""
    rng = np.random.default_rng(0)
    for number, (name, patient) in enumerate(patients.items()):
        array = rng.integers(0, 99, (3, 4, 5)).astype(np.uint16)
        write_series(root / "scans" / name, array, series=f"1.2.{number + 1}", PatientID=patient)
    return Dicom(str(root), "scans/{name}", "masks/{name}.nii.gz", labels=LABELS)


@pytest.fixture
def divided(tmp_path):
    """Four scans, two of them of one patient, in training and in test."""
    adapter = scans(tmp_path, {"p00_pre": "Doe^1", "p00_post": "Doe^1 ", "q": "Doe^2", "r": ""})
    for name in ("p00_pre", "p00_post", "q", "r"):
        mask = np.zeros((3, 4, 5), np.uint8)
        mask[1, 1] = 1
        volume = adapter.read_image(tmp_path / "scans" / name).source
        (tmp_path / "masks").mkdir(exist_ok=True)
        write_volume(Volume(mask, volume.affine), tmp_path / f"masks/{name}.nii.gz")
    (tmp_path / "split.json").write_text(json.dumps({"train": ["p00_pre", "q"], "test": ["p00_post", "r"]}))
    return adapter, cache(adapter, tmp_path / "cache"), FromFile(str(tmp_path / "split.json"))


def test_one_patient_in_two_parts_is_refused(divided):
    _, store, split = divided
    says = r"the cases 'p00_pre' \(train\) and 'p00_post' \(test\) have one PatientID; give them one group"
    with pytest.raises(DataError, match=says) as caught:
        prepare(store, split)
    assert "Doe" not in str(caught.value)
    prepare(store, split, group="case")


def test_digests_are_compared_and_a_placeholder_says_nothing(divided, tmp_path):
    adapter, _, _ = divided
    found = patients_of(adapter, adapter.cases())
    assert found.keys() == {"p00_pre", "p00_post", "q"}
    assert found["p00_pre"] == found["p00_post"] != found["q"]
    assert not any("Doe" in digest for digest in found.values())
    assert dicom_patient(tmp_path / "split.json") is None
    equal = scans(tmp_path / "equal", {"a": "ANON", "b": "ANON", "c": "ANON"})
    for name in "abc":
        (tmp_path / "equal/masks").mkdir(exist_ok=True)
        write_volume(Volume(np.zeros((3, 4, 5), np.uint8), np.eye(4)), tmp_path / f"equal/masks/{name}.nii.gz")
    with noted() as lines:
        assert patients_of(equal, equal.cases()) == {}
    assert lines == ["3 case(s) have one PatientID, which is taken for a placeholder: a, b, c; see data.group"]


def test_two_groups_of_one_patient_that_train_are_noted(divided, tmp_path):
    _, store, _ = divided
    (tmp_path / "split.json").write_text(json.dumps({"train": ["p00_pre", "p00_post", "q"], "test": ["r"]}))
    with noted() as lines:
        prepare(store, FromFile(str(tmp_path / "split.json")))
    (line,) = [line for line in lines if "PatientID" in line]
    assert line.startswith("2 group(s) in the train part have the PatientID of another one, ")
    assert "p00_pre, p00_post; " in line
    assert "data.group" in line
    assert "Doe" not in line
    for group in ("case", "^[^_]+"):
        with noted() as lines:
            prepare(store, FromFile(str(tmp_path / "split.json")), group=group)
        assert not any("PatientID" in line for line in lines)
