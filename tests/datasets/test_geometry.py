"""Grids in space: named, compared, turned."""

import numpy as np
import pytest

from datasets import Geometry
from segloss_tests.orientations import ORDERS, turn


def grid(shape=(4, 5, 6), spacing=(0.5, 0.7, 3.0), rotation=None, origin=(10, -20, 30)):
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) * spacing
    affine[:3, 3] = origin
    return Geometry(shape, affine)


def test_properties_by_hand():
    geometry = grid()
    assert geometry.spacing == (3.0, 0.7, 0.5)
    assert geometry.axes == "RAS"
    assert geometry.voxel_ml == pytest.approx(0.5 * 0.7 * 3 / 1000)
    assert geometry.corners()[-1] == pytest.approx((10 + 5 * 0.5, -20 + 4 * 0.7, 30 + 3 * 3))
    assert Geometry((4, 5, 6), np.diag([-1, -1, 1, 1.0])).axes == "LPS"
    assert Geometry((4, 5, 6), np.array([[0, 0, 2, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])).axes == "PIR"


@pytest.mark.parametrize("about", [(0, 0, 1), (1, 1, 1), (1, 2, 3), (1, -1, 0)])
def test_every_axis_is_named_once_and_alike_in_any_order(about):
    """At 45° no direction is the nearest: the choice must not hang on the order of the indices."""
    for angle in (0.3, np.pi / 4, np.pi / 3, 2.2):
        geometry = grid(rotation=turn(angle, about))
        for axes in ORDERS:
            turned = geometry.reordered(axes)
            assert turned.axes == axes
            assert turned.reordered(geometry.axes).shape == geometry.shape
            np.testing.assert_allclose(turned.reordered(geometry.axes).affine, geometry.affine, atol=1e-9)


def test_a_tilted_plane_is_no_axis_twice():
    """The nearest axis of columns and of rows alone would be R for both."""
    rows = np.array([[0.8, 0.6, 0.0], [0.1, -0.3, 0.9], [0.5, -0.6, -0.3]]).T
    geometry = Geometry((3, 3, 3), np.block([[rows.T, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]]))
    assert {letter in "LR" for letter in geometry.axes} == {True, False}
    assert sum(letter in "LR" for letter in geometry.axes) == 1


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (grid(), None),
        (grid(origin=(10.0005, -20, 30)), None),
        (grid(spacing=(0.5 + 1e-4, 0.7, 3)), None),
        (grid(shape=(4, 5, 7)), "6 x 5 x 4 voxels against 7 x 5 x 4"),
        (grid(spacing=(0.5, 0.7, 3.3)), "spacing 0.5 x 0.7 x 3 mm against 0.5 x 0.7 x 3.3 mm"),
        (grid(spacing=(0.501, 0.7, 3)), "spacing 0.5 x 0.7 x 3 mm against 0.501 x 0.7 x 3 mm"),
        (grid(rotation=np.diag([-1, 1, 1])), "axes RAS against LAS"),
        (grid(rotation=turn(np.radians(10))), "directions that differ by 10°, corners by 0.654 mm"),
        (grid(origin=(10, -17, 34)), "position (10, -20, 30) against (10, -17, 34) mm, 5 mm apart"),
    ],
)
def test_differences_in_numbers(other, says):
    assert grid().difference(other) == says


def test_a_rotation_that_moves_far_corners_alone_is_one():
    """Of 0.02° about the first axis, by which neighbours move 1 µm at most and the last slice of 400 moves 0.4 mm."""
    large = grid((400, 5, 6)), grid((400, 5, 6), rotation=turn(np.radians(0.02), (1, 0, 0)))
    assert large[0].difference(large[1]).startswith("directions that differ by 0.02°, corners by 0.418 mm")


def test_directions_that_differ_are_those_of_the_same_index():
    one, other = (grid(rotation=turn(np.radians(angle), (1, 0, 0))) for angle in (30, 40))
    assert one.difference(other).startswith("directions that differ by 10°, ")


def test_voxels_of_a_micrometre_are_no_flat_ones():
    assert grid(spacing=(1e-3, 1e-3, 1e-3)).spacing == pytest.approx((1e-3, 1e-3, 1e-3))


@pytest.mark.parametrize("axes", ["", "LP", "LLS", "LPX", "lps", "LRS", "LPSS"])
def test_orders_that_are_none(axes):
    with pytest.raises(ValueError, match="three letters, one each of L or R"):
        grid().reordered(axes)


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((4, 5), np.eye(4)),
        ((4, 5, 0), np.eye(4)),
        ((4, 5, 6), np.eye(3)),
        ((4, 5, 6), np.diag([1, 1, 0, 1.0])),
        ((4, 5, 6), np.diag([1, 1, np.nan, 1.0])),
        ((4, 5, 6), np.diag([1, 1, 1, 2.0])),
        ((4, 5, 6), np.diag([1e200, 1e200, 1, 1.0])),
        ((4, 5, 6), np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])),
    ],
)
def test_no_grid(shape, affine):
    with pytest.raises(ValueError, match=r"volume has slices|affine must"):
        Geometry(shape, affine)
