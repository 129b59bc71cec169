"""What leads: the mean without the background, the rarer of two classes, and each number once."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from engine.ablation.comparison import Method, measures
from engine.ablation.score_tables import scores_of
from engine.errors import UsageError
from engine.experiment.experiment import Experiment
from engine.scoring.leading import leading_class
from engine.scoring.mask_options import Options
from engine.scoring.mask_pairs import MaskPairs
from engine.scoring.pooling import pooled
from engine.scoring.tables import score_tables
from segloss import SegmentationScores

# 8 pixels each: of the second class 1 and 3 in the reference, 2 and 3 predicted, 1 and 2 of them right
REFERENCE = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1, 1, 1]])
PREDICTION = torch.tensor([[0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 0, 1, 1]])
IOU_CRACK, IOU_WALL = 3 / 6, 10 / 13


def scored(classes, cases=(0, 1), background=None, kind="still"):
    scores = SegmentationScores(len(classes), background=background)
    scores.update(PREDICTION, REFERENCE, image=[0, 1], case=cases)
    names = ["a", "b"]
    return scores.document(classes, names, names, kind=kind, grid="original")


@pytest.mark.parametrize(
    ("classes", "background", "expected"),
    [
        (["wall", "crack"], None, "crack"),
        (["Background", "crack"], None, None),  # scores.background: include
        (["wall", "crack"], 0, None),
        (["wall", "crack", "moss"], None, None),
    ],
)
def test_the_rarer_of_two_classes_leads_where_none_is_background(classes, background, expected):
    document = scored(classes, background=background)
    assert leading_class(document.header, document.rows) == expected


def test_neither_of_two_classes_of_equal_size_leads():
    document = scored(["wall", "crack"])
    rows = [row for row in document.rows if row.label == "crack"]
    rows += [type(row)(row.case, row.group, "wall", row.tp, row.fp, row.fn, row.scores) for row in rows]
    assert leading_class(document.header, rows) is None


def test_tables_and_comparisons_lead_with_the_rarer_class():
    document = scored(["wall", "crack"])
    first = next(iter(score_tables(document, "")))
    assert first.columns[:4] == ["aggregation", "DSC crack", "IoU crack", "mDSC"]
    mean = (IOU_WALL + IOU_CRACK) / 2
    assert first.rows[0][2:5:2] == [f"{IOU_CRACK:.4f}", f"{mean:.4f}"]
    method = Method("ce", {0: [document]})
    assert [one.title for one in measures(method)[:3]] == ["crack IoU", "mIoU", "wall IoU"]
    assert scores_of({"ce": method}).columns[2:4] == ["dataset IoU crack", "dataset mIoU"]
    assert scores_of({"ce": method}).rows[0][2:4] == [f"{IOU_CRACK:.4f}", f"{mean:.4f}"]


@pytest.mark.parametrize(
    ("kind", "cases", "expected"),
    [
        ("still", (0, 1), ["dataset", "case = image"]),
        ("volume", (0, 0), ["dataset = case", "image"]),
        ("volume", (0, 1), ["dataset", "case = image"]),  # volumes of one slice
    ],
)
def test_aggregations_that_are_the_same_numbers_are_shown_once(kind, cases, expected):
    document = scored(["background", "crack"], cases, 0, kind)
    first = next(iter(score_tables(document, "")))
    assert [row[0] for row in first.rows] == expected
    columns = scores_of({"ce": Method("ce", {0: [document]})}).columns[2:]
    assert len(columns) == len({*columns}) == 2 * len(expected)


@pytest.mark.parametrize(("choice", "expected"), [(None, 1), ("exclude", 1), ("include", None)])
@pytest.mark.parametrize("kind", ["still", "volume"])
def test_the_class_named_background_is_left_out_of_means_of_every_kind(kind, choice, expected):
    config = SimpleNamespace(scores=SimpleNamespace(background=choice))
    adapter = SimpleNamespace(kind=kind, classes=["crack", "Background"])
    assert Experiment(config, adapter, None).background == expected


@pytest.mark.parametrize(
    ("labels", "expected"), [("{background: 1, crack: 0}", "background"), ("{wall: 0, crack: 1}", None)]
)
def test_of_masks_of_stills_it_is_left_out_too(tmp_path, labels, expected):
    for folder in ("theirs", "reference"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.array([[0, 1, 1]], np.uint8)).save(tmp_path / folder / "a.png")
    pairs = MaskPairs.find(tmp_path / "theirs", tmp_path / "reference", Options.parse([f"labels={labels}"]))
    assert (None if pairs.background is None else pairs.classes[pairs.background]) == expected


def test_a_class_that_the_reference_does_not_hold_does_not_lead():
    scores = SegmentationScores(2, background=None)
    scores.update(torch.zeros(1, 8, dtype=torch.int64), torch.zeros(1, 8, dtype=torch.int64), image=[0], case=[0])
    document = scores.document(["wall", "crack"], ["a"], ["a"], kind="still", grid="original")
    assert leading_class(document.header, document.rows) is None


def test_means_with_and_without_the_background_are_not_mixed():
    both = [scored(["background", "crack"], background=index) for index in (None, 0)]
    with pytest.raises(UsageError, match="left out of the means"):
        pooled(both, [[], []])
    with pytest.raises(UsageError, match="ce: scored with different classes"):
        Method("ce", {0: both[:1], 1: both[1:]})
