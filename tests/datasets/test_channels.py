"""Several series or files as the channels of a scan; masks and inputs of another format than the scans."""

import numpy as np
import pytest
import SimpleITK
from pydicom import uid

from datasets import DataError, Dicom, NiftiFolder, Volume, noted, read_mask_volume, read_volume, write_volume
from datasets.dicom_seg_write import write_seg
from datasets.dicom_series import find_series
from engine.scoring.prediction import Predicted, inputs, write_prediction
from segloss_tests.dicoms import US, dataset, pixels, save, write_series

LABELS = {"background": 0, "gland": 1}
FINE, COARSE = np.diag([-0.5, -0.7, 3.0, 1.0]), np.diag([-1.0, -1.4, 3.0, 1.0])


def itk(volume):
    """By SimpleITK, from the affine."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    image = SimpleITK.GetImageFromArray(volume.array.astype(np.float32))
    image.SetSpacing(np.linalg.norm(lps[:3, :3], axis=0).tolist())
    image.SetDirection((lps[:3, :3] / np.linalg.norm(lps[:3, :3], axis=0)).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def resampled(volume, onto):
    least = float(volume.array.min())
    found = SimpleITK.Resample(itk(volume), itk(onto), SimpleITK.Transform(), SimpleITK.sitkLinear, least)
    return SimpleITK.GetArrayFromImage(found)


@pytest.fixture
def scans(tmp_path):
    """PI-CAI's layout: a folder a patient with T2 and a coarser ADC, masks apart; the third without ADC."""
    for at in range(3):
        name, array = f"1000{at}_100000{at}", pixels((4, 12, 16)) + at
        t2, adc = Volume(array, FINE), Volume(pixels((4, 6, 8), np.float32) * 2.5 + at, COARSE)
        folder = tmp_path / f"images/1000{at}"
        folder.mkdir(parents=True)
        write_volume(t2, folder / f"{name}_t2w.mha")
        if at < 2:
            write_volume(adc, folder / f"{name}_adc.mha")
        (tmp_path / "labels").mkdir(exist_ok=True)
        write_volume(Volume((array > 100).astype(np.uint8), FINE), tmp_path / f"labels/{name}.nii.gz")
    return tmp_path


def nifti(root, adc="images/*/{name}_adc.mha", **given):
    patterns = ["images/*/{name}_t2w.mha", adc]
    return NiftiFolder(str(root), patterns, "labels/{name}.nii.gz", LABELS, **{"resample": True, **given})


def test_patterns_with_wildcards_find_a_channel_each(scans):
    reader = nifti(scans, missing="exclude")
    with noted() as notes:
        cases = reader.cases()
    assert [case.id for case in cases] == ["10000_1000000", "10001_1000001"]
    (note,) = notes
    assert "1 scan(s) without channel 2, which are left out: " in note
    assert "10002_1000002_t2w.mha; see data.missing" in note
    found = reader.read(cases[1]).image
    folder = scans / "images/10001"
    t2, adc = (read_volume(folder / f"10001_1000001_{kind}.mha") for kind in ("t2w", "adc"))
    turned = Volume(found.array, found.geometry.affine).reordered(t2.axes).array
    assert np.array_equal(turned[..., 0], t2.array)
    np.testing.assert_allclose(turned[..., 1], resampled(adc, t2), rtol=1e-5, atol=1e-4)
    assert folder / "10001_1000001_adc.mha" in reader.sources(cases[1])
    with pytest.raises(DataError, match=r"adc\.mha: does not lie on the grid of .*data\.resample"):
        nifti(scans, resample=False).read(cases[1])


def test_a_missing_channel_is_refused_zero_or_left_out(scans):
    with pytest.raises(DataError, match=r"10002_1000002_t2w\.mha: no file .*_adc\.mha; add it"):
        nifti(scans).cases()
    reader = nifti(scans, missing="zeros")
    with noted() as notes:
        cases = reader.cases()
    assert "1 scan(s) without channel 2, which are 0 there" in notes[0]
    assert [reader.read(case).image.array[..., 1].any() for case in cases] == [True, True, False]
    alone = scans / "images/10002/10002_1000002_t2w.mha"
    assert not reader.read_image(alone).array[..., 1].any()
    for rule in ("refuse", "exclude"):
        with pytest.raises(DataError, match=r"t2w\.mha: no file of .*_adc\.mha belongs to it; add it"):
            nifti(scans, missing=rule).read_image(alone)


