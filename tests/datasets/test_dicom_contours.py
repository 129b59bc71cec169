"""Contours of RTSTRUCT as masks: against another rasteriser, by number and by name, and what is refused."""

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from datasets import DataError, Dicom, noted, read_mask_volume
from datasets.dicom_contours import filled
from segloss_tests.dicoms import AXIAL, SAGITTAL, pixels, save, structures, write_series

SHAPE = (20, 24)
SQUARE = [(2, 3), (8, 3), (8, 9), (2, 9)]
LABELS = {"background": 0, "gland": 1, "lesion": 2}


def outlined(contours, shape=SHAPE):
    """Pixel centres in an odd number of polygons, by matplotlib."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    return (sum(Outline(corners, closed=False).contains_points(centres) for corners in contours) % 2 == 1).reshape(
        shape
    )


def star(rng, corners):
    """A polygon that crosses no pixel's centre."""
    angles, radii = np.sort(rng.uniform(0, 2 * np.pi, corners)), rng.uniform(2, 9, corners)
    return np.stack([12 + radii * np.cos(angles), 10 + radii * np.sin(angles)], axis=1) + 0.0137


@pytest.mark.parametrize("seed", range(20))
def test_polygons_are_filled_as_another_rasteriser_fills_them(seed):
    rng = np.random.default_rng(seed)
    contours = [star(rng, 3 + seed), star(rng, 5) / 3 + 6]
    assert np.array_equal(filled(contours[:1], SHAPE), outlined(contours[:1]))
    assert np.array_equal(filled(contours, SHAPE), outlined(contours))  # a hole, or two parts


def test_squares_by_hand():
    square = np.array(SQUARE) - 0.5  # around the pixels 2..7, 3..8
    expected = np.zeros(SHAPE, bool)
    expected[3:9, 2:8] = True
    assert np.array_equal(filled([square], SHAPE), expected)
    hole = np.array([(4, 5), (6, 5), (6, 7), (4, 7)]) - 0.5
    expected[5:7, 4:6] = False
    assert np.array_equal(filled([square, hole], SHAPE), expected)
    assert np.array_equal(filled([square[::-1], hole], SHAPE), expected)  # whichever way round
    neighbours = [np.array(SQUARE), np.add(SQUARE, [6, 0])]  # which share a line of centres
    assert filled(neighbours, SHAPE).sum() == 2 * 36
    assert filled([np.array(SQUARE) - [100, 0]], SHAPE).sum() == 0
    assert filled([np.array(SQUARE) - [4, 5]], SHAPE).sum() == 4 * 4  # cut by the border


def contours(path, rois, *given, **options):
    return save(structures(rois, *given, **options), path)


def adapter(root, **given):
    return Dicom(str(root), labels=LABELS, **given)


@pytest.mark.parametrize("axes", [AXIAL, SAGITTAL, (0.6, 0.8, 0, -0.8, 0.6, 0)])
def test_structures_become_labels_of_their_numbers(tmp_path, axes):
    array = write_series(tmp_path / "p/scan", pixels((4, *SHAPE)), axes=axes)
    rng = np.random.default_rng(0)
    gland, lesion = [(1, star(rng, 9)), (2, star(rng, 7))], [(2, star(rng, 4) / 9 + [1, 2])]
    contours(tmp_path / "p/rt.dcm", {(1, "Prostata"): gland, (2, "les 1"): lesion}, axes)
    reader = adapter(tmp_path)
    decoded = reader.read(reader.cases()[0])
    assert decoded.mask.shape == decoded.image.array.shape[:3]
    expected = np.zeros(array.shape, np.uint8)
    for at, corners in gland:
        expected[at][outlined([corners])] = 1
    expected[2][outlined([lesion[0][1]])] = 2
    assert (expected == 2).any()
    on_file = read_mask_volume(tmp_path / "p/rt.dcm", onto=decoded.image.source)
    assert np.array_equal(on_file.array, expected)
    assert np.bincount(decoded.mask.ravel()).tolist() == np.bincount(expected.ravel()).tolist()
    assert tmp_path / "p/rt.dcm" in reader.sources(reader.cases()[0])


