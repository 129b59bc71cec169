"""What makers write into elements of their own: diffusion weights, slices of a MOSAIC; and doubled slices."""

import gzip
import shutil
import struct
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from datasets import DataError, Volume, read_volume
from datasets.dicom_index import Index
from segloss_tests.dicoms import (
    SAGITTAL,
    SPACING,
    STEP,
    TILE,
    dataset,
    image_header,
    mosaic,
    pixels,
    place,
    protocol,
    save,
    write_series,
)

MAKERS = {
    "siemens": ("SIEMENS", 0x0019, "SIEMENS MR HEADER", 0x0C, "IS", str),
    "ge": ("GE MEDICAL SYSTEMS", 0x0043, "GEMS_PARM_01", 0x39, "IS", lambda b: [b, 8, 0, 0]),
    "ge_new": ("GE MEDICAL SYSTEMS", 0x0043, "GEMS_PARM_01", 0x39, "IS", lambda b: [10**9 + b, 8, 0, 0]),
    "philips": ("Philips Medical Systems", 0x2001, "Philips Imaging DD 001", 0x03, "FL", float),
}


def weighted(folder, maker, form, weights=(0, 1400)):
    """A series with each slice once a weight, which its maker's own element says, in a form that files have."""
    name, group, creator, element, vr, value = MAKERS[maker]
    for count, weight in enumerate(weights):
        for at, plane in enumerate(pixels()):
            number = count * 4 + at + 1
            data = dataset(plane + 10 * count, instance=f"1.2.{number}", InstanceNumber=number, Manufacturer=name,
                           **place(at))  # fmt: skip
            block = data.private_block(group, creator, create=True)
            if form == "unknown":  # as programs leave it that do not know the element
                text = "\\".join(map(str, np.atleast_1d(value(weight)))).encode()
                block.add_new(element, "UN", struct.pack("<f", weight) if vr == "FL" else text + b" " * (len(text) % 2))
            else:
                block.add_new(element, vr, value(weight))
            if form == "stripped":  # of its creator, as programs leave it that de-identify
                del data[group, 0x10]
            save(data, folder / f"{number}")


@pytest.mark.parametrize("form", ["whole", "unknown", "stripped"])
@pytest.mark.parametrize("maker", MAKERS)
def test_private_diffusion_weights_name_stacks(tmp_path, maker, form):
    weighted(tmp_path / "s", maker, form)
    with pytest.raises(DataError, match=r"2 stacks .*'axial DiffusionBValue 0\.0' .*'axial DiffusionBValue 1400\.0'"):
        read_volume(tmp_path / "s")
    assert np.array_equal(read_volume(tmp_path / "s", stack="axial DiffusionBValue 1400.0").array, pixels() + 10)
    assert np.array_equal(read_volume(tmp_path / "s", series={"stack": "*BValue 0.0"}).array, pixels())


def test_the_standard_weight_names_stacks_too(tmp_path):
    for count, weight in enumerate((50.0, 800.0)):
        write_series(tmp_path / f"{count}", pixels() + count, DiffusionBValue=weight)
    assert np.array_equal(read_volume(tmp_path, stack="axial DiffusionBValue 800.0").array, pixels() + 1)


def test_a_stack_keeps_the_names_that_other_marks_give_it(tmp_path):
    weighted(tmp_path / "s", "siemens", "whole")
    for path in (tmp_path / "s").iterdir():
        data = pydicom.dcmread(path)
        data.SequenceName = "*ep_b0" if int(path.name) < 5 else "*ep_b1400t"
        data.save_as(path)
    by_weight = read_volume(tmp_path / "s", stack="axial DiffusionBValue 1400.0").array
    assert np.array_equal(read_volume(tmp_path / "s", stack="axial SequenceName *ep_b1400t").array, by_weight)