def test_a_wildcard_in_the_name_and_two_files_that_fit(tmp_path):
    for kind in ("ax_T2_01", "ADC_map"):
        (tmp_path / "p").mkdir(exist_ok=True)
        write_volume(Volume(pixels((4, 6, 8)), FINE), tmp_path / f"p/{kind}.nii.gz")
    write_volume(Volume((pixels((4, 6, 8)) > 100).astype(np.uint8), FINE), tmp_path / "p/mask.nii.gz")
    patterns = ["{name}/*T2*.nii.gz", "{name}/*ADC*.nii.gz"]
    reader = NiftiFolder(str(tmp_path), patterns, "{name}/mask.nii.gz", LABELS)
    (case,) = reader.cases()
    assert case.id == "p"
    assert reader.read(case).image.array.shape[-1] == 2
    assert [one.path.name for one in inputs([tmp_path], reader, tmp_path / "out")] == ["ax_T2_01.nii.gz"]
    write_volume(Volume(pixels((4, 6, 8)), FINE), tmp_path / "p/ADC_2.nii.gz")
    with pytest.raises(DataError, match=r"same name; keep one of them, or narrow data\.images"):
        reader.cases()
    with pytest.raises(DataError, match=r"2 files of \{name\}/\*ADC\*\.nii\.gz: ADC_2\.nii\.gz, ADC_map\.nii\.gz"):
        reader.read_image(case.image)


# DICOM

SERIES = [
    {"SeriesDescription": "t2*", "prefer": "latest"},
    {"SeriesDescription": "*ADC*"},
    {"SeriesDescription": "dwi*", "stack": "*DiffusionBValue 1400*"},
]


def patient(folder, lacks=()):
    """T2, a coarser ADC, and DWI of two weights, each series in a folder of its own; the mask is a NIfTI file."""
    name = folder.name
    t2 = write_series(folder / "1", pixels((4, 12, 16)), series=f"{ord(name)}.1", SeriesDescription="t2_tse")
    if "adc" not in lacks:
        write_series(folder / "2", pixels() + 700, series=f"{ord(name)}.2", SeriesDescription="ep2d ADC",
                     spacing=(1.4, 1.0))  # fmt: skip
    for weight in (50.0, 1400.0):
        write_series(folder / f"3/{weight}", pixels() + int(weight), series=f"{ord(name)}.3", spacing=(1.4, 1.0),
                     SeriesDescription="dwi", DiffusionBValue=weight)  # fmt: skip
    scan = read_volume(folder / "1")
    write_volume(Volume((t2 > 100).astype(np.uint8), scan.affine), folder / "m.nii.gz")


def dicom(root, **given):
    options = {"masks": "{name}/m.nii.gz", "series": SERIES, "resample": True, "labels": LABELS, **given}
    return Dicom(str(root), **options)


def test_several_series_are_channels_on_the_grid_of_the_first(tmp_path):
    patient(tmp_path / "a")
    reader = dicom(tmp_path)
    assert reader.channels == 3
    (case,) = reader.cases()
    image = reader.read(case).image
    t2, adc = read_volume(tmp_path / "a/1"), read_volume(tmp_path / "a/2")
    dwi = read_volume(tmp_path / "a/3", stack="axial DiffusionBValue 1400.0")
    turned = Volume(image.array, image.geometry.affine).reordered(t2.axes).array
    assert np.array_equal(turned[..., 0], t2.array)
    for channel, other in ((1, adc), (2, dwi)):
        np.testing.assert_allclose(turned[..., channel], resampled(other, t2), rtol=1e-5, atol=1e-4)
    assert [choice.chosen.split(",")[0] for choice in image.choices] == ["MR 't2_tse'", "MR 'ep2d ADC'", "MR 'dwi'"]
    assert image.series.frames[0].described == "MR 't2_tse'"
    with pytest.raises(DataError, match=r"a \(MR 'ep2d ADC'\): does not lie on the grid of .*a \(MR 't2_tse'\)"):
        dicom(tmp_path, resample=False).read(case)
    with pytest.raises(ValueError, match="series: a list has one a channel, each of them grey"):
        dicom(tmp_path, colour="rgb")


def test_a_patient_without_a_series(tmp_path):
    patient(tmp_path / "a")
    patient(tmp_path / "b", lacks=["adc"])
    reader = dicom(tmp_path)
    with pytest.raises(DataError, match="b: no series that fits among 2"):
        reader.read(reader.cases()[1])
    reader = dicom(tmp_path, missing="zeros")
    with noted() as notes:
        cases = reader.cases()
    assert "1 DICOM(s) without channel 2, which are 0 there" in notes[0]
    image = reader.read(cases[1]).image
    assert [bool(image.array[..., channel].any()) for channel in range(3)] == [True, False, True]
    with noted() as notes:
        assert [case.id for case in dicom(tmp_path, missing="exclude").cases()] == ["a"]
    assert "which are left out" in notes[0]


