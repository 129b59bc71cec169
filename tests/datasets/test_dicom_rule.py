"""Series chosen by a rule over all patients: by any header, by orientation, the newest among equals."""

import numpy as np
import pytest
import yaml

from datasets import DataError, Dicom, Volume, read_volume, write_volume
from datasets.dicom_rule import SeriesRule
from datasets.dicom_series import find_series
from engine.configuration.build import build_adapter
from engine.configuration.checking import load_config
from engine.data_check.check import check_data
from engine.data_check.report import sections
from segloss_tests.dicoms import CORONAL, dataset, enhanced, item, pixels, place, save, write_series

RULE = {"SeriesDescription": "t2_tse_tra*", "orientation": "axial", "prefer": "latest"}
RUN = """\
name: rule
output: {root}/runs
data:
  name: dicom
  root: {root}/data
  series: {{SeriesDescription: 't2_tse_tra*', orientation: axial, prefer: latest}}
  masks: '{{name}}/m.nii'
  labels: {{background: 0, gland: 1}}
  size: [16, 16]
  split: {{kind: holdout, test: 1}}
model: {{name: unet, encoder: resnet18}}
loss: {{name: dice}}
optim: {{name: adam, lr: 1e-3}}
train: {{epochs: 1, batch_size: 4}}
"""


def patient(folder, *descriptions, first=0, **given):
    """A series a description, each a minute later than the one before, its intensities above 1000 times its number."""
    for at, described in enumerate(descriptions, start=first):
        array = pixels() + 1000 * at
        array[0, 0, 0] += folder.name.encode()[0]  # no two patients are equal
        when = {"SeriesDate": "20200101", "SeriesTime": f"12{at:02d}00", "SeriesNumber": at, **given}
        write_series(folder / f"{at}", array, series=f"{folder.name.encode()[0]}.2.{at}",
                     SeriesDescription=described, **when)  # fmt: skip


def number(path, rule):
    """Which of the series of `patient` is read."""
    return int(read_volume(path, series=rule).array.max()) // 1000


@pytest.fixture
def cohort(tmp_path):
    """Three patients: the series once, twice, and once beside a coronal one of the same name."""
    patient(tmp_path / "data/a", "localizer", "t2_tse_tra_p2", "adc")
    patient(tmp_path / "data/b", "t2_tse_tra", "adc", "t2_TSE_tra", "t2_tse_cor")
    patient(tmp_path / "data/c", "dwi", "t2_tse_tra")
    patient(tmp_path / "data/c", "t2_tse_tra_cor", first=2, axes=CORONAL)
    for name in "abc":
        rule = {"SeriesDescription": "t2_tse_tra*", "orientation": "axial", "prefer": "earliest"}
        scan = read_volume(tmp_path / "data" / name, series=rule)
        mask = np.zeros(scan.array.shape, np.uint8)
        mask[1:3, 2:4, 2:5] = 1
        write_volume(Volume(mask, scan.affine), tmp_path / "data" / name / "m.nii")
    return tmp_path


def test_one_rule_chooses_in_every_patient_and_check_lists_each_choice(cohort):
    assert [number(cohort / "data" / name, RULE) for name in "abc"] == [1, 2, 1]
    (cohort / "run.yaml").write_text(RUN.format(root=cohort))
    config = load_config(cohort / "run.yaml", [])
    found = check_data(config)
    assert found.problems == []
    made = sections(found, {}, None, None)
    (listed,) = [section for section in made if section.title == "Series chosen by data.series"]
    assert listed.rows == [
        ["a", "MR 't2_tse_tra_p2', number 1, 4 frames", ""],
        ["b", "MR 't2_TSE_tra', number 2, 4 frames", "MR 't2_tse_tra', number 0, 4 frames"],
        ["c", "MR 't2_tse_tra', number 1, 4 frames", ""],
    ]
    adapter = build_adapter(config.data)
    assert int(adapter.read_image(cohort / "data/b").array.max()) // 1000 == 2


