import json

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score
from torchmetrics.classification import MulticlassJaccardIndex

from segloss import SegmentationScores
from segloss.document import Primary, ScoresDocument, Unit
from segloss.scores import confusion_matrices


def batch(seed=0, images=12, classes=4, size=(9, 7)):
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, classes, (images, *size))
    prediction = np.where(rng.random(reference.shape) < 0.6, reference, rng.integers(0, classes, reference.shape))
    reference[rng.random(reference.shape) < 0.2] = 255
    cases = np.arange(images) // 3
    return torch.from_numpy(prediction), torch.from_numpy(reference), np.arange(images), cases


def compute(prediction, reference, images, cases, background=None, classes=4, size=5):
    scores = SegmentationScores(classes, background=background)
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        scores.update(prediction[part], reference[part], image=images[part], case=cases[part])
    return scores.compute()


def numpy_aggregation(prediction, reference, units, classes, background):
    """mDSC and mIoU the slow way: unit by unit, class by class."""
    values = []
    for unit in np.unique(units):
        p, t = prediction[units == unit], reference[units == unit]
        p, t = p[t != 255], t[t != 255]
        dsc, iou = [], []
        for c in range(classes):
            both, either = ((p == c) & (t == c)).sum(), ((p == c) | (t == c)).sum()
            if either and c != background:
                dsc.append(2 * both / ((p == c).sum() + (t == c).sum()))
                iou.append(both / either)
        if dsc:
            values.append((np.mean(dsc), np.mean(iou)))
    return np.mean(values, axis=0)


@pytest.mark.parametrize("background", [None, 0])
def test_aggregations_are_those_of_the_slow_way(background):
    prediction, reference, images, cases = batch()
    prediction[:3], reference[:3] = 0, torch.where(reference[:3] == 255, 255, 0)  # a case of background alone
    found = compute(prediction, reference, images, cases, background)
    for name, units in (("dataset", 0 * images), ("case", cases), ("image", images)):
        expected = numpy_aggregation(prediction.numpy(), reference.numpy(), units, 4, background)
        assert (found[name]["mDSC"], found[name]["mIoU"]) == pytest.approx(tuple(expected))
    assert found["case"]["left_out"] == (0 if background is None else 1)
    assert found["image"]["left_out"] == (0 if background is None else 3)


