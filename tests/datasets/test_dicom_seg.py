"""DICOM SEG: read of every kind, matched to its series, written by predict; highdicom is the oracle."""

import re

import highdicom
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes

import datasets
from datasets import DataError, Dicom, SegRule, Volume, noted, read_mask_volume, read_volume, write_volume
from datasets.dicom_seg_write import IDENTITY, codes_of, write_seg
from datasets.dicom_series import find_series
from segloss_tests.cases import MARKED
from segloss_tests.dicoms import AXIAL, SAGITTAL, dataset, enhanced, item, pixels, place, save, write_series

LABELS = {"background": 0, "gland": 1, "tumour": 2}


def marked(shape=(4, 6, 8)):
    mask = np.zeros(shape, np.uint8)
    mask[1:3, 1:4, 2:5] = 1
    mask[2, 2, 3] = 2
    return mask


def described(*names):
    return [
        highdicom.seg.SegmentDescription(
            segment_number=at,
            segment_label=name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Prostate,
            algorithm_type="MANUAL",
        )
        for at, name in enumerate(names, start=1)
    ]


def by_highdicom(sources, array, path, kind="BINARY", names=("gland", "tumour"), **options):
    """A SEG by highdicom alone, of some source files in their order."""
    made = highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(source) for source in sources],
        pixel_array=array,
        segmentation_type=kind,
        segment_descriptions=described(*names),
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="n",
        software_versions="1",
        device_serial_number="2",
        **options,
    )
    return save(made, path)


@pytest.fixture
def scan(tmp_path):
    write_series(tmp_path / "p0/scan")
    return sorted((tmp_path / "p0/scan").iterdir())


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("empty", [True, False])
def test_kinds_with_and_without_empty_slices(tmp_path, scan, kind, empty):
    mask = marked()
    path = by_highdicom(scan[::-1], mask[::-1], tmp_path / "m.dcm", kind, omit_empty_frames=empty)
    whole = read_mask_volume(path, onto=read_volume(scan[0].parent).geometry)
    assert np.array_equal(whole.array, mask)
    alone = read_mask_volume(path)
    assert np.array_equal(alone.array, mask[1:3] if empty else mask)
    assert alone.geometry.spacing == pytest.approx((3, 0.7, 0.5))
    assert np.array_equal(Dicom(str(tmp_path), "{name}/scan", masks="m{name}", labels=LABELS).classes, [*LABELS])


def test_a_gap_between_slices_is_empty(tmp_path, scan):
    mask = marked()
    mask[2] = 0
    mask[3, 0, 0] = 1
    path = by_highdicom(scan, mask, tmp_path / "m.dcm")
    assert np.array_equal(read_mask_volume(path).array, mask[1:])
    assert np.array_equal(read_mask_volume(path, onto=read_volume(scan[0].parent).geometry).array, mask)


def test_the_scan_says_the_step_where_the_seg_does_not(tmp_path, scan):
    """Every other slice, or one alone, without a word on how far apart slices are."""
    geometry = read_volume(scan[0].parent).geometry
    for kept in ([0, 2], [3]):
        mask = np.zeros((4, 6, 8), np.uint8)
        mask[kept, 1:3, 2:4] = 1
        data = pydicom.dcmread(by_highdicom(scan, mask, tmp_path / "m.dcm", names=("gland",)))
        measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        for key in ("SpacingBetweenSlices", "SliceThickness"):
            if key in measures:
                delattr(measures, key)
        save(data, tmp_path / "m.dcm")
        assert np.array_equal(read_mask_volume(tmp_path / "m.dcm", onto=geometry).array, mask)


@pytest.mark.parametrize("threshold", [0.25, 0.5, 1.0])
def test_fractions_by_threshold(tmp_path, scan, threshold):
    shares = np.random.default_rng(0).uniform(0, 1, (4, 6, 8))
    shares[0, 0, 0] = 1
    path = by_highdicom(scan, shares, tmp_path / "m.dcm", "FRACTIONAL", ("gland",))
    found = read_mask_volume(path, SegRule(threshold)).array
    assert np.array_equal(found, np.round(shares * 255) / 255 >= threshold)
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\], got 0"):
        SegRule(0)