def test_what_decides_among_equals(tmp_path):
    patient(tmp_path / "p", "t2", "t2", "t2")
    assert number(tmp_path / "p", {"SeriesDescription": "t2", "prefer": "earliest"}) == 0
    assert number(tmp_path / "p", {"prefer": "latest"}) == 2
    write_series(tmp_path / "p/long", pixels((9, 6, 8)) + 5000, series="1.2.50", SeriesDescription="t2",
                 SeriesDate="20190101", SeriesTime="110000")  # fmt: skip
    assert number(tmp_path / "p", {"SeriesDescription": "t2", "prefer": "most_slices"}) == 5
    assert number(tmp_path / "p", {"SeriesDescription": "t2", "prefer": ["most_slices", "latest"]}) == 5
    (tmp_path / "p/long").rename(tmp_path / "long")
    assert number(tmp_path / "p", {"SeriesDescription": "t2", "prefer": ["most_slices", "latest"]}) == 2
    with pytest.raises(DataError, match=r"3 series; choose one .*prefer: latest.*'t2', 4 frames of 8x6, Seri"):
        read_volume(tmp_path / "p", series={"SeriesDescription": "T2"})


def test_times_in_old_and_short_forms_then_numbers_decide(tmp_path):
    patient(tmp_path / "p", "t2", SeriesTime="09:05:00.5")
    patient(tmp_path / "p", "t2", first=1, SeriesTime="0906")
    assert number(tmp_path / "p", {"prefer": "latest"}) == 1
    patient(tmp_path / "p", "t2", first=2, SeriesDate="2020.01.01", SeriesTime="0906")
    assert number(tmp_path / "p", {"prefer": "latest"}) == 2  # the greater SeriesNumber
    patient(tmp_path / "q", "t2", "t2", SeriesTime="", SeriesDate="")  # then StudyDate and StudyTime are equal
    assert number(tmp_path / "q", {"prefer": "earliest"}) == 0
    nothing = {"SeriesDate": "", "StudyDate": "", "StudyTime": ""}
    patient(tmp_path / "r", "t2", "t2", **nothing)
    with pytest.raises(DataError, match=r"/r: 2 series fit, and nothing says which is newest: .*114\.2\.0"):
        read_volume(tmp_path / "r", series={"prefer": "latest"})


def test_any_header_by_text_number_or_one_of_several_values(tmp_path):
    patient(tmp_path / "p", "t2", EchoTime="101.50", ImageType=["DERIVED", "PRIMARY", "M"], ProtocolName="Prostata T2")
    patient(tmp_path / "p", "t2", first=1, EchoTime="30", ImageType=["ORIGINAL", "PRIMARY", "M"], ProtocolName="PD")
    assert number(tmp_path / "p", {"EchoTime": 101.5}) == 0
    assert number(tmp_path / "p", {"ImageType": "original"}) == 1
    assert number(tmp_path / "p", {"ImageType": "DERIVED\\PRIMARY*"}) == 0
    assert number(tmp_path / "p", {"ProtocolName": ["P?", "nothing"]}) == 1
    assert number(tmp_path / "p", {"ProtocolName": "*T2"}) == 0
    with pytest.raises(DataError, match=r"no series that fits among 2; .*EchoTime '101\.50'"):
        read_volume(tmp_path / "p", series={"EchoTime": 99})
    with pytest.raises(DataError, match="no series that fits"):
        read_volume(tmp_path / "p", series={"BodyPartExamined": "*"})  # which none says


def test_enhanced_objects_say_it_in_their_functional_groups(tmp_path):
    for at, echo in enumerate((30.0, 100.0)):
        data = enhanced(pixels() + 1000 * at, series=f"1.2.{at}", instance=f"1.3.{at}")
        group = data.PerFrameFunctionalGroupsSequence[0] if at else data.SharedFunctionalGroupsSequence[0]
        group.MREchoSequence = [item(EffectiveEchoTime=echo)]
        save(data, tmp_path / f"p/{at}.dcm")
    assert number(tmp_path / "p", {"EffectiveEchoTime": 100}) == 1
    assert number(tmp_path / "p", {"EffectiveEchoTime": 30}) == 0


