"""The slices of a scan side by side: every grid is drawn, and what is drawn lies where it is."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.path import Path as Line
from PIL import Image

from engine.pictures.diagnostics import confusion_picture
from engine.pictures.figures import overlay
from engine.pictures.montage import montage


def contours(figure, index=0):
    """The closed lines of a slice."""
    found = [path for artist in figure.axes[index].collections for path in artist.get_paths()]
    return [Line(polygon) for path in found for polygon in path.to_polygons(closed_only=False)]


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 40), (3, 40, 1), (2, 512, 1), (24, 900, 2)])
def test_thin_scans_are_drawn(shape):
    """One row or one column has no contour of its own, and a tall figure would be too large to be saved."""
    labels = np.zeros(shape, np.uint8)
    labels[:, : shape[1] // 2 + 1] = 1
    image, classes = np.zeros((*shape, 1), np.float32), ["background", "gland"]
    slices = montage(image, {"prediction": labels}, classes, 0, "thin", (1.0, 1.0))
    for figure in (slices, overlay(image[0], labels[0], labels[0], classes, 0, "thin")):
        content = BytesIO()
        figure.savefig(content, dpi=110, format="png")
        assert max(Image.open(content).size) < 6000


def test_a_contour_closes_along_the_edge_of_the_image():
    labels = np.zeros((1, 10, 12), np.uint8)
    labels[0, 4:, 5:] = 1  # reaches the lower right corner
    image, names = np.zeros((1, 10, 12, 1), np.float32), ["background", "gland"]
    figure = montage(image, {"prediction": labels}, names, 0, "edge", (1.0, 1.0))
    (line,) = contours(figure)
    assert np.array_equal(line.vertices[0], line.vertices[-1])
    np.testing.assert_allclose([line.vertices.min(0), line.vertices.max(0)], [[5, 4], [12, 10]])
    inside = [[line.contains_point((x + 0.5, y + 0.5)) for x in range(12)] for y in range(10)]
    assert np.array_equal(inside, labels[0] == 1)


def test_slices_are_drawn_in_proportion_and_by_their_first_channel():
    """Coronal slices: 20 rows of 4 mm and 80 columns of 1 mm are a square."""
    image = np.random.default_rng(0).random((1, 20, 80, 3)).astype(np.float32)
    labels = np.ones((1, 20, 80), np.uint8)
    figure = montage(image, {"prediction": labels}, ["background", "gland"], 0, "square", (4.0, 1.0))
    figure.savefig(BytesIO(), dpi=110)
    (shown,) = figure.axes[0].images
    assert np.array_equal(shown.get_array(), image[0, ..., 0])
    box = figure.axes[0].get_window_extent()
    assert box.width / box.height == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("name", ["a$b", "$x_{$", "100$ or $\\frac{1$", "n" * 240, "^_~%#&{}"])
def test_names_are_drawn_as_they_are(name):
    """A dollar in the name of a class or a case is no formula."""
    labels = np.ones((1, 8, 8), np.uint8)
    image, classes = np.zeros((1, 8, 8, 1), np.float32), ["background", name[:20]]
    for figure in (
        montage(image, {"prediction": labels}, classes, 0, name, (1.0, 1.0)),
        overlay(image[0], labels[0], labels[0], classes, 0, name),
        confusion_picture([[1, 0], [0, 1]], classes),
    ):
        figure.savefig(BytesIO(), format="svg")
        figure.savefig(BytesIO(), dpi=50, format="png")