def test_overlaps_are_refused_or_ruled_by_the_order_of_labels(tmp_path, scan):
    both = np.zeros((4, 6, 8, 2), np.uint8)
    both[1:3, 1:4, 2:5, 0] = 1  # the gland with its tumour
    both[2, 2, 3, 1] = 1
    path = by_highdicom(scan, both, tmp_path / "p0/m.dcm")
    with pytest.raises(DataError, match=r"segments overlap, 1 and 2 in 1 voxels; .*data\.overlap: labels"):
        read_mask_volume(path)
    assert np.array_equal(read_mask_volume(path, SegRule(order=[1, 2])).array, marked()[1:3])
    only = Dicom(str(tmp_path), labels=LABELS, overlap="labels")
    assert np.array_equal(only.read(only.cases()[0]).mask, marked())
    turned = Dicom(str(tmp_path), labels={"background": 0, "tumour": 2, "gland": 1}, overlap="labels")
    assert turned.read(turned.cases()[0]).mask.max() == 2
    assert not (turned.read(turned.cases()[0]).mask == 1).any()  # the gland stands later and covers it


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_by_their_labels(tmp_path, scan, kind):
    """Whatever their numbers: two of one class are united, and those that no class names are background."""
    mask = marked()
    mask[0, 5, :3] = 3
    mask[1, 0, 0] = 4
    names = ("Prostate PZ", "prostate TZ", "Index lesion", "Bladder")
    by_highdicom(scan, mask, tmp_path / "p0/m.dcm", kind, names)
    named = {"gland": "prostate*", "tumour": ["*lesion*", "GTV*"]}
    reader = Dicom(str(tmp_path), labels=LABELS, structures=named)
    with noted() as notes:
        found = reader.read(reader.cases()[0]).mask
    assert np.array_equal(found, np.array([0, 1, 1, 2, 0], np.uint8)[mask])
    assert notes == [
        "1 structures that no class names, so background: 'Bladder'; data.structures names those that are read"
    ]
    strange = Dicom(str(tmp_path), labels=LABELS, structures={"gland": "liver", "tumour": "x"})
    with pytest.raises(DataError, match=r"no structure that data\.structures names among 'Prostate PZ', "):
        strange.read(strange.cases()[0])


def test_one_mask_a_class(tmp_path, scan):
    """A SEG, a NIfTI and several of a class, each 0 where its class is not."""
    mask, volume = marked(), read_volume(scan[0].parent)
    by_highdicom(scan, (mask > 0).astype(np.uint8), tmp_path / "m/p0_gland.dcm", names=("gland",))
    for at, part in enumerate((mask == 2, np.zeros(mask.shape))):
        write_volume(Volume(part.astype(np.uint8) * 255, volume.affine), tmp_path / f"m/p0_tumour{at}.nii.gz")
    drawn = {"gland": "m/{name}_gland.dcm", "tumour": "m/{name}_tumour*.nii.gz"}
    reader = Dicom(str(tmp_path), "{name}/scan", drawn, overlap="labels")
    (case,) = reader.cases()
    assert reader.classes == ("background", "gland", "tumour")
    assert np.array_equal(reader.read(case).mask, mask)
    assert len(reader.sources(case)) == len(scan) + 3
    with pytest.raises(DataError, match=r"1 pixels that are gland .* are tumour here; data\.overlap: labels"):
        Dicom(str(tmp_path), "{name}/scan", drawn).read(case)


def test_of_several_series_the_seg_refers_to_one(tmp_path, scan):
    other = write_series(tmp_path / "p0/adc", pixels((4, 6, 8)) + 5, series="1.2.99", SeriesDescription="ADC")
    by_highdicom(scan, marked(), tmp_path / "p0/m.dcm")
    with pytest.raises(DataError, match="2 series; choose one with series"):
        Dicom(str(tmp_path), labels=LABELS).read(Dicom(str(tmp_path), labels=LABELS).cases()[0])
    adapter = Dicom(str(tmp_path), labels=LABELS, series="t2")
    decoded = adapter.read(adapter.cases()[0])
    assert np.array_equal(decoded.mask, marked())
    assert np.array_equal(decoded.image.array[..., 0], pixels())
    wrong = Dicom(str(tmp_path), labels=LABELS, series="ADC")
    with pytest.raises(DataError, match=r"none of 1 SEG refers to the series 1\.2\.99; .*data\.masks"):
        wrong.read(wrong.cases()[0])
    same = Dicom(str(tmp_path), labels=LABELS, series="ADC", masks="{name}/m.dcm")  # one space: the grid decides
    assert np.array_equal(same.read(same.cases()[0]).image.array[..., 0], other)
    by_highdicom(scan, marked(), tmp_path / "p0/again.dcm")
    with pytest.raises(DataError, match=r"2 SEG refer .*again\.dcm, m\.dcm"):
        adapter.read(adapter.cases()[0])
    write_series(tmp_path / "q/0", series="1.2.77", FrameOfReferenceUID="1.2.78")
    apart = Dicom(str(tmp_path / "q"), labels=LABELS, masks="{name}/../../p0/m.dcm".replace("../../p0/", ""))
    (tmp_path / "q/0/m.dcm").write_bytes((tmp_path / "p0/m.dcm").read_bytes())
    with pytest.raises(DataError, match=r"refers to the series 1\.2\.3\.4 in another space"):
        apart.read(apart.cases()[0])