def test_frames_of_other_planes_are_left_out(tmp_path):
    write_series(tmp_path / "p/a", pixels() + 1000)
    write_series(tmp_path / "p/b", pixels() + 2000, axes=CORONAL, names=list("abcd"))  # a localizer: one series
    assert number(tmp_path / "p", {"orientation": "coronal"}) == 2
    assert number(tmp_path / "p", {"orientation": "axial"}) == 1
    with pytest.raises(DataError, match="no series that fits among 1"):
        read_volume(tmp_path / "p", series={"orientation": "sagittal"})


def test_a_stack_may_be_part_of_the_rule(tmp_path):
    for echo in (30, 80):
        write_series(tmp_path / f"p/{echo}", pixels() + 100 * echo, EchoTime=echo)
    assert number(tmp_path / "p", {"SeriesDescription": "t2*", "stack": "axial EchoTime 80.0"}) == 8
    assert number(tmp_path / "p", {"stack": "*EchoTime 30.*"}) == 3
    with pytest.raises(DataError, match=r"2 stacks fit '\*EchoTime\*' .*'axial EchoTime 30\.0'"):
        read_volume(tmp_path / "p", series={"stack": "*EchoTime*"})


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"SeriesDescripton": "t2"}, "'SeriesDescripton' is no keyword of DICOM"),
        ({"PatientName": "Doe*"}, "PatientName does not describe a series"),
        ({"ReferencedImageSequence": "a"}, "ReferencedImageSequence does not describe a series"),
        ({"orientation": "oblique"}, "orientation is one of axial, coronal, sagittal, got 'oblique'"),
        ({"prefer": "newest"}, "prefer is one of latest, earliest, most_slices, got 'newest'"),
        ({"stack": ["a", "b"]}, "orientation and stack are one text each"),
        ("(", "neither a UID nor a pattern"),
    ],
)
def test_rules_that_cannot_be(rule, says):
    with pytest.raises(ValueError, match=f"series: .*{says}"):
        SeriesRule.of(rule)


def test_the_seg_of_the_chosen_series_is_its_mask_and_predict_takes_its_folder(cohort):
    adapter = Dicom(str(cohort / "data"), series=RULE, labels={"background": 0, "gland": 1})
    assert [adapter.is_image(cohort / "data/b" / name) for name in "0123"] == [True, False, True, False]
    with pytest.raises(DataError, match=r"none of 0 SEG refers to the series b?.*\.2\.2"):
        adapter.read(adapter.cases()[1])


def test_what_is_read_without_a_rule_is_no_choice(tmp_path):
    write_series(tmp_path / "p")
    assert find_series(tmp_path / "p", "t2", None, None).choice is None
    assert find_series(tmp_path / "p", RULE | {"SeriesDescription": "t2*"}, None, None).choice is None  # the only one
    data = dataset(pixels((6, 8)), series="1.9", **place(0))
    save(data, tmp_path / "p/other.dcm")
    assert find_series(tmp_path / "p", "1.9", None, None).choice is None


def test_yaml_takes_rules(tmp_path):
    text = RUN.format(root=tmp_path)
    (tmp_path / "run.yaml").write_text(text)
    series = yaml.safe_load(text)["data"]["series"]
    assert load_config(tmp_path / "run.yaml", []).data.series == series
    (tmp_path / "run.yaml").write_text(text.replace("SeriesDescription", "SeriesDescr"))
    with pytest.raises(Exception, match=r"series: 'SeriesDescr' is no keyword of DICOM"):
        load_config(tmp_path / "run.yaml", [])