@pytest.mark.parametrize("interleaved", [True, False])
def test_doubled_slices_that_nothing_tells_apart_are_stacks_by_their_numbers(tmp_path, interleaved):
    for count in range(2):
        for at, plane in enumerate(pixels()):
            number = 2 * at + count if interleaved else 4 * count + at
            data = dataset(plane + 10 * count, instance=f"1.2.{number}", InstanceNumber=number, **place(at))
            save(data, tmp_path / f"s/{at}{count}")
    with pytest.raises(DataError, match=r"2 stacks .*'axial part 1' \(4 frames of 8x6\), 'axial part 2'"):
        read_volume(tmp_path / "s")
    for count in range(2):
        assert np.array_equal(read_volume(tmp_path / "s", stack=f"axial part {count + 1}").array, pixels() + 10 * count)


def test_copies_of_slices_are_no_stacks(tmp_path):
    write_series(tmp_path / "s")
    for path in [*(tmp_path / "s").iterdir()]:
        shutil.copy(path, tmp_path / f"s/copy of {path.name}")
    with pytest.raises(DataError, match=r"4 of 8 slices lie where another one lies \(doubled\)"):
        read_volume(tmp_path / "s")


# MOSAIC


def expected(folder, array, axes):
    """The same volume as one file a slice."""
    write_series(folder, array, axes=axes, step=STEP, spacing=SPACING)
    return read_volume(folder)


@pytest.mark.parametrize("says", ["protocol", "image header", "both, stripped"])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("axes", [(1, 0, 0, 0, 1, 0), SAGITTAL, (1, 0, 0, 0, 0.8, -0.6)])
def test_a_mosaic_is_the_volume_of_its_tiles(tmp_path, axes, backwards, says):
    array = pixels((5, *TILE))
    data = mosaic(array, axes, backwards)
    block = data.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    normal = np.cross(axes[:3], axes[3:]) * (-1 if backwards else 1)
    if says != "protocol":
        block.add_new(0x10, "OB", image_header(SliceNormalVector=normal, NumberOfImagesInMosaic=[5]))
    if says != "image header":
        block.add_new(0x20, "OB", protocol(array, axes))
    if says == "both, stripped":
        del data[0x0029, 0x0010]
    save(data, tmp_path / "m.dcm")
    found, same = read_volume(tmp_path / "m.dcm"), expected(tmp_path / "s", array, axes)
    assert np.array_equal(found.array, same.array)
    np.testing.assert_allclose(found.affine, same.affine, atol=1e-4)


@pytest.mark.filterwarnings("ignore:The DICOM readers are highly experimental")
@pytest.mark.parametrize("weight", [0, 1000])
def test_mosaics_of_a_scanner_are_what_nibabel_makes_of_them(tmp_path, weight):
    """With files that nibabel ships for its own tests."""
    from nibabel.nicom import dicomwrappers

    shipped = Path(nibabel.__file__).parent / f"nicom/tests/data/siemens_dwi_{weight}.dcm.gz"
    (tmp_path / "m.dcm").write_bytes(gzip.decompress(shipped.read_bytes()))
    found, theirs = read_volume(tmp_path / "m.dcm"), dicomwrappers.wrapper_from_file(tmp_path / "m.dcm")
    array, affine = np.asarray(theirs.get_data()), np.diag([-1.0, -1.0, 1.0, 1.0]) @ theirs.affine
    same = Volume(np.moveaxis(array, (0, 1, 2), (2, 1, 0)), affine).reordered(found.axes)
    assert np.array_equal(found.array, same.array)
    np.testing.assert_allclose(found.affine, same.affine, atol=1e-4)
    (mark,) = {mark for frame in Index().header(tmp_path / "m.dcm").frames for mark in frame.marks if "BValue" in mark}
    assert mark == f"DiffusionBValue {weight:.1f}"


def test_mosaics_of_several_times_are_stacks(tmp_path):
    array = pixels((5, *TILE))
    for time in (1, 2):
        data = mosaic(array + time, SAGITTAL, False, AcquisitionNumber=time, SOPInstanceUID=f"1.2.{time}")
        data.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 5)
        data.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x20, "OB", protocol(array, SAGITTAL))
        save(data, tmp_path / f"s/{time}")
    assert np.array_equal(read_volume(tmp_path / "s", stack="sagittal AcquisitionNumber 2").array, array + 2)