def test_pooled_scores_are_scikit_learn_s():
    prediction, reference, images, cases = batch()
    found = compute(prediction, reference, images, cases)["dataset"]
    valid = reference != 255
    p, t = prediction[valid].numpy(), reference[valid].numpy()
    matrix = confusion_matrix(t, p)
    assert found["mDSC"] == pytest.approx(f1_score(t, p, average="macro"))
    assert found["mIoU"] == pytest.approx(jaccard_score(t, p, average="macro"))
    assert found["accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
    for index in range(4):
        assert found["classes"][str(index)]["precision"] == pytest.approx(matrix[index, index] / matrix[:, index].sum())
        assert found["classes"][str(index)]["recall"] == pytest.approx(matrix[index, index] / matrix[index].sum())


def test_batch_size_order_and_sharding_change_nothing():
    prediction, reference, images, cases = batch()
    whole = compute(prediction, reference, images, cases, size=12)
    order = np.random.default_rng(1).permutation(12)
    assert compute(prediction[order], reference[order], images[order], cases[order], size=1) == whole
    shards = []
    for part in (order[:5], order[5:]):
        shard = SegmentationScores(4)
        shard.update(prediction[part], reference[part], image=images[part], case=cases[part])
        shards.append(shard)
    shards[0].merge_state(shards[1])
    assert shards[0].compute() == whole


def test_parts_of_an_image_add_up():
    prediction, reference, images, cases = batch()
    tiles = SegmentationScores(4)
    for rows in (slice(0, 4), slice(4, 9)):
        tiles.update(prediction[:, rows], reference[:, rows], image=images, case=cases)
    assert tiles.compute() == compute(prediction, reference, images, cases)


def test_absent_classes_by_the_rule():
    scores = SegmentationScores(3)
    scores.update(torch.tensor([[0, 0, 1]]), torch.tensor([[0, 0, 0]]), image=[0], case=[0])
    found = scores.compute()["dataset"]
    assert found["classes"]["0"]["DSC"] == pytest.approx(0.8)
    assert found["classes"]["1"] == {"DSC": 0.0, "IoU": 0.0, "precision": 0.0, "recall": None}
    assert found["classes"]["2"] == dict.fromkeys(("DSC", "IoU", "precision", "recall"))
    assert found["mDSC"] == pytest.approx(0.4)


def test_aggregations_differ_and_are_named():
    """One case without the rare class, one where half of it is found: pooled and by case differ."""
    scores = SegmentationScores(2, background=0)
    scores.update(
        torch.tensor([[0, 0, 0, 0], [1, 1, 0, 0]]), torch.tensor([[0, 0, 0, 1], [1, 1, 1, 1]]), [0, 1], [0, 1]
    )
    found = scores.compute()
    assert found["case"]["mDSC"] == pytest.approx((0 + 2 / 3) / 2)
    assert found["dataset"]["mDSC"] == pytest.approx(4 / 7)


def test_document_is_json_with_a_row_for_each_case_and_class():
    prediction, reference, images, cases = batch()
    scores = SegmentationScores(4, background=0)
    scores.update(prediction, reference, image=images, case=cases)
    document = scores.document(
        "abcd", [f"case{i}" for i in range(4)], ["g0", "g0", "g1", "g1"], kind="volume", seed=3
    ).to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["header"]["classes"] == list("abcd")
    header = document["header"]
    assert (header["background"], header["seed"], header["kind"]) == ("a", 3, "volume")
    assert header["primary"] == {"aggregation": "case", "metric": "mDSC"}
    assert ScoresDocument.from_json(document).to_json() == document
    assert len(document["cases"]) == 16
    row = next(row for row in document["cases"] if row["case"] == "case2" and row["class"] == "b")
    p, t = prediction[6:9], reference[6:9]
    assert row["tp"] == int(((p == 1) & (t == 1)).sum())
    assert row["fp"] == int(((p == 1) & (t != 1) & (t != 255)).sum())
    assert row["fn"] == int(((p != 1) & (t == 1)).sum())
    assert row["group"] == "g1"
    counted = reference != 255
    expected = confusion_matrix(reference[counted], prediction[counted], labels=range(4))
    assert document["confusion"] == expected.tolist()


def test_rows_of_images_come_with_their_slices():
    prediction, reference, images, cases = batch()
    scores = SegmentationScores(4)
    scores.update(prediction, reference, image=images, case=cases)
    rows = scores.image_rows("abcd", [Unit(f"case{image // 3}", "g", image % 3) for image in range(12)])
    assert len(rows) == 48
    flat = rows[4 * 7 + 2].flat()
    assert list(flat)[:7] == ["case", "group", "slice", "class", "tp", "fp", "fn"]
    assert (flat["case"], flat["slice"], flat["class"]) == ("case2", 1, "c")
    p, t = prediction[7] == 2, reference[7]
    both = int((p & (t == 2)).sum())
    assert flat["recall"] == pytest.approx(both / int((t == 2).sum()))
    assert flat["precision"] == pytest.approx(both / int((p & (t != 255)).sum()))


FOREIGN = {"header": {"classes": ["a", "b"]}, "cases": [{"case": "x", "class": "a", "tp": 3, "fp": 1, "fn": 0}]}


@pytest.mark.parametrize(
    ("header", "row", "more", "kind"),
    [
        ({}, {}, {}, "still"),
        ({"background": "a"}, {}, {}, "volume"),
        ({}, {"HD95": 2.0}, {}, "volume"),
        ({}, {"HD95": float("nan")}, {}, "still"),
        ({}, {}, {"image": 40, "case": 2, "dataset": 1}, "volume"),
        ({}, {}, {"image": 2, "case": 2, "dataset": 1}, "still"),
        ({"background": "a", "kind": "still"}, {"HD95": 2.0}, {"image": 40, "case": 2, "dataset": 1}, "still"),
    ],
)
def test_the_kind_is_that_of_the_header_or_follows_from_the_rest(header, row, more, kind):
    whole = {"mDSC": 1.0, "mIoU": 1.0, "left_out": 0, "classes": {"a": {}, "b": {}}}
    scores = {name: {**whole, "units": units} for name, units in more.items()}
    document = {"header": FOREIGN["header"] | header, "cases": [FOREIGN["cases"][0] | row], **scores}
    found = ScoresDocument.from_json(document)
    assert (found.header.kind, found.header.primary) == (kind, Primary.of_kind(kind))
    assert found.rows[0].scores["IoU"] == 0.75
    assert (found.rows[0].group, found.rows[0].scores["DSC"]) == ("x", pytest.approx(6 / 7))


@pytest.mark.parametrize("key", ["HD95", "ASSD", "volume_ml", "surface_DSC"])
def test_what_cannot_be_negative_is_refused(key):
    document = {**FOREIGN, "cases": [FOREIGN["cases"][0] | {key: -2.0}]}
    with pytest.raises(ValueError, match=rf"^cases\.0\.{key}: a .* is needed, got -2\.0$"):
        ScoresDocument.from_json(document)
    document["cases"] = [FOREIGN["cases"][0] | {"volume_error_ml": -2.0}]
    assert ScoresDocument.from_json(document).rows[0].scores["volume_error_ml"] == -2


def test_a_foreign_label_is_never_silent():
    scores = SegmentationScores(2)
    scores.update(torch.tensor([[0, 1]]), torch.tensor([[0, 7]]), image=[0], case=[0])
    with pytest.raises(ValueError, match=r"1 pixels .* outside 0\.\.1"):
        scores.compute()


def test_probabilities_are_no_labels():
    with pytest.raises(ValueError, match="take the argmax"):
        SegmentationScores(2).update(torch.rand(1, 3), torch.zeros(1, 3).long(), [0], [0])


def test_an_ignored_class_is_in_no_mean():
    scores = SegmentationScores(3, ignore_index=0)
    scores.update(torch.tensor([[0, 1, 2, 0]]), torch.tensor([[0, 1, 2, 2]]), [0], [0])
    assert scores.compute()["dataset"]["mDSC"] == pytest.approx((1 + 2 / 3) / 2)


def test_torchmetrics_knows_it_as_one_of_its_own():
    for flag in ("higher_is_better", "is_differentiable", "full_state_update"):
        assert getattr(SegmentationScores, flag) == getattr(MulticlassJaccardIndex, flag)


def test_nothing_scored_is_undefined():
    assert SegmentationScores(2).compute()["dataset"]["mIoU"] is None


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"background must be None or in 0\.\.1"):
        SegmentationScores(2, background=5)
    with pytest.raises(ValueError, match="differ in shape"):
        SegmentationScores(2).update(torch.zeros(1, 2).long(), torch.zeros(1, 3).long(), [0], [0])
    scores = SegmentationScores(2)
    with pytest.raises(ValueError, match=r"image must hold whole numbers as ids, got .*number what has a name"):
        scores.update(torch.zeros(1, 2).long(), torch.zeros(1, 2).long(), image=["a"], case=[0])
    with pytest.raises(ValueError, match=r"case must hold whole numbers as ids, got torch\.float32"):
        scores.update(torch.zeros(1, 2).long(), torch.zeros(1, 2).long(), image=[0], case=[0.5])
    scores.update(torch.zeros(2, 2).long(), torch.zeros(2, 2).long(), image=[0, 1], case=[0, 1])
    with pytest.raises(ValueError, match="cases and groups must name the cases 0 to 1, got 1 and 1 names"):
        scores.document(["a", "b"], ["x"], ["x"], kind="still")
    with pytest.raises(ValueError, match="cases and groups must name the cases 0 to 1, got 2 and 1 names"):
        scores.document(["a", "b"], ["x", "y"], ["x"], kind="still")
    with pytest.raises(ValueError, match="classes must be 2 names, got 1"):
        scores.document(["a"], ["x", "y"], ["x", "y"], kind="still")
    with pytest.raises(ValueError, match="one id an image"):
        SegmentationScores(2).update(torch.zeros(2, 2).long(), torch.zeros(2, 2).long(), [0], [0])