def test_masks_beside_as_nifti_metaimage_and_png(tmp_path, scan):
    volume = read_volume(scan[0].parent)
    masks = {"nii": tmp_path / "p0/m.nii.gz", "mha": tmp_path / "p0/m.mha", "png": tmp_path / "p0/png"}
    for path in (masks["nii"], masks["mha"]):
        write_volume(Volume(marked(), volume.affine).reordered("RAS"), path)
    masks["png"].mkdir()
    for at, plane in enumerate(marked(), start=8):
        Image.fromarray(plane).save(masks["png"] / f"slice{at}.png")  # slice8, slice9, slice10, slice11
    for path in masks.values():
        adapter = Dicom(str(tmp_path), "{name}/scan", f"{{name}}/{path.name}", labels=LABELS)
        (case,) = adapter.cases()
        assert np.array_equal(adapter.read(case).mask, marked())
        assert {path if path.is_file() else path / "slice8.png", scan[0]} <= {*adapter.sources(case)}
    (masks["png"] / "slice8.png").unlink()
    with pytest.raises(DataError, match="3 masks for the 4 slices"):
        adapter.read(case)


def test_what_is_no_usable_seg(tmp_path, scan):
    with pytest.raises(DataError, match="3 functional groups for 1 frames"):  # as pydicom ships it, two cut away
        read_mask_volume(get_testdata_file("liver_1frame.dcm"))
    path = by_highdicom(scan, marked(), tmp_path / "m.dcm")
    for change, says in [
        ({"SegmentationType": "NEW"}, "SegmentationType = 'NEW'"),
        ({"PerFrameFunctionalGroupsSequence": [item()]}, "1 functional groups for"),
        ({"Rows": 7}, "bytes of pixels by its header"),
    ]:
        data = pydicom.dcmread(path)
        for key, value in change.items():
            setattr(data, key, value)
        save(data, tmp_path / "bad.dcm")
        with pytest.raises(DataError, match=rf"bad\.dcm: {says}|bad\.dcm: .*{says}"):
            read_mask_volume(tmp_path / "bad.dcm")
    with pytest.raises(DataError, match="no DICOM image"):
        read_volume(path)
    adapter = Dicom(str(tmp_path), labels={"background": 0, "gland": 1})
    (tmp_path / "m.dcm").rename(tmp_path / "p0/m.dcm")
    with pytest.raises(DataError, match="label 2 "):
        adapter.read(adapter.cases()[0])


# Written


