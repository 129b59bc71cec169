"""What is drawn of a run: features, curves, matrices; for two and for many classes."""

import io

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from scipy import sparse
from sklearn.decomposition import PCA
from torch import nn

import models
from engine.experiment.device import launch
from engine.pictures.class_curves import class_curves
from engine.pictures.diagnostics import FEW, confusion_picture, features_picture, reliability_picture
from engine.pictures.figures import curves
from engine.pictures.gallery import gallery
from engine.pictures.palette import palette
from engine.scoring.features import POINTS, _Drawn, _head_input, embedded, features, principal_components
from segloss.calibration import Calibration
from segloss.document import Primary
from segloss_tests.networks import build


class Stills:
    """Samples as `features` sees them: an image, its mask, and what it holds."""

    def __init__(self, images, masks, classes):
        self.images, self.masks, self.classes = images, masks, classes

    def __getitem__(self, index):
        return {"image": self.images[index], "mask": self.masks[index]}

    def counts(self):
        pixels = np.array([[int((mask == index).sum()) for index in range(self.classes)] for mask in self.masks])
        return sparse.csr_array(pixels), sparse.csr_array(pixels)


@pytest.fixture(scope="module")
def fabric(tmp_path_factory):
    from engine.configuration.config import TrainSection

    return launch(TrainSection(epochs=1, batch_size=1, device="cpu"))


@pytest.mark.parametrize("name", list(models.MODELS))
def test_features_of_every_network_make_its_logits(name, fabric):
    """What was caught is what the first head turns into logits; the mask is read on that grid."""
    torch.manual_seed(0)
    network = build(name)
    images, mask = torch.randn(2, 3, 65, 64), torch.randint(0, 3, (2, 65, 64))
    mask[:, :32] = 255
    if network.whole_image:
        mask = torch.randint(0, 3, (2, 1, 1))
    found = features(network, network, Stills(images, mask, 4), fabric)
    assert network.training
    head = network.get_submodule(network.heads[0])
    assert found.vectors.shape[1] == head.in_channels
    network.eval()
    with torch.no_grad():
        caught, logits = _head_input(network, network, images), network.low_resolution(images)
        if len(network.heads) == 1:
            torch.testing.assert_close(head(caught), logits, rtol=1e-3, atol=1e-4)
    assert len(found.vectors) == len(found.labels) == len(found.samples) > 0
    assert set(found.labels.tolist()) <= {0, 1, 2}