def test_regions_are_scored_as_unions_of_classes():
    """Against NumPy: each region by itself, as a binary mask."""
    rng = np.random.default_rng(0)
    prediction, target = rng.integers(0, 4, (2, 3, 6, 6))
    target[0, :2] = 255
    members = torch.tensor([[False, True, True, True], [False, False, True, True]])
    scores = SegmentationScores(4, regions=members)
    scores.update(torch.from_numpy(prediction), torch.from_numpy(target), image=[0, 1, 2], case=[0, 0, 1])
    document = scores.document(["whole", "core"], ["p", "q"], ["p", "q"], kind="volume")
    counts = target != 255
    for name, own in {"whole": [1, 2, 3], "core": [2, 3]}.items():
        ours, theirs = counts & np.isin(prediction, own), counts & np.isin(target, own)
        dsc = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())
        assert document.aggregations["dataset"]["classes"][name]["DSC"] == pytest.approx(dsc)
        (row,) = [row for row in document.rows if (row.case, row.label) == ("q", name)]
        tp = (ours & theirs)[2].sum()
        assert (row.tp, row.fp, row.fn) == (tp, ours[2].sum() - tp, theirs[2].sum() - tp)
    assert document.confusion is None
    assert document.aggregations["dataset"]["accuracy"] is None
    with pytest.raises(ValueError, match=r"regions must be \(R, 4\), without a background, got \(2, 3\)"):
        SegmentationScores(4, regions=members[:, :3])


def test_the_smallest_number_of_classes_and_the_usual_ignored_label():
    with pytest.raises(ValueError, match="num_classes"):
        SegmentationScores(0)
    scores = SegmentationScores(1)
    scores.update(torch.zeros(1, 2, 2, dtype=torch.long), torch.tensor([[[0, 0], [0, 255]]]), image=[0], case=[0])
    assert scores.compute()["dataset"]["mIoU"] == 1
    counted = confusion_matrices(torch.tensor([[0, 1, 1, 0]]), torch.tensor([[0, 0, 255, 9]]), 2)
    assert counted.tolist() == [[1, 1, 0, 0, 1, 1]]