def test_structures_by_name_unite_and_leave_out_what_no_class_names(tmp_path):
    write_series(tmp_path / "p/scan", pixels((4, *SHAPE)))
    inner = [(4, 5), (6, 5), (6, 7), (4, 7)]
    rois = {
        (7, "BODY"): [(1, [(-0.5, -0.5), (23.5, -0.5), (23.5, 19.5), (-0.5, 19.5)])],
        (3, "CTV_prostate"): [(1, SQUARE), (2, SQUARE)],
        (9, "GTV 1"): [(1, inner)],
        (4, "gtv 2"): [(3, inner)],
    }
    contours(tmp_path / "p/rt.dcm", rois)
    names = {"gland": "CTV*", "lesion": ["GTV*", "les*"]}
    reader = adapter(tmp_path, structures=names, overlap="labels")
    with noted() as notes:
        mask = reader.read(reader.cases()[0]).mask
    assert np.bincount(mask.ravel())[1:].tolist() == [2 * 36 - 4, 2 * 4]
    assert notes == [
        "1 structures that no class names, so background: 'BODY'; data.structures names those that are read"
    ]
    with pytest.raises(DataError, match=r"'GTV 1' overlaps others in 4 voxels of slice 2; .*data\.overlap: labels"):
        adapter(tmp_path, structures=names).read(reader.cases()[0])
    with pytest.raises(DataError, match=r"no structure that data\.structures names among 'BODY', 'CTV_prostate'"):
        adapter(tmp_path, structures={"gland": "organ"}).read(reader.cases()[0])
    with pytest.raises(DataError, match="'CTV_prostate' fits several classes"):
        adapter(tmp_path, structures={"gland": "CTV*", "lesion": "*prostate"}).read(reader.cases()[0])
    with pytest.raises(ValueError, match="structures: tumour is no class of labels"):
        adapter(tmp_path, structures={"tumour": "GTV*"})


def test_contours_within_contours_are_holes_and_that_is_said(tmp_path):
    write_series(tmp_path / "p/scan", pixels((4, *SHAPE)))
    inner = [(4, 5), (6, 5), (6, 7), (4, 7)]
    for kind, said in (("CLOSED_PLANAR", 1), ("CLOSEDPLANAR_XOR", 0)):
        contours(tmp_path / "p/rt.dcm", {(1, "gland"): [(1, SQUARE), (1, inner)]}, kind=kind)
        reader = adapter(tmp_path)
        with noted() as notes:
            mask = reader.read(reader.cases()[0]).mask
        assert (mask == 1).sum() == 36 - 4
        assert len(notes) == said


@pytest.mark.parametrize(
    ("drawn", "kind", "says"),
    [
        ([(1, SQUARE)], "OPEN_PLANAR", "has a contour of the kind 'OPEN_PLANAR'; expected closed ones"),
        ([(1.4, SQUARE)], "CLOSED_PLANAR", "lies between the slices of the scan or across them"),
        ([(9, SQUARE)], "CLOSED_PLANAR", "lies outside the scan, where slice 10 would be"),
        ([(1, SQUARE[:2])], "CLOSED_PLANAR", "of 6 numbers; expected x, y, z of 3 points at least"),
    ],
)
def test_contours_that_are_refused(tmp_path, drawn, kind, says):
    write_series(tmp_path / "p/scan", pixels((4, *SHAPE)))
    contours(tmp_path / "p/rt.dcm", {(1, "gland"): drawn}, kind=kind)
    reader = adapter(tmp_path)
    with pytest.raises(DataError, match=rf"rt\.dcm: [^\n]*{says}"):
        reader.read(reader.cases()[0])


def test_whose_contours(tmp_path):
    write_series(tmp_path / "p/scan", pixels((4, *SHAPE)))
    contours(tmp_path / "p/rt.dcm", {(1, "gland"): [(1, SQUARE)]}, series="1.9", space="1.9.9")
    reader = adapter(tmp_path)
    with pytest.raises(DataError, match=r"none of 1 RTSTRUCT refers to the series 1\.2\.3\.4"):
        reader.read(reader.cases()[0])
    by_pattern = adapter(tmp_path, images="{name}/scan", masks="{name}/rt.dcm")
    with pytest.raises(DataError, match=r"rt\.dcm: refers to the series 1\.9 in another space"):
        by_pattern.read(by_pattern.cases()[0])
    contours(tmp_path / "p/rt.dcm", {(1, "gland"): [(1, SQUARE)]})
    assert (by_pattern.read(by_pattern.cases()[0]).mask == 1).sum() == 36
    with pytest.raises(DataError, match="contours have no grid of their own"):
        read_mask_volume(tmp_path / "p/rt.dcm")