def test_features_are_those_of_the_pixels(fabric):
    """A network whose features are the image: each pixel comes with its own colour, at most 2000 / C a class."""
    body = nn.Sequential(nn.Identity(), nn.Conv2d(3, 4, 1))
    network = models.SegmentationModel(models.Network(body, 4, ("1",)))
    masks = torch.randint(0, 3, (20, 31, 30))
    masks[4, 5, 6] = 3
    masks[:, :3] = 255
    colours = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]])
    images = torch.cat([colours, torch.full((252, 3), -1.0)])[masks].movedim(-1, 1)
    found = features(network, network, Stills(images, masks, 4), fabric)
    np.testing.assert_array_equal(found.vectors, colours.numpy()[found.labels])
    assert np.bincount(found.labels).tolist() == [200, 200, 200, 1]
    assert found.samples[-1] == 4
    again = features(network, network, Stills(images, masks, 4), fabric)
    np.testing.assert_array_equal(found.samples, again.samples)
    many = features(network, network, Stills(images, masks, 40), fabric)
    assert np.bincount(many.labels).tolist() == [POINTS // 40] * 3 + [1]
    middle = features(network, network, Stills(images, masks, 4), fabric, window=(8, 8))
    centres = masks[sorted(set(middle.samples.tolist())), 11:19, 11:19]
    expected = [min(200, int((centres == index).sum())) for index in range(3)]
    assert np.bincount(middle.labels).tolist() == expected
    assert min(expected) < 200


def test_the_draw_is_even():
    """Of 40 pixels in four batches of unequal size each is as likely among the eight."""
    times, rng = np.zeros(40), np.random.default_rng(0)
    for _ in range(2000):
        drawn = _Drawn(8)
        for start, stop in ((0, 1), (1, 4), (4, 30), (30, 40)):
            vectors = torch.arange(start, stop)[:, None]
            drawn.add(np.arange(stop - start), rng.random(stop - start), vectors, 0)
        times[[int(vector[0]) for *_, vector in drawn.best]] += 1
    assert np.abs(times / 2000 - 0.2).max() < 5 * (0.2 * 0.8 / 2000) ** 0.5


def test_principal_components_are_scikit_learn_s():
    vectors = np.random.default_rng(0).normal(size=(50, 6)) * [5, 3, 1, 1, 0.1, 0] + 7
    found, shares = principal_components(vectors)
    theirs = PCA(2, svd_solver="full").fit(vectors)
    np.testing.assert_allclose(np.abs(found), np.abs(theirs.transform(vectors)), atol=1e-9)
    np.testing.assert_allclose(shares, theirs.explained_variance_ratio_)
    turned, _ = principal_components(-vectors)
    np.testing.assert_allclose(np.abs(turned), np.abs(found), atol=1e-9)
    assert (found[np.abs(found).argmax(0), [0, 1]] > 0).all()


def test_t_sne_keeps_clusters_apart_that_principal_components_lay_upon_each_other():
    """Twelve clusters around orthogonal axes: the nearest neighbour is of the same one. Drawn alike each time."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 10)
    vectors = 5 * np.eye(12)[labels] + 0.5 * rng.normal(size=(120, 12))
    points, _ = principal_components(vectors)
    chosen, found = embedded(points, vectors)
    assert chosen.tolist() == [*range(120)]
    shares = []
    for places in (points, found):
        apart = ((places[:, None] - places) ** 2).sum(-1) + np.diag(np.full(120, np.inf))
        shares.append((labels[apart.argmin(1)] == labels).mean())
    assert shares[0] < 0.8
    assert shares[1] == 1
    np.testing.assert_array_equal(embedded(points, vectors)[1], found)


@pytest.mark.parametrize("shape", [(0, 0), (1, 5), (4, 1), (3, 2)])
def test_few_and_equal_features_have_components_too(shape):
    points, shares = principal_components(np.ones(shape))
    assert len(embedded(points, np.ones(shape))[0]) == 0
    assert points.shape == (shape[0], 2)
    assert not points.any()
    assert not shares.any()


def test_one_feature_has_one_component():
    line, shares = principal_components(np.array([[0.0], [1.0], [5.0]]))
    np.testing.assert_allclose(line, [[-2, 0], [-1, 0], [3, 0]], atol=1e-12)
    assert shares.tolist() == [1, 0]


def history(classes, epochs=4):
    rng = np.random.default_rng(0)
    for epoch in range(1, epochs + 1):
        shares = {name: rng.dirichlet(np.ones(len(classes))).tolist() for name in ("pixels", "loss", "gradient")}
        scores = {"classes": {name: {"IoU": None if epoch == 1 else rng.random()} for name in classes}}
        yield {"epoch": epoch, "loss": 1 / epoch, "score": 0.5, "acw": rng.random(len(classes)).tolist()} | {
            "shares": shares, "validation": {"dataset": scores}
        }  # fmt: skip


def titles(figure):
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


@pytest.mark.parametrize("count", [2, 19])
def test_every_class_has_its_curve(count):
    classes = [f"class {index}" for index in range(count)]
    entries = list(history(classes))
    figure = class_curves(entries, classes, Primary("dataset", "mIoU"))
    assert titles(figure) == [
        "validation dataset IoU", "adaptive class weights", "share of the loss", "share of the gradient at the logits"
    ]  # fmt: skip
    gradient = figure.axes[3]
    drawn = {line.get_label(): line.get_ydata() for line in gradient.lines if line.get_label() in classes}
    for index, name in enumerate(classes):
        np.testing.assert_allclose(drawn[name], [entry["shares"]["gradient"][index] for entry in entries])
    figure.savefig(io.BytesIO(), format="svg")


def test_logs_of_older_programs_and_of_other_losses_are_drawn():
    classes = ["a", "b"]
    entries = list(history(classes))
    old = [{key: value for key, value in entry.items() if key != "shares"} | {"acw": None} for entry in entries]
    assert titles(class_curves(old, classes, Primary("dataset", "mIoU"))) == ["validation dataset IoU"]
    mixed = [*old[:2], *entries[2:]]
    mixed[3]["shares"]["loss"] = mixed[2]["shares"]["loss"] = None
    mixed[1] |= {"shares": None}
    found = class_curves(mixed, classes, Primary("dataset", "mIoU"))
    assert "share of the loss" not in titles(found)
    assert "share of the gradient at the logits" in titles(found)
    bare = [{"epoch": 1, "loss": 1.0, "score": None, "acw": None}]
    assert class_curves(bare, classes, Primary("dataset", "mIoU")) is None
    curves(bare, "dataset mIoU").savefig(io.BytesIO())


@pytest.mark.parametrize("count", [2, 19])
def test_matrix_reliability_and_features_are_drawn(count):
    classes = [f"class {index}" for index in range(count)]
    matrix = np.random.default_rng(0).integers(0, 10**6, (count, count))
    matrix[1] = 0
    figure = confusion_picture(matrix.tolist(), classes)
    figure.savefig(io.BytesIO())
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == count * (count - 1)
    assert texts[0] == f"{100 * matrix[0, 0] / matrix[0].sum():.1f}"

    seen = Calibration(count)
    seen.update(torch.randn(1, count, 40, 40), torch.randint(0, count, (1, 40, 40)))
    document = seen.document(classes)
    figure = reliability_picture(document)
    figure.savefig(io.BytesIO())
    bins = [one for one in document["bins"] if one["count"] >= FEW]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [one["accuracy"] for one in bins])
    left, right = reliability_picture(document, regions=True).axes[:2]
    assert left.get_title().startswith("in or out of a region: ECE")
    assert right.get_xlabel() == "probability of the region"
    nothing = Calibration(count).document(classes)
    reliability_picture(nothing).savefig(io.BytesIO())

    labels = np.random.default_rng(0).integers(0, count, 300)
    points, every = np.random.default_rng(0).normal(size=(300, 2)), np.arange(300)
    for chosen in (every, every[::2], every[:0]):
        figure = features_picture(points, np.array([0.5, 0.2]), labels, (chosen, points[chosen]), classes)
        assert len(figure.axes) == (2 if len(chosen) else 1)
        for axis, shown in zip(figure.axes, (labels, labels[chosen]), strict=False):
            drawn = {points.get_label(): len(points.get_offsets()) for points in axis.collections}
            assert drawn == {name: int((shown == index).sum()) for index, name in enumerate(classes)}
    figure.savefig(io.BytesIO())


def test_the_accuracy_of_the_training_part_is_drawn_beside_that_of_validation():
    scores = [{"accuracy": 0.4 + 0.1 * epoch, "f1": 0.3} for epoch in range(3)]
    history = [
        {"epoch": n + 1, "loss": 1.0, "score": one["f1"], "train_accuracy": 0.2 * n, "validation": {"dataset": one}}
        for n, one in enumerate(scores)
    ]
    history.append({"epoch": 4, "loss": 1.0, "score": None, "train_accuracy": None})
    for primary, names in (("macro F1", 3), ("accuracy", 2)):
        axis = curves(history, primary).axes[1]
        lines = {line.get_label(): line.get_ydata() for line in axis.lines}
        assert len(lines) == names
        np.testing.assert_allclose(lines["accuracy on the training part, while it trains"], [0, 0.2, 0.4])
        np.testing.assert_allclose(lines[f"validation {primary}"], [0.3] * 3)
    np.testing.assert_allclose(axis.lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(curves(history, "macro F1").axes[1].lines[2].get_ydata(), [0.4, 0.5, 0.6])


def test_figures_of_many_classes_stay_of_a_size_and_name_none():
    names = [f"class {index}" for index in range(200)]
    confusion = confusion_picture(np.eye(200, dtype=int).tolist(), names, "images")
    assert max(confusion.get_size_inches()) < 12
    assert not confusion.axes[0].get_xticklabels()
    scores = {"dataset": {"classes": {name: {"recall": 0.5} for name in names}}}
    history = [{"epoch": 1, "score": 0.5, "loss": 1.0, "validation": scores}]
    curves_of_classes = class_curves(history, names, Primary("dataset", "accuracy"))
    assert max(curves_of_classes.get_size_inches()) < 12
    assert not curves_of_classes.legends
    axis = curves_of_classes.axes[0]
    assert not axis.lines  # a thousand take half a minute
    (lines,) = [one for one in axis.collections if isinstance(one, LineCollection)]
    assert [one.tolist() for one in lines.get_segments()] == [[[1, 0.5]]] * 200
    labels, every = np.arange(300) % 200, np.arange(300)
    places = np.random.default_rng(0).normal(size=(300, 2))
    axis = features_picture(places, np.ones(2), labels, (every[:0], places[:0]), names).axes[0]
    (drawn,) = axis.collections
    np.testing.assert_array_equal(drawn.get_offsets(), places)
    np.testing.assert_allclose(drawn.get_facecolors()[:, :3], palette(200)[labels])


def test_pictures_lie_in_rows_each_under_its_text():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (20, 40, 3), dtype=np.uint8) for _ in range(11)] + [rng.random((30, 10, 1))]
    figure = gallery(images, [[f"class {index}", "→ other"] for index in range(12)], "all")
    (axis,) = figure.axes
    assert [text.get_text().splitlines()[0] for text in axis.texts] == [f"class {index}" for index in range(12)]
    extents = np.array([one.get_extent() for one in axis.images])  # left, right, bottom, top; downwards
    sides = np.stack([extents[:, 2] - extents[:, 3], extents[:, 1] - extents[:, 0]], 1)
    np.testing.assert_allclose(sides[:, 0] / sides[:, 1], [one.shape[0] / one.shape[1] for one in images])
    np.testing.assert_allclose(sides.max(1), sides.max())
    rows = extents[:, 2].round(6)
    assert len({*rows[:10]}) == len({*rows[10:]}) == 1
    assert (extents[1:10, 0] > extents[:9, 1]).all()
    assert extents[10:, 3].min() > rows[0]