@pytest.mark.parametrize("make", ["series", "enhanced", "volume"])
def test_written_for_its_source_and_read_by_highdicom(tmp_path, make):
    if make == "series":
        write_series(tmp_path / "s", names=["d", "c", "b", "a"])
        source = tmp_path / "s"
    else:
        space = "Volume" if make == "volume" else "Patient"
        source = save(enhanced(pixels((4, 6, 8), np.uint8), positions=[2, 0, 3, 1], space=space), tmp_path / "e.dcm")
    series = find_series(source, None, None, None)
    write_seg(marked(), series, {1: "prostate", 2: "tumour"}, tmp_path / "m.dcm")
    seg = highdicom.seg.segread(tmp_path / "m.dcm")
    assert seg.segmentation_type.value == "BINARY"
    assert [seg.get_segment_description(at).segment_label for at in (1, 2)] == ["prostate", "tumour"]
    first = seg.get_segment_description(1)
    assert first.segmented_property_type == codes.SCT.Prostate
    assert first.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "segloss"
    assert first.algorithm_type.value == "AUTOMATIC"
    referred = {uid for _, _, uid in seg.get_source_image_uids()}
    assert referred == {frame.instance for frame in series.frames}
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == series.frames[0].series
    assert str(seg.PatientName) == "Doe^Jane"
    volume = seg.get_volume(combine_segments=True)
    assert np.array_equal(np.sort(volume.array.ravel()), np.sort(marked().ravel()))
    lps = np.diag([-1, -1, 1, 1]) @ series.geometry.affine
    marks = np.argwhere(marked() == 2)[0]
    place_ = lps @ [marks[2], marks[1], marks[0], 1]
    at = np.argwhere(volume.array == 2)[0]
    np.testing.assert_allclose(volume.affine @ [*at, 1], place_, atol=1e-4)
    again = read_mask_volume(tmp_path / "m.dcm")
    assert np.array_equal(again.array, marked())
    np.testing.assert_allclose(again.affine, series.geometry.affine, atol=1e-4)


def test_privacy(tmp_path, scan):
    for path in scan:
        data = pydicom.dcmread(path)
        data.PhysiciansOfRecord, data.PatientComments, data.PatientAge = "Wilson^James", "sister of Jane", "075Y"
        data.ClinicalTrialSubjectID, data.StudyDescription, data.RequestingService = "trial12", "for Cuddy", "ward9"
        save(data, path)
    series = find_series(scan[0].parent, None, None, None)
    write_seg(marked(), series, {1: "gland", 2: "tumour"}, tmp_path / "m.dcm", anonymous=True)
    content = re.sub(rb"[0-9.]{20,}", b"", (tmp_path / "m.dcm").read_bytes())  # UIDs, random digits
    for secret in (
        b"Doe",
        b"Jane",
        b"4711",
        b"19450607",
        b"House",
        b"A99",
        b"S7",
        b"Wilson",
        b"sister",
        b"075Y",
        b"trial12",
        b"Cuddy",
        b"ward9",
    ):
        assert secret not in content
    found = pydicom.dcmread(tmp_path / "m.dcm")
    assert all(key in found and not str(found[key].value) for key in IDENTITY)
    assert np.array_equal(read_mask_volume(tmp_path / "m.dcm").array, marked())


def test_numbers_that_do_not_count_from_one_become_a_label_map(tmp_path, scan):
    series = find_series(scan[0].parent, None, None, None)
    write_seg(marked() * np.uint8(3), series, {3: "gland", 6: "tumour"}, tmp_path / "m.dcm")
    assert pydicom.dcmread(tmp_path / "m.dcm").SegmentationType == "LABELMAP"
    assert np.array_equal(read_mask_volume(tmp_path / "m.dcm").array, marked() * 3)


def test_an_empty_mask_and_a_source_without_geometry(tmp_path, scan):
    series = find_series(scan[0].parent, None, None, None)
    write_seg(np.zeros((4, 6, 8), np.uint8), series, {1: "gland"}, tmp_path / "m.dcm")
    assert not read_mask_volume(tmp_path / "m.dcm").array.any()
    save(dataset(pixels((3, 4, 5), np.uint8)), tmp_path / "us.dcm")
    plain = find_series(tmp_path / "us.dcm", None, None, (1.0, 1.0, 1.0))
    with pytest.raises(DataError, match=r"us\.dcm: no geometry for a DICOM SEG .*--format nii\.gz"):
        write_seg(np.zeros((3, 4, 5), np.uint8), plain, {1: "gland"}, tmp_path / "n.dcm")
    assert not (tmp_path / "n.dcm").exists()


