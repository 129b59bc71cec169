"""Floors on images whose best rules are known by hand, and what is said of networks that lie below them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datasets import Regions
from engine.console.sections import Section
from engine.experiment.run import Run
from engine.scoring import results
from engine.scoring.baseline import floors
from engine.scoring.floors import floor_section, read_floors
from engine.scoring.pooling import pooled
from segloss.document import Primary
from segloss.scores import SegmentationScores

PRIMARY = Primary("dataset", "mIoU")
CLASSES = ["background", "object"]
ALL = SimpleNamespace(labelled=None)


def still(image, mask):
    """A case of one slice; `image` `(H, W)` or `(H, W, channels)` uint8."""
    image = image if image.ndim == 3 else image[..., None]
    pixels = tuple(np.bincount(mask[mask != 255], minlength=3).tolist())
    return SimpleNamespace(
        image=lambda _: image, masks=lambda: mask[None], shape=(1, *mask.shape), pixels=pixels, case=ALL
    )


def square(corner, side=16, size=64):
    mask = np.zeros((size, size), np.uint8)
    mask[corner : corner + side, corner : corner + side] = 1
    return mask


def test_a_class_of_one_grey_value_is_found_by_it_wherever_it_lies():
    training = [still((100 + 50 * square(at)).astype(np.uint8), square(at)) for at in (0, 20, 40)]
    test = still((100 + 50 * square(9)).astype(np.uint8), square(9))
    found = floors(training, CLASSES, 0, pooled=True)
    assert np.array_equal(found["colours"].predict(test, (1, 64, 64))[0], square(9))
    assert not found["commonest"].predict(test, (1, 64, 64)).any()


def test_a_class_that_always_lies_in_one_place_is_found_by_it_whatever_it_looks_like():
    rng = np.random.default_rng(0)
    training = [still(rng.integers(0, 255, (64, 64, 3), np.uint8), square(16)) for _ in range(5)]
    found = floors(training, CLASSES, 0, pooled=False)
    assert np.array_equal(found["mean_mask"].predict(training[0], (1, 64, 64))[0], square(16))
    larger = found["mean_mask"].predict(training[0], (1, 128, 128))[0]
    assert np.array_equal(larger, square(32, 32, 128))


def test_the_threshold_is_the_best_on_the_training_part():
    """In grey 10 every second pixel is of class 1, in grey 200 one of ten: DSC 2·32/(64 + 42) of the first alone."""
    image = np.repeat([[10], [200]], [1, 2], axis=0).repeat(64, axis=1).astype(np.uint8)  # 64 and 128 pixels
    mask = np.zeros((3, 64), np.uint8)
    mask[0, ::2] = 1
    mask[1, :10] = 1
    rule = floors([still(image, mask)], CLASSES, 0, pooled=True)["colours"]
    assert 2 * 32 / (64 + 42) > 2 * 42 / (192 + 42)
    assert (rule.labels[10], rule.labels[200]) == (1, 0)


def test_a_region_has_a_rule_of_its_own():
    """Grey 10 is of neither class often enough (DSC 20/23 without it, 26/33 with it), of their union it is (52/56)."""
    image = np.repeat([[10], [20], [30]], 10, axis=1).astype(np.uint8)
    mask = np.array([[1, 1, 1, 2, 2, 2, 0, 0, 0, 0], [1] * 10, [2] * 10], np.uint8)
    classes, regions = ["background", "rim", "core"], Regions({"whole": [1, 2], "core": [2]}, 3)
    by_class = floors([still(image, mask)], classes, 0, pooled=True)["colours"].labels
    by_region = floors([still(image, mask)], classes, 0, pooled=True, regions=regions)["colours"].labels
    assert by_class[[10, 20, 30, 40]].tolist() == [0, 1, 2, 0]
    assert by_region[[10, 20, 30, 40]].tolist() == [1, 1, 2, 0]


def test_ignored_pixels_and_images_of_other_channels():
    mask = square(0)
    mask[32:] = 255
    grey = np.where(mask == 1, 9, 90).astype(np.uint8)
    assert floors([still(grey, mask)], CLASSES, 0, pooled=True)["colours"].labels[[9, 90]].tolist() == [1, 0]
    two = still(np.zeros((64, 64, 2), np.uint8), mask)
    assert sorted(floors([two], CLASSES, 0, pooled=True)) == ["commonest", "mean_mask"]


def run(folder, floors):
    folder.mkdir()
    (folder / "baseline.json").write_text(json.dumps({"floors": floors}))
    return Run(folder)


def test_what_lies_below_is_said(tmp_path):
    one = {"colours": {"dataset": {"mIoU": 0.2, "mDSC": 0.3}}, "commonest": {"dataset": {"mIoU": None, "mDSC": 0.0}}}
    other = {"colours": {"dataset": {"mIoU": 0.4, "mDSC": 0.3}}}
    found = read_floors([run(tmp_path / "a", one), run(tmp_path / "b", other), Run(tmp_path / "none")], PRIMARY)
    assert found == {"colours": pytest.approx(0.3)}
    section = floor_section(found, {"ce": 0.25, "dfl": 0.31, "mse": None}, PRIMARY)
    assert isinstance(section, Section)
    assert section.bad
    assert section.lines[0] == (
        "warning: the best rule of grey values or colours reaches dataset mIoU 0.3000; ce is not above it"
    )
    both = floor_section(found, {"ce": 0.25, "dfl": 0.1}, PRIMARY)
    assert both is not None
    assert "; none is above it" in both.lines[0]
    above = floor_section(found, {"ce": 0.5}, PRIMARY)
    assert above is not None
    assert not above.bad
    assert above.lines[0] == "above the best rule of grey values or colours, which reaches dataset mIoU 0.3000"
    equal = floor_section({"commonest": 0.0}, {"ce": 0.0}, PRIMARY)
    assert equal is not None
    assert equal.lines[0].endswith("reaches dataset mIoU 0.0000; ce is not above it")
    assert floor_section({}, {"ce": 0.5}, PRIMARY) is None


def test_folds_are_held_against_the_floors_of_folds(tmp_path):
    """What predicts as a floor does is not above or below it, whatever the folds hold.

    Background alone: of a fold with cracks half of the classes are found, of one without all of them. Of the cases of
    both folds together half of the classes are found.
    """
    targets = torch.tensor([[[0, 0, 1, 1]], [[0, 0, 0, 0]]])
    documents = []
    for target in targets:
        scores = SegmentationScores(2)
        scores.update(torch.zeros_like(target), target, image=[0], case=[0])
        documents.append(scores.document(["ground", "crack"], ["a"], ["a"], kind="still"))
    runs = [
        run(tmp_path / f"fold-{fold}", {"commonest": {"dataset": {"mIoU": document.primary}}})
        for fold, document in enumerate(documents)
    ]
    section = results.floors_beside(documents, runs)
    assert section is not None
    assert section.columns == ["prediction", "dataset mIoU, mean of 2 folds"]
    assert [row[1] for row in section.rows] == [f"{(0.5 / 2 + 1) / 2:.4f}"] * 2
    assert pooled(documents, [[], []]).primary == pytest.approx(6 / 8 / 2)


def test_what_has_no_score_is_not_said_to_lie_above():
    undefined = floor_section({"commonest": 0.0}, {"ce": None}, PRIMARY)
    assert undefined is not None
    assert undefined.lines[0] == (
        "the commonest class everywhere reaches dataset mIoU 0.0000; it is not defined of what is scored here"
    )
    one = floor_section({"commonest": 0.0}, {"ce": None, "dfl": 0.1}, PRIMARY)
    assert one is not None
    assert one.lines[0].startswith("dfl: above the commonest class everywhere")