def test_a_mosaic_that_does_not_say_enough_is_refused(tmp_path):
    array = pixels((5, *TILE))
    data = mosaic(array, SAGITTAL, False)
    save(data, tmp_path / "m.dcm")
    with pytest.raises(DataError, match=r"m\.dcm: a MOSAIC, and nothing says how many slices it holds"):
        read_volume(tmp_path / "m.dcm")
    data.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 5)
    save(data, tmp_path / "m.dcm")
    with pytest.raises(DataError, match="in which direction its slices follow each other"):
        read_volume(tmp_path / "m.dcm")
    data.private_block(0x0019, "SIEMENS MR HEADER").add_new(0x0A, "US", 20)
    save(data, tmp_path / "m.dcm")
    with pytest.raises(DataError, match=r"20 slices in a MOSAIC of 18x12 pixels, which 5 x 5 tiles do not fill"):
        read_volume(tmp_path / "m.dcm")


def test_a_mosaic_numbered_from_the_head_by_hand(tmp_path):
    """The numbers of an fMRI of a Trio, 50 slices of 80x80 in 8x8 tiles of 2.5 mm, 3.08 mm apart, head to feet.

    Its position is that of a picture of 640x640 around the centre of the first tile's slice, whose own first pixel is
    (640 - 80) / 2 = 280 pixels to the right and down, 700 mm each:
        x: -801.44684 + 700 *  0.99999990 + 700 * -0.00000002 = -101.44691
        y: -778.04626 + 700 * -0.00008260 + 700 *  0.98228820 =  -90.50235
        z:  238.64002 + 700 * -0.00043309 + 700 * -0.18737636 =  107.17341
    The centre of this slice is another 40 pixels, 100 mm, to the right and down: (-1.44691, 7.71821, 88.39246). That is
    where the protocol has its last slice, 49, so the first tile is at the head, and the tiles go down to slice 0 at
    (-1.51348, -20.56062, -59.85446): in steps of 3.08 mm, 49 of them 150.92 mm along the normal. Upwards from the first
    tile, as the converter's NIfTI of this file has them, they would leave what the protocol has scanned.
    """
    centres = {0: (-1.513475754, -20.56062043, -59.85445753), 49: (-1.446935604, 7.71821632, 88.39246272)}
    lines = ["sSliceArray.lSize = 50", "sSliceArray.ucImageNumbTra = 0x1"]
    for at, centre in centres.items():
        axes = zip(("Sag", "Cor", "Tra"), centre, strict=True)
        lines += [f"sSliceArray.asSlice[{at}].sPosition.d{axis} = {value}" for axis, value in axes]
    tiles = np.repeat(np.repeat(np.arange(64, dtype=np.uint16).reshape(8, 8), 80, 0), 80, 1)
    data = dataset(
        tiles,
        ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
        Manufacturer="SIEMENS",
        ImagePositionPatient=[-801.44684334411, -778.04626428245, 238.64002127808],
        ImageOrientationPatient=[
            0.9999999028,
            -8.25950967e-5,
            -0.000433087623,
            -1.81935549e-8,
            0.982288196,
            -0.187376359,
        ],
        PixelSpacing=[2.5, 2.5],
        SpacingBetweenSlices=3.080000029347,
    )
    data.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x20, "OB", "\n".join(lines).encode())
    found = read_volume(save(data, tmp_path / "m.dcm"))
    assert found.array[:, 7, 7].tolist() == [*range(49, -1, -1)]  # slices to the head, so the last tile first
    at_head = found.affine @ [0, 0, 49, 1]
    np.testing.assert_allclose(at_head[:3], [101.44691, 90.50235, 107.17341], atol=1e-3)
    for slice_, at in ((0, 0), (49, 49)):
        centre = found.affine @ [40, 40, slice_, 1]
        np.testing.assert_allclose(centre[:3] * [-1, -1, 1], centres[at], atol=2e-3)
    lowest = found.affine[:3, 3]
    assert np.linalg.norm(at_head[:3] - lowest) == pytest.approx(49 * 3.08, abs=1e-3)