@pytest.mark.parametrize("kind", ["far", "echoes", "turned", "Volume"])
@pytest.mark.parametrize("empty", [True, False])
def test_one_stack_of_a_file_with_several(tmp_path, kind, empty):
    """The SEG has every slice of the stack, and refers to its frames by their numbers in the file."""
    positions = [0, 1, 2, 3, 13, 12, 11, 10] if kind == "far" else [0, 1, 2, 3, 3, 2, 1, 0]
    axes = [AXIAL] * 4 + [SAGITTAL] * 4 if kind == "turned" else None
    space = "Volume" if kind == "Volume" else "Patient"
    data = enhanced(pixels((8, 6, 8)), positions, ["A"] * 4 + ["B"] * 4, axes, space)
    if axes:  # as by Philips
        measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        del data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        for group in data.PerFrameFunctionalGroupsSequence:
            group.PixelMeasuresSequence = measures
    series = find_series(save(data, tmp_path / "e.dcm"), None, "B", None)
    mask = marked() * (not empty)
    write_seg(mask, series, {1: "gland", 2: "tumour"}, tmp_path / "m.dcm")
    found = read_mask_volume(tmp_path / "m.dcm")
    assert np.array_equal(found.array, mask)
    assert found.geometry.difference(series.geometry) is None
    for group in pydicom.dcmread(tmp_path / "m.dcm").PerFrameFunctionalGroupsSequence:
        number = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        own = data.PerFrameFunctionalGroupsSequence[number - 1]
        place_ = own["PlanePositionVolumeSequence" if kind == "Volume" else "PlanePositionSequence"][0]
        assert group.PlanePositionSequence[0].ImagePositionPatient == next(iter(place_)).value
    assert highdicom.seg.segread(tmp_path / "m.dcm").segmentation_type.value == "BINARY"


def test_frames_that_do_not_begin_with_a_byte(tmp_path):
    write_series(tmp_path / "s", pixels((5, 5, 7)))
    mask = np.random.default_rng(0).integers(0, 3, (5, 5, 7)).astype(np.uint8)
    write_seg(mask, find_series(tmp_path / "s", None, None, None), {1: "gland", 2: "tumour"}, tmp_path / "m.dcm")
    assert np.array_equal(read_mask_volume(tmp_path / "m.dcm").array, mask)


def test_a_frame_beside_the_others_is_refused(tmp_path, scan):
    data = pydicom.dcmread(by_highdicom(scan, np.ones((4, 6, 8), np.uint8), tmp_path / "m.dcm", names=("gland",)))
    data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient[0] += 2
    save(data, tmp_path / "m.dcm")
    for onto in (None, read_volume(scan[0].parent).geometry):
        with pytest.raises(DataError, match="do not lie on one line, 2 mm off"):
            read_mask_volume(tmp_path / "m.dcm", onto=onto)


def test_what_a_source_does_not_say_is_empty(tmp_path, scan):
    """As in files that were de-identified by removal; and a Japanese name, whose characters come in two sets."""
    for path in scan:
        data = pydicom.dcmread(path)
        for key in (*IDENTITY, "StudyDate", "StudyTime", "SliceThickness"):
            delattr(data, key)
        data.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        data.PatientName = "Yamada^Tarou=山田^太郎"
        save(data, path)
    series = find_series(scan[0].parent, None, None, None)
    write_seg(marked(), series, {1: "gland", 2: "tumour"}, tmp_path / "m.dcm")
    found = pydicom.dcmread(tmp_path / "m.dcm")
    assert found.PatientName == "Yamada^Tarou=山田^太郎"
    assert all(key in found and not str(found[key].value) for key in (*IDENTITY[1:], "StudyDate", "StudyTime"))
    assert np.array_equal(read_mask_volume(tmp_path / "m.dcm").array, marked())
    write_seg(marked() + np.uint8(5), series, {6: "gland"}, tmp_path / "m.dcm")  # 5 is background
    assert np.array_equal(read_mask_volume(tmp_path / "m.dcm").array, (marked() == 1) * 6)


def test_codes():
    assert codes_of("prostate")[1] == codes.SCT.Prostate
    assert codes_of("left_kidney")[0] in (codes.SCT.AnatomicalStructure, codes.SCT.Tissue)
    assert codes_of("big tumour") == (codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Neoplasm)
    assert codes_of("necrosis")[0] == codes.SCT.MorphologicallyAbnormalStructure
    assert codes_of("stent")[0] == codes.SCT.PhysicalObject
    assert codes_of("left") == codes_of("water") == (codes.SCT.Tissue, codes.SCT.Tissue)  # known, but no segments
    assert codes_of("thing") == (codes.SCT.Tissue, codes.SCT.Tissue)
    assert MARKED.classes == ("background", "gland", "tumour")
    assert datasets.ADAPTERS["dicom"] is Dicom
    assert place(0)["PixelSpacing"] == [0.7, 0.5]
