"""Scores of pictures with one label, against scikit-learn and hand-worked numbers."""

import json

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy

from segloss import ClassificationScores
from segloss.calibration import Calibration
from segloss.document import Header, Picture, Primary, ScoresDocument

metrics = pytest.importorskip("sklearn.metrics")


def drawn(pictures=400, classes=8, seed=0, absent=()):
    """Logits without ties, and labels that leave some classes out."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([c for c in range(classes) if c not in absent], pictures)
    logits = rng.normal(size=(pictures, classes)) + 1.5 * np.eye(classes)[labels]
    return torch.from_numpy(logits), torch.from_numpy(labels)


def scored(logits, labels, sizes=(400,), **options):
    scores = ClassificationScores(logits.shape[1], **options)
    start = 0
    for size in sizes:
        batch = slice(start, start + size)
        scores.update(logits[batch], labels[batch], range(*batch.indices(len(logits))))
        start += size
    return scores


@pytest.mark.parametrize("absent", [(), (2, 5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_scores_are_those_of_scikit_learn(seed, absent):
    logits, labels = drawn(seed=seed, absent=absent)
    logits[:, 5] -= 9  # never predicted
    true, guess = labels.numpy(), logits.argmax(1).numpy()
    found = scored(logits, labels, (100, 300)).compute()
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(true, guess))
    assert found["f1"] == pytest.approx(metrics.f1_score(true, guess, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(
        metrics.recall_score(true, guess, labels=np.unique(true), average="macro")
    )
    assert found["top5"] == pytest.approx(metrics.top_k_accuracy_score(true, logits.numpy(), k=5, labels=range(8)))
    for index in np.unique(true):
        own = metrics.precision_recall_fscore_support(true, guess, labels=[index], zero_division=np.nan)
        for name, value in zip(("precision", "recall", "f1"), own[:3], strict=True):
            ours = found["classes"][str(index)][name]
            assert (np.nan if ours is None else ours) == pytest.approx(float(value[0]), nan_ok=True)


def test_a_class_that_no_picture_has_or_is_given_is_in_no_mean():
    logits = torch.eye(4)[[0, 0, 1, 1]]
    found = scored(logits, torch.tensor([0, 0, 1, 0]), (4,)).compute()
    assert found["f1"] == pytest.approx((2 * 2 / 5 + 2 / 3) / 2)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["classes"]["3"] == {"f1": None, "precision": None, "recall": None}
    assert found["top5"] is None  # of four classes all are among five


def test_order_batches_and_shape_do_not_matter():
    logits, labels = drawn()
    one = scored(logits, labels).document(list("abcdefgh"), [f"c{n}" for n in range(400)], ["g"] * 400)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    other = ClassificationScores(8)
    for part in order.split(77):
        other.update(logits[part][:, :, None, None], labels[part][:, None, None], part)
    assert other.document(list("abcdefgh"), [f"c{n}" for n in range(400)], ["g"] * 400).to_json() == one.to_json()


def test_frequent_and_rare_classes_by_the_recall_of_each():
    guess = torch.tensor([0, 0, 1, 2, 0, 3])
    labels = torch.tensor([0, 0, 1, 2, 2, 0])
    scores = scored(torch.eye(4)[guess], labels, (6,))
    found = scores.aggregation(list("abcd"), [101, 100, 19, 5])
    assert (found["many"], found["medium"], found["few"]) == pytest.approx((2 / 3, 1.0, 0.5))
    found = scores.aggregation(list("abcd"), [101, 100, 20, 5])
    assert (found["medium"], found["few"]) == (pytest.approx(0.75), None)  # no picture is of the fourth class


def test_logits_that_are_no_numbers_are_not_right():
    logits = torch.full((3, 7), torch.nan)
    scores = scored(logits, torch.tensor([6, 5, 6]), (3,))
    assert scores.compute()["accuracy"] == 0
    assert scores.compute()["top5"] == 0
    document = scores.document(list("abcdefg"), list("xyz"), list("xyz"))
    json.dumps(document.to_json(), allow_nan=False)


def test_logits_of_other_classes_are_refused():
    scores = ClassificationScores(3)
    with pytest.raises(ValueError, match=r"logits must be \(N, 3\)"):
        scores.update(torch.zeros(2, 4), torch.tensor([0, 1]), [0, 1])
    with pytest.raises(ValueError, match="image must hold whole numbers as ids"):
        scores.update(torch.zeros(1, 3), torch.tensor([0]), ["a"])


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(2, 3), torch.tensor([0, 3]), "1 pictures have a label outside 0..2"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), "target"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        scored(logits, labels, (2,)).compute()


def test_a_document_is_read_as_it_was_written():
    logits, labels = drawn()
    names = [f"c{n}" for n in range(400)]
    document = scored(logits, labels).document(
        list("abcdefgh"), names, ["g1", *names[1:]], seed=3, class_images=[200, 100, 50, 40, 30, 20, 10, 5]
    )
    written = json.loads(json.dumps(document.to_json()))
    again = ScoresDocument.from_json(written)
    assert again.to_json() == written
    assert again.rows == document.rows
    assert {row.group for row in again.rows if row.case == "c0"} == {"g1"}


def test_a_document_of_another_trainer():
    rows = [{"case": "x", "label": "a", "predicted": "a"}, {"case": "y", "label": "b", "predicted": "a"}]
    document = ScoresDocument.from_json({"header": {"kind": "label", "classes": ["a", "b"]}, "cases": rows})
    assert document.primary == 0.5
    assert str(document.header.primary) == "accuracy"
    assert [(row.case, row.label, row.tp, row.fp, row.fn) for row in document.rows] == [
        ("x", "a", 1, 0, 0),
        ("y", "b", 0, 0, 1),
        ("y", "a", 0, 1, 0),
    ]
    assert document.case_means() == {("x", None): 1.0, ("y", None): 0.0}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"case": "x", "label": "c", "predicted": "a"}, "the class 'c' is none of a, b"),
        ({"case": "x", "label": "a"}, "cases.0.predicted: missing"),
        ({"case": "x", "label": "a", "predicted": "a", "top5": 1}, "cases.0.top5"),
    ],
)
def test_a_damaged_document_is_refused(row, message):
    with pytest.raises(ValueError, match=message):
        ScoresDocument.from_json({"header": {"kind": "label", "classes": ["a", "b"]}, "cases": [row]})


def test_a_picture_that_stands_there_twice_is_refused():
    row = {"case": "x", "label": "a", "predicted": "a"}
    with pytest.raises(ValueError, match="x has two rows; needed is one for each case"):
        ScoresDocument.from_json({"header": {"kind": "label", "classes": ["a", "b"]}, "cases": [row, row]})


@pytest.mark.parametrize("count", [100, 1000])
def test_ten_thousand_pictures_are_a_small_document(count):
    rng = np.random.default_rng(0)
    classes = [f"class {n}" for n in range(count)]
    pairs = rng.integers(0, count, (10_000, 2)).tolist()
    names = [f"test/test_batch/{n:05d}" for n in range(10_000)]
    pictures = [
        Picture(name, name, classes[label], classes[guess], top5=False, probability=1 / 3)
        for name, (label, guess) in zip(names, pairs, strict=True)
    ]
    calibration = Calibration(count)
    calibration.update(torch.from_numpy(rng.normal(size=(100, count))), torch.arange(100))
    header = Header(kind="label", primary=Primary.of_kind("label"), classes=classes)
    document = ScoresDocument.of_pictures(header, pictures, calibration.document(classes))
    assert len(json.dumps(document.to_json(), indent=1)) < 3_000_000


def test_the_confusion_follows_from_the_pictures_and_is_read_past():
    """It is in documents of earlier versions, where it says the same."""
    rows = [{"case": str(n), "label": "ab"[n > 2], "predicted": "ab"[n % 2]} for n in range(5)]
    written = {"header": {"kind": "label", "classes": ["a", "b"]}, "cases": rows}
    document = ScoresDocument.from_json(written)
    assert document.confusion == [[2, 1], [1, 1]]
    assert "confusion" not in document.to_json()
    assert ScoresDocument.from_json(written | {"confusion": document.confusion}) == document


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_the_row_of_a_picture_by_hand(activation):
    logits = torch.tensor([[0.0, 3, 1, 2, 4, 5], [0, 3, 1, 2, 4, 5], [9, 3, 1, 2, 4, 5]])
    scores = scored(logits, torch.tensor([5, 0, 1]), (3,), activation=activation)
    rows = scores.document(list("abcdef"), list("xyz"), list("ggh")).pictures
    assert [(row.case, row.group, row.label, row.predicted, row.top5) for row in rows] == [
        ("x", "g", "f", "f", True),
        ("y", "g", "a", "f", False),
        ("z", "h", "b", "a", True),
    ]
    for row, top, own in zip(rows, (5, 5, 9), logits.double(), strict=True):
        wanted = {"softmax": np.exp(top) / np.exp(own.numpy()).sum(), "sigmoid": 1 / (1 + np.exp(-top)), "none": None}
        assert row.probability == (wanted[activation] and pytest.approx(wanted[activation], rel=1e-5))


def test_torchmetrics_knows_it_as_one_of_its_own():
    for flag in ("higher_is_better", "is_differentiable", "full_state_update"):
        assert getattr(ClassificationScores, flag) == getattr(MulticlassAccuracy, flag)


def test_of_five_classes_all_are_among_five():
    scores = scored(torch.eye(5), torch.arange(5), (5,))
    assert scores.compute()["top5"] is None
    assert {row.top5 for row in scores.document(list("abcde"), list("vwxyz"), list("vwxyz")).pictures} == {None}


def test_few_classes_and_labels_that_are_none():
    with pytest.raises(ValueError, match="num_classes"):
        ClassificationScores(0)
    one = scored(torch.zeros(2, 1), torch.tensor([0, 0]), (2,)).document(["a"], ["x", "y"], ["x", "y"])
    assert [(row.predicted, row.top5) for row in one.pictures] == [("a", None), ("a", None)]
    for read in (
        lambda scores: scores.compute(),
        lambda scores: scores.document(list("abc"), list("xyz"), list("xyz")),
    ):
        with pytest.raises(ValueError, match=r"2 pictures have a label outside 0\.\.2"):
            read(scored(torch.zeros(3, 3), torch.tensor([-1, 3, 2]), (3,)))
