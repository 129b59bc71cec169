"""Data sets of DICOM: ultrasound and MR phantoms from training to SEG and back, fields of view, options."""

import json
import shutil

import numpy as np
import pydicom
import pytest

import datasets
from datasets import DataError, Dicom, Phantom, Trus, Volume, phantom, phantom_trus, read_volume, write_volume
from datasets.case import IGNORE
from datasets.dicom_folder import field_of_view
from engine.configuration.build import build_adapter
from engine.configuration.checking import load_config
from segloss_tests.cases import cache
from segloss_tests.dicoms import US, dataset, pixels, save, write_series
from segloss_tests.planted import held

RUN = """\
name: trus
data:
  {{name: phantom, form: us_volume, patients: 3, root: {root}, size: [32, 32], workers: 0, slices: foreground,
   split: {{kind: kfold, folds: 3, fold: all, val: 1}}}}
model: {{name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 16, 8]}}
loss: {{name: adfl}}
optim: {{name: adam, lr: 1e-3}}
train: {{epochs: 1, batch_size: 4, device: cpu}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, module_program, cells_here):
    """A run of three folds on three ultrasound volumes, and the folder of their patients."""
    folder = tmp_path_factory.mktemp("trus")
    (folder / "run.yaml").write_text(RUN.format(root=json.dumps(str(folder / "data"))))
    module_program("train", "run.yaml", check=0, cwd=folder)
    return folder, folder / "data/us-volume-2-3-patients-seed-0"


def test_nothing_of_the_patient_but_the_case_goes_into_runs_caches_and_pages(trained):
    folder, patients = trained
    header = pydicom.dcmread(patients / "Patient00/volume.dcm", stop_before_pixels=True)
    elements = ("PatientName", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    planted = [str(header[element].value).encode() for element in elements]
    assert all(len(value) > 7 for value in planted)
    written = [path for path in (folder / "runs").rglob("*") if path.is_file()]
    assert {"report.html", "scores.json", "environment.json"} <= {path.name for path in written}
    assert [path for path in written if any(value in path.read_bytes() for value in planted)] == []


def test_an_anonymous_page_has_no_name_of_a_case_either(trained, module_program, monkeypatch):
    folder, patients = trained
    monkeypatch.setenv("LOGNAME", "narwhaluser")
    for path in ("runs/trus", "runs/trus/fold-1"):
        module_program("report", path, "--anonymous", check=0, cwd=folder)
        page = (folder / path / "report-anonymous.html").read_bytes()
        names = [*(one.name for one in patients.iterdir()), patients.name, folder.name, "narwhaluser"]
        assert held(page, names) == set()
        assert b">trus" not in page
        assert b"case_001" in page


@pytest.mark.slow
def test_three_folds_predicted_to_seg_and_read_again_score_the_same(trained, module_program):
    folder, patients = trained
    pooled = json.loads((folder / "runs/trus/scores.json").read_text())
    expected = {row["case"]: row for row in pooled["cases"] if row["class"] == "prostate"}
    assert len(expected) == 3
    for fold in range(3):
        run = folder / f"runs/trus/fold-{fold}"
        (held,) = json.loads((run / "split.json").read_text())["test"]
        module_program("predict", run, patients / held, "--out", f"seg-{fold}", check=0, cwd=folder)
        assert [path.name for path in (folder / f"seg-{fold}/masks").iterdir()] == [f"{held}.dcm"]
        (folder / "predicted").mkdir(exist_ok=True)
        (folder / "references").mkdir(exist_ok=True)
        shutil.copy(folder / f"seg-{fold}/masks/{held}.dcm", folder / "predicted")
        shutil.copy(patients / held / "mask.dcm", folder / f"references/{held}.dcm")
    given = ["labels={background: 0, prostate: 1}", "background=background"]
    module_program("evaluate", "--pred", "predicted", "--ref", "references", *given, check=0, cwd=folder)
    again = json.loads((folder / "predicted/scores.json").read_text())
    found = {row["case"]: row for row in again["cases"] if row["class"] == "prostate"}
    for case, row in expected.items():
        for key in ("tp", "fp", "fn", "DSC", "IoU"):
            assert found[case][key] == row[key]
        for key in ("HD95", "ASSD"):  # in float32, and with another number of threads than the folds were scored with
            assert found[case][key] == pytest.approx(row[key], rel=3e-7)
    for key in ("mDSC", "mIoU"):  # summed in another order
        assert again["case"][key] == pytest.approx(pooled["case"][key], abs=1e-12)


def test_predict_writes_other_formats_and_nothing_of_the_patient(trained, module_program):
    folder, patients = trained
    run = folder / "runs/trus/fold-0"
    module_program("predict", run, patients, "--out", "all", "--anonymous", "--probabilities", check=0, cwd=folder)
    one = patients / "Patient01/volume.dcm"
    module_program("predict", run, one, "--out", "mha", "--format", "mha", check=0, cwd=folder)
    for at in range(3):
        source = read_volume(patients / f"Patient0{at}")
        seg = datasets.read_mask_volume(folder / f"all/masks/Patient0{at}.dcm")
        if at == 1:
            assert np.array_equal(seg.array, read_volume(folder / "mha/masks/volume.mha").array)
        assert seg.geometry.difference(source.geometry) is None
        assert read_volume(folder / f"all/probabilities/Patient0{at}.nii.gz").array.shape == (12, 112, 128, 2)
        held = pydicom.dcmread(folder / f"all/masks/Patient0{at}.dcm")
        assert (str(held.PatientName), held.PatientID, held.PatientBirthDate) == ("", "", "")
        series = pydicom.dcmread(patients / f"Patient0{at}/volume.dcm").SeriesInstanceUID
        assert held.ReferencedSeriesSequence[0].SeriesInstanceUID == series
    for path in [*(folder / "all").rglob("*"), *(folder / "mha").rglob("*")]:
        if path.is_file():
            assert b"Phantom^" not in path.read_bytes()
            assert b"19500101" not in path.read_bytes()
    (folder / "texts").mkdir()
    (folder / "texts/notes.txt").write_text("no image")
    said = module_program("predict", run, folder / "texts", "--out", "none", cwd=folder)
    assert said.returncode == 2
    assert "no image here" in said.stderr


@pytest.mark.parametrize("form", ["us_volume", "mr_series"])
def test_phantoms_come_back_as_they_were_made(tmp_path, form):
    adapter = Phantom(str(tmp_path), patients=3, form=form)
    cases = adapter.cases()
    assert [case.id for case in cases] == ["Patient00", "Patient01", "Patient02"]
    make = phantom_trus.make_patient if form == "us_volume" else phantom.make_patient
    for at, case in enumerate(cases):
        image, mask = make(np.random.default_rng([0, at]))
        decoded = adapter.read(case)
        assert np.array_equal(decoded.image.array[..., 0], image)
        assert np.array_equal(decoded.mask, mask)
    assert len(adapter.sources(cases[0])) == (2 if form == "us_volume" else 21)
    assert adapter.is_image(cases[0].image)
    with pytest.raises(ValueError, match="patients must be ≥ 3"):
        Phantom(str(tmp_path), patients=2, form=form)


def test_the_fan_is_no_threshold_problem():
    """No grey level tells the gland apart; outside the fan everything is black."""
    image, mask = phantom_trus.make_patient(np.random.default_rng(0))
    assert not image[:, ~phantom_trus.fan()].any()
    assert image[:, phantom_trus.fan()].min() > 0
    best = 0.0
    for level in range(0, 250, 10):
        for found in (image > level, (image > 0) & (image <= level)):
            best = max(best, 2 * (found & (mask == 1)).sum() / (found.sum() + mask.sum()))
    assert best < 0.2
    assert 0.01 < mask.mean() < 0.1


def test_outside_the_field_of_view_nothing_counts(tmp_path):
    plain = Phantom(str(tmp_path), patients=3, form="us_volume")
    (case, *_) = plain.cases()
    adapter = Trus(str(plain.root), field_of_view=True)
    decoded, whole = adapter.read(case), plain.read(case)
    fan = np.broadcast_to(phantom_trus.fan(), whole.mask.shape)
    assert np.array_equal(field_of_view(decoded.image), fan)
    assert np.array_equal(decoded.mask, np.where(fan, whole.mask, IGNORE))
    sagittal = Trus(str(plain.root), field_of_view=True, slice_axis="sagittal").read(case)
    assert (sagittal.mask == IGNORE).sum() == (~fan).sum()


def test_a_plain_multi_frame_takes_data_spacing(tmp_path):
    for at in range(3):
        data = dataset(pixels((4, 8, 10), np.uint8), SOPClassUID=US, instance=f"1.2.{at}", series=f"1.3.{at}")
        save(data, tmp_path / f"data/p{at}.dcm")
        mask = np.zeros((4, 8, 10), np.uint8)
        mask[1, 2:4, 3:6] = 1
        write_volume(Volume(mask, np.diag([-0.2, -0.2, 1.5, 1])), tmp_path / f"data/p{at}.nii.gz")
    text = RUN.replace("form: us_volume, patients: 3, ", "").replace("phantom", "trus").replace("name: trus\n", "", 1)
    patterns = "images: '{name}.dcm', masks: '{name}.nii.gz', size"
    text = "name: plain\n" + text.format(root=json.dumps(str(tmp_path / "data"))).replace("size", patterns, 1)
    (tmp_path / "run.yaml").write_text(text)
    adapter = build_adapter(load_config(tmp_path / "run.yaml", []).data)
    with pytest.raises(DataError, match=r"p0\.dcm: no geometry: .*data\.spacing"):
        adapter.read(adapter.cases()[0])
    config = load_config(tmp_path / "run.yaml", ["data.spacing=[1.5, 0.2, 0.2]"])
    adapter = build_adapter(config.data)
    assert [case.id for case in adapter.cases()] == ["p0", "p1", "p2"]
    decoded = adapter.read(adapter.cases()[0])
    assert decoded.spacing == pytest.approx((1.5, 0.2, 0.2))
    assert decoded.mask.sum() == 6
    (cached, *_) = cache(adapter, tmp_path / "cache", size=(8, 10)).decode(adapter.cases())
    assert cached.shape == (4, 8, 10)


def test_layouts_and_what_is_refused(tmp_path):
    write_series(tmp_path / "a/scan")
    with pytest.raises(ValueError, match="labels: missing"):
        Dicom(str(tmp_path))
    with pytest.raises(ValueError, match=r"series: '\(' is neither a UID nor a pattern"):
        Trus(str(tmp_path), series="(")
    with pytest.raises(ValueError, match=r"masks: 'm' does not hold \{name\}"):
        Trus(str(tmp_path), masks="m")
    with pytest.raises(DataError, match="no such folder"):
        Trus(str(tmp_path / "none")).cases()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no DICOM fits data\.images"):
        Trus(str(tmp_path / "empty")).cases()
    with pytest.raises(DataError, match=r"no .*a/mask\.nii"):
        Trus(str(tmp_path), "{name}/scan", "{name}/mask.nii").cases()
    adapter = Trus(str(tmp_path))
    case = next(case for case in adapter.cases() if case.id == "a")
    with pytest.raises(DataError, match="none of 0 SEG refers to the series"):
        adapter.read(case)
    adapter = Trus(str(tmp_path), series="t2")
    assert adapter.is_image(tmp_path / "a/scan")
    assert not adapter.is_image(tmp_path / "a")
    assert not adapter.is_image(tmp_path / "a/scan/000.dcm")
    assert not Trus(str(tmp_path), series="adc").is_image(tmp_path / "a/scan")
    write_series(tmp_path / "a/scan", names=list("wxyz"), series="1.2.8", SeriesDescription="adc")
    assert Trus(str(tmp_path), series="adc").is_image(tmp_path / "a/scan")  # whichever of the two comes first
    colour = Dicom(str(tmp_path), series="t2", labels={"background": 0, "gland": 1}, colour="rgb")
    assert colour.channels == 3
    assert colour.read_image(tmp_path / "a/scan").array.shape == (4, 6, 8, 3)