def test_predict_takes_the_folder_that_holds_all_channels(tmp_path):
    patient(tmp_path / "in/a")
    patient(tmp_path / "in/b")
    reader = dicom(tmp_path / "in")
    for given in (tmp_path / "in", tmp_path / "in/a"):
        found = inputs([given], reader, tmp_path / "out")
        assert [one.path for one in found] == [tmp_path / "in" / name for name in "ab"][
            : 2 if given.name == "in" else 1
        ]


# Other formats


def test_a_run_on_one_format_predicts_another(tmp_path):
    write_series(tmp_path / "dicom/p/scan", pixels())
    scan = read_volume(tmp_path / "dicom/p/scan")
    (tmp_path / "nifti").mkdir()
    write_volume(scan, tmp_path / "nifti/p.nii.gz")
    of_nifti = NiftiFolder(str(tmp_path / "none"), "{name}.nii.gz", "{name}_mask.nii.gz", LABELS)
    of_dicom = Dicom(str(tmp_path / "none"), labels=LABELS)
    (one,) = inputs([tmp_path / "dicom"], of_nifti, tmp_path / "out")
    assert (one.path, one.name, one.suffix) == (tmp_path / "dicom/p/scan", "p/scan", ".dcm")
    (other,) = inputs([tmp_path / "nifti"], of_dicom, tmp_path / "out")
    assert (other.path.name, other.name, other.suffix) == ("p.nii.gz", "p", ".nii.gz")
    expected = of_dicom.read_image(one.path)
    for found in (of_nifti.read_image(one.path), of_dicom.read_image(other.path)):
        assert np.array_equal(found.array, expected.array)
        assert found.geometry.difference(expected.geometry) is None
    # files of the other format beside those of a run's own are no inputs
    write_volume(scan, tmp_path / "dicom/p/mask.nii.gz")
    assert [found.path.name for found in inputs([tmp_path / "dicom"], of_dicom, tmp_path / "out")] == ["scan"]
    two = NiftiFolder(str(tmp_path), ["{name}_0.nii", "{name}_1.nii"], "{name}_m.nii", LABELS)
    with pytest.raises(DataError, match="no image here"):
        inputs([tmp_path / "dicom/p/scan"], two, tmp_path / "out")


def test_its_masks_have_the_format_of_what_is_predicted(tmp_path):
    write_series(tmp_path / "dicom/p", pixels((4, 12, 16)))
    (tmp_path / "nifti").mkdir()
    write_volume(read_volume(tmp_path / "dicom/p"), tmp_path / "nifti/p.nii.gz")
    of_nifti = NiftiFolder(str(tmp_path / "none"), "{name}.nii.gz", "{name}_mask.nii.gz", LABELS)
    of_dicom = Dicom(str(tmp_path / "none"), labels=LABELS)
    for reader, given, name in ((of_nifti, "dicom", "p.dcm"), (of_dicom, "nifti", "p.nii.gz")):
        (one,) = inputs([tmp_path / given], reader, tmp_path / "out")
        image = reader.read_image(one.path)
        labels = (image.array[..., 0] > 100).astype(np.int64)
        predicted = Predicted(image, image.array / 255, labels, None, {"whole": labels > 0})
        write_prediction(predicted, one, tmp_path / "out", reader)
        for path in (f"masks/{name}", "regions/whole/p.nii.gz"):  # a region is no SEG
            found = read_mask_volume(tmp_path / "out" / path)
            assert np.array_equal(found.array, pixels((4, 12, 16)) > 100)
            assert found.geometry.difference(read_volume(one.path).geometry) is None
        (tmp_path / "out/regions/whole/p.nii.gz").unlink()


def test_a_dicom_mask_of_a_nifti_scan(tmp_path):
    write_series(tmp_path / "source", pixels())
    series = find_series(tmp_path / "source", None, None, None)
    mask = (pixels() > 100).astype(np.uint8)
    (tmp_path / "data").mkdir()
    write_seg(mask, series, {1: "gland"}, tmp_path / "data/p_seg.dcm", is_reference=True)
    write_volume(read_volume(tmp_path / "source"), tmp_path / "data/p.nii.gz")
    save(dataset(pixels((4, 6, 8), np.uint8), SOPClassUID=US), tmp_path / "data/q.dcm")
    reader = NiftiFolder(str(tmp_path / "data"), "{name}.nii.gz", "{name}_seg.dcm", LABELS)
    (case,) = reader.cases()
    decoded = reader.read(case)
    assert (decoded.mask == 1).sum() == mask.sum()
    back = Volume(decoded.mask, decoded.image.geometry.affine).reordered(decoded.image.source.axes)
    assert np.array_equal(back.array, mask)
    assert uid.SegmentationStorage in (tmp_path / "data/p_seg.dcm").read_bytes().decode("latin-1")
